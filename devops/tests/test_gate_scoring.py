"""The gate's arithmetic without torch against training's with torch; its pages against hostile names."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from wms.config import GateConfig
from wms.metrics import measure
from wms.registry.gate import judge
from wms.registry.gate_types import GateEvidence, GateModel, GateReport, MetricPair, ScoredImage
from wms_ops.gate.page import most_changed
from wms_ops.gate.report import markdown, terminal
from wms_ops.gate.scoring import enlarge


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_resizing_equals_torch(size: int, grid: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(0, 10, (size, size)).astype(np.float32)
    expected = functional.interpolate(
        torch.from_numpy(values)[None, None], size=(grid, grid), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    found = enlarge(values, grid)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-4  # of logits up to about 40


@given(st.integers(0, 99), st.sampled_from([0.0, 0.02, 0.5, 1.0]), st.sampled_from([0.0, 0.02, 0.5, 1.0]))
@settings(deadline=None, max_examples=40)
def test_dice_and_iou_equal_torch(seed: int, marked: float, covered: float) -> None:
    rng = np.random.default_rng(seed)
    predicted, truth = rng.random((32, 32)) < marked, rng.random((32, 32)) < covered
    by_torch = measure(torch.from_numpy(predicted)[None], torch.from_numpy(truth)[None])
    assert {name: float(value) for name, value in measure(predicted, truth).items()} == {
        name: float(value) for name, value in by_torch.items()
    }


def report(stems: list[str], before: list[float] | None, now: list[float]) -> GateReport:
    def score(dice: float) -> MetricPair:
        return MetricPair({"dice": dice, "iou": dice / (2 - dice)}, 0.1)

    images = tuple(
        ScoredImage(stem, f"{index:064x}", 100, 100, 0.1, score(now[index]), score(before[index]) if before else None)
        for index, stem in enumerate(stems)
    )
    models = [GateModel(name, f"run_{name}", version, name, "p", 48) for name, version in (("new", None), ("old", 3))]
    evidence = GateEvidence(models[0], models[1] if before else None, images, "f" * 64, 64)
    return judge(evidence, GateConfig(slices=("coverage",)), decided_at="2026-11-21T12:00:00+00:00")


def test_markdown_survives_any_file_name() -> None:
    names = ["a|b", "[x](http://evil)", "<img src=x>", "`code`", "@everyone", "new\nline"]
    text = markdown(report(names, [0.5] * 6, [0.4, 0.3, 0.6, 0.7, 0.2, 0.1]))
    for part in ("http://", "<img", "@everyone", "new\nline"):
        assert part not in text
    for line in text.splitlines():
        if line.startswith("| lost most"):
            assert line.count("|") == 5
    rows = [line for line in text.splitlines() if "a\\|b" in line and line.startswith("|")]
    assert rows
    assert rows[0].replace("\\|", "").count("|") == 5


def test_reports_name_what_changed() -> None:
    found = report(list("abcdefgh"), [0.5] * 8, [0.4, 0.5, 0.9, 0.6, 0.7, 0.6, 0.6, 0.6])
    text = markdown(found)
    assert "6 images got better, 1 got worse, 1 stayed equal." in text
    assert text.index("| a | 0.5000 | 0.4000 | -0.1000 |") < text.index("| c | 0.5000 | 0.9000 | +0.4000 |")
    assert "covered by the strip" in text
    assert most_changed(found)[0].stem == "a"
    assert "b" not in [image.stem for image in most_changed(found)]
    assert "95 % interval" in terminal(found)
    first = report(["a", "b"], None, [0.4, 0.5])
    assert "lowest scores" in markdown(first)
    assert "interval" not in terminal(first)
    assert [image.stem for image in most_changed(first)] == ["a", "b"]
