"""Label Studio: JSON and JSON-MIN with brush masks, polygons, rectangles, ellipses; brush PNGs beside a JSON."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from wms.data.images import stored_size
from wms.data.importing.raster import box, brush_bitmap, ellipse, paint_bitmap, paint_rings, png_bitmap, ring, rotated
from wms.data.importing.records import Canvas, Format, LabelFault, Labelled, Shape, class_name, gathered
from wms.data.importing.source import Tree
from wms.errors import ExportUnknownError

_BRUSH_PNG: Final = re.compile(r"task-(\d+)-annotation-(\w+)-by-[^-]*-[^-]*-(.+)-\d+\.png")
_LABELS: Final = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels", "labels")
_NO_SHAPES: Final = ("choices", "textarea", "rating", "number", "taxonomy", "relation")


def _find(tree: Tree) -> Sequence[str]:
    jsons = [n for n in tree.names if n.lower().endswith(".json") and _is_label_studio(tree.json(n))]
    if not jsons and _masks(tree):
        raise ExportUnknownError(
            f"{tree.where} holds Label Studio's brush PNGs, which name tasks and no photos; "
            "export JSON, too, and put that file beside them."
        )
    return jsons


def _is_label_studio(values: Any) -> bool:
    return (
        isinstance(values, list)
        and bool(values)
        and all(isinstance(one, dict) and "id" in one and ("data" in one or _photo_of(one)) for one in values)
    )


def _masks(tree: Tree) -> Sequence[str]:
    return [name for name in tree.names if _BRUSH_PNG.fullmatch(PurePosixPath(name).name)]


def _read(tree: Tree, files: Sequence[str]) -> Iterator[Labelled]:
    pngs: dict[str, list[str]] = defaultdict(list)
    for png in _masks(tree):
        pngs[_png_parts(png)[0]].append(png)
    for file in files:
        for task in tree.json(file):
            with tree.expecting(file):
                address = _photo_of(task.get("data", task))
                if not address:
                    raise ValueError(f"task {task['id']} names no image")
                name = _name_in(address)
                size: list[tuple[int, int]] = []
                shapes, fault = gathered(_shapes(tree, task, pngs[str(task["id"])], size))
                yield Labelled(file, name, (name,), shapes, size[0] if size else None, fault=fault)


def _photo_of(data: Mapping[str, Any]) -> str:
    """The address of a task's photo: the value called image, else the first that looks like an image's."""
    if isinstance(data.get("image"), str):
        return str(data["image"])
    texts = [one for one in data.values() if isinstance(one, str)]
    return next((one for one in texts if re.search(r"\.\w{3,4}(\?.*)?$", one)), "")


def _name_in(address: str) -> str:
    """The file's name in the address of a photo: an upload, a link, or a local file behind `?d=`."""
    parts = urlsplit(address.replace("\\", "/"))
    path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    return PurePosixPath(path or address).name


def _shapes(tree: Tree, task: Mapping[str, Any], pngs: Sequence[str], size: list[tuple[int, int]]) -> Iterator[Shape]:
    """The shapes of the one annotation that counts; puts the size that they refer to into `size`."""
    if len({_png_parts(name)[1] for name in pngs}) > 1:
        raise LabelFault("has brush PNGs of several annotations; keep those of one")
    for name in pngs:
        size[:] = [stored_size(tree.read(name), name)[:2]]
        yield Shape(_png_parts(name)[2], partial(_paint_png, tree, name))
    if pngs:
        return
    for result in _results(task):
        value = result.get("value", result)
        label = next((class_name(value[key][0]) for key in _LABELS if value.get(key)), "")
        if not label:
            continue
        if result.get("image_rotation"):
            raise LabelFault("was turned in Label Studio while it was labelled; turn the photo itself, and label it so")
        width, height = size_of = int(result["original_width"]), int(result["original_height"])
        if size and size_of != size[0]:
            raise LabelFault("has labels for two sizes of the photo")
        size[:] = [size_of]
        yield _shape(label, value, width, height)


def _results(task: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The regions of a task, in JSON or in JSON-MIN. Raises LabelFault if several people drew, and no one counts."""
    if "data" not in task:
        lists = [value for value in task.values() if isinstance(value, list)]
        return [one for some in lists for one in some if isinstance(one, dict) and "original_width" in one]
    drawn = [one for one in task.get("annotations") or task.get("completions") or [] if not one.get("was_cancelled")]
    drawn = [one for one in drawn if one.get("result")]
    chosen = [one for one in drawn if one.get("ground_truth")] or drawn
    if len(chosen) > 1:
        raise LabelFault(f"has {len(chosen)} annotations; set one as ground truth in Label Studio, and export again")
    found: Sequence[Mapping[str, Any]] = chosen[0]["result"] if chosen else []
    return [one for one in found if one.get("type") not in _NO_SHAPES]


def _shape(label: str, value: Mapping[str, Any], width: int, height: int) -> Shape:
    """A region; coordinates are in percent of the photo's sides."""
    unit = np.array((width, height)) / 100
    turn = float(value.get("rotation", 0))
    if "rle" in value:
        return Shape(label, partial(_paint_brush, value["rle"]))
    if "points" in value:
        if value.get("closed") is False:
            raise LabelFault("has a polygon that was never closed")
        return Shape(label, partial(paint_rings, [ring(value["points"]) * unit]))
    x, y = float(value["x"]) * unit[0], float(value["y"]) * unit[1]
    if "radiusX" in value:
        across, down = float(value["radiusX"]) * unit[0], float(value["radiusY"]) * unit[1]
        return Shape(label, partial(paint_rings, [ellipse(x, y, across, down, turn)]))
    outline = box(x, y, x + float(value["width"]) * unit[0], y + float(value["height"]) * unit[1])
    outline = rotated(outline, turn, (x, y))  # around the upper left corner
    return Shape(label, partial(paint_rings, [outline]), "a rectangle counts as an outline")


def _paint_brush(values: Sequence[int], canvas: Canvas) -> None:
    height, width = canvas.shape
    paint_bitmap(brush_bitmap(values, width, height), 0, 0, canvas)


def _png_parts(name: str) -> tuple[str, str, str]:
    """The task's number, the annotation's number and the class in the name of a brush PNG."""
    found = _BRUSH_PNG.fullmatch(PurePosixPath(name).name)
    assert found is not None  # noqa: S101 # nosec B101 - the name was chosen by this pattern
    return found[1], found[2], found[3]


def _paint_png(tree: Tree, name: str, canvas: Canvas) -> None:
    bitmap = png_bitmap(tree.read(name), above=127)  # a brush has soft edges
    if bitmap.shape != canvas.shape:
        raise LabelFault(f"has a brush PNG of another size, {name}")
    paint_bitmap(bitmap, 0, 0, canvas)


FORMAT: Final = Format("label-studio", "a .json with a list of tasks", _find, _read, _masks)
