"""Warnings for the reader of a gate's report, beside the verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Final

from wms.config import GateConfig
from wms.registry.gate_parts import ScoreOf, facts_of, percent
from wms.registry.gate_stats import LEVEL
from wms.registry.gate_types import GateEvidence, GateModel, MetricChange, ScoredImage, Slice

ENOUGH: Final = 0.02
"""The improvement in mean Dice that a test set must be able to show; otherwise a warning calls the set too small."""
FEW: Final = 20
"""The least number of test images for any comparison."""
STORED_TOLERANCE: Final = 0.002
"""ONNX Runtime and torch differ in a few pixels; a larger distance from a stored mean is worth a warning."""


def warnings_of(
    evidence: GateEvidence,
    settings: GateConfig,
    images: Sequence[ScoredImage],
    *,
    doubts: Sequence[str],
    dice: MetricChange,
    slices: Sequence[Slice],
    empty: Sequence[ScoredImage],
) -> tuple[str, ...]:
    """All warnings, the most serious first; `doubts` are those that mode off lets pass, `empty` images are unscored."""
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
        told += _too_small(dice, len(images), settings.min_confidence or LEVEL)
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
