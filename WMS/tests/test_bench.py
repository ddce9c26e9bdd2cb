"""The two commands that a newcomer and an engineer start, at a small scale."""

import json

import pytest
import yaml
from small import config_in, photos, recipe

from wms import bench, demo
from wms.errors import DataNotFoundError, UsageError


def test_demo_learns_and_draws_on_unseen_photos(tmp_path, capsys):
    values = recipe()
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(values))
    arguments = ["--folder", str(tmp_path / "demo"), "--photos", "12", "--config", str(tmp_path / "small.yaml")]
    assert demo.main(arguments) == 0
    assert (tmp_path / "demo" / "unseen.png").stat().st_size > 1000
    assert len(list((tmp_path / "demo" / "masks").glob("*_overlay.jpg"))) == demo.UNSEEN
    assert "Test Dice" in capsys.readouterr().out
    assert demo.main(arguments) == 0, "a second demo beside the first's files"
    assert len(list((tmp_path / "demo" / "runs").glob("run_*"))) == 2


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
    from wms.training.pipeline import run_training
    from wms.training.request import Request

    photos(tmp_path, 12)
    config = config_in(tmp_path, training={"stages": [{"size": 32, "epochs": 5000}]})
    clock = bench.Clock(config, tmp_path, limit=1.5)
    result = run_training(config, Request(runs=tmp_path / "runs", device="cpu", quiet=True, watch=clock))
    assert result is not None
    clock.write(result, tmp_path / "result.json")
    report = json.loads((tmp_path / "result.json").read_text())
    assert [round(mark["minutes"] * 60, 1) for mark in report["marks"]] == [0.5, 1.0, 1.5]
    assert report["minutes"] * 60 >= 1.5
    assert report["test_images"] >= 2
    assert set(report["images_per_s"]) <= {"32"}
    assert report["unseen"] == {"images": 0}
    bench._print({"train": report})
    assert bench._plot({"train": report}, tmp_path / "plot.png").stat().st_size > 1000
