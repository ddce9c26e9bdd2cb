"""The gate's report as one HTML page that needs no network, with pictures of the images that changed most."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from PIL import Image

from wms import pages
from wms.config import RunConfig
from wms.pictures import data_uri, encoded
from wms.registry.gate_types import GateReport, ImageChange
from wms_ops.gate.drawing import CHALLENGER, CHAMPION, TRUTH, draw_case
from wms_ops.gate.evidence import Gathered
from wms_ops.gate.report import settings_of

PICTURES: Final = 8


def render(report: GateReport, gathered: Gathered, config: RunConfig) -> str:
    """Return the HTML page; photos are decoded and predicted again for the at most PICTURES images shown."""
    cases = [_case(image, gathered, config) for image in most_changed(report)]
    colours = {"truth": TRUTH, "champion": CHAMPION, "challenger": CHALLENGER}
    values = {"report": report, "cases": cases, "colours": colours, "settings": settings_of(report.verdict)}
    as_hex = "#{0[0]:02x}{0[1]:02x}{0[2]:02x}".format
    return pages.render(Path(__file__).with_name("gate.html.j2"), values, hex=as_hex)


def most_changed(report: GateReport) -> list[ImageChange]:
    """Return the images with the largest differences in Dice, losses first; in a first training the worst images."""
    if report.champion is None or not any(image.difference for image in report.images):
        return list(report.images[:PICTURES])
    changed = sorted(report.images, key=lambda image: -abs(image.difference or 0.0))[:PICTURES]
    lost = [image for image in changed if (image.difference or 0.0) < 0]
    return [*lost, *(image for image in changed if (image.difference or 0.0) > 0)]


def _case(image: ImageChange, gathered: Gathered, config: RunConfig) -> dict[str, Any]:
    drawn = draw_case(image, gathered, config)
    return {
        "image": image,
        "pictures": [(label, data_uri(encoded(Image.fromarray(pixels), quality=85))) for label, pixels in drawn],
    }
