"""The gate's report as one HTML page that needs no network, with pictures of the images that changed most."""

from __future__ import annotations

import base64
import io
from typing import Any, Final

import numpy as np
from jinja2 import Environment, PackageLoader
from numpy.typing import NDArray
from PIL import Image

from wms.config import RunConfig
from wms.data.pairs import read_pair
from wms.inference.overlay import Colour, draw_outline
from wms.registry.gate_types import GateReport, ImageChange
from wms_ops.gate.evidence import Gathered
from wms_ops.gate.scoring import Mask, predicted_mask, true_mask

PICTURES: Final = 8
TRUTH: Final[Colour] = (255, 255, 255)
CHAMPION: Final[Colour] = (255, 145, 0)
CHALLENGER: Final[Colour] = (0, 190, 255)
_SIDE: Final = 460  # pixels of a picture's longer side
_MARGIN: Final = 0.35  # of the marked area's size, around a detail

Pixels = NDArray[np.uint8]


def render(report: GateReport, gathered: Gathered, config: RunConfig) -> str:
    """The page; photos are decoded and predicted again for the at most PICTURES images shown."""
    environment = Environment(loader=PackageLoader("wms_ops.gate", "."), autoescape=True)
    environment.filters["hex"] = lambda colour: "#{:02x}{:02x}{:02x}".format(*colour)
    cases = [_case(image, gathered, config) for image in most_changed(report)]
    return environment.get_template("gate.html.j2").render(
        report=report, cases=cases, colours={"truth": TRUTH, "champion": CHAMPION, "challenger": CHALLENGER}
    )


def most_changed(report: GateReport) -> list[ImageChange]:
    """The images with the largest differences in Dice, losses before gains; the worst ones in a first training."""
    if report.champion is None or not any(image.difference for image in report.images):
        return list(report.images[:PICTURES])
    changed = sorted(report.images, key=lambda image: -abs(image.difference or 0.0))[:PICTURES]
    lost = [image for image in changed if (image.difference or 0.0) < 0]
    return [*lost, *(image for image in changed if (image.difference or 0.0) > 0)]


def _case(image: ImageChange, gathered: Gathered, config: RunConfig) -> dict[str, Any]:
    (pair,) = (pair for item, pair in gathered.files.items() if item.image_sha256 == image.image_sha256)
    photo, mask = read_pair(pair, config.data)
    grid = config.evaluation.grid
    models = [("Champion", CHAMPION, gathered.champion), ("Challenger", CHALLENGER, gathered.challenger)]
    marked = [
        (name, colour, predicted_mask(model.predictor, photo, grid))
        for name, colour, model in models
        if model is not None
    ]
    truth = true_mask(mask, grid)
    everything = [("Truth", TRUTH, truth), *marked]
    box = _around(np.logical_or.reduce([area for _, _, area in everything]))
    details = [
        (f"{name} beside the truth", _picture(photo, [("Truth", TRUTH, truth), (name, colour, area)], box))
        for name, colour, area in marked
    ]
    return {"image": image, "pictures": [("The whole photo", _picture(photo, everything, (0, 0, 1, 1))), *details]}


def _around(area: Mask) -> tuple[float, float, float, float]:
    """Top, left, bottom and right of a mask with a margin, as shares of the photo; all of it if nothing is marked."""
    if not area.any():
        return 0.0, 0.0, 1.0, 1.0
    size = len(area)
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    margin = _MARGIN * max(float(np.ptp(rows)), float(np.ptp(columns)), size / 20)
    top, left = (max(0.0, float(ends[0] - margin) / size) for ends in (rows, columns))
    bottom, right = (min(1.0, float(ends[-1] + 1 + margin) / size) for ends in (rows, columns))
    return top, left, bottom, right


def _picture(photo: Pixels, areas: list[tuple[str, Colour, Mask]], box: tuple[float, float, float, float]) -> str:
    """A data URI of the photo's part `box` with each area's outline."""
    height, width = photo.shape[:2]
    top, left, bottom, right = box
    rows = slice(int(top * height), max(int(top * height) + 1, round(bottom * height)))
    columns = slice(int(left * width), max(int(left * width) + 1, round(right * width)))
    part = Image.fromarray(np.ascontiguousarray(photo[rows, columns]))
    scale = _SIDE / max(part.size)
    size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
    drawn: Pixels = np.asarray(part.resize(size, Image.Resampling.BILINEAR))
    for _, colour, area in areas:
        whole = Image.fromarray(area.astype(np.uint8) * 255)
        edges = (left * whole.width, top * whole.height, right * whole.width, bottom * whole.height)
        shown = np.asarray(whole.resize(size, Image.Resampling.BILINEAR, box=edges)) > 127
        drawn = draw_outline(drawn, shown, colour, width=2)
    stream = io.BytesIO()
    Image.fromarray(drawn).save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
