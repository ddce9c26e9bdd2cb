"""The gate's decision from evidence alone: the rule of record, its options, and every refusal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from gate_values import NOW, RULE, evidence, judged, score, side

from wms.config import GateConfig
from wms.errors import CannotDecideError
from wms.registry.gate import judge
from wms.registry.gate_types import GateEvidence, GateReport, MetricPair, ScoredImage
from wms.registry.types import GateVerdict, Means


def test_both_means_higher_is_improved() -> None:
    report = judged([0.9, 0.8, 0.7], [0.91, 0.79, 0.75])
    verdict = report.verdict
    assert verdict.decision == "improved"
    assert report.passes
    assert (verdict.champion.dice, verdict.challenger.dice) == pytest.approx((0.8, 2.45 / 3))
    assert (verdict.run_id, verdict.weights_sha256, verdict.champion_version) == ("new", "new" * 8, 7)
    assert (verdict.test_images, verdict.test_version, verdict.decided_at) == (3, "f" * 64, NOW)
    assert [row.stem for row in report.images] == ["meter_1", "meter_0", "meter_2"]
    assert "Dice 0.8000 -> 0.8167" in report.summary
    assert GateReport.model_validate_json(report.model_dump_json()) == report


def test_one_mean_alone_is_not_enough() -> None:
    # Dice rises while IoU falls: IoU rewards the single very good image more.
    before, now = [0.5, 1.0], [0.76, 0.76]
    assert sum(now) > sum(before)
    report = judged(before, now)
    assert report.dice.difference > 0 > report.iou.difference
    assert report.verdict.decision == "not improved"
    assert [reason[:8] for reason in report.verdict.reasons] == ["Mean IoU"]
    assert not report.passes


def test_equal_scores_are_not_improved() -> None:
    report = judged([0.9, 0.3], [0.9, 0.3])
    assert report.verdict.decision == "not improved"
    assert (report.dice.difference, report.dice.probability) == (0, 0.5)
    assert "didn't rise" in report.verdict.reasons[0]


def test_the_first_training_passes_and_says_so() -> None:
    report = judged(None, [0.4, 0.5])
    assert report.verdict.decision == "improved"
    assert report.verdict.champion == Means(dice=0, iou=0)
    assert report.verdict.champion_version is None
    assert report.verdict.probability is None
    assert "First training" in report.verdict.reasons[0]
    assert any("few" in warning for warning in report.verdict.warnings)
    strict = GateConfig(min_improvement=0.9, min_confidence=0.99, max_regression_per_image=0)
    assert judged(None, [0.4, 0.5], strict).passes
    assert not judged(None, [0.0, 0.0]).passes, "no overlap at all isn't better than nothing"


def test_the_floor_holds_beside_a_champion_and_in_a_first_training() -> None:
    floor = GateConfig(floor=0.625)
    for before in (None, [0.4, 0.4]):
        assert judged(before, [0.75, 0.5], floor).passes, "exactly the floor is reached"
        report = judged(before, [0.75, 0.49], floor)
        assert (report.verdict.decision, report.passes) == ("not improved", False)
        assert report.verdict.reasons == ("Mean Dice is 0.6200, under gate.floor, which asks for 0.625 or more.",)
        assert judged(before, [0.75, 0.49]).passes, "the floor is off by default"
        off = judged(before, [0.75, 0.49], GateConfig(floor=0.625, mode="off"))
        assert (off.verdict.decision, off.passes) == ("not improved", True)
    first = judged(None, [0.75, 0.5], floor)
    assert "so any model of at least 0.625 Dice passes" in first.summary
    assert "reaches gate.floor, 0.625" in first.verdict.reasons[0]
    assert "any model" not in judged(None, [0.1, 0.1], floor).summary
    assert [reason.split()[1] for reason in judged([0.5, 0.5], [0.4, 0.4], floor).verdict.reasons] == [
        *("Dice", "Dice", "IoU")
    ], "the floor first, for a headline quotes the first reason"


def test_min_improvement_is_strict() -> None:
    before, now = [0.5] * 4, [0.625] * 4
    assert judged(before, now, GateConfig(min_improvement=0.12)).passes
    report = judged(before, now, GateConfig(min_improvement=0.125))
    assert not report.passes
    assert "by more than 0.125" in report.verdict.reasons[0]


def test_min_confidence_asks_for_more_than_luck() -> None:
    before = [0.9 + 0.002 * (index % 5) for index in range(20)]
    lucky = [value + (0.05 if index == 0 else -0.001) for index, value in enumerate(before)]
    better = [value + 0.01 + 0.001 * (index % 3) for index, value in enumerate(before)]
    assert judged(before, lucky).passes, "by the rule of record"
    report = judged(before, lucky, GateConfig(min_confidence=0.95))
    assert not report.passes
    assert "gate.min_confidence asks for 95.0 %" in report.verdict.reasons[0]
    assert judged(before, better, GateConfig(min_confidence=0.95)).passes
    high = judged(before, lucky, GateConfig(min_confidence=0.9999)).verdict.reasons[0]
    assert "gate.min_confidence asks for 99.99 %" in high and "100.0 %" not in high


def test_max_regression_per_image_names_the_image() -> None:
    before, now = [0.9, 0.5, 0.5], [0.6, 0.9, 0.9]
    assert judged(before, now, GateConfig(max_regression_per_image=0.31)).passes
    report = judged(before, now, GateConfig(max_regression_per_image=0.2))
    assert report.verdict.reasons == ("meter_0 lost 0.3000 Dice; gate.max_regression_per_image allows 0.2.",)


def test_slices_are_thirds_that_hold_every_image() -> None:
    before = [0.9] * 12
    now = [0.5] * 3 + [0.45] + [0.99] * 8
    report = judged(before, now, GateConfig(slices=("resolution", "coverage")))
    assert [(part.by, part.images) for part in report.slices] == [("resolution", 4)] * 3 + [("coverage", 4)] * 3
    lowest = report.slices[0]
    assert (lowest.lowest, lowest.highest) == pytest.approx((1.0, 1.003))
    assert lowest.dice.difference == pytest.approx((0.5 * 3 + 0.45) / 4 - 0.9)
    assert any("Among the 4 test images with 1.00 to 1.00 megapixels" in text for text in report.verdict.warnings)
    assert judged(before[:5], now[:5], GateConfig(slices=("coverage",))).slices == ()


def test_dry_run_reports_and_lets_pass() -> None:
    report = judged([0.9], [0.8], GateConfig(mode="dry-run"))
    assert report.verdict.decision == "not improved"
    assert report.passes
    assert "dry run: it would fail" in report.summary
    assert "it would pass" in judged([0.8], [0.9], GateConfig(mode="dry-run")).summary
    with pytest.raises(CannotDecideError):
        judged([0.9], [0.95], GateConfig(mode="dry-run"), doubts=("something is odd.",))


def test_off_lets_pass_loudly_and_honestly() -> None:
    off = GateConfig(mode="off")
    report = judged([0.9], [0.8], off)
    assert report.passes
    assert report.verdict.decision == "not improved"
    assert report.verdict.warnings[0].startswith("THE GATE IS OFF")
    doubtful = judged([0.9], [0.8], off, doubts=("the split changed.",))
    assert "With the gate on this would be refused: the split changed." in doubtful.verdict.warnings
    # Without the champion's scores the baseline isn't 0 in secret.
    lost = replace(evidence(None, [0.8]), champion=side("old", 7), doubts=("its weights are gone.",))
    alone = judge(lost, off, decided_at=NOW)
    assert alone.passes
    assert alone.verdict.decision == "not improved"
    assert alone.verdict.champion_version == 7
    assert "couldn't be scored" in alone.verdict.reasons[0]
    with pytest.raises(CannotDecideError, match="marks nothing"):
        judge(evidence([0.5], [0.0], images=(blank("challenger"),)), off, decided_at=NOW)


def blank(who: str) -> ScoredImage:
    (image,) = evidence([0.5], [0.5]).images
    return replace(image, **{who: score(0.0, marked=0.0)})


def broken(who: str) -> ScoredImage:
    (image,) = evidence([0.5], [0.5]).images
    return replace(image, **{who: MetricPair({"dice": math.nan, "iou": math.nan}, 0.1)})


def without_strip(images: tuple[ScoredImage, ...], *marked: float) -> tuple[ScoredImage, ...]:
    """The images, and as many more whose mask is empty, on which the challenger marks these shares."""
    perfect = MetricPair({"dice": 1.0, "iou": 1.0}, 0.0)
    (one, *_) = images
    return (
        *images,
        *(
            replace(
                one, stem=f"empty_{n}", image_sha256=f"{900 + n:064x}", coverage=0.0, challenger=mine, champion=perfect
            )
            for n, mine in enumerate(
                MetricPair(dict.fromkeys(("dice", "iou"), float(not share)), share) for share in marked
            )
        ),
    )


def test_images_without_a_strip_are_in_no_mean_and_are_told() -> None:
    good = evidence([0.5, 0.6, 0.7], [0.52, 0.63, 0.71])
    more = replace(good, images=without_strip(good.images, 0.0, 0.3))
    plain, told = (judge(one, RULE, decided_at=NOW) for one in (good, more))
    assert (told.dice, told.iou, told.images) == (plain.dice, plain.iou, plain.images)
    assert told.verdict.test_images == 3
    (warning,) = [text for text in told.verdict.warnings if "without a strip" in text]
    assert warning.startswith("2 test images without a strip (empty_0 first)")
    assert "the challenger marks something on 1 of them, the Production model on 0" in warning


def unscored() -> ScoredImage:
    return replace(evidence([0.5], [0.5]).images[0], champion=None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (lambda e: {"images": ()}, "no test image"),
        (lambda e: {"images": e.images * 2}, "scored twice"),
        (lambda e: {"images": (broken("challenger"),)}, r"the challenger's score of meter_0 isn't a number \(NaN\)"),
        (lambda e: {"images": (broken("champion"),)}, r"the champion's score of meter_0 isn't a number \(NaN\)"),
        (lambda e: {"images": (blank("challenger"),)}, "the challenger run_new marks nothing"),
        (lambda e: {"images": without_strip((blank("challenger"),), 0.1)}, "the challenger run_new marks nothing"),
        (lambda e: {"images": without_strip(e.images, 0.0, 0.0)}, r"2 of 3 test masks are empty \(empty_0 first\)"),
        (lambda e: {"images": (blank("champion"),)}, "the Production model, version 7, marks nothing"),
        (lambda e: {"images": (unscored(),)}, "wasn't scored on every test image"),
        (lambda e: {"doubts": ("one thing.", "another.")}, "one thing. There is more: another."),
    ],
)
def test_what_cannot_be_trusted_is_refused_with_its_reason(
    changes: Callable[[GateEvidence], dict[str, Any]], words: str
) -> None:
    good = evidence([0.5], [0.6])
    assert judge(good, RULE, decided_at=NOW).passes
    with pytest.raises(CannotDecideError, match=words) as caught:
        judge(replace(good, **changes(good)), RULE, decided_at=NOW)
    assert str(caught.value).startswith("The gate can't decide: ")
    assert caught.value.exit_code == 91


def test_models_of_two_preprocessings_are_compared() -> None:
    for changes in ({"challenger": side("new", preprocessing="next")}, {"champion": side("old", 7, preprocessing="x")}):
        assert judged([0.5], [0.6], **changes) == judged([0.5], [0.6])


def test_the_verdict_says_of_how_many_attempts_the_challenger_is_the_best() -> None:
    verdict = judged([0.5], [0.6], challenger=side("new", attempts=3)).verdict
    assert verdict.attempts == 3
    assert verdict.choice == "The challenger was chosen from 3 attempts on validation."
    single = judged([0.5], [0.6]).verdict
    assert (single.attempts, single.choice) == (None, "")
    assert GateVerdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_stored_and_new_scores_stand_side_by_side() -> None:
    own = frozenset({f"{0:064x}"})
    champion = side("old", 7, stored=Means(dice=0.7, iou=0.6), own_test=own)
    report = judged([0.5, 0.9], [0.6, 0.95], champion=champion)
    assert report.champion is not None
    assert report.champion.stored == Means(dice=0.7, iou=0.6)
    assert report.champion.rescored == Means(dice=0.5, iou=0.5 / 1.5)
    assert report.verdict.champion.dice == pytest.approx(0.7), "the baseline is what it scores now, on all images"
    (warning,) = [text for text in report.verdict.warnings if "stored" in text]
    assert "stored a mean Dice of 0.7000, but it scores 0.5000 now on the same images" in warning
    same = side("old", 7, stored=Means(dice=0.5, iou=0.3), own_test=own)
    assert not any("stored" in text for text in judged([0.5, 0.9], [0.6, 0.95], champion=same).verdict.warnings)


def test_a_small_test_set_is_told() -> None:
    before = [0.3, 0.9, 0.95, 0.8, 0.99, 0.7]
    now = [0.8, 0.5, 0.96, 0.9, 0.97, 0.72]
    (warning,) = [text for text in judged(before, now).verdict.warnings if "too small" in text]
    assert "6 test images show no improvement below 0." in warning
    many = [0.9 + 0.01 * (index % 7) for index in range(300)]
    barely = [value + 0.003 * ((index * 37) % 11 - 4.9) for index, value in enumerate(many)]
    texts = judged(many, [min(1.0, value) for value in barely]).verdict.warnings
    assert any("may be luck" in text for text in texts)


def test_a_stricter_gate_lets_no_more_pass() -> None:
    before = [0.5 + 0.02 * index for index in range(20)]
    now = [value + 0.02 * ((index * 7) % 5 - 1.5) for index, value in enumerate(before)]
    passed = [judged(before, now, GateConfig(min_confidence=share)).passes for share in (0, 0.5, 0.9, 0.99, 0.9999)]
    assert passed == sorted(passed, reverse=True)
    assert passed[0]
