"""The recipe's section `gate`. The section decides no weight, so this file isn't among those whose change retrains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic.config import JsonDict

from wms.config_sections import Part, Section, Share

HIGHER: Final[JsonDict] = {"stricter": "higher"}
LOWER: Final[JsonDict] = {"stricter": "lower"}
NO_MATTER: Final[JsonDict] = {"stricter": "neither"}
"""Which change of a setting makes the gate stricter; a list names the words of a setting, the strictest first.

A setting that says nothing is looser after every change: see `looser`.
"""


_MOST_SPENT: Final = 0.999
"""The 199,999 resamples of `wms.registry.gate_use` still show this confidence in the 60th comparison."""


class GateConfig(Section):
    """When a challenger replaces the Production model: the rule of record, and the conditions that a team may add."""

    mode: Literal["enforce", "dry-run", "off"] = Field(
        default="enforce",
        description="dry-run only tells what it would decide; off lets everything pass, loudly.",
        json_schema_extra={"stricter": ["enforce", "dry-run", "off"]},
    )
    min_improvement: Part = Field(
        default=0.0,
        description="Mean Dice and mean IoU must both rise by more than this.",
        json_schema_extra=HIGHER,
    )
    min_confidence: float = Field(
        default=0.0,
        ge=0,
        le=0.9999,
        description="0 is the rule of record; with 0.95 a challenger equal to the champion passes about 1 time in 20.",
        json_schema_extra=HIGHER,
    )
    max_regression_per_image: Share = Field(
        default=1.0,
        description="Largest loss of Dice that one test image may show; 1 is off.",
        json_schema_extra=LOWER,
    )
    floor: Share = Field(
        default=0.0,
        description="Mean Dice that a challenger must reach, in a first training, too; 0 is off.",
        json_schema_extra=HIGHER,
    )
    unseen_loss: Part = Field(
        default=0.0,
        description="Mean loss of Dice on a kind of photo that the test images may lack, which min_confidence then "
        "covers; 0 is off.",
        json_schema_extra=HIGHER,
    )
    repeated_use: bool = Field(
        default=False,
        description="Whether min_confidence holds for all decisions about one Production model together.",
        json_schema_extra=HIGHER,
    )
    slices: tuple[Literal["resolution", "coverage"], ...] = Field(
        default=(),
        description="Also compare within thirds of the test images, by megapixels or the strip's share.",
        json_schema_extra=NO_MATTER,
    )

    @field_validator("mode", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        """YAML reads a bare `off` as false."""
        return "off" if value is False else value

    @model_validator(mode="after")
    def _confidence_is_asked(self) -> Self:
        for name in ("unseen_loss", "repeated_use"):
            if getattr(self, name) and not self.min_confidence:
                raise ValueError(f"{name} changes how min_confidence is asked, so it needs one, such as 0.95")
        if self.repeated_use and self.min_confidence > _MOST_SPENT:
            raise ValueError(
                f"with repeated_use min_confidence is {_MOST_SPENT:g} at most: more is beyond all resamples"
            )
        return self


def looser(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The settings that are looser `now` than `before`, as (name, earlier value, present value); both are JSON values.

    A setting that a record lacks had its default. A change whose direction this code doesn't know counts as looser.

    >>> list(looser({"mode": "enforce", "min_confidence": 0.95}, {"mode": "enforce", "min_improvement": 0.1}))
    [('min_confidence', 0.95, 0.0)]
    """
    known = GateConfig().model_dump(mode="json")
    for name in dict.fromkeys([*before, *now]):
        was, is_now = (values.get(name, known.get(name)) for values in (before, now))
        if was != is_now and not _stricter(name, was, is_now):
            yield name, was, is_now


def _stricter(name: str, was: Any, is_now: Any) -> bool:
    field = GateConfig.model_fields.get(name)
    extra = field.json_schema_extra if field else None
    rule = extra.get("stricter") if isinstance(extra, Mapping) else None
    if rule == "neither":
        return True
    if isinstance(rule, list):
        return was in rule and is_now in rule and rule.index(is_now) < rule.index(was)
    if was is None or is_now is None:  # None switches a limit off
        return rule in ("higher", "lower") and was is None
    if isinstance(was, int | float) and isinstance(is_now, int | float):
        return (rule == "higher" and is_now > was) or (rule == "lower" and is_now < was)
    return False
