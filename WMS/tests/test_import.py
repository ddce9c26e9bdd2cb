"""What an import does with classes, holes, turned photos, names, folders that hold photos already, and kills."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from entrance_table import READ, REFUSED, WORKS, Row
from hard_photos import HEIC, TURNED_HEIC, heic_decoder
from import_yard import BOX, SAMPLES, coco, files, iou, mask_of, photo, run, save_mask, write
from PIL import Image
from small import environment

from wms.data.heic import read_own_photo
from wms.data.images import read_image
from wms.data.importing import raster
from wms.data.importing.records import LabelFault
from wms.data.kinds import kind_of
from wms.errors import ExportClassError, ImportIncompleteError, NameTakenError

__all__ = ["heic_decoder"]

LARGE = [20, 20, 200, 20, 200, 120, 20, 120]
INSIDE = [60, 40, 100, 40, 100, 80, 60, 80]


def two_classes(folder: Path) -> Path:
    labels = [(1, BOX), (2, LARGE), (2, INSIDE)]
    annotations = [
        {"id": n, "image_id": 1, "category_id": label, "segmentation": [points]}
        for n, (label, points) in enumerate(labels)
    ]
    return coco(folder, annotations=annotations, categories=[{"id": 1, "name": "strip"}, {"id": 2, "name": "digits"}])


def test_several_classes_are_refused_until_one_is_named(tmp_path: Path, entrance: Row) -> None:
    source, to = two_classes(tmp_path / "export"), tmp_path / "to"
    with pytest.raises(ExportClassError) as caught:
        run(source, to)
    assert str(caught.value).endswith(
        "has 2 classes: strip (on 1 photo), digits (on 1 photo); choose one, as in `--class strip`."
    )
    with pytest.raises(ExportClassError, match=r"no class 'stripe' \(did you mean strip\?\)"):
        run(source, to, "--class", "stripe")
    assert files(to) == []
    assert run(source, to, "--class", "strip") == 0
    assert mask_of(to, "a").sum() == 120 * 50
    assert run(source, tmp_path / "other", "--label", "digits") == 0
    assert mask_of(tmp_path / "other", "a").sum() == 180 * 100
    entrance("import", "two classes in an export", str(caught.value), REFUSED)
    entrance("import", "two classes and `--class strip`", "the mask of that class only", READ)


def test_objects_of_one_class_are_one_mask_and_coco_has_no_holes(tmp_path: Path, capsys, entrance: Row) -> None:
    far = [220, 150, 300, 150, 300, 200, 220, 200]
    assert run(coco(tmp_path / "export", [LARGE, INSIDE, far]), tmp_path / "to") == 0
    assert mask_of(tmp_path / "to", "a").sum() == 180 * 100 + 80 * 50
    assert "is filled, as COCO's own tools do" in capsys.readouterr().out
    entrance("import", "COCO: an outline inside of another, a second object", "one mask, filled, with a note", READ)


def test_a_polygon_is_its_area_and_an_inner_outline_is_a_hole() -> None:
    canvas = np.zeros((240, 320), dtype=np.bool_)
    raster.paint_rings([raster.flat_ring(LARGE), raster.flat_ring(INSIDE)], canvas)
    assert canvas.sum() == 180 * 100 - 40 * 40
    assert canvas[20, 20] and not canvas[19, 20] and not canvas[120, 20] and not canvas[60, 80]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("frame", ["upright", "stored"])
def test_a_turned_photo_gets_an_upright_mask(
    orientation: int, frame: str, tmp_path: Path, capsys, entrance: Row
) -> None:
    """The label's own size tells whether it was drawn on the upright photo, or on the pixels as stored."""
    upright = np.zeros((240, 320), dtype=np.uint8)
    upright[30:60, 40:140] = upright[100:110, 40:50] = 255
    view = Image.fromarray(upright)
    back = {
        **{2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM},
        **{5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE},
        8: Image.Transpose.ROTATE_270,
    }
    stored = view.transpose(back[orientation]) if orientation > 1 else view
    exif = Image.Exif()
    exif[0x0112] = orientation
    folder = tmp_path / "export"
    (folder / "JPEGImages").mkdir(parents=True)
    stored.convert("RGB").save(folder / "JPEGImages" / "a.jpg", exif=exif)
    drawn = view if frame == "upright" else stored
    save_mask(folder / "SegmentationClass" / "a.png", (np.asarray(drawn) > 0).astype(np.uint8))
    assert run(folder, tmp_path / "to") == 0
    said, score = capsys.readouterr().out, iou(mask_of(tmp_path / "to", "a"), upright > 0)
    is_told = f"orientation is {orientation}; the label was taken as drawn on the upright photo" in said
    if orientation in (2, 3, 4):
        assert is_told and (score == 1) == (frame == "upright")
    else:
        assert score == 1 and not is_told
    entrance(
        "import",
        f"EXIF orientation {orientation}, labelled on the {frame} pixels",
        "taken as upright, and said so" if is_told else "the mask lies right on the upright photo",
        WORKS if is_told else READ,
    )


