"""Prices and estimates, by hand-made sums and by what was measured."""

from __future__ import annotations

import fnmatch
import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_values import SECONDS, blocked, failed, merged, with_step

from wms.config import load_config
from wms.errors import UsageError
from wms_ops.cost import prices
from wms_ops.cost.estimate import (
    BUSY,
    LOOP_S,
    ON_THE_CLOCK,
    START_S,
    cost_of,
    cost_of_run,
    estimate_minutes,
    hourly,
    month_of,
)
from wms_ops.cost.prices import BASELINE, DISK_GB, VCPUS, Choice, PriceTable, Rates, price_table
from wms_ops.runs.record import StepState

HOUSE = Path(__file__).resolve().parents[2]
CONFIGS = sorted((HOUSE / "WMS/configs").glob("*.yaml"))
RATES = Rates(
    on_demand_hour=0.10,
    spot_hour=0.04,
    surplus_vcpu_hour=0.05,
    disk_gb_month=0.073,
    address_hour=0.005,
    storage_gb_month=0.02,
)
seconds = st.floats(0, 1e6)


def test_an_hour_costs_what_the_table_says() -> None:
    cost = cost_of(3600, RATES, disk_gb=100)
    assert cost.instance == pytest.approx(0.10)
    assert cost.disk == pytest.approx(100 * 0.073 / 730)
    assert cost.address == pytest.approx(0.005)
    # Both of the two vCPUs at full speed, of which 30 % are in the hourly price: 1.4 vCPU-hours more.
    assert cost.surplus == pytest.approx(1.4 * 0.05)
    assert cost.total == pytest.approx(0.10 + 0.01 + 0.005 + 0.07)
    assert cost_of(3600, RATES, spot=True).instance == pytest.approx(0.04)


def test_an_instance_that_idles_pays_no_surplus() -> None:
    assert cost_of(1000, RATES, busy_seconds=300).surplus == 0
    assert cost_of(1000, RATES, busy_seconds=301).surplus == pytest.approx(2 * 1 / 3600 * 0.05)
    assert cost_of(1000, RATES, busy_seconds=5000) == cost_of(1000, RATES)


def test_a_minute_is_the_least_that_is_billed() -> None:
    assert cost_of(1, RATES, busy_seconds=0) == cost_of(60, RATES, busy_seconds=0)
    assert cost_of(0, RATES, minimum_s=0).total == 0
    assert cost_of(61, RATES).instance > cost_of(60, RATES).instance


@given(st.lists(seconds, min_size=1, max_size=6))
def test_parts_of_a_run_cost_together_what_the_whole_costs(parts: list[float]) -> None:
    costs = [cost_of(part, RATES, minimum_s=0) for part in parts]
    together = sum(costs[1:], costs[0])
    assert together.total == pytest.approx(cost_of(sum(parts), RATES, minimum_s=0).total)
    assert together.seconds == pytest.approx(sum(parts))


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_impossible_times_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="can't run for"):
        cost_of(wrong, RATES)


def test_the_table_is_whole_dated_and_shipped() -> None:
    table = price_table()
    assert table.as_of.year >= 2026
    assert "AWS" in table.source
    assert {"eu-central-1", "us-east-1", "us-west-2", "eu-west-1"} <= set(table.regions)
    for name, region in table.regions.items():
        assert set(region.prices) == set(table.instances), name
        for kind, hour in region.prices.items():
            assert hour.spot_hour < hour.on_demand_hour, (name, kind)
    assert table.rates().on_demand_hour == table.rates("eu-central-1").on_demand_hour == 0.096
    assert (table.rates().vcpus, table.rates().baseline) == (VCPUS, BASELINE)
    assert table.rates("eu-west-1").on_demand_hour > table.rates("us-east-1").on_demand_hour
    shipped = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["wms_ops"]
    assert any(fnmatch.fnmatch("cost/prices.yaml", pattern) for pattern in shipped)
    assert (Path(prices.__file__).parent / "prices.yaml").is_file()


def test_an_unknown_region_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"doesn't have the region 'us-east1'; did you mean us-east-1\?"):
        price_table().rates("us-east1")
    with pytest.raises(UsageError, match="it has eu-central-1, eu-west-1, us-east-1, us-west-2"):
        price_table().rates("mars")


