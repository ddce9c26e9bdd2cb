"""The estimated cost of a run, its cost so far, and the cost of an instance that is always on."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from operator import add
from typing import Final

from wms.config import RunConfig
from wms.models import parse_model
from wms_ops.cost.prices import DISK_GB, Rates, price_table
from wms_ops.runs.record import STEPS, RunRecord

HOURS_A_MONTH: Final = 730.0
"""AWS's own month: 365 x 24 / 12."""

MINIMUM_S: Final = 60.0
"""The shortest time that AWS bills for an instance or a disk; beyond, each second counts."""

START_S: Final = 240.0
"""Seconds that the cloud adds to a run: launch, boot, programs, first answer of MLflow, and the end.

Not measured yet: an assumption, on the careful side, until the loop has run on an instance.
"""

LOOP_S: Final = 60.0
"""Seconds of the loop beside training: the limit of its own benchmark."""

PIXELS_PER_S: Final = 680_000
"""Photos x epochs x size^2 a second, counted over all photos of a data set, validations and their share included.

Measured on two cores beside other work: 360 photos by the recipe of record took 1974 s, 360 x 3,733,504 pixels. A
t3.large was never measured; its two vCPUs are the two threads of one core, so a t3.large may well be slower.
"""

USUAL: Final = {"architecture": "unet", "channels": [16, 32, 64, 128, 256]}
_SIDE: Final = 512  # any side serves: only the ratio of two networks' work counts
RUNS_A_MONTH: Final = 20
"""One push a working day, for comparisons with an instance that is always on."""

ON_THE_CLOCK: Final = STEPS[STEPS.index("up") :]
"""The steps during which the instance runs."""

BUSY: Final = ("train", "gate")
"""The steps that compute on all cores."""


@dataclass(frozen=True)
class Cost:
    """The cost of `seconds` of an instance, in US dollars, part by part; `surplus` is for work above its baseline."""

    seconds: float = 0.0
    instance: float = 0.0
    surplus: float = 0.0
    disk: float = 0.0
    address: float = 0.0

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return self.instance + self.surplus + self.disk + self.address

    def share(self, part: float) -> Cost:
        """Return a part of the cost, such as that of one month; `part` is between 0 and 1."""
        return Cost(*(part * value for value in astuple(self)))

    def __add__(self, other: Cost) -> Cost:
        return Cost(*map(add, astuple(self), astuple(other)))


@dataclass(frozen=True)
class Month:
    """A month of `runs` instances that come and go, beside an always-on instance, in US dollars."""

    runs: int
    as_needed: float
    always_on: float

    @property
    def saved(self) -> float:
        """US dollars that coming and going saves."""
        return self.always_on - self.as_needed


def cost_of(
    seconds: float,
    rates: Rates | None = None,
    *,
    spot: bool = False,
    busy_seconds: float | None = None,
    disk_gb: float = DISK_GB,
    minimum_s: float = MINIMUM_S,
) -> Cost:
    """Return the cost of an instance that runs for `seconds`, by default a t3.large on demand in the team's region.

    Billing is per second, with AWS's minimum; a part of a run, such as a step, has `minimum_s` 0. All vCPUs compute for
    `busy_seconds`, by default all the time: the upper bound. Raises ValueError for negative seconds.

    >>> dollars(cost_of(3600, busy_seconds=1200).total)
    '0.095 USD'
    """
    if seconds < 0 or not math.isfinite(seconds):
        raise ValueError(f"An instance can't run for {seconds} seconds.")
    rates = rates or price_table().rates()
    billed = max(seconds, minimum_s)
    hours = billed / 3600
    busy_hours = min(seconds, seconds if busy_seconds is None else busy_seconds) / 3600
    # Credits are earned all the time and charged for at the instance's end, where it lived for less than a day.
    surplus_hours = max(0.0, rates.vcpus * (busy_hours - rates.baseline * hours))
    return Cost(
        seconds=billed,
        instance=hours * (rates.spot_hour if spot else rates.on_demand_hour),
        surplus=surplus_hours * rates.surplus_vcpu_hour,
        disk=hours * disk_gb * rates.disk_gb_month / HOURS_A_MONTH,
        address=hours * rates.address_hour,
    )


def hourly(rates: Rates, *, spot: bool = False, disk_gb: float = DISK_GB, busy: bool = False) -> float:
    """Return US dollars for an hour of instance, disk and address; `busy` adds a t3's surplus at full speed."""
    return cost_of(3600, rates, spot=spot, disk_gb=disk_gb, busy_seconds=3600 if busy else 0).total


def always_on(seconds: float, rates: Rates, *, disk_gb: float = DISK_GB) -> Cost:
    """Return the cost of an on-demand instance that never ends; idle, such an instance pays no surplus."""
    return cost_of(seconds, rates, disk_gb=disk_gb, busy_seconds=0, minimum_s=0)


def cost_of_run(record: RunRecord) -> Cost | None:
    """Return the cloud's price for a run's steps from `up` to `down`, as far as the run went.

    An instance's start is added, which a run on this machine doesn't have. None for a run without an instance.
    """
    if not record.step("up").seconds:
        return None
    seconds = sum(record.step(name).seconds for name in ON_THE_CLOCK)
    busy = sum(record.step(name).seconds for name in BUSY)
    return cost_of(seconds + START_S, busy_seconds=busy)


def month_of(run: Cost) -> Month:
    """Return a month with RUNS_A_MONTH such runs beside an always-on instance.

    The always-on instance pays nothing for surplus: an idle one saves credits enough for such runs.
    """
    idle = always_on(HOURS_A_MONTH * 3600, price_table().rates()).total
    return Month(RUNS_A_MONTH, RUNS_A_MONTH * run.total, idle)


def estimate_minutes(photos: int, config: RunConfig) -> float:
    """Return the minutes in which the instance of record trains on `photos` pairs by a recipe, start and end included.

    Each of several attempts counts. The estimate is for a budget: a network wider than the usual counts, a narrower
    network and early stopping don't.
    Raises ValueError for a negative number of photos.
    """
    if photos < 0:
        raise ValueError(f"A data set can't have {photos} photos.")
    pixels = config.training.attempts * sum(stage.epochs * stage.size**2 for stage in config.training.stages)
    width = max(1.0, config.model.macs(_SIDE) / parse_model(USUAL).macs(_SIDE))
    return (START_S + LOOP_S + photos * pixels * width / PIXELS_PER_S) / 60


def dollars(value: float) -> str:
    """Return an amount for people: cents from one US dollar on, below that tenths of a cent.

    >>> dollars(1234.5), dollars(0.0926)
    ('1,234.50 USD', '0.093 USD')
    """
    return f"{value:,.2f} USD" if abs(value) >= 1 else f"{value:.3f} USD"