def test_values_and_colours_of_class_masks(tmp_path: Path, entrance: Row) -> None:
    values = np.zeros((240, 320), dtype=np.uint8)
    values[50:90, 50:150] = 1
    values[48:50, 48:152] = 255
    pictures = {"grey 0, 1 and 255 as edge": Image.fromarray(values), "palette of Pascal VOC": Image.fromarray(values)}
    pictures["16 bits"] = Image.fromarray(values.astype(np.uint16))
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[1], palette[255] = (128, 0, 0), (224, 224, 192)
    pictures["palette of Pascal VOC"].putpalette(palette.tobytes())
    for number, (name, picture) in enumerate(pictures.items()):
        folder, to = tmp_path / f"{number}", tmp_path / f"to{number}"
        photo(folder / "JPEGImages" / "a.jpg")
        (folder / "SegmentationClass").mkdir()
        picture.save(folder / "SegmentationClass" / "a.png")
        assert run(folder, to, "--report", tmp_path / "report.json") == 0
        assert mask_of(to, "a").sum() == 4000
        assert json.loads((tmp_path / "report.json").read_text())["imported"][0]["warnings"] == [
            "208 pixels of the edge around objects (value 255) count as unmarked"
        ]
        entrance("import", f"class mask: {name}", "class 1 is the strip, the edge isn't", READ)


def test_a_second_import_changes_nothing_and_another_content_is_refused(tmp_path: Path, capsys, entrance: Row) -> None:
    source, to = coco(tmp_path / "export"), tmp_path / "to"
    run(source, to)
    before = {name: (to / name).stat().st_mtime_ns for name in files(to)}
    assert run(source, to) == 0
    assert "Imported 0 into" in capsys.readouterr().out
    assert {name: (to / name).stat().st_mtime_ns for name in files(to)} == before
    entrance("import", "the same export again", "nothing is written, exit code 0", WORKS)
    coco(source, [LARGE])
    with pytest.raises(NameTakenError, match=r"masks/a.png is there already, with another content") as caught:
        run(source, to)
    assert {name: (to / name).stat().st_mtime_ns for name in files(to)} == before
    entrance("import", "the same name with another mask", str(caught.value).replace(str(to), "TO"), REFUSED)
    (to / "masks" / "a.png").unlink()
    (to / "images" / "a.jpg").rename(to / "images" / "A.png")
    with pytest.raises(NameTakenError, match=r"images/A.png is there already"):
        run(source, to)


def test_a_mask_that_another_program_packed_is_the_same_mask(tmp_path: Path) -> None:
    source, to = coco(tmp_path / "export"), tmp_path / "to"
    run(source, to)
    Image.fromarray(mask_of(to, "a")).save(to / "masks" / "a.png")  # one bit a pixel
    packed = (to / "masks" / "a.png").read_bytes()
    assert run(source, to) == 0
    assert (to / "masks" / "a.png").read_bytes() == packed


