"""A labelled photo that can't be imported is left out and listed with the reason; the others are imported."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from entrance_table import REFUSED, Row
from import_yard import LABEL, SAMPLES, coco, files, photo, run, text, write, xml
from PIL import Image

from wms.data.importing import raster
from wms.data.importing.raster import brush_bitmap
from wms.data.importing.records import LabelFault
from wms.errors import (
    ImportIncompleteError,
)

RECTANGLE = "0 0.5 0.5 0.2 0.1"


def labelme(folder: Path, **more: Any) -> Path:
    photo(folder / "a.jpg")
    shape = {"label": LABEL, "points": [[30, 40], [150, 40], [150, 90]], "shape_type": "polygon"}
    values = {"shapes": [shape | more], "imagePath": "a.jpg", "imageData": None, "imageWidth": 320, "imageHeight": 240}
    write(folder / "a.json", values)
    return folder


def brush(folder: Path, change: Callable[[list[int]], Any]) -> Path:
    tasks = json.loads((SAMPLES / "label-studio-brush" / "project.json").read_text())[:1]
    value = tasks[0]["annotations"][0]["result"][0]["value"]
    value["rle"] = change(value["rle"])
    write(folder / "tasks.json", tasks)
    photo(folder / "plain.jpg")
    return folder


def cvat(shape: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        photo(folder / "a.jpg")
        return xml(f'<annotations><image name="a.jpg" width="320" height="240">{shape}</image></annotations>')(folder)

    return make


def supervisely(data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        photo(folder / "ds" / "img" / "a.jpg")
        shape = {"classTitle": LABEL, "geometryType": "bitmap"}
        shape["bitmap"] = {"origin": [0, 0], "data": base64.b64encode(data).decode()}
        write(folder / "ds" / "ann" / "a.jpg.json", {"size": {"width": 320, "height": 240}, "objects": [shape]})
        return folder

    return make


def renamed(folder: Path, name: str) -> Path:
    coco(folder, name=name)
    (folder / "a.jpg").rename(folder / name)
    return folder


def not_a_photo(folder: Path) -> Path:
    (coco(folder) / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    return folder


def cut(folder: Path, kind: str) -> Path:
    """A photo of which only the first two thirds came along; its header is whole."""
    coco(folder, name=f"a.{kind}")
    with Image.open(folder / "a.jpg") as picture:
        picture.save(folder / f"a.{kind}")
    whole = (folder / f"a.{kind}").read_bytes()
    (folder / f"a.{kind}").write_bytes(whole[: len(whole) * 2 // 3])
    return folder


RLE = {"size": [240, 320], "counts": [100, 50]}
MASK = '<mask label="strip" rle="{}" left="{}" top="0" width="10" height="10"/>'
PHOTOS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no photo": (lambda f: (coco(f) / "a.jpg").unlink() or f, "isn't there; export the photos, too"),
    "a photo of another size": (
        lambda f: photo(coco(f) / "a.jpg").write_bytes(_other_size()) and f,
        "labelled at 320 x 240",
    ),
    "a corner outside": (
        lambda f: coco(f, [[30, 40, 900, 40, 150, 90]]),
        r"a corner at \(900, 40\), outside of its 320 x 240",
    ),
    "a corner that is NaN": (lambda f: coco(f, [[float("nan"), 40, 90, 40, 90, 90]]), "no number"),
    "a corner that is text": (lambda f: coco(f, [["x", 40, 90, 40, 90, 90]]), "label that can't be read"),
    "a polygon of two points": (lambda f: coco(f, [[30, 40, 90, 90]]), "an outline of 2 corners"),
    "an odd number of values": (lambda f: coco(f, [[30, 40, 90, 90, 7]]), "5 values, which aren't pairs"),
    "a polygon without area": (lambda f: coco(f, [[30, 40, 90, 40, 60, 40]]), "marks no pixel"),
    "COCO with boxes only": (
        lambda f: coco(f, annotations=[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": []}]),
        "only a box, and a box is no mask",
    ),
    "COCO's category_id that no category has": (
        lambda f: coco(f, categories=[{"id": 2, "name": LABEL}]),
        "a label of category_id 1, which isn't in the list of categories",
    ),
    "run lengths that are too short": (lambda f: coco(f, RLE), "run lengths for 150 pixels, but a mask of 320 x 240"),
    "a negative run length": (lambda f: coco(f, {**RLE, "counts": [-10, 76810]}), "a run length below 0, -10"),
    "run lengths that are no whole numbers": (lambda f: coco(f, {**RLE, "counts": [0.5, 76799.5]}), "aren't whole"),
    "run lengths that are text": (lambda f: coco(f, {**RLE, "counts": ["x"]}), "aren't whole numbers"),
    "a run length of 4,000 digits": (lambda f: coco(f, {**RLE, "counts": [10**4000]}), r"for 10{39}\.\.\. pixels"),
    "a corner at 1e300": (lambda f: coco(f, [[30, 40, 1e300, 40, 150, 90]]), r"a corner at \(1e\+300, 40\)"),
    "YOLO's class 0.5": (
        text("labels/a.txt", "0.5 0.1 0.1 0.5 0.1 0.5 0.5\n"),
        "has 0.5 in row 1, where the number",
    ),
    "YOLO's class -1": (text("labels/a.txt", "-1 0.1 0.1 0.5 0.1 0.5 0.5\n"), "has -1 in row 1, where the number of"),
    "a brush mask that is a number": (lambda f: brush(f, lambda _: 10**15), "a brush mask that isn't a list of bytes"),
    "run lengths of another size": (
        lambda f: coco(f, {**RLE, "size": [9, 9]}),
        "a mask of 9 x 9 pixels, but the image",
    ),
    "compressed run lengths, cut off": (lambda f: coco(f, {**RLE, "counts": "0a"}), "compressed mask that"),
    "YOLO boxes": (text("labels/a.txt", f"{RECTANGLE}\n"), "has a box in row 1, and a box is no mask"),
    "YOLO with text in a row": (
        text("labels/a.txt", "0 0.1 0.1 0.5 x 0.5 0.5\n"),
        "a value in row 1 that is no",
    ),
    "LabelMe's line": (lambda f: labelme(f, shape_type="line"), "a shape 'line', which marks no area"),
    "LabelMe's mask outside": (
        lambda f: labelme(f, shape_type="mask", points=[[310, 0], [400, 90]], mask=_png(90)),
        r"a mask of 90 x 90 pixels at \(310, 0\)",
    ),
    "LabelMe's mask that isn't base64": (lambda f: labelme(f, shape_type="mask", mask="%%%"), "isn't base64"),
    "LabelMe's mask that isn't a picture": (lambda f: labelme(f, shape_type="mask", mask="AAAA"), "can't be read"),
    "a cut brush mask": (lambda f: brush(f, lambda rle: rle[:-9]), "a brush mask that is cut off"),
    "a brush mask of another size": (lambda f: brush(f, lambda rle: [0, 0, 1, *rle[3:]]), "a brush mask of .* values"),
    "a brush mask of words": (lambda f: brush(f, lambda rle: [999, *rle]), "a brush mask that isn't a list of bytes"),
    "CVAT's mask, too short": (cvat(MASK.format("1, 2", 0)), "run lengths for 3 pixels"),
    "CVAT's mask outside": (cvat(MASK.format("50, 50", 315)), r"a mask of 10 x 10 pixels at \(315, 0\)"),
    "CVAT's polyline": (cvat('<polyline label="strip" points="1,2;3,4"/>'), "which marks no area"),
    "CVAT's polygon without points": (cvat('<polygon label="strip"/>'), "without the value 'points'"),
    "Supervisely's bitmap, a zlib bomb": (supervisely(zlib.compress(bytes(60_000_000), 9)), "cut off or too large"),
    "Supervisely's bitmap, damaged": (supervisely(b"\0\1xxxx"), "a bitmap that can't be unpacked"),
    "a name that Windows refuses": (lambda f: renamed(f, "aux.jpg"), "its name is reserved on Windows; rename"),
    **{
        f"a {kind} photo that is cut off": (partial(cut, kind=kind), rf"^a\.{kind} is .*damaged")
        for kind in ("jpg", "png", "webp", "bmp")
    },
    "HEIC, named .jpg": (not_a_photo, "a.jpg"),
}


def _other_size() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (300, 200)).save(stream, "JPEG")
    return stream.getvalue()


def _png(side: int) -> str:
    stream = io.BytesIO()
    Image.new("L", (side, side), 1).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


@pytest.mark.parametrize("what", PHOTOS)
def test_a_photo_that_is_left_out_is_listed(what: str, tmp_path: Path, capsys, entrance: Row) -> None:
    make, said = PHOTOS[what]
    (tmp_path / "export").mkdir()
    with pytest.raises(ImportIncompleteError):
        run(make(tmp_path / "export"), tmp_path / "to", "--report", tmp_path / "report.json")
    assert files(tmp_path / "to") == []
    (listed,) = json.loads((tmp_path / "report.json").read_text())["not_imported"]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not imported: ")]
    assert listed["reason"] in line
    assert re.search(said, listed["reason"]), listed["reason"]
    assert listed["reason"].endswith(".")
    entrance("import", what, f"{listed['reason']} (code 56)", REFUSED)


def test_a_brush_mask_that_announces_much_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(LabelFault, match="a brush mask of 4294967295 values"):
        brush_bitmap([255, 255, 255, 255, 0, 0, 0, 0], 320, 240)
    with pytest.raises(LabelFault, match="cut off"):
        brush_bitmap([], 320, 240)


def test_two_annotations_of_a_task_need_a_ground_truth(tmp_path: Path, capsys, entrance: Row) -> None:
    tasks = json.loads((SAMPLES / "label-studio-brush" / "project.json").read_text())[:1]
    first = tasks[0]["annotations"][0]
    tasks[0]["annotations"] = [first, {**first, "id": 99}]
    photo(write(tmp_path / "export" / "tasks.json", tasks).with_name("plain.jpg"))
    with pytest.raises(ImportIncompleteError):
        run(tmp_path / "export", tmp_path / "to")
    assert "has 2 annotations; set one as ground truth" in capsys.readouterr().out
    tasks[0]["annotations"][1]["ground_truth"] = True
    write(tmp_path / "export" / "tasks.json", tasks)
    assert run(tmp_path / "export", tmp_path / "to") == 0
    entrance("import", "two people's annotations of a photo", "listed until one is the ground truth", REFUSED)


def test_links_in_a_folder_are_named_and_not_followed(tmp_path: Path, capsys, entrance: Row) -> None:
    outside = photo(tmp_path / "secret" / "a.jpg")
    (coco(tmp_path / "export") / "a.jpg").unlink()
    (tmp_path / "export" / "a.jpg").symlink_to(outside)
    with pytest.raises(ImportIncompleteError):
        run(tmp_path / "export", tmp_path / "to")
    assert "links and special files aren't read: a.jpg" in capsys.readouterr().out
    entrance("import", "a photo that is a symbolic link", "named, not followed", REFUSED)


def test_a_polygon_is_drawn_in_time_for_its_size() -> None:
    """An outline of 100,000 corners from edge to edge would cross a billion rows."""
    corners = raster.ring([(n % 3, 0 if n % 2 else 9999) for n in range(100_000)])
    with pytest.raises(LabelFault, match="too many corners"):
        raster.paint_rings([corners], np.zeros((10_000, 10), dtype=np.bool_))
