"""The benchmark of training at a small scale, and the picture of predictions."""

import json

import pytest
from PIL import Image
from small import config_in, photos

from wms import bench
from wms.errors import DataNotFoundError, UsageError
from wms.inference.contact_sheet import contact_sheet


def test_a_contact_sheet_holds_every_picture(tmp_path):
    pictures = []
    for number, size in enumerate([(400, 100), (50, 300), (320, 320), (10, 10)]):
        pictures.append(tmp_path / f"{number}.png")
        Image.new("RGB", size, (0, 60 * number, 0)).save(pictures[-1])
    with Image.open(contact_sheet(pictures, tmp_path / "made" / "sheet.png")) as sheet:
        assert sheet.size == (960, 640)
        assert {(0, 60 * number, 0) for number in range(4)} <= {colour for _, colour in sheet.getcolors()}


def test_bench_needs_photos_and_known_recipes(monkeypatch, tmp_path):
    monkeypatch.delenv("WMS_REAL_DATA", raising=False)
    with pytest.raises(DataNotFoundError, match="WMS_REAL_DATA"):
        bench.main([])
    (tmp_path / "base" / "images").mkdir(parents=True)
    monkeypatch.setenv("WMS_REAL_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="no recipe 'trian'"):
        bench.main(["--recipes", "trian"])


def test_clock_measures_at_its_marks_and_ends_the_run(tmp_path):
    """On synthetic photos: the clock's own scoring doesn't count, and the result holds what was measured."""
    from wms.training.request import Request
    from wms.training.train import run_training

    photos(tmp_path, 12)
    config = config_in(tmp_path, training={"stages": [{"size": 32, "epochs": 5000}], "evaluate_every": 5000})
    clock = bench.Clock(config, tmp_path, limit=1.5, early=[0.1, 0.2, 0.9])
    result = run_training(config, Request(runs=tmp_path / "runs", device="cpu", quiet=True, watch=clock))
    assert result is not None
    clock.write(result, tmp_path / "result.json")
    report = json.loads((tmp_path / "result.json").read_text())
    assert [round(mark["minutes"] * 60, 1) for mark in report["marks"]] == [0.5, 1.0, 1.5]
    assert report["minutes"] * 60 >= 1.5
    seconds = [one["seconds"] for one in report["validation"]]
    assert seconds[0] >= 0.1
    assert seconds == sorted(seconds)
    assert not clock.early
    assert report["test_images"] >= 2
    assert set(report["images_per_s"]) <= {"32"}
    assert report["unseen"] == {"images": 0}
    bench._print({"train": report})
    assert bench._plot({"train": report}, tmp_path / "plot.png").stat().st_size > 1000
