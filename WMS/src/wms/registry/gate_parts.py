"""The parts of a gate's report: means and their differences, models, images, slices, warnings. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import ceil, fsum
from typing import Final

import numpy as np

from wms.config import GateConfig
from wms.metrics import DICE, METRICS
from wms.registry.gate_stats import Paired, compare_pairs
from wms.registry.gate_types import (
    GateEvidence,
    GateModel,
    ImageChange,
    MetricChange,
    MetricPair,
    ModelFacts,
    ScoredImage,
    Slice,
)
from wms.registry.types import Means
from wms.text import counted

ENOUGH: Final = 0.02
"""The improvement in mean Dice that a test set must be able to show; otherwise a warning calls the set too small."""
FEW: Final = 20
"""The least number of test images for any comparison."""
LARGE_LOSS: Final = 0.2
"""A loss of Dice on one test image that is worth a warning; docs/gate.md says how often better models show one."""
STORED_TOLERANCE: Final = 0.002
"""ONNX Runtime and torch differ in a few pixels; a larger distance from a stored mean is worth a warning."""

_THIRDS: Final = 3

ScoreOf = Callable[[ScoredImage], MetricPair | None]


def without_empty(evidence: GateEvidence) -> tuple[GateEvidence, tuple[ScoredImage, ...]]:
    """Split the evidence: without the images whose mask is empty on the grid, and those images.

    Dice and IoU measure how well a strip is found. On a photo without a strip, an empty prediction would score 1.
    """
    empty = tuple(image for image in evidence.images if not image.coverage)
    gone = {image.image_sha256 for image in empty}
    kept = tuple(image for image in evidence.images if image.coverage)
    challenger = replace(evidence.challenger, own_test=evidence.challenger.own_test - gone)
    champion = evidence.champion and replace(evidence.champion, own_test=evidence.champion.own_test - gone)
    return replace(evidence, images=kept, challenger=challenger, champion=champion), empty


def lost(image: ScoredImage) -> float:
    """The Dice that the challenger loses on an image; 0 without a champion."""
    return image.champion.dice - image.challenger.dice if image.champion else 0.0


def mean(values: Sequence[float]) -> float:
    """The exactly rounded mean, which no order of the values changes."""
    return fsum(values) / len(values)


def percent(share: float | None) -> str:
    """Format a share (0..1) for a sentence, such as 95.0 %.

    >>> percent(0.95)
    '95.0 %'
    >>> percent(0.9999), percent(0.99996), percent(1.0)
    ('99.99 %', '99.996 %', '100.0 %')
    """
    whole = 100 * (share or 0.0)
    digits = next((digits for digits in range(1, 6) if whole == 100 or float(f"{whole:.{digits}f}") < 100), 6)
    return f"{whole:.{digits}f} %"


def change_of(images: Sequence[ScoredImage], metric: str, found: Paired | None, column: int) -> MetricChange:
    """Compare both models by `metric`; `found` compares gains, by `column` for each metric; None without a champion."""
    challenger = mean([image.challenger.values[metric] for image in images])
    if found is None:
        return MetricChange(champion=0.0, challenger=challenger, difference=challenger)
    # From the means, so that the table's figures agree and equal models differ by exactly 0.
    champion = mean([image.champion.values[metric] for image in images if image.champion])
    low, high = float(found.low[column]), float(found.high[column])
    if not METRICS[metric].higher_is_better:
        low, high = -high, -low
    return MetricChange(
        champion=champion,
        challenger=challenger,
        difference=challenger - champion,
        low=low,
        high=high,
        probability=float(found.probability[column]),
        confidence=float(1 - found.p_value[column]),
    )


def facts_of(side: GateModel, images: Sequence[ScoredImage], score_of: ScoreOf) -> ModelFacts:
    own = [image for image in images if image.image_sha256 in side.own_test]
    return ModelFacts(
        run_id=side.run_id,
        run_name=side.run_name,
        version=side.version,
        weights_sha256=side.weights_sha256,
        input_size=side.input_size,
        stored=side.stored,
        rescored=_means(own, score_of) if len(own) == len(side.own_test) else None,
        scored=_means(images, score_of),
    )


def _means(images: Sequence[ScoredImage], score_of: ScoreOf) -> Means | None:
    scores = [score for image in images if (score := score_of(image))]
    if not scores or len(scores) < len(images):
        return None
    return Means(**{name: mean([score.values[name] for score in scores]) for name in METRICS})


def rows_of(images: Sequence[ScoredImage]) -> tuple[ImageChange, ...]:
    """All images, the largest loss first; without a champion the lowest Dice first."""
    ranked = sorted(images, key=lambda i: (-lost(i) if i.champion else i.challenger.dice, i.image_sha256))
    return tuple(
        ImageChange(
            stem=image.stem,
            image_sha256=image.image_sha256,
            width=image.width,
            height=image.height,
            coverage=image.coverage,
            challenger=Means(**image.challenger.values),
            champion=Means(**image.champion.values) if image.champion else None,
            difference=-lost(image) if image.champion else None,
        )
        for image in ranked
    )


def slices_of(images: Sequence[ScoredImage], settings: GateConfig) -> tuple[Slice, ...]:
    """Compare thirds of the test images, ranked by each slice's key; empty if a third would be a single image."""
    if len(images) < 2 * _THIRDS:
        return ()
    keys: dict[str, Callable[[ScoredImage], float]] = {
        "resolution": lambda image: image.width * image.height / 1e6,
        "coverage": lambda image: image.coverage,
    }
    found = []
    for by in dict.fromkeys(settings.slices):
        key = keys[by]
        ranked = sorted(images, key=lambda image: (key(image), image.image_sha256))
        for part in np.array_split(np.arange(len(ranked)), _THIRDS):
            members = [ranked[index] for index in part]
            rows = [[i.challenger.dice - i.champion.dice] for i in members if i.champion]
            change = change_of(members, DICE, compare_pairs(np.array(rows, dtype=np.float64)), 0)
            lowest, highest = key(members[0]), key(members[-1])
            found.append(Slice(by=by, lowest=lowest, highest=highest, images=len(members), dice=change))
    return tuple(found)


