"""The records from which a model card is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from wms.data.versions import DataItem
from wms.registry.gate_types import GateReport, ImageChange
from wms.registry.ledger import LedgerEntry

PHOTOS_SHOWN: Final = 3
"""The number of worst photos in the picture of them."""

COST_TAG, ESTIMATE_TAG, SOURCES_TAG = "cost.so_far_usd", "cost.estimated_usd", "data.brought_by"
"""Tags of a run, set by the loop before a promotion: US dollars, and who changed the data set how many times."""

UNKNOWN: Final = "not recorded"
_LISTED: Final = 8  # worst photos in the table


@dataclass(frozen=True)
class CardRecords:
    """The records of a version: `entries` are the ledger's, `report` the gate's about these very weights.

    `run`, `metadata`, `recipe` and `card` are the run's tags, metadata.json, config.json and the model's own card;
    `items` are its photos. `has_worst` says whether the gate drew the worst photos, `shows_worst` whether this copy of
    the card may show them.
    """

    model: str
    version: int
    entries: tuple[LedgerEntry, ...]
    run_name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    items: Sequence[DataItem] = ()
    report: GateReport | None = None
    has_worst: bool = False
    shows_worst: bool = False

    def with_photos(self, *, has: bool, shows: bool) -> CardRecords:
        """The records for a copy of the card that shows the worst photos, or doesn't."""
        return replace(self, has_worst=has, shows_worst=shows)

    @property
    def promotion(self) -> LedgerEntry:
        """The newest promotion of the version; its newest rollback if the ledger knows no promotion of it."""
        own = [entry for entry in self.entries if entry.to_version == self.version]
        return next((entry for entry in reversed(own) if entry.action == "promote"), own[-1])


def worst_photos(report: GateReport) -> list[ImageChange]:
    """The test photos with the lowest Dice, the worst first."""
    return sorted(report.images, key=lambda image: (image.challenger.dice, image.image_sha256))[:_LISTED]
