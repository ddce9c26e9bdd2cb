"""The gate's input and output: evidence and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from wms.metrics import DICE, IOU, title_of
from wms.records import StoredRecord
from wms.registry.gate_settings import GateTry
from wms.registry.types import GateVerdict, Means


@dataclass(frozen=True, slots=True)
class MetricPair:
    """A model's result on an image: the value of each metric by name, and the share of the image (0..1) marked."""

    values: Mapping[str, float]
    marked: float

    @property
    def dice(self) -> float:
        """The metric by which images are ordered."""
        return self.values[DICE]


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """A test image (upright size in pixels, the strip's share as `coverage`) and both models' results."""

    stem: str
    image_sha256: str
    width: int
    height: int
    coverage: float
    challenger: MetricPair
    champion: MetricPair | None = None


@dataclass(frozen=True)
class GateModel:
    """A compared model; `stored` is the score that its run recorded, on the images `own_test` (SHA-256).

    `preprocessing` is the version of `wms.data.preprocessing` on its card, by which it gets the photos,
    `attempts` the number of seeds from which validation chose it, None for one.
    """

    run_id: str
    run_name: str
    version: int | None
    weights_sha256: str
    preprocessing: str
    input_size: int
    stored: Means | None = None
    own_test: frozenset[str] = frozenset()
    card_sha256: str = ""
    attempts: int | None = None


@dataclass(frozen=True)
class GateEvidence:
    """The gate's whole input.

    `champion` is None if no model is Production. `doubts` are reasons, in whole sentences, why the comparison can't be
    trusted; `notes` are mere warnings. `test_version` is the data version (SHA-256) of the test pairs, `grid` the
    side in pixels at which masks were compared. `earlier` are the decisions on record, oldest first.
    """

    challenger: GateModel
    champion: GateModel | None
    images: tuple[ScoredImage, ...]
    test_version: str
    grid: int
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    earlier: tuple[GateTry, ...] = ()


class MetricChange(StoredRecord):
    """A metric's mean over the test images, of both models.

    `low` and `high` bound the difference with 95 % coverage (bootstrap-t over images), `probability` is the share of
    bootstrap resamples in which the challenger is ahead, `confidence` how sure the test is of any improvement,
    `detectable` (Dice only) the smallest improvement that so many images show in 8 of 10 comparisons. All of them are
    None in a first training.
    """

    champion: float
    challenger: float
    difference: float
    low: float | None = None
    high: float | None = None
    probability: float | None = None
    confidence: float | None = None
    detectable: float | None = None


class ModelFacts(StoredRecord):
    """A model in the report: its stored scores beside its present scores, on its own test images and on all."""

    run_id: str
    run_name: str
    version: int | None
    weights_sha256: str
    input_size: int
    stored: Means | None
    rescored: Means | None = Field(description="On the test images that the run itself was scored on.")
    scored: Means | None


class ImageChange(StoredRecord):
    """A test image's result; `difference` is the challenger's Dice minus the champion's."""

    stem: str
    image_sha256: str
    width: int
    height: int
    coverage: float
    challenger: Means
    champion: Means | None
    difference: float | None


class Slice(StoredRecord):
    """A third of the test images by `by`, from `lowest` to `highest` (megapixels or share of the photo)."""

    by: Literal["resolution", "coverage"]
    lowest: float
    highest: float
    images: int
    dice: MetricChange

    @property
    def range(self) -> str:
        """The third in words."""
        if self.by == "resolution":
            return f"{self.lowest:.2f} to {self.highest:.2f} megapixels"
        return f"{self.lowest:.1%} to {self.highest:.1%} covered by the strip"


class GateReport(StoredRecord):
    """The verdict and its basis; `images` are sorted, the largest loss first."""

    verdict: GateVerdict
    passes: bool = Field(description="Whether the run may be promoted, the mode considered.")
    summary: str
    grid: int
    challenger: ModelFacts
    champion: ModelFacts | None
    dice: MetricChange
    iou: MetricChange
    further: Mapping[str, MetricChange] = Field(default={}, description="The other metrics of wms.metrics, by name.")
    images: tuple[ImageChange, ...]
    slices: tuple[Slice, ...] = ()

    def changes(self) -> dict[str, MetricChange]:
        """The change of every metric, by the metric's title."""
        return {title_of(name): change for name, change in {DICE: self.dice, IOU: self.iou, **self.further}.items()}
