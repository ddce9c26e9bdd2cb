"""The gate's report as one HTML page that needs no network, with pictures of the images that changed most."""

from __future__ import annotations

import base64
import io
from typing import Any, Final

from jinja2 import Environment, PackageLoader
from PIL import Image

from wms.config import RunConfig
from wms.inference.overlay import Pixels
from wms.registry.gate_types import GateReport, ImageChange
from wms_ops.gate.drawing import CHALLENGER, CHAMPION, TRUTH, draw_case
from wms_ops.gate.evidence import Gathered

PICTURES: Final = 8


def render(report: GateReport, gathered: Gathered, config: RunConfig) -> str:
    """Return the HTML page; photos are decoded and predicted again for the at most PICTURES images shown."""
    environment = Environment(loader=PackageLoader("wms_ops.gate", "."), autoescape=True)
    environment.filters["hex"] = lambda colour: "#{:02x}{:02x}{:02x}".format(*colour)
    cases = [_case(image, gathered, config) for image in most_changed(report)]
    return environment.get_template("gate.html.j2").render(
        report=report, cases=cases, colours={"truth": TRUTH, "champion": CHAMPION, "challenger": CHALLENGER}
    )


def most_changed(report: GateReport) -> list[ImageChange]:
    """Return the images with the largest differences in Dice, losses first; in a first training the worst images."""
    if report.champion is None or not any(image.difference for image in report.images):
        return list(report.images[:PICTURES])
    changed = sorted(report.images, key=lambda image: -abs(image.difference or 0.0))[:PICTURES]
    lost = [image for image in changed if (image.difference or 0.0) < 0]
    return [*lost, *(image for image in changed if (image.difference or 0.0) > 0)]


def _case(image: ImageChange, gathered: Gathered, config: RunConfig) -> dict[str, Any]:
    drawn = draw_case(image, gathered, config)
    return {"image": image, "pictures": [(label, _data_uri(pixels)) for label, pixels in drawn]}


def _data_uri(pixels: Pixels) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
