"""CVAT: "CVAT for images 1.1", an XML file with polygons, masks, boxes and ellipses of each photo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Final

from wms.data.importing.raster import box, ellipse, paint_bitmap, paint_rings, paint_runs, ring
from wms.data.importing.records import Canvas, Format, LabelFault, Labelled, Shape, gathered
from wms.data.importing.source import Tree
from wms.errors import ExportUnknownError


def _find(tree: Tree) -> Sequence[str]:
    xmls = (name for name in tree.names if name.lower().endswith(".xml"))
    return [name for name in xmls if b"<annotations" in tree.read(name)[:4096]]


def _read(tree: Tree, files: Sequence[str]) -> Iterator[Labelled]:
    for file in files:
        root = tree.xml(file)
        if root.find("track") is not None:
            raise ExportUnknownError(
                f'{tree.named(file)} holds tracks of a video; export the task as "CVAT for images 1.1".'
            )
        with tree.expecting(file):
            for image in root.iter("image"):
                name = image.attrib["name"]
                size = (int(image.attrib["width"]), int(image.attrib["height"]))
                shapes, fault = gathered(
                    _shape(one.tag, one.attrib) for one in image if "label" in one.attrib and one.tag != "tag"
                )
                folder = PurePosixPath(file).parent
                guesses = (f"{folder}/images/{image.get('subset', '')}/{name}", f"{folder}/images/{name}")
                yield Labelled(file, name, guesses, shapes, size, fault=fault)


def _shape(kind: str, values: Mapping[str, str]) -> Shape:
    label, turn = values["label"], float(values.get("rotation", 0))
    match kind:
        case "polygon":
            corners = ring(point.split(",") for point in values["points"].split(";"))
            return Shape(label, partial(paint_rings, [corners]))
        case "mask":
            return Shape(label, partial(_paint_mask, values))
        case "box":
            outline = box(*_floats(values, "xtl", "ytl", "xbr", "ybr"), turn)
            return Shape(label, partial(paint_rings, [outline]), "a box counts as an outline")
        case "ellipse":
            outline = ellipse(*_floats(values, "cx", "cy", "rx", "ry"), turn)
            return Shape(label, partial(paint_rings, [outline]))
        case other:
            raise LabelFault(f"has a shape {other!r}, which marks no area; draw a polygon or a mask")


def _floats(values: Mapping[str, str], *keys: str) -> tuple[float, float, float, float]:
    one, two, three, four = (float(values[key]) for key in keys)
    return one, two, three, four


def _paint_mask(values: Mapping[str, str], canvas: Canvas) -> None:
    width, height, left, top = (int(values[key]) for key in ("width", "height", "left", "top"))
    paint_bitmap(paint_runs(values["rle"].split(","), False, height, width), left, top, canvas)


FORMAT: Final = Format("cvat", "an .xml with annotations, CVAT for images 1.1", _find, _read)
