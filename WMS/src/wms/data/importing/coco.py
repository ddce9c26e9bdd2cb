"""COCO: a JSON file with images, annotations and categories, as most tools and Roboflow export."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np

from wms.data.importing.raster import Ring, coco_counts, flat_ring, paint_bitmap, paint_rings, paint_runs
from wms.data.importing.records import Canvas, Format, LabelFault, Labelled, Shape, brief, class_name, gathered
from wms.data.importing.source import Tree


def _find(tree: Tree) -> Sequence[str]:
    return [name for name in tree.names if name.lower().endswith(".json") and _is_coco(tree.json(name))]


def _is_coco(values: Any) -> bool:
    return isinstance(values, dict) and all(isinstance(values.get(key), list) for key in ("images", "annotations"))


def _read(tree: Tree, files: Sequence[str]) -> Iterator[Labelled]:
    for file in files:
        with tree.expecting(file):
            values = tree.json(file)
            for key, name in (("images", "file_name"), ("categories", "name")):
                if told := _ambiguous(values.get(key, []), name):
                    raise tree.damaged(file, f"in {key}, {told}")
            yield from _photos(file, values)


def _ambiguous(entries: Sequence[Mapping[str, Any]], name: str) -> str:
    """The id that two different entries share, as the end of a sentence; empty if each has an id of its own."""
    known: dict[Any, Mapping[str, Any]] = {}
    for entry in entries:
        other = known.setdefault(entry["id"], entry)
        if other != entry:
            return f"the id {brief(entry['id'])} stands for both {brief(other[name])} and {brief(entry[name])}"
    return ""


def _photos(file: str, values: Mapping[str, Any]) -> Iterator[Labelled]:
    names = {one["id"]: class_name(one["name"]) for one in values.get("categories", [])}
    waiting = defaultdict(list)
    for annotation in values["annotations"]:
        waiting[annotation["image_id"]].append(annotation)
    folder = PurePosixPath(file).parent
    subset = PurePosixPath(file).stem.rpartition("_")[2]  # instances_train.json
    for image in values["images"]:
        name, size = str(image["file_name"]), (int(image["width"]), int(image["height"]))
        shapes, fault = gathered(_shape(one, names) for one in waiting.pop(image["id"], []))
        guesses = (f"{folder}/{name}", f"{subset}/{name}")
        yield Labelled(file, name, guesses, shapes, size, fault=fault)
    for number in waiting:
        yield Labelled(file, f"image_id {brief(number)}", (), fault="is labelled, but isn't in the list of images")


def _shape(annotation: Mapping[str, Any], names: Mapping[Any, str]) -> Shape:
    number = annotation["category_id"]
    if names and number not in names:
        raise LabelFault(f"has a label of category_id {brief(number)}, which isn't in the list of categories")
    label = names.get(number, str(number))
    same = [str(one) for one, name in names.items() if name == label]
    warnings = [f"the categories {' and '.join(same)} are both named {label} and count as one"] if len(same) > 1 else []
    segmentation = annotation.get("segmentation")
    if not segmentation:
        raise LabelFault("has only a box, and a box is no mask; export polygons or masks")
    if isinstance(segmentation, dict):
        return Shape(label, partial(_paint_runs, segmentation), "; ".join(warnings))
    if not isinstance(segmentation[0], list):
        segmentation = [segmentation]
    rings = [flat_ring(one) for one in segmentation]
    if any(_is_inside(one, other) for one in rings for other in rings if one is not other):
        warnings.append(
            "an outline inside of another one is filled, as COCO's own tools do; export holes as masks (RLE)"
        )
    return Shape(label, partial(_paint_parts, rings), "; ".join(warnings))


def _is_inside(one: Ring, other: Ring) -> bool:
    return bool(np.all(one.min(0) > other.min(0)) and np.all(one.max(0) < other.max(0)))


def _paint_parts(rings: Sequence[Ring], canvas: Canvas) -> None:
    for one in rings:
        paint_rings([one], canvas)


def _paint_runs(segmentation: Mapping[str, Any], canvas: Canvas) -> None:
    height, width = map(int, segmentation["size"])
    if (height, width) != canvas.shape:
        raise LabelFault(
            f"has a mask of {brief(width)} x {brief(height)} pixels, "
            f"but the image is {canvas.shape[1]} x {canvas.shape[0]}"
        )
    counts = segmentation["counts"]
    runs = coco_counts(counts) if isinstance(counts, str) else counts
    paint_bitmap(paint_runs(runs, True, height, width), 0, 0, canvas)


FORMAT: Final = Format("coco", "a .json with images and annotations", _find, _read)
