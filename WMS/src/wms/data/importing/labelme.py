"""LabelMe: a JSON file a photo, with shapes, the photo's path and often the photo itself."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

from wms.data.importing.photos import stem
from wms.data.importing.raster import box, ellipse, embedded_bitmap, paint_bitmap, paint_rings, ring, unpacked
from wms.data.importing.records import Canvas, Format, LabelFault, Labelled, Shape, class_name, gathered
from wms.data.importing.source import Tree


def _find(tree: Tree) -> Sequence[str]:
    return [name for name in tree.names if name.lower().endswith(".json") and _is_labelme(tree.json(name))]


def _is_labelme(values: Any) -> bool:
    return isinstance(values, dict) and isinstance(values.get("shapes"), list) and "imagePath" in values


def _read(tree: Tree, files: Sequence[str]) -> Iterator[Labelled]:
    for file in files:
        values = tree.json(file)
        with tree.expecting(file):
            # The path leads from the JSON file, often upwards, and on Windows with backslashes.
            path = str(values["imagePath"]).replace("\\", "/")
            inside = posixpath.normpath(posixpath.join(PurePosixPath(file).parent, path))
            width, height, data = (values.get(key) for key in ("imageWidth", "imageHeight", "imageData"))
            size = (int(width), int(height)) if width and height else None
            shapes, fault = gathered(map(_shape, values["shapes"]))
            embedded = partial(unpacked, data) if data else None
            yield Labelled(
                file, PurePosixPath(path).name, (inside, stem(file)), shapes, size, embedded=embedded, fault=fault
            )


def _shape(shape: Mapping[str, Any]) -> Shape:
    label, points = class_name(shape["label"]), ring(shape["points"], least=1)
    match shape.get("shape_type") or "polygon":
        case "polygon" | "oriented_rectangle":
            return Shape(label, partial(paint_rings, [ring(points)]))
        case "rectangle":
            (left, top), (right, bottom) = points.min(0), points.max(0)
            return Shape(
                label, partial(paint_rings, [box(left, top, right, bottom)]), "a rectangle counts as an outline"
            )
        case "circle":
            (x, y), edge = points
            radius = math.dist((x, y), edge)
            return Shape(label, partial(paint_rings, [ellipse(x, y, radius, radius)]))
        case "mask":
            left, top = points[0]
            return Shape(label, partial(_paint_mask, shape["mask"], int(left), int(top)))
        case other:
            raise LabelFault(f"has a shape {other!r}, which marks no area; draw a polygon")


def _paint_mask(text: str, left: int, top: int, canvas: Canvas) -> None:
    paint_bitmap(embedded_bitmap(text), left, top, canvas)


FORMAT: Final = Format("labelme", "a .json with shapes and imagePath for each photo", _find, _read)
