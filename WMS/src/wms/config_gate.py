"""The recipe's section `gate`. The section decides no weight, so this file isn't among those whose change retrains."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from wms.config_sections import Part, Section, Share


class GateConfig(Section):
    """When a challenger replaces the Production model: the rule of record, and the conditions that a team may add."""

    mode: Literal["enforce", "dry-run", "off"] = Field(
        default="enforce", description="dry-run only tells what it would decide; off lets everything pass, loudly."
    )
    min_improvement: Part = Field(default=0.0, description="Mean Dice and mean IoU must both rise by more than this.")
    min_confidence: Part = Field(
        default=0.0,
        description="0 is the rule of record; with 0.95 a challenger equal to the champion passes about 1 time in 20.",
    )
    max_regression_per_image: Share = Field(
        default=1.0, description="Largest loss of Dice that one test image may show; 1 is off."
    )
    floor: Share = Field(
        default=0.0, description="Mean Dice that a challenger must reach, in a first training, too; 0 is off."
    )
    slices: tuple[Literal["resolution", "coverage"], ...] = Field(
        default=(), description="Also compare within thirds of the test images, by megapixels or the strip's share."
    )

    @field_validator("mode", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        """YAML reads a bare `off` as false."""
        return "off" if value is False else value
