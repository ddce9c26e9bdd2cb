"""The gate's decision: a pure function from evidence to a verdict. `wms_ops.gate` collects the evidence.

Rule of record: the challenger replaces the Production model only if its mean Dice and its mean IoU are both higher
on the same test images, as is every metric of `wms.metrics` that must improve. A config may ask for more: see
GateConfig.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Final

import numpy as np

from wms.config import GateConfig
from wms.errors import CannotDecideError
from wms.metrics import DICE, IOU, METRICS, Metric
from wms.registry.gate_parts import change_of, facts_of, lost, percent, rows_of, slices_of, warnings_of, without_empty
from wms.registry.gate_stats import LEVEL, compare_pairs, detectable
from wms.registry.gate_types import GateEvidence, GateReport, MetricChange, ScoredImage
from wms.registry.gate_use import asked_confidence, resamples_for, use_of
from wms.registry.types import GateVerdict, Means, from_to

CANNOT: Final = "The gate can't decide: "


def judge(evidence: GateEvidence, settings: GateConfig, *, decided_at: str) -> GateReport:
    """Compare challenger and champion; `decided_at` is UTC, ISO 8601. The order of the images doesn't matter.

    Raises CannotDecideError, which names the reason, if the comparison can't be trusted. With mode off only a useless
    challenger raises; other doubts become warnings.
    """
    evidence, empty = without_empty(evidence)
    # Sorted by content, because the seeded resamples depend on the order.
    images = tuple(sorted(evidence.images, key=lambda image: image.image_sha256))
    _refuse(_useless(evidence, images, empty))
    doubts = [*evidence.doubts, *_differing(evidence, images)]
    if settings.mode != "off":
        _refuse(doubts)
    # With mode off an incompletely scored champion is left out: means over different images aren't comparable.
    if not all(image.champion for image in images) or _not_numbers(images, "champion"):
        images = tuple(replace(image, champion=None) for image in images)
    use = use_of(evidence, len(images))
    asked = asked_confidence(settings, use)
    changes = _changes(images, asked, settings.unseen_loss)
    slices = slices_of(images, settings) if changes[DICE].probability is not None else ()
    reasons = _reasons(evidence, settings, changes, images, asked)
    further = {name: change for name, change in changes.items() if name not in (DICE, IOU)}
    verdict = GateVerdict(
        decision="not improved" if reasons else "improved",
        run_id=evidence.challenger.run_id,
        weights_sha256=evidence.challenger.weights_sha256,
        card_sha256=evidence.challenger.card_sha256,
        challenger=Means(**{name: change.challenger for name, change in changes.items()}),
        champion=Means(**{name: change.champion for name, change in changes.items()}),
        champion_version=evidence.champion.version if evidence.champion else None,
        test_images=len(images),
        test_version=evidence.test_version,
        mode=settings.mode,
        probability=min((c.probability for _, c in _required(changes) if c.probability is not None), default=None),
        reasons=tuple(reasons) or (_why_improved(evidence, settings, changes),),
        warnings=warnings_of(
            evidence,
            settings,
            images,
            doubts=doubts,
            dice=changes[DICE],
            slices=slices,
            empty=empty,
            confidence=asked or LEVEL,
        ),
        decided_at=decided_at,
        use=use,
        attempts=evidence.challenger.attempts,
    )
    return GateReport(
        verdict=verdict,
        passes=not reasons or settings.mode != "enforce",
        summary=summary_of(verdict, settings),
        grid=evidence.grid,
        challenger=facts_of(evidence.challenger, images, lambda image: image.challenger),
        champion=facts_of(evidence.champion, images, lambda image: image.champion) if evidence.champion else None,
        dice=changes[DICE],
        iou=changes[IOU],
        further=further,
        images=rows_of(images),
        slices=slices,
    )


def _changes(images: Sequence[ScoredImage], confidence: float, unseen: float) -> dict[str, MetricChange]:
    """Compare both models by every metric; `confidence` is the one asked for, 0 by the rule of record."""
    # One seeded comparison over all metrics: its columns share the resamples, so equal gains give equal p-values.
    pairs = [(image.challenger, image.champion) for image in images if image.champion]
    gains = np.array(
        [[m.gain(old.values[m.name], new.values[m.name]) for m in METRICS.values()] for new, old in pairs],
        dtype=np.float64,
    )
    found = compare_pairs(gains, resamples=resamples_for(confidence), unseen=unseen) if pairs else None
    changes = {name: change_of(images, name, found, column) for column, name in enumerate(METRICS)}
    if found is not None:
        least = detectable(gains[:, list(METRICS).index(DICE)], confidence or LEVEL, unseen=unseen)
        changes[DICE] = changes[DICE].model_copy(update={"detectable": least})
    return changes


# ---- what can't be trusted


def refusal(*doubts: str) -> CannotDecideError:
    """Build the error for a comparison that can't be trusted; each doubt is a sentence without its beginning."""
    more = f" There is more: {' '.join(doubts[1:4])}" if len(doubts) > 1 else ""
    return CannotDecideError(f"{CANNOT}{doubts[0]}{more}")


def _refuse(doubts: Sequence[str]) -> None:
    if doubts:
        raise refusal(*doubts)


def _useless(evidence: GateEvidence, images: Sequence[ScoredImage], empty: Sequence[ScoredImage]) -> list[str]:
    """Reasons that make the challenger's own scores worthless, in every mode."""
    if len(empty) > len(images):
        return [
            f"{len(empty)} of {len(empty) + len(images)} test masks are empty ({empty[0].stem} first); paint the strip "
            "white in them, or remove these photos."
        ]
    if not images:
        return ["there is no test image; add photos until the split record holds some."]
    if len({image.image_sha256 for image in images}) < len(images):
        return ["a test image was scored twice; report this as a bug."]
    if bad := _not_numbers(images, "challenger"):
        return [bad]
    if not any(image.challenger.marked for image in images):
        return [f"the challenger {evidence.challenger.run_name} marks nothing on any test image; train it again."]
    return []