def warnings_of(
    evidence: GateEvidence,
    settings: GateConfig,
    images: Sequence[ScoredImage],
    *,
    doubts: Sequence[str],
    dice: MetricChange,
    slices: Sequence[Slice],
    empty: Sequence[ScoredImage],
    confidence: float,
) -> tuple[str, ...]:
    """All warnings, the most serious first.

    `doubts` are those that mode off lets pass, `empty` images are unscored, `detectable` holds at `confidence`.
    """
    told: list[str] = []
    if settings.mode == "off":
        told.append("THE GATE IS OFF: this run passes whatever it scores. Set gate.mode back to enforce.")
        told += (f"With the gate on this would be refused: {doubt}" for doubt in doubts)
    told += evidence.notes
    if empty:
        told.append(_not_scored(empty))
    told += _stored("challenger", evidence.challenger, images, lambda image: image.challenger)
    if evidence.champion:
        told += _stored("Production model", evidence.champion, images, lambda image: image.champion)
        if evidence.champion.weights_sha256 == evidence.challenger.weights_sha256:
            told.append("The challenger has exactly the weights of the Production model.")
    elif len(images) < FEW:
        told.append(f"{_count(len(images))} are few: later models will be hard to tell apart.")
    if dice.detectable is not None:
        told += _too_small(dice, len(images), confidence)
    told += _large_losses(settings, images)
    told += (
        f"Among the {part.images} test images with {part.range} the challenger is worse by "
        f"{-part.dice.difference:.4f} Dice."
        for part in slices
        if part.dice.high is not None and part.dice.high < 0
    )
    return tuple(told)


def _stored(who: str, side: GateModel, images: Sequence[ScoredImage], score_of: ScoreOf) -> Iterator[str]:
    facts = facts_of(side, images, score_of)
    if facts.stored and facts.rescored and abs(facts.stored.dice - facts.rescored.dice) > STORED_TOLERANCE:
        yield (
            f"The {who}'s run stored a mean Dice of {facts.stored.dice:.4f}, but it scores {facts.rescored.dice:.4f} "
            "now on the same images; this gate uses the new score."
        )


def _large_losses(settings: GateConfig, images: Sequence[ScoredImage]) -> Iterator[str]:
    """Warn of photos that lost much, unless the settings say what one photo may lose."""
    found = sorted(((lost(image), image.stem) for image in images if lost(image) > LARGE_LOSS), reverse=True)
    if found and settings.max_regression_per_image >= 1:
        more = f" and {counted(len(found) - 1, 'more photo')}" if len(found) > 1 else ""
        yield (
            f"{found[0][1]}{more} lost over {LARGE_LOSS:g} Dice, at most {found[0][0]:.4f}: look at them; "
            f"gate.max_regression_per_image would block such a loss."
        )


def _too_small(dice: MetricChange, count: int, confidence: float) -> Iterator[str]:
    """Warn if the test images are too few to tell the models apart."""
    smallest, asked = dice.detectable or 0.0, f"at {percent(confidence)} confidence, 8 times in 10"
    if smallest > ENOUGH:
        shown = "can't show any improvement" if smallest >= 1 else f"show no improvement below {smallest:.3f} Dice"
        # What can be seen shrinks with the square root of their number; from very few images nothing can be foretold.
        needed = f"have {FEW} first" if count < FEW else f"about {ceil(count * (smallest / ENOUGH) ** 2)} are needed"
        yield f"The test set is too small to tell: {_count(count)} {shown} ({asked}); for {ENOUGH:g} {needed}."
    elif 0 < abs(dice.difference) < smallest:
        yield f"{dice.difference:+.4f} Dice may be luck: {_count(count)} show {smallest:.4f} or more ({asked})."


def _not_scored(empty: Sequence[ScoredImage]) -> str:
    """Count the test photos with an empty mask, and those of them on which each model marks pixels nevertheless."""
    new = sum(bool(image.challenger.marked) for image in empty)
    old = [bool(image.champion.marked) for image in empty if image.champion]
    beside = f", the Production model on {sum(old)}" if old else ""
    return (
        f"{_count(len(empty))} without a strip ({empty[0].stem} first) in no mean: the challenger marks something on "
        f"{new} of them{beside}."
    )


def _count(images: int) -> str:
    return "1 test image" if images == 1 else f"{images} test images"
