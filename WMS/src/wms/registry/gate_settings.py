"""The settings behind a verdict, as verdict and ledger keep them, and what a looser second try is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from wms.config_gate import GateConfig, looser
from wms.records import StoredRecord


class GateSettings(StoredRecord):
    """The gate's settings in a record: the recipe's section `gate`, unknown keys of newer code included.

    `source` says where the section came from. A setting that `values` lacks had its default.
    """

    values: Mapping[str, Any]
    grid: int | None = Field(default=None, description="Side in pixels at which masks were compared.")
    source: str = ""

    @classmethod
    def of(cls, config: GateConfig, grid: int, source: str) -> GateSettings:
        """The record of a recipe's section."""
        return cls(values=config.model_dump(mode="json"), grid=grid, source=source)

    @property
    def text(self) -> str:
        """Every setting and the source, for a sentence.

        >>> GateSettings(values={"mode": "enforce", "slices": []}, grid=512, source="train.yaml of main").text
        'mode enforce, slices none, grid 512; from train.yaml of main'
        """
        shown = [f"{name} {_shown(value)}" for name, value in self._all().items()]
        return ", ".join(shown) + (f"; from {self.source}" if self.source else "")

    def looser_than(self, before: GateSettings) -> str:
        """The settings in which these are looser than those `before`, for a sentence; empty if there is none."""
        found = list(looser(before.values, self.values))
        if before.grid != self.grid:
            found.append(("evaluation.grid", before.grid, self.grid))
        return ", ".join(f"{name} was {_shown(was)} and is {_shown(now)}" for name, was, now in found)

    def _all(self) -> dict[str, Any]:
        names = dict.fromkeys([*GateConfig.model_fields, *sorted(self.values)])  # the ledger's JSON has sorted keys
        found = {name: self.values[name] for name in names if name in self.values}
        return found | ({} if self.grid is None else {"grid": self.grid})


class GateTry(StoredRecord):
    """A verdict on record: its decision, the model, and the settings that led to the decision."""

    decision: str
    run_id: str
    weights_sha256: str
    settings: GateSettings
    champion_version: int | None = None
    scores: dict[str, float] = Field(
        default_factory=dict, description="The model's means by name; empty in records of older code."
    )
    card_sha256: str = Field(default="", description="Of the model's card; empty in records of older code.")
    test_version: str = ""
    test_images: int | None = Field(default=None, description="None in records of older code.")
    decided_at: str = Field(description="UTC, ISO 8601.")
    before: tuple[str, ...] = Field(
        default=(), description="SHA-256 of verdicts before this one, see `wms.registry.gate_tries`."
    )

    @property
    def refused(self) -> bool:
        """Whether the verdict let nothing pass: the mode off passes a model that isn't better."""
        return self.decision != "improved" and self.settings.values.get("mode") != "off"


def held_back(settings: GateSettings | None, earlier: Iterable[GateTry]) -> str:
    """The sentences against a promotion after an `earlier` refusal by stricter settings; empty without such a refusal.

    `settings` are those of the present verdict, None in a verdict of older code, which can't show that they aren't
    looser.
    """
    for tried in earlier:
        if not tried.refused:
            continue
        if settings is None:
            why = "the settings of the present verdict aren't on record. Run the gate again with this code"
        elif found := settings.looser_than(tried.settings):
            why = f"{found}. A looser second try promotes nothing"
        else:
            continue
        return (
            f"The gate refused this model in run {tried.run_id} at {tried.decided_at} under stricter settings: {why}; "
            "a person may promote it with `wms promote RUN --force REASON`."
        )
    return ""


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " and ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()  # as recipes write them
    return f"{value:.15g}" if isinstance(value, float) else str(value)
