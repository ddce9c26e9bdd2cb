"""The dated price table: the cost of each instance type in a region, shipped as prices.yaml beside this file."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from wms.errors import UsageError
from wms.project import REGION, project

INSTANCE: Final = "t3.large"
"""The instance of record: 2 vCPU, 8 GiB, no GPU."""

VCPUS: Final = 2
BASELINE: Final = 0.30
"""Share of each vCPU that a t3.large's hourly price covers; work above that share is surplus."""

DISK_GB: Final = 30.0
"""The instance's own disk, gp3: system, images, decoded photos."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Rates(_Frozen):
    """The prices of an instance type in a region, in US dollars, with its disk (gp3), its address, and S3 Standard.

    `surplus_vcpu_hour` is the price of a t3's vCPU-hour above `baseline` in unlimited mode, its default; all other
    types have a baseline of 1. `spot_hour` is an estimate: spot prices move.
    """

    on_demand_hour: float = Field(gt=0)
    spot_hour: float = Field(gt=0)
    surplus_vcpu_hour: float = Field(ge=0)
    disk_gb_month: float = Field(ge=0)
    address_hour: float = Field(ge=0)
    storage_gb_month: float = Field(ge=0)
    instance_type: str = INSTANCE
    vcpus: int = Field(default=VCPUS, ge=1)
    baseline: float = Field(default=BASELINE, ge=0, le=1)


class InstanceType(_Frozen):
    """A type's properties, the same in every region."""

    vcpus: int = Field(ge=1)
    memory_gib: float = Field(gt=0)
    baseline: float = Field(gt=0, le=1)


class Hour(_Frozen):
    """The prices of an hour of a type in a region."""

    on_demand_hour: float = Field(gt=0)
    spot_hour: float = Field(gt=0)


class Region(_Frozen):
    """A region's prices: for each type, and for the resources of every type."""

    surplus_vcpu_hour: float = Field(ge=0)
    disk_gb_month: float = Field(ge=0)
    address_hour: float = Field(ge=0)
    storage_gb_month: float = Field(ge=0)
    prices: dict[str, Hour] = Field(min_length=1)


class PriceTable(_Frozen):
    """All regions' prices, the day of their collection, and their source."""

    as_of: datetime.date
    source: str = Field(min_length=1)
    instances: dict[str, InstanceType] = Field(min_length=1)
    regions: dict[str, Region] = Field(min_length=1)

    @model_validator(mode="after")
    def _every_price_has_its_type(self) -> Self:
        for name, region in self.regions.items():
            if unknown := sorted(set(region.prices) - set(self.instances)):
                raise ValueError(f"{name} has prices of types that `instances` lacks: {', '.join(unknown)}")
        return self

    def rates(self, region: str = "", instance_type: str = INSTANCE) -> Rates:
        """Return a type's prices in a region, by default `home_region()`.

        Raises UsageError, with the nearest name, for an unknown type or region.
        """
        region = region or home_region()
        asked = self.regions.get(region)
        if asked is None:
            raise UsageError(f"{self._lacks} the region {region!r}; {nearest(region, self.regions)}")
        hour = asked.prices.get(instance_type)
        if hour is None:
            hint = nearest(instance_type, asked.prices)
            raise UsageError(f"{self._lacks} the instance type {instance_type!r} in {region}; {hint}")
        kind = self.instances[instance_type]
        return Rates(
            on_demand_hour=hour.on_demand_hour,
            spot_hour=hour.spot_hour,
            surplus_vcpu_hour=asked.surplus_vcpu_hour,
            disk_gb_month=asked.disk_gb_month,
            address_hour=asked.address_hour,
            storage_gb_month=asked.storage_gb_month,
            instance_type=instance_type,
            vcpus=kind.vcpus,
            baseline=kind.baseline,
        )

    @property
    def _lacks(self) -> str:
        return f"The price table of {self.as_of} doesn't have"


def home_region() -> str:
    """Return the region of wms.toml if the table has its prices, else that of the instance of record."""
    chosen = project().region
    return chosen if chosen in price_table().regions else REGION


class Choice(_Frozen):
    """The instance that a cloud starts: region, type, and its longest lifetime in minutes."""

    region: str = Field(default_factory=home_region)
    instance_type: str = INSTANCE
    spot: bool = False
    disk_gb: float = Field(default=DISK_GB, gt=0)
    minutes: int = Field(default=120, ge=1)

    def rates(self) -> Rates:
        """Return the choice's prices. Raises UsageError for a type or a region that the price table lacks."""
        return price_table().rates(self.region, self.instance_type)

    def __str__(self) -> str:
        return f"{self.instance_type} {'spot' if self.spot else 'on demand'} in {self.region}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: the nearest known name, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(known))}."


@cache
def price_table() -> PriceTable:
    """Return the price table that this package ships.

    >>> price_table().rates("us-east-1", "t3.large").vcpus
    2
    """
    text = files(__package__).joinpath("prices.yaml").read_text(encoding="utf-8")
    return PriceTable.model_validate(yaml.safe_load(text))
