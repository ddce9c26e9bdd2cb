"""YOLO segmentation: a .txt a photo, a row an object: the class's number, then x and y of each corner from 0 to 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np

from wms.data.importing.photos import stem
from wms.data.importing.raster import Ring, flat_ring, paint_rings
from wms.data.importing.records import Canvas, Format, LabelFault, Labelled, Shape, brief, class_name, gathered
from wms.data.importing.source import Tree
from wms.data.kinds import SUFFIXES

_LISTS: Final = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml", "classes.txt", "obj.names")
_BOX: Final = 4  # numbers after the class


def _find(tree: Tree) -> Sequence[str]:
    """The .txt files in a folder called labels, or beside a photo of the same name."""
    photos = {stem(name) for name in tree.names if PurePosixPath(name).suffix.lower() in SUFFIXES}
    return [
        name
        for name in tree.names
        if name.lower().endswith(".txt")
        and PurePosixPath(name).name not in _LISTS
        and ("labels" in PurePosixPath(name).parts[:-1] or stem(name) in photos)
    ]


def _read(tree: Tree, files: Sequence[str]) -> Iterator[Labelled]:
    names = _names(tree)
    for file in files:
        rows = [row.split() for row in tree.text(file).splitlines() if row.strip()]
        shapes, fault = gathered(_shape(row, number, names) for number, row in enumerate(rows, start=1))
        parts = PurePosixPath(stem(file)).parts
        images = "/".join("images" if part == "labels" else part for part in parts)
        without = "/".join(part for part in parts if part != "labels")
        yield Labelled(file, parts[-1], (images, without), shapes, fault=fault)


def _names(tree: Tree) -> Mapping[int, str]:
    """The classes by number; empty if the export doesn't name them."""
    for wanted in _LISTS:
        for file in (name for name in tree.names if PurePosixPath(name).name == wanted):
            with tree.expecting(file):
                if file.endswith((".yaml", ".yml")):
                    found: Any = tree.yaml(file)["names"]
                else:
                    found = [line.strip() for line in tree.text(file).splitlines() if line.strip()]
                if isinstance(found, str):
                    raise ValueError("names is a text, where a list of classes belongs")
                pairs = found.items() if isinstance(found, dict) else enumerate(found)
                return {int(number): class_name(name) for number, name in pairs}
    return {}


def _shape(row: Sequence[str], number: int, names: Mapping[int, str]) -> Shape:
    try:
        first, *values = map(float, row)
    except ValueError as error:
        raise LabelFault(f"has a value in row {number} that is no number") from error
    if not first.is_integer() or first < 0:
        raise LabelFault(f"has {brief(row[0])} in row {number}, where the number of a class belongs")
    index = int(first)  # some tools write 0.0
    if len(row) - 1 == _BOX:
        raise LabelFault(f"has a box in row {number}, and a box is no mask; export YOLO segmentation (polygons)")
    corners = flat_ring(values)
    return Shape(names.get(index, str(index)), partial(_paint, corners))


def _paint(corners: Ring, canvas: Canvas) -> None:
    height, width = canvas.shape
    paint_rings([corners * np.array((width, height))], canvas)


FORMAT: Final = Format("yolo", "a folder labels/ with a .txt for each photo", _find, _read)
