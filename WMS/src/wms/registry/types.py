"""What the gate, the promotion and the ledger tell each other: frozen values, as JSON on disk and in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from wms.metrics import METRICS, title_of
from wms.records import StoredRecord

MODEL = "water-meter-segmentation"
"""The registered model and the experiment."""

PRODUCTION, PREVIOUS = "production", "previous"
"""Aliases of a model's versions."""

STAGED = "Production"
"""The stage that MLflow 2 gave to what is an alias now; a server's database may still hold it."""

VERDICT_FILE = "gate/verdict.json"
"""Where a run keeps its newest verdict, among its artifacts."""

Mode = Literal["enforce", "dry-run", "off"]
"""How strict the gate is: see docs/gate.md."""


class Means(StoredRecord):
    """Means over the test images: Dice, IoU, and by their names what other metrics `wms.metrics` has."""

    dice: float = Field(ge=0, le=1)
    iou: float = Field(ge=0, le=1)

    def named(self) -> dict[str, float]:
        """Every mean by its metric's name, Dice and IoU first."""
        # A field of newer code may be anything; only a number can be a mean.
        return {name: value for name, value in self.model_dump().items() if isinstance(value, float)}


def means_in(values: Mapping[str, str], side: str) -> Means:
    """The means that a record's outputs hold as texts, such as `champion_dice`; `side` is champion or challenger.

    Raises ValueError where Dice or IoU is missing or no number.
    """
    found = {name: float(values[key]) for name in METRICS if (key := f"{side}_{name}") in values}
    return Means(**found)


def from_to(before: Means, after: Means) -> str:
    """How means changed, such as "Dice 0.9012 -> 0.9105, IoU 0.8300 -> 0.8401"; of the metrics that both have."""
    old = before.named()
    shown = ((name, old[name], value) for name, value in after.named().items() if name in old)
    return ", ".join(f"{title_of(name)} {was:.4f} -> {now:.4f}" for name, was, now in shown)


class GateVerdict(StoredRecord):
    """What the gate decided about a run; `champion_version` is None where nothing was Production."""

    decision: Literal["improved", "not improved"]
    run_id: str
    weights_sha256: str
    challenger: Means
    champion: Means
    champion_version: int | None
    card_sha256: str = Field(default="", description="Of the model's card; empty in verdicts of older code.")
    test_images: int = Field(ge=1)
    test_version: str = Field(description="SHA-256 over the hashes of all test pairs.")
    mode: Mode = "enforce"
    probability: float | None = Field(default=None, ge=0, le=1, description="Bootstrap probability of improvement.")
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    decided_at: str = Field(description="UTC, ISO 8601.")


class NoVerdict(StoredRecord):
    """What a run keeps in a verdict's place while a gate is at work on it, and where that gate couldn't decide.

    The last two words are never stored: reading finds them. `at` is UTC, ISO 8601; `attempt` is unique.
    """

    decision: Literal["undecided", "cannot decide", "damaged verdict", "contradictory verdict"]
    run_id: str
    reason: str = Field(description="Whole sentences.")
    mode: Mode = "enforce"
    at: str = ""
    attempt: str = ""
