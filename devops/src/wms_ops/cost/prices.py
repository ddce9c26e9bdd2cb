"""The dated price table: what an instance of record costs in a region, shipped as prices.yaml beside this file."""

from __future__ import annotations

import datetime
import difflib
from functools import cache
from importlib.resources import files
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict, Field

from wms.errors import UsageError

REGION: Final = "us-east-1"
"""Where the instance of record runs unless a user says otherwise."""

INSTANCE: Final = "t3.large"
"""The instance of record: 2 vCPU, 8 GiB, no GPU."""

VCPUS: Final = 2
BASELINE: Final = 0.30
"""Share of each of its vCPUs that a t3.large's hourly price covers; what it computes above that is surplus."""

DISK_GB: Final = 30.0
"""The instance's own disk, gp3: system, images, decoded photos."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Rates(_Frozen):
    """One region's prices in US dollars: of the instance of record, its disk (gp3), its address, and S3 Standard.

    `surplus_vcpu_hour` is what a vCPU-hour above BASELINE costs a t3 in unlimited mode, its default. `spot_hour` is
    an estimate: spot prices move.
    """

    on_demand_hour: float = Field(gt=0)
    spot_hour: float = Field(gt=0)
    surplus_vcpu_hour: float = Field(ge=0)
    disk_gb_month: float = Field(ge=0)
    address_hour: float = Field(ge=0)
    storage_gb_month: float = Field(ge=0)


class PriceTable(_Frozen):
    """All regions' prices, the day on which they were collected, and where from."""

    as_of: datetime.date
    source: str = Field(min_length=1)
    regions: dict[str, Rates] = Field(min_length=1)

    def rates(self, region: str = REGION) -> Rates:
        """The prices of a region. Raises UsageError with the nearest name for one that the table lacks."""
        if (found := self.regions.get(region)) is not None:
            return found
        close = difflib.get_close_matches(region, self.regions, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(self.regions))}."
        raise UsageError(f"The price table of {self.as_of} doesn't have the region {region!r}; {hint}")


@cache
def price_table() -> PriceTable:
    """The table that this package ships."""
    text = files(__package__).joinpath("prices.yaml").read_text(encoding="utf-8")
    return PriceTable.model_validate(yaml.safe_load(text))
