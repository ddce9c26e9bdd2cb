"""The pictures of a gate's decision, for a pull request: the only part of a report that reads photos."""

from __future__ import annotations

from typing import Final

from wms.config import RunConfig
from wms.registry.gate_types import GateReport, ImageChange
from wms_ops.gate.drawing import CHALLENGER, CHAMPION, TRUTH, draw_case
from wms_ops.gate.evidence import Gathered
from wms_ops.report.figures import PHOTOS, SCORES, FigureCase, draw_photos, draw_scores

EACH: Final = 1
"""Number of photos drawn of those that gained most, and of those that lost most."""


def gate_pictures(report: GateReport, gathered: Gathered, config: RunConfig) -> dict[str, bytes]:
    """PNG files by name: the scores of all test photos, and the few photos that changed most with all outlines.

    Those photos are decoded and predicted again. Raises the errors of `read_pair`.
    """
    cases = [FigureCase(label, image, tuple(draw_case(image, gathered, config))) for label, image in extremes(report)]
    colours = [("truth", TRUTH), ("challenger", CHALLENGER)]
    if report.champion is not None:
        colours.insert(1, ("champion", CHAMPION))
    return {SCORES: draw_scores(report), PHOTOS: draw_photos(cases, colours)}


def extremes(report: GateReport) -> list[tuple[str, ImageChange]]:
    """The photos that gained most and lost most, each with its label; best and worst in a first training."""
    if report.champion is None or not any(image.difference for image in report.images):
        ranked = sorted(report.images, key=lambda image: image.challenger.dice)
        worst = ranked[:EACH]
        best = [image for image in reversed(ranked[-EACH:]) if image not in worst]
        return [*(("Best", image) for image in best), *(("Worst", image) for image in worst)]
    changed = sorted(report.images, key=lambda image: image.difference or 0.0)
    gained = [image for image in reversed(changed) if (image.difference or 0.0) > 0][:EACH]
    lost = [image for image in changed if (image.difference or 0.0) < 0][:EACH]
    return [*(("Gained most", image) for image in gained), *(("Lost most", image) for image in lost)]