def _differing(evidence: GateEvidence, images: Sequence[ScoredImage]) -> list[str]:
    """Reasons against comparing the two models, beyond those found while collecting the evidence."""
    if evidence.champion is None:
        return []
    name = f"the Production model, version {evidence.champion.version},"
    if any(image.champion is None for image in images):
        return [] if evidence.doubts else [f"{name} wasn't scored on every test image."]
    if bad := _not_numbers(images, "champion"):
        return [bad]
    if not any(image.champion and image.champion.marked for image in images):
        return [f"{name} marks nothing on any test image; it may be damaged, so look at it before you replace it."]
    return []


def _not_numbers(images: Sequence[ScoredImage], who: str) -> str:
    for image in images:
        score = getattr(image, who)
        if score and not all(isfinite(value) for value in (*score.values.values(), score.marked)):
            return f"the {who}'s score of {image.stem} isn't a number (NaN); train that model again."
    return ""


# ---- the rule


def _reasons(
    evidence: GateEvidence,
    settings: GateConfig,
    changes: Mapping[str, MetricChange],
    images: Sequence[ScoredImage],
    asked: float,
) -> list[str]:
    """Reasons why the challenger isn't better; empty if it is. `asked` is the confidence asked for, 0 for none."""
    compared = changes[DICE].probability is not None
    reasons = []
    if (dice := changes[DICE].challenger) < settings.floor:
        reasons.append(f"Mean Dice is {dice:.4f}, under gate.floor, which asks for {settings.floor:g} or more.")
    if evidence.champion and not compared:
        return [*reasons, "The Production model couldn't be scored, so no improvement is shown."]
    bar = settings.min_improvement if compared else 0.0
    above = f" by more than {bar:g}" if bar else ""
    for metric, change in _required(changes):
        gain = metric.gain(change.champion, change.challenger)
        if not gain > bar and (compared or metric.higher_is_better):  # in a first training the baseline is 0
            verb = "rise" if metric.higher_is_better else "fall"
            reasons.append(
                f"Mean {metric.title} didn't {verb}{above}: {change.champion:.4f} before, {change.challenger:.4f} now "
                f"({change.difference:+.4f})."
            )
        elif compared and asked and not (change.confidence or 0.0) >= asked:
            verb = "rose" if metric.higher_is_better else "fell"
            reasons.append(
                f"Mean {metric.title} {verb} by {gain:.4f}, but that is certain to {percent(change.confidence)} "
                f"only, and {_asks_for(settings, asked)}."
            )
    if compared and settings.max_regression_per_image < 1:
        losses = [(lost(image), image.stem) for image in images]
        too_much = sorted((pair for pair in losses if pair[0] > settings.max_regression_per_image), reverse=True)
        if too_much:
            more = f" and {len(too_much) - 1} more" if len(too_much) > 1 else ""
            reasons.append(
                f"{too_much[0][1]} lost {too_much[0][0]:.4f} Dice{more}; "
                f"gate.max_regression_per_image allows {settings.max_regression_per_image:g}."
            )
    return reasons


def _asks_for(settings: GateConfig, asked: float) -> str:
    text = f"gate.min_confidence asks for {percent(settings.min_confidence)}"
    if settings.repeated_use:
        # Two digits of what is left to chance, such as 99.9946 %.
        text += f" over all comparisons with this Production model, which is {100 * asked:.4f} % for this one"
    return text


def _required(changes: Mapping[str, MetricChange]) -> list[tuple[Metric, MetricChange]]:
    """The metrics in which the challenger must be better, with their change."""
    return [(METRICS[name], change) for name, change in changes.items() if METRICS[name].must_improve]


def _why_improved(evidence: GateEvidence, settings: GateConfig, changes: Mapping[str, MetricChange]) -> str:
    if evidence.champion is None:
        reached = f" Mean Dice reaches gate.floor, {settings.floor:g}." if settings.floor else ""
        return f"First training: no model is Production yet, so the baseline is 0.{reached}"
    parts, before = [], ""
    for metric, change in _required(changes):
        verb = "rose by" if metric.higher_is_better else "fell by"
        parts.append(f"mean {metric.title} {'by' if verb == before else verb} {abs(change.difference):.4f}")
        before = verb
    text = " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)
    return f"{text[:1].upper()}{text[1:]} on the same test images."


def summary_of(verdict: GateVerdict, settings: GateConfig) -> str:
    """The verdict as a sentence, which begins with the refusal where one holds a model back that would pass."""
    passes = verdict.decision == "improved"
    held = bool(verdict.held_back) and (passes or verdict.mode == "off")
    if held:
        what = "Held back after a refusal by stricter settings"
    elif verdict.champion_version is None:
        which = f"of at least {settings.floor:g} Dice " if settings.floor else ""
        what = "There is no Production model yet" + (f", so any model {which}passes" if passes else "")
    else:
        what = f"The challenger {'improves' if passes else 'does not improve'} on version {verdict.champion_version}"
    figures = f"{from_to(verdict.champion, verdict.challenger)} on {verdict.test_images} test images"
    would = "enforce would hold it back" if held else f"it would {'pass' if passes else 'fail'}"
    end = {"enforce": "", "off": " (the gate is off)", "dry-run": f" (dry run: {would})"}
    return f"{what}: {figures}{end[verdict.mode]}."
