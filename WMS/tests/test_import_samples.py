"""Exports that the tools themselves wrote become the right masks: see samples/import/README.md."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from entrance_table import READ, Row
from import_yard import SAMPLES, files, iou, mask_of, run
from PIL import Image

from wms.data.qa.validate import check
from wms.files import sha256_file

# The exact ones hold bitmaps; polygons may differ from the drawn truth along the edge.
TOOLS = {
    "datumaro-coco": "COCO polygons and run lengths, by Datumaro",
    "datumaro-coco-masks": "COCO run lengths as numbers, by Datumaro",
    "datumaro-cvat": "CVAT for images 1.1 with polygons and a mask, by Datumaro",
    "datumaro-voc": "class masks with labelmap.txt (Pascal VOC, CVAT), by Datumaro",
    "label-studio-brush": "Label Studio JSON with brush masks, packed by its SDK",
    "label-studio-png": "Label Studio brush PNGs beside the tasks' JSON, by its converter",
    "label-studio-polygons": "Label Studio JSON with polygons, by the description",
    "label-studio-yolo": "YOLO polygons, by Label Studio's converter",
    "labelme": "LabelMe JSON with polygons, a mask and a photo inside, by LabelMe",
    "pycocotools": "COCO with compressed run lengths, by pycocotools",
    "roboflow-coco": "Roboflow's COCO, by the description",
    "roboflow-masks": "Roboflow's semantic masks, by the description",
    "supervisely": "Supervisely project with polygons, an interior and a bitmap, by its SDK",
}
EXACT = (
    "datumaro-coco-masks",
    "datumaro-voc",
    "label-studio-brush",
    "label-studio-png",
    "pycocotools",
    "roboflow-masks",
)


def names_in(to: Path) -> dict[str, str]:
    """The truth's name -> the imported name."""
    stems = [Path(name).stem for name in files(to / "masks")]
    return {next(one for one in ("plain", "turned", "hole", "bare") if one in stem): stem for stem in stems}


@pytest.mark.parametrize("tool", sorted(path.name for path in SAMPLES.iterdir() if path.is_dir()))
def test_every_sample_is_tested(tool: str) -> None:
    assert tool in TOOLS or tool in ("photos", "truth")


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("tool", TOOLS)
def test_an_export_becomes_the_true_masks(tool: str, packed: bool, tmp_path: Path, entrance: Row) -> None:
    source, to = SAMPLES / tool, tmp_path / "to"
    if packed:
        source = Path(shutil.make_archive(str(tmp_path / "export"), "zip", source))
    assert run(source, to, "--report", tmp_path / "report.json") == 0
    names = names_in(to)
    assert sorted(names) == ["hole", "plain", "turned"]
    scores = {}
    for truth, name in names.items():
        with Image.open(SAMPLES / "truth" / f"{truth}.png") as picture:
            wanted = np.asarray(picture) > 127
        scores[truth] = iou(mask_of(to, name), wanted)
        assert scores[truth] == 1 if tool in EXACT else scores[truth] >= 0.98, truth
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["unlabelled"]) == 1 and "bare" in report["unlabelled"][0]
    assert report["not_imported"] == [] and report["class"] == "strip"
    worst = min(scores.values())
    told = f"3 masks, IoU with the truth from {worst:.4f}; the turned photo upright, 1 unlabelled photo listed"
    entrance("import", TOOLS[tool] + (", as .zip" if packed else ""), told, READ)


@pytest.mark.parametrize("tool", TOOLS)
def test_photos_are_copied_unchanged_and_pass_the_data_check(tool: str, tmp_path: Path) -> None:
    run(SAMPLES / tool, tmp_path)
    photos = {sha256_file(path) for path in (SAMPLES / tool).rglob("*.jpg")}
    assert {sha256_file(path) for path in (tmp_path / "images").iterdir()} <= photos
    report = check(tmp_path, cache_folder=tmp_path / "cache", workers=1).report
    assert not {p["check"] for p in report["problems"]} & {"mask-not-binary", "size-mismatch", "no-mask", "no-image"}
    assert report["valid_pairs"] == 3