def test_a_killed_import_leaves_whole_files_and_the_next_one_finishes(tmp_path: Path, entrance: Row) -> None:
    """Killed at each file: before it takes its name, so that only its temporary copy is there."""
    source, to = SAMPLES / "labelme", tmp_path / "to"
    run(source, tmp_path / "whole")
    whole = {name: (tmp_path / "whole" / name).read_bytes() for name in files(tmp_path / "whole")}
    code = (
        "import os, sys\nfrom wms.data.importing.cli import COMMAND\nleft, real = [int(sys.argv[1])], os.replace\n"
        "def replace(*names):\n    left[0] -= 1\n    os.kill(os.getpid(), 9) if left[0] < 0 else real(*names)\n"
        "os.replace = replace\nCOMMAND(sys.argv[2:])"
    )
    for kept in range(len(whole)):
        command = [sys.executable, "-c", code, str(kept), str(source), "--to", str(to / str(kept))]
        done = subprocess.run(command, env=environment(), capture_output=True, check=False, timeout=120)
        assert done.returncode == -9
        found = [name for name in files(to / str(kept)) if not name.endswith(".tmp")]
        assert len(found) == kept and all((to / str(kept) / name).read_bytes() == whole[name] for name in found)
        assert run(source, to / str(kept)) == 0
        assert {n: (to / str(kept) / n).read_bytes() for n in files(to / str(kept)) if not n.endswith(".tmp")} == whole
    entrance("import", "killed before each of 6 files", "whole files; the next import writes the rest", WORKS)


def test_a_dry_run_writes_nothing_but_the_report(tmp_path: Path, capsys, entrance: Row) -> None:
    page = tmp_path / "report.html"
    assert run(SAMPLES / "supervisely", tmp_path / "to", "--dry-run", "--report", page) == 0
    assert "Would import 3 into" in capsys.readouterr().out and files(tmp_path) == ["report.html"]
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 3 and "bare.jpg" in text
    assert 'src="http' not in text
    entrance("import", "`--dry-run --report page.html`", "nothing written but the page with 3 pictures", WORKS)


def test_photos_from_another_folder(tmp_path: Path, entrance: Row) -> None:
    """Label Studio's JSON comes without photos, and names uploads with a prefix that the user's files lack."""
    source = tmp_path / "project.json"
    write(tmp_path / "export" / "tasks.json", (SAMPLES / "label-studio-brush" / "project.json").read_text())
    assert not source.exists()
    assert run(tmp_path / "export", tmp_path / "to", "--images", SAMPLES / "photos") == 0
    assert [name for name in files(tmp_path / "to") if "images" in name] == [
        f"images/{name}.jpg" for name in ("hole", "plain", "turned")
    ]
    entrance("import", "labels only, with `--images DIR`", "photos found there, also behind an upload's prefix", READ)


def test_one_bad_photo_never_stops_the_others(tmp_path: Path, capsys, entrance: Row) -> None:
    source, to = coco(tmp_path / "export"), tmp_path / "to"
    values = json.loads((source / "labels.json").read_text())
    values["images"] += [{"id": 2, "file_name": "gone.jpg", "width": 320, "height": 240}]
    values["annotations"] += [{**values["annotations"][0], "id": 2, "image_id": n} for n in (2, 77)]
    write(source / "labels.json", values)
    with pytest.raises(ImportIncompleteError, match=r"2 labelled photos of .* weren't imported") as caught:
        run(source, to)
    assert caught.value.exit_code == 56 and files(to) == ["images/a.jpg", "masks/a.png"]
    said = " ".join(capsys.readouterr().out.split())
    assert "gone.jpg isn't there" in said and "image_id 77 is labelled, but isn't in the list of images" in said
    entrance("import", "a missing photo among good ones", "the others are imported, a list, exit code 56", WORKS)


