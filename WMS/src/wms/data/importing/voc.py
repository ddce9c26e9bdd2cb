"""Class masks: Pascal VOC, CVAT's "Segmentation mask 1.1", labelme2voc (SegmentationClass), Roboflow (_mask.png)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wms.data.images import DEFAULT_MEGAPIXELS, decode, stored_size
from wms.data.importing.photos import stem
from wms.data.importing.records import Canvas, Format, LabelFault, Labelled, Shape, gathered
from wms.data.importing.source import Tree

_FOLDERS: Final = ("SegmentationClass", "SegmentationClassPNG")
_OBJECTS: Final = ("SegmentationObject", "SegmentationObjectPNG")
_NO_PHOTOS: Final = (*_FOLDERS, *_OBJECTS, "SegmentationClassVisualization", "SegmentationObjectVisualization")
_OBJECT: Final = "object"
_SUFFIX: Final = "_mask"  # Roboflow's
_BACKGROUND: Final = frozenset({"background", "_background_", "__background__", "__ignore__"})
_VOID: Final = ((224, 224, 192), (255, 255, 255))
"""The edge between objects, which belongs to neither: value 255, in VOC's palette or in a grey picture."""
_MOST_COLOURS: Final = 512
_NUMBERED: Final = ("background", *map(str, range(1, 255)))

Colour = tuple[int, int, int]


def _find(tree: Tree) -> Sequence[str]:
    """The masks of classes; without any, those of objects."""
    pngs = [PurePosixPath(name) for name in tree.names if name.lower().endswith(".png")]
    found = [str(path) for path in pngs if _folder(path, _FOLDERS) is not None or _is_roboflow(tree, path)]
    return found or [str(path) for path in pngs if _folder(path, _OBJECTS) is not None]


def _folder(path: PurePosixPath, names: Sequence[str]) -> int | None:
    """The place of the first of the named folders in a path."""
    return next((place for place, part in enumerate(path.parts[:-1]) if part in names), None)


def _is_roboflow(tree: Tree, path: PurePosixPath) -> bool:
    return path.stem.endswith(_SUFFIX) and str(path.parent / "_classes.csv") in tree.listed


def _masks(tree: Tree) -> Sequence[str]:
    paths = map(PurePosixPath, tree.names)
    return [str(path) for path in paths if _folder(path, _NO_PHOTOS) is not None or _is_roboflow(tree, path)]


def _read(tree: Tree, files: Sequence[str]) -> Iterator[Labelled]:
    classes: dict[str, Mapping[Colour, str]] = {}
    for file in files:
        path = PurePosixPath(file)
        place = _folder(path, _NO_PHOTOS)
        if place is None:
            root, photo = str(path.parent).removeprefix("."), path.stem.removesuffix(_SUFFIX)
        else:
            root, photo = "/".join(path.parts[:place]), stem("/".join(path.parts[place + 1 :]))
        if root not in classes:
            classes[root] = _classes(tree, root)
        known = {} if _folder(path, _OBJECTS) is not None else classes[root]
        found, fault = gathered(_shapes(tree, file, known))
        size = None if fault else stored_size(tree.read(file), file)[:2]
        yield Labelled(file, photo, (f"{root}/JPEGImages/{photo}", f"{root}/{photo}"), found, size, fault=fault)


def _classes(tree: Tree, root: str) -> Mapping[Colour, str]:
    """The classes by their colour in a mask: as the export's list says, else by their number."""

    def beside(name: str) -> str:
        path = f"{root}/{name}" if root else name
        return path if path in tree.listed else ""

    if file := beside("labelmap.txt"):  # name:red,green,blue:parts:actions
        with tree.expecting(file):
            rows = [row.split(":") for row in tree.text(file).splitlines() if row.strip() and not row.startswith("#")]
            return {_colour(row[1].split(",")) if row[1] else _palette(n): row[0] for n, row in enumerate(rows)}
    if file := beside("_classes.csv"):
        with tree.expecting(file):
            lines = list(csv.reader(tree.text(file).splitlines(), skipinitialspace=True))[1:]
            return {(int(value),) * 3: name for value, name in lines}
    file = beside("class_names.txt")
    names = [row.strip() for row in tree.text(file).splitlines() if row.strip()] if file else _NUMBERED
    names = [name for name in names if name != "__ignore__"]
    greys = {(number,) * 3: name for number, name in enumerate(names) if number < 64}  # VOC's own greys begin at 64
    return greys | {_palette(number): name for number, name in enumerate(names)}


def _colour(values: Sequence[Any]) -> Colour:
    red, green, blue = map(int, values)
    return red, green, blue


def _palette(number: int) -> Colour:
    """The colour of a class in Pascal VOC's palette: the bits of the number, dealt to red, green and blue in turn."""
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= ((number >> bit) & 1) << (7 - bit // 3)
    return _colour(channels)


def _colours(tree: Tree, file: str) -> NDArray[np.uint8]:
    """A mask's colours (height, width, 3); values of 16 bits count as values, and aren't scaled as a photo's are."""
    stored: list[Image.Image] = []
    shown = decode(tree.read(file), file, DEFAULT_MEGAPIXELS, look=lambda image: stored.append(image.copy()))
    if not stored[0].mode.startswith("I"):
        return np.asarray(shown)
    values = np.asarray(stored[0])
    if values.max(initial=0) > 255:
        raise LabelFault(f"has a mask with the value {values.max()}; classes are numbered up to 255")
    return np.repeat(values.astype(np.uint8)[:, :, None], 3, axis=2)


def _shapes(tree: Tree, file: str, classes: Mapping[Colour, str]) -> Iterator[Shape]:
    """A shape for each class in a mask; without classes, a shape for each colour."""
    found: Any = Image.fromarray(_colours(tree, file)).getcolors(maxcolors=_MOST_COLOURS)
    if found is None:
        raise LabelFault(f"has a mask of over {_MOST_COLOURS} colours; export it as PNG, which has no soft edges")
    colours = {_colour(values): count for count, values in found if any(values)}
    void = sum(colours.pop(one, 0) for one in _VOID if one not in classes)
    if void and not colours:
        raise LabelFault("has a mask of value 255 only, which is the edge around objects; export it with its classes")
    warning = f"{void} pixels of the edge around objects (value 255) count as unmarked" if void else ""
    for colour in colours:
        label = classes.get(colour, "" if classes else _OBJECT)
        if not label:
            told = ",".join(map(str, colour))
            raise LabelFault(f"has a mask with the colour {told}, which the export's list of classes lacks")
        if label not in _BACKGROUND:
            yield Shape(label, partial(_paint, tree, file, colour), warning)


def _paint(tree: Tree, file: str, colour: Colour, canvas: Canvas) -> None:
    canvas |= (_colours(tree, file) == np.array(colour)).all(axis=2)


FORMAT: Final = Format(
    "masks", "SegmentationClass/ with PNGs, or _mask.png files beside a _classes.csv", _find, _read, _masks
)
