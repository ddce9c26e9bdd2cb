"""Kinds of shapes and layouts of exports that the tools' own samples lack, by the formats' public descriptions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from entrance_table import READ, Row
from import_yard import SAMPLES, coco, files, mask_of, photo, run, save_mask, write
from PIL import Image

SIZES = {"original_width": 320, "original_height": 240, "image_rotation": 0}


def label_studio(folder: Path, kind: str, value: dict[str, Any], *, is_min: bool = False) -> Path:
    photo(folder / "a.jpg")
    value = {**value, f"{kind}labels": ["strip"]}
    if is_min:
        write(folder / "min.json", [{"id": 1, "image": "/data/upload/1/0a1b2c3d-a.jpg", "tag": [{**value, **SIZES}]}])
    else:
        found = [{"type": f"{kind}labels", **SIZES, "value": value}, {"type": "choices", "value": {"choices": ["ok"]}}]
        task = {"id": 1, "data": {"image": "s3://bucket/a%2Ejpg?x=1"}, "annotations": [{"id": 2, "result": found}]}
        write(folder / "full.json", [task])
    return folder


def labelme(folder: Path, kind: str, points: list[list[float]]) -> Path:
    photo(folder / "a.jpg")
    shape = {"label": "strip", "points": points, "shape_type": kind}
    write(folder / "a.json", {"shapes": [shape], "imagePath": "a.jpg", "imageData": None})
    return folder


def cvat(folder: Path, shape: str) -> Path:
    photo(folder / "a.jpg")
    image = f'<image name="a.jpg" width="320" height="240">{shape}<tag label="good"/></image>'
    write(folder / "annotations.xml", f'<?xml version="1.0"?><annotations>{image}</annotations>')
    return folder


def supervisely(folder: Path, kind: str, points: dict[str, Any]) -> Path:
    photo(folder / "ds" / "img" / "a.jpg")
    shape = {"classTitle": "strip", "geometryType": kind, "points": points}
    write(folder / "ds" / "ann" / "a.jpg.json", {"size": {"width": 320, "height": 240}, "objects": [shape]})
    return folder


CIRCLE = math.pi * 40 * 40
PERCENT = {"x": 25, "y": 25, "width": 25, "height": 25}
HALF = {"x": 50, "y": 50, "radiusX": 12.5, "radiusY": 50 / 3}
OUTLINE = {
    "exterior": [[20, 20], [120, 20], [120, 70], [20, 70]],
    "interior": [[[40, 30], [60, 30], [60, 50], [40, 50]]],
}
SHAPES: dict[str, tuple[Callable[[Path], Path], float]] = {
    "LabelMe's rectangle": (lambda f: labelme(f, "rectangle", [[120, 70], [20, 20]]), 5000),
    "LabelMe's turned rectangle": (
        lambda f: labelme(f, "oriented_rectangle", [[20, 20], [60, 20], [60, 40], [20, 40]]),
        800,
    ),
    "LabelMe's circle": (lambda f: labelme(f, "circle", [[160, 120], [200, 120]]), CIRCLE),
    "CVAT's box": (lambda f: cvat(f, '<box label="strip" xtl="20" ytl="20" xbr="120" ybr="70"/>'), 5000),
    "CVAT's box, turned by 90 degrees": (
        lambda f: cvat(f, '<box label="strip" xtl="60" ytl="60" xbr="160" ybr="110" rotation="90"/>'),
        5000,
    ),
    "CVAT's ellipse": (lambda f: cvat(f, '<ellipse label="strip" cx="160" cy="120" rx="40" ry="40"/>'), CIRCLE),
    "Label Studio's rectangle": (lambda f: label_studio(f, "rectangle", PERCENT), 80 * 60),
    "Label Studio's rectangle, turned": (lambda f: label_studio(f, "rectangle", {**PERCENT, "rotation": 30}), 80 * 60),
    "Label Studio's ellipse": (lambda f: label_studio(f, "ellipse", HALF), CIRCLE),
    "Label Studio's JSON-MIN": (lambda f: label_studio(f, "rectangle", PERCENT, is_min=True), 80 * 60),
    "Supervisely's rectangle": (lambda f: supervisely(f, "rectangle", {"exterior": [[20, 20], [120, 70]]}), 5000),
    "Supervisely's polygon with an interior": (lambda f: supervisely(f, "polygon", OUTLINE), 5000 - 400),
    "COCO's polygon as one flat list": (lambda f: coco(f, [20, 20, 120, 20, 120, 70, 20, 70]), 5000),
}


@pytest.mark.parametrize("what", SHAPES)
def test_a_shape_marks_its_area(what: str, tmp_path: Path, entrance: Row) -> None:
    make, area = SHAPES[what]
    assert run(make(tmp_path / "export"), tmp_path / "to") == 0
    marked = int(mask_of(tmp_path / "to", "a").sum())
    assert marked == pytest.approx(area, rel=0.01)
    entrance("import", what, f"{marked} pixels marked, its area is {area:.0f}", READ)


def test_a_turned_box_turns_clockwise_around_its_middle(tmp_path: Path) -> None:
    shape = '<box label="strip" xtl="100" ytl="100" xbr="200" ybr="120" rotation="30"/>'
    assert run(cvat(tmp_path / "export", shape), tmp_path / "to") == 0
    rows, columns = np.nonzero(mask_of(tmp_path / "to", "a"))
    assert (rows.mean(), columns.mean()) == (pytest.approx(109.5, abs=0.5), pytest.approx(149.5, abs=0.5))
    assert columns[rows == rows.min()].mean() < 149 < columns[rows == rows.max()].mean()


def test_a_label_studio_rectangle_turns_around_its_corner(tmp_path: Path) -> None:
    assert run(label_studio(tmp_path / "export", "rectangle", {**PERCENT, "rotation": 90}), tmp_path / "to") == 0
    rows, columns = np.nonzero(mask_of(tmp_path / "to", "a"))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (20, 79, 60, 139)


@pytest.mark.parametrize(
    "address",
    [
        *("/data/upload/3/0a1b2c3d-a.jpg", "https://example.org/a.jpg?X-Amz-Signature=1f", "a.jpg"),
        *("/data/local-files/?d=meters%2Fa.jpg", "C:\\meters\\a.jpg", "gs://bucket/meters/a.jpg"),
    ],
)
def test_addresses_of_label_studio(address: str, tmp_path: Path, entrance: Row) -> None:
    folder = label_studio(tmp_path / "export", "rectangle", PERCENT)
    tasks = json.loads((folder / "full.json").read_text())
    tasks[0]["data"]["image"] = address
    write(folder / "full.json", tasks)
    assert run(folder, tmp_path / "to") == 0
    assert files(tmp_path / "to") == ["images/a.jpg", "masks/a.png"]
    entrance("import", f"Label Studio names the photo {address}", "found as a.jpg", READ)


def test_labelme_with_the_photo_inside_of_its_json(tmp_path: Path, entrance: Row) -> None:
    write(tmp_path / "export" / "turned.json", (SAMPLES / "labelme" / "labels" / "turned.json").read_text())
    assert run(tmp_path / "export", tmp_path / "to") == 0
    assert files(tmp_path / "to") == ["images/turned.jpg", "masks/turned.png"]
    with Image.open(tmp_path / "to" / "images" / "turned.jpg") as picture:
        assert picture.size == (320, 240)  # LabelMe keeps it upright
    with Image.open(SAMPLES / "truth" / "turned.png") as picture:
        wanted = np.asarray(picture) > 127
    marked = mask_of(tmp_path / "to", "turned")
    assert (marked & wanted).sum() / (marked | wanted).sum() > 0.98
    entrance("import", "LabelMe's JSON alone, with imageData", "the photo and its mask", READ)


@pytest.mark.parametrize("names", ["names: [digits, strip]\n", "names:\n  0: digits\n  1: strip\n"])
def test_yolo_with_train_and_valid_folders(names: str, tmp_path: Path, entrance: Row) -> None:
    for part, name in (("train", "plain"), ("valid", "hole")):
        photo(tmp_path / "export" / part / "images" / f"{name}.jpg", name)
        write(tmp_path / "export" / part / "labels" / f"{name}.txt", "1 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5\n")
    write(tmp_path / "export" / "data.yaml", f"train: ../train/images\n{names}")
    assert run(tmp_path / "export", tmp_path / "to", "--report", tmp_path / "report.json") == 0
    assert json.loads((tmp_path / "report.json").read_text())["class"] == "strip"
    assert [mask_of(tmp_path / "to", name).sum() for name in ("plain", "hole")] == [4800, 4800]
    entrance("import", "YOLO with train/ and valid/", "both are imported, the class by data.yaml", READ)


def test_a_coco_file_for_each_part_finds_the_photos_of_its_part(tmp_path: Path, entrance: Row) -> None:
    for part, name in (("train", "plain"), ("val", "hole")):
        coco(tmp_path / "export" / "annotations")
        (tmp_path / "export" / "annotations" / "a.jpg").unlink()
        labels = tmp_path / "export" / "annotations" / "labels.json"
        labels.rename(labels.with_name(f"instances_{part}.json"))
        photo(tmp_path / "export" / part / "a.jpg", name)
    with pytest.raises(Exception, match=r"train/a.jpg and val/a.jpg would be a.png both"):
        run(tmp_path / "export", tmp_path / "to")
    entrance("import", "COCO: instances_train.json, train/a.jpg and val", "each file finds its own part's photo", READ)


def test_coco_categories_of_one_name_are_one_class_with_a_note(tmp_path: Path, capsys, entrance: Row) -> None:
    shapes = [
        {"image_id": 1, "category_id": n, "segmentation": [[x, 20, x + 50, 20, x + 50, 70, x, 70]]}
        for n, x in ((1, 20), (2, 200))
    ]
    same = [{"id": 1, "name": "strip"}, {"id": 2, "name": "strip"}]
    assert run(coco(tmp_path / "export", annotations=shapes, categories=same), tmp_path / "to") == 0
    assert mask_of(tmp_path / "to", "a").sum() == 5000
    assert "note: a.jpg: the categories 1 and 2 are both named strip and count as one." in capsys.readouterr().out
    entrance("import", "COCO: two categories of one name", "one class, with a note", READ)


def test_a_coco_image_that_is_listed_twice_counts_once(tmp_path: Path, entrance: Row) -> None:
    image = {"id": 1, "file_name": "a.jpg", "width": 320, "height": 240}
    assert run(coco(tmp_path / "export", images=[image, image]), tmp_path / "to") == 0
    assert mask_of(tmp_path / "to", "a").sum() == 6000
    entrance("import", "COCO: the same image listed twice", "counts once", READ)


def test_a_yolo_class_may_be_written_with_a_point(tmp_path: Path, capsys, entrance: Row) -> None:
    photo(tmp_path / "export" / "images" / "a.jpg")
    write(tmp_path / "export" / "labels" / "a.txt", "0.0 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5\n")
    assert run(tmp_path / "export", tmp_path / "to") == 0
    assert "yolo of class 0: 1 labelled photo. Imported 1 into" in capsys.readouterr().out
    entrance("import", "YOLO's class 0.0", "counts as class 0", READ)


@pytest.mark.parametrize("folder", ["SegmentationClass", "SegmentationClassPNG", "SegmentationObject"])
def test_class_masks_of_labelme2voc_and_of_objects(folder: str, tmp_path: Path, entrance: Row) -> None:
    values = np.zeros((240, 320), dtype=np.uint8)
    values[50:90, 50:150] = 1
    values[150:190, 50:150] = 2
    photo(tmp_path / "export" / "JPEGImages" / "a.jpg")
    save_mask(tmp_path / "export" / folder / "a.png", values)
    write(tmp_path / "export" / "class_names.txt", "__ignore__\n_background_\nstrip\ndigits\n")
    more = () if folder == "SegmentationObject" else ("--class", "strip")
    assert run(tmp_path / "export", tmp_path / "to", *more) == 0
    marked = int(mask_of(tmp_path / "to", "a").sum())
    assert marked == (8000 if folder == "SegmentationObject" else 4000)
    entrance("import", f"{folder}/ of two values with class_names.txt", f"{marked} pixels marked", READ)