def test_names_in_other_alphabets_a_mark_and_crlf(tmp_path: Path, entrance: Row) -> None:
    folder = tmp_path / "export"
    photo(folder / "images" / "Zähler 7 水.jpg")
    text = "0 0.1 0.1 0.5 0.1 0.5 0.3 0.1 0.3\r\n\r\n"
    (folder / "labels").mkdir()
    (folder / "labels" / "Zähler 7 水.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (folder / "data.yaml").write_bytes(b"\xef\xbb\xbfnames: [strip]\r\nnc: 1\r\n")
    assert run(folder, tmp_path / "to") == 0
    assert mask_of(tmp_path / "to", "Zähler 7 水").sum() == 128 * 48
    # Written on a Mac, a name is decomposed; it is imported composed, as the data check wants it.
    other = coco(tmp_path / "other", name="Zähler.jpg")
    (other / "a.jpg").rename(other / "Zähler.jpg")
    assert run(other, tmp_path / "to2") == 0
    assert files(tmp_path / "to2") == ["images/Zähler.jpg", "masks/Zähler.png"]
    entrance("import", "Unicode names, also decomposed; byte order mark and CR LF", "read, names composed", READ)


def test_the_same_photo_twice_counts_once_and_two_photos_of_a_name_are_refused(tmp_path: Path, entrance: Row) -> None:
    folder = tmp_path / "export"
    for part in ("train", "valid"):
        coco(folder / part)
    assert run(folder, tmp_path / "to") == 0
    photo(folder / "valid" / "a.jpg", "hole")
    with pytest.raises(NameTakenError, match=r"train/a.jpg and valid/a.jpg would be a.png both") as caught:
        run(folder, tmp_path / "other")
    assert files(tmp_path / "other") == []
    entrance("import", "train/a.jpg and valid/a.jpg, equal", "one pair", READ)
    entrance("import", "train/a.jpg and valid/a.jpg, different", str(caught.value), REFUSED)


def test_a_zip_with_a_folder_around_everything(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for name in files(SAMPLES / "supervisely"):
            archive.write(SAMPLES / "supervisely" / name, f"project\\{name}".replace("/", "\\"))
        archive.writestr("__MACOSX/._meta.json", b"\0\0")
    assert run(tmp_path / "export.zip", tmp_path / "to") == 0
    assert len(files(tmp_path / "to")) == 6


@pytest.mark.parametrize("text", ["0", "a~", "PPPPPPPPP", "é", "1P"])
def test_compressed_run_lengths_that_are_none(text: str) -> None:
    with pytest.raises(LabelFault):
        raster.paint_runs(raster.coco_counts(text), True, 4, 4)


@pytest.mark.usefixtures("heic_decoder")
@pytest.mark.parametrize(("name", "content", "size"), [("a.heic", HEIC, (64, 48)), ("b.jpg", TURNED_HEIC, (48, 64))])
def test_a_heic_photo_becomes_an_upright_jpeg(
    tmp_path: Path, entrance: Row, name: str, content: bytes, size: tuple[int, int]
) -> None:
    width, height = size
    outline = [8, 8, 40, 8, 40, 24, 8, 24]
    images = [{"id": 1, "file_name": name, "width": width, "height": height}]
    export = coco(tmp_path / "export", [outline], images=images)
    (export / "a.jpg").unlink()
    (export / name).write_bytes(content)
    for _ in range(2):
        assert run(export, tmp_path / "inbox") == 0
    photo = tmp_path / "inbox" / "images" / f"{name[0]}.jpg"
    assert kind_of(photo.read_bytes()) == "JPEG"
    far = np.abs(read_image(photo).astype(int) - read_own_photo(export / name).astype(int))
    assert far.max() <= 40
    assert mask_of(tmp_path / "inbox", name[0])[10:20, 10:38].all()
    assert files(tmp_path / "inbox") == [f"images/{name[0]}.jpg", f"masks/{name[0]}.png"]
    entrance("import", f"a HEIC photo named {name}, with the group heic", "an upright JPEG and its mask", READ)
