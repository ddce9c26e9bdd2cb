"""Supervisely: a project with meta.json, and DATASET/img and DATASET/ann/PHOTO.json."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

from wms.data.images import DEFAULT_MEGAPIXELS
from wms.data.importing.photos import stem
from wms.data.importing.raster import box, paint_bitmap, paint_rings, png_bitmap, ring, unpacked
from wms.data.importing.records import Canvas, Format, LabelFault, Labelled, Shape, class_name, gathered
from wms.data.importing.source import Tree

_PNG: Final = b"\x89PNG"
_LARGEST_PNG: Final = int(DEFAULT_MEGAPIXELS * 1e6)


def _find(tree: Tree) -> Sequence[str]:
    return [name for name in tree.names if name.lower().endswith(".json") and _is_annotation(tree.json(name))]


def _is_annotation(values: Any) -> bool:
    return isinstance(values, dict) and isinstance(values.get("objects"), list) and isinstance(values.get("size"), dict)


def _read(tree: Tree, files: Sequence[str]) -> Iterator[Labelled]:
    for file in files:
        values = tree.json(file)
        with tree.expecting(file):
            size = (int(values["size"]["width"]), int(values["size"]["height"]))
            shapes, fault = gathered(map(_shape, values["objects"]))
            photo = PurePosixPath(stem(file))
            yield Labelled(file, photo.name, (f"{photo.parent.parent}/img/{photo.name}",), shapes, size, fault=fault)


def _shape(shape: Mapping[str, Any]) -> Shape:
    label = class_name(shape["classTitle"])
    match shape["geometryType"]:
        case "bitmap":
            left, top = map(int, shape["bitmap"]["origin"])
            return Shape(label, partial(_paint_bitmap, shape["bitmap"]["data"], left, top))
        case "polygon":
            outlines = [shape["points"]["exterior"], *shape["points"].get("interior", [])]
            return Shape(label, partial(paint_rings, [ring(one) for one in outlines]))
        case "rectangle":
            (left, top), (right, bottom) = shape["points"]["exterior"]
            outline = box(left, top, right, bottom)
            return Shape(label, partial(paint_rings, [outline]), "a rectangle counts as an outline")
        case other:
            raise LabelFault(f"has a shape {other!r}, which marks no area; draw a polygon or a bitmap")


def _paint_bitmap(text: str, left: int, top: int, canvas: Canvas) -> None:
    content = unpacked(text)
    paint_bitmap(png_bitmap(content if content.startswith(_PNG) else _unzipped(content)), left, top, canvas)


def _unzipped(content: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        unzipped = stream.decompress(content, _LARGEST_PNG)
    except zlib.error as error:
        raise LabelFault(f"has a bitmap that can't be unpacked ({error})") from error
    if not stream.eof:
        raise LabelFault("has a bitmap that is cut off or too large")
    return unzipped


FORMAT: Final = Format("supervisely", "DATASET/ann with a .json of size and objects for each photo", _find, _read)
