"""One threshold for every path from probabilities to a mask; a third metric that the gate decides and reports by."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from serving_workshop import photo
from small import config_in

import wms.metrics
import wms.models
from wms.config import GateConfig
from wms.data.images import decode_image
from wms.inference import cli
from wms.inference.export import export_model
from wms.inference.predictor import Predictor
from wms.metrics import METRICS, Compared, Metric, is_strip, is_strip_logit, measure
from wms.models.unet import UNet
from wms.registry.gate import judge
from wms.registry.gate_types import GateEvidence, GateModel, GateReport, MetricPair, ScoredImage
from wms.registry.types import Means
from wms.serving.marking import mark
from wms.training.evaluation import EvaluationCase, predict_masks, scoring_mode
from wms_ops.gate.report import markdown, terminal
from wms_ops.gate.scoring import predicted_mask
from wms_ops.loop.steps_decide import _outputs
from wms_ops.report.pull_request import _models

SMALL = UNet(channels=(2, 3, 4, 5, 6))


@pytest.mark.parametrize(("threshold", "marked"), [(0.5, False), (0.4999, True), (0.5001, False)])
def test_a_pixel_at_the_threshold_is_no_strip_on_any_path(tmp_path: Path, threshold: float, marked: bool) -> None:
    """The network's logit is 0 everywhere, so every probability is 0.5 exactly."""
    network = SMALL.build()
    network.head.weight.data.zero_()
    network.head.bias.data.zero_()
    settings = {"model": SMALL, "input_size": 32, "mirror": False, "about": {}}
    export_model(network.state_dict(), tmp_path / "model", threshold=threshold, **settings)
    predictor = Predictor(tmp_path / "model", threads=1)
    content = photo("PNG", (48, 64))
    image = decode_image(content, "the photo")
    config = config_in(tmp_path, evaluation={"threshold": threshold, "grid": 64})
    case = EvaluationCase(torch.zeros(3, 32, 32), torch.ones(1, 64, 64, dtype=torch.bool), None)
    with scoring_mode(network):
        trained, logits = predict_masks(network, [case], config, device=torch.device("cpu"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(content)
    places = ["--input", tmp_path / "photos", "--output", tmp_path / "masks", "--model", tmp_path / "model"]
    assert cli.COMMAND([str(word) for word in places]) == 0
    paths = {
        "evaluation in training": trained.numpy(),
        "the steps of training": is_strip_logit(logits, threshold).numpy(),
        "predictor": predictor.predict(image),
        "a threshold that was asked for": predictor.predict(image, threshold),
        "predicts.py": decode_image((tmp_path / "masks" / "a.png").read_bytes(), "the mask") > 127,
        "gate": predicted_mask(predictor, image, 64),
        "service": np.array(mark(predictor, content, max_megapixels=1).share == 1.0),
    }
    assert {name: (bool(mask.all()), bool(mask.any())) for name, mask in paths.items()} == dict.fromkeys(
        paths, (marked, marked)
    )


def test_a_threshold_that_float32_lacks_is_compared_in_float32() -> None:
    for threshold in (0.3, 0.1, 0.62):
        exact = np.float32(threshold)
        values = np.array([[np.nextafter(exact, np.float32(0)), exact, np.nextafter(exact, np.float32(1))]])
        assert is_strip(values, threshold).tolist() == [[False, False, True]]
        assert is_strip(torch.from_numpy(values), threshold).tolist() == [[False, False, True]]


def wrong_share(masks: Compared) -> float:
    """Pixels that one mask marks and the other doesn't, of all: the lower the better."""
    return (masks.predicted ^ masks.truth).sum((-2, -1)) / masks.truth.shape[-1] / masks.truth.shape[-2]


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Metric:
    """A third metric, registered where the first two are."""
    metric = Metric("wrong", "Wrong", wrong_share, higher_is_better=False, must_improve=request.param)
    monkeypatch.setitem(METRICS, metric.name, metric)
    return metric


def judged(worse: str = "") -> GateReport:
    """Twelve images on which the challenger is better by every metric but the one that is named."""
    truth = np.zeros((20, 20), dtype=bool)
    truth[5:10, 4:16] = True

    def score(columns: int, more: float) -> MetricPair:
        found = truth.copy()
        found[:, 4:columns] = False
        values = {name: float(value) for name, value in measure(found, truth).items()}
        return MetricPair({**values, **({worse: values[worse] + more} if worse else {})}, float(found.mean()))

    images = tuple(
        ScoredImage(f"m{n}", f"{n:064x}", 20, 20, 0.15, score(6 + n % 2, 0.5), score(8 + n % 3, 0.0)) for n in range(12)
    )
    new, old = (GateModel(name, f"run_{name}", version, name, "p", 48) for name, version in (("new", None), ("old", 3)))
    return judge(GateEvidence(new, old, images, "f" * 64, 64), GateConfig(), decided_at="2026-11-27T12:00:00+00:00")


@pytest.mark.parametrize("third", [True, False], indirect=True)
def test_the_gate_carries_a_third_metric(third: Metric) -> None:
    better, worse = judged(), judged("wrong")
    assert better.verdict.decision == "improved"
    assert worse.verdict.decision == ("not improved" if third.must_improve else "improved")
    change = better.further["wrong"]
    assert change.difference < 0 and change.low is not None and change.high is not None
    assert change.low <= change.difference <= change.high < 0
    assert change.probability == 1.0, "a fall is what makes the challenger better"
    means = better.verdict.challenger
    assert means.named()["wrong"] == change.challenger
    if third.must_improve:
        assert "and mean Wrong fell by" in better.verdict.reasons[0]
        assert worse.verdict.reasons[0].startswith("Mean Wrong didn't fall: ")
    else:
        assert "Wrong" not in better.verdict.reasons[0]
    assert f"Wrong {change.champion:.4f} -> {change.challenger:.4f} on 12 test images" in better.summary
    assert f"| Wrong | {change.champion:.4f} | {change.challenger:.4f} |" in markdown(better)
    assert f"Wrong: {change.difference:+.4f}, 95 % interval" in terminal(better)
    assert GateReport.model_validate_json(better.model_dump_json()) == better
    outputs = _outputs(better)
    assert float(outputs["challenger_wrong"]) == pytest.approx(change.challenger, abs=1e-6)
    assert "| mean over the same test photos | Dice | IoU | Wrong |" in list(_models(outputs))


@pytest.mark.parametrize("third", [True], indirect=True)
def test_without_a_champion_a_falling_metric_asks_for_nothing(third: Metric) -> None:
    report = judged()
    images = tuple(
        ScoredImage(i.stem, i.image_sha256, 20, 20, 0.15, MetricPair(i.challenger.named(), 0.1)) for i in report.images
    )
    side = GateModel("new", "run_new", None, "new", "p", 48)
    first = judge(GateEvidence(side, None, images, "f" * 64, 64), GateConfig(), decided_at="2026-11-27T12:00:00+00:00")
    assert (first.verdict.decision, first.verdict.champion.named()) == ("improved", {"dice": 0, "iou": 0, "wrong": 0})


@pytest.mark.parametrize("third", [True], indirect=True)
def test_two_metrics_are_decided_as_without_the_third(third: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    with_third = judged()
    monkeypatch.delitem(METRICS, third.name)
    alone = judged()
    assert (with_third.dice, with_third.iou, with_third.slices) == (alone.dice, alone.iou, alone.slices)
    assert alone.further == {} and alone.verdict.challenger.model_dump().keys() == {"dice", "iou"}


def test_a_record_keeps_a_metric_that_this_code_does_not_know() -> None:
    kept = Means.model_validate({"dice": 0.9, "iou": 0.8, "boundary": 1.7})
    assert Means.model_validate_json(kept.model_dump_json()) == kept
    assert kept.named() == {"dice": 0.9, "iou": 0.8, "boundary": 1.7}
    assert "boundary" not in Means.model_validate({**kept.model_dump(), "boundary": {"mean": 1.7}}).named()
    with pytest.raises(ValueError, match="Input should be"):
        Means.model_validate({**kept.model_dump(), "dice": 1.2})


@pytest.mark.parametrize("module", [wms.metrics, wms.models])
def test_the_examples_are_true(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted and not found.failed