def test_an_unknown_type_gets_the_nearest_name() -> None:
    with pytest.raises(
        UsageError, match=r"doesn't have the instance type 't3.larg' in us-west-2; did you mean t3\.large\?"
    ):
        price_table().rates("us-west-2", "t3.larg")
    with pytest.raises(UsageError, match=r"it has c6i\.xlarge, m6i\.large"):
        Choice(instance_type="p5").rates()


def test_a_price_of_an_unknown_type_is_refused() -> None:
    table = price_table().model_dump()
    del table["instances"]["t3.large"]
    with pytest.raises(ValueError, match="eu-central-1 has prices of types that `instances` lacks"):
        PriceTable.model_validate(table)


@pytest.mark.parametrize("name", price_table().instances)
def test_only_burstable_types_pay_for_work_above_a_baseline(name: str) -> None:
    rates = price_table().rates("eu-west-1", name)
    surplus = cost_of(3600, rates).surplus
    assert surplus == pytest.approx(rates.vcpus * (1 - rates.baseline) * 0.05)
    assert (surplus > 0) == name.startswith("t3.")
    assert cost_of(3600, rates, busy_seconds=rates.baseline * 3600).surplus == pytest.approx(0)


def test_an_hour_is_instance_disk_and_address() -> None:
    assert hourly(RATES, disk_gb=100) == pytest.approx(0.10 + 0.01 + 0.005)
    assert hourly(RATES, disk_gb=100, spot=True) == pytest.approx(0.04 + 0.01 + 0.005)
    assert hourly(RATES, disk_gb=100, busy=True) == pytest.approx(0.10 + 0.01 + 0.005 + 0.07)
    # The figures of docs/cost.md.
    assert hourly(price_table().rates()) == pytest.approx(0.1049, abs=5e-5)
    assert hourly(price_table().rates(), busy=True) == pytest.approx(0.1749, abs=5e-5)


def test_a_month_of_runs_beside_an_instance_that_is_always_on() -> None:
    month, rates = month_of(cost_of(1800)), price_table().rates()
    assert month.as_needed == pytest.approx(month.runs * cost_of(1800).total)
    whole = rates.on_demand_hour + rates.address_hour
    assert month.always_on == pytest.approx(730 * whole + DISK_GB * rates.disk_gb_month)
    assert month.saved == pytest.approx(month.always_on - month.as_needed)


def test_a_run_costs_from_its_start_to_its_end() -> None:
    cost = cost_of_run(merged())
    assert cost is not None
    assert cost.seconds == pytest.approx(sum(SECONDS[name] for name in ON_THE_CLOCK) + START_S)
    assert cost == cost_of(cost.seconds, busy_seconds=sum(SECONDS[name] for name in BUSY))


def test_a_run_without_an_instance_costs_nothing() -> None:
    assert cost_of_run(failed("validate", "grey masks", 28).with_step(merged().step("down"))) is None
    assert cost_of_run(with_step(blocked(), "up", state=StepState.WAITING, seconds=0.0)) is None


def test_the_estimate_is_what_was_measured() -> None:
    """README: the recipe of record took 32.9 minutes on 360 photos."""
    config = load_config(HOUSE / "WMS/configs/train.yaml")
    assert estimate_minutes(360, config) == pytest.approx(32.9 + (START_S + LOOP_S) / 60, rel=0.02)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_more_photos_and_wider_networks_take_longer(path: Path) -> None:
    config = load_config(path)
    times = [estimate_minutes(photos, config) for photos in (0, 25, 400, 100_000)]
    assert times == sorted(set(times))
    assert times[0] == (START_S + LOOP_S) / 60
    wide = config.with_changes(model__channels=[32, 64, 128, 256, 512])
    work = wide.model.macs(512) / config.model.macs(512)
    assert work == pytest.approx(4, rel=0.01), "all but the photo's three channels and the one logit are doubled"
    assert estimate_minutes(400, wide) - times[0] == pytest.approx(work * (times[2] - times[0]))
    thrice = config.with_changes(training__attempts=3, training__evaluate_test=False)
    assert estimate_minutes(400, thrice) - times[0] == pytest.approx(3 * (times[2] - times[0]))
    narrow = config.with_changes(model__channels=[2, 3, 4, 5, 6])
    assert estimate_minutes(400, narrow) == times[2]
    with pytest.raises(ValueError, match="can't have -1"):
        estimate_minutes(-1, config)
