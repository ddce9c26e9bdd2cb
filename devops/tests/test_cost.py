"""Prices, estimates, bills and the budget, by hand-made sums and by what was measured."""

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
from wms.errors import UsageError, run_main
from wms_ops.cost import prices
from wms_ops.cost.estimate import (
    BUSY,
    DEFAULT_BUDGET_USD,
    LOOP_S,
    ON_THE_CLOCK,
    START_S,
    Cost,
    check_budget,
    cost_of,
    cost_of_run,
    dollars,
    estimate_minutes,
    month_of,
    read_budget,
)
from wms_ops.cost.prices import Rates, price_table
from wms_ops.errors import BudgetError
from wms_ops.pipeline.record import StepState

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
    for name, rates in table.regions.items():
        assert rates.spot_hour < rates.on_demand_hour, name
    assert table.rates().on_demand_hour == 0.0832
    assert table.rates("eu-west-1").on_demand_hour > table.rates("us-east-1").on_demand_hour
    shipped = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["wms_ops"]
    assert any(fnmatch.fnmatch("cost/prices.yaml", pattern) for pattern in shipped)
    assert (Path(prices.__file__).parent / "prices.yaml").is_file()


def test_an_unknown_region_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"doesn't have the region 'us-east1'; did you mean us-east-1\?"):
        price_table().rates("us-east1")
    with pytest.raises(UsageError, match="it has eu-west-1, us-east-1"):
        price_table().rates("mars")


def test_a_month_of_runs_beside_an_instance_that_is_always_on() -> None:
    month = month_of(cost_of(1800, RATES), runs=20, stored_gb=50, rates=RATES)
    assert month.storage == pytest.approx(1.0)
    assert month.as_needed == pytest.approx(20 * cost_of(1800, RATES).total + 1.0)
    assert month.always_on == pytest.approx(730 * 0.105 + 30 * 0.073 + 1.0)
    assert month.saved == pytest.approx(month.always_on - month.as_needed)
    with pytest.raises(ValueError, match="less than no runs"):
        month_of(cost_of(1, RATES), runs=-1)


def test_a_run_costs_from_its_start_to_its_end() -> None:
    cost = cost_of_run(merged(), RATES, start_s=0)
    assert cost is not None
    assert cost.seconds == pytest.approx(sum(SECONDS[name] for name in ON_THE_CLOCK))
    busy = sum(SECONDS[name] for name in BUSY)
    assert cost == cost_of(cost.seconds, RATES, busy_seconds=busy)
    in_cloud = cost_of_run(merged(), RATES)
    assert in_cloud is not None
    assert in_cloud.seconds == pytest.approx(cost.seconds + START_S)


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
    assert estimate_minutes(400, wide) - times[0] == pytest.approx(4 * (times[2] - times[0]))
    narrow = config.with_changes(model__channels=[2, 3, 4, 5, 6])
    assert estimate_minutes(400, narrow) == times[2]
    with pytest.raises(ValueError, match="can't have -1"):
        estimate_minutes(-1, config)


@pytest.mark.parametrize(
    ("text", "budget"), [(None, DEFAULT_BUDGET_USD), ("", DEFAULT_BUDGET_USD), (" 2.5 ", 2.5), ("0", 0.0)]
)
def test_the_budget_is_read(text: str | None, budget: float) -> None:
    assert read_budget({} if text is None else {"WMS_BUDGET_USD": text}) == budget


@pytest.mark.parametrize("text", ["a lot", "nan", "inf", "-1", "1,50", "1 USD"])
def test_a_budget_that_is_no_number_is_a_mistake_of_usage(text: str) -> None:
    with pytest.raises(UsageError, match=r"WMS_BUDGET_USD is .*; give a number of US dollars"):
        read_budget({"WMS_BUDGET_USD": text})


def test_a_run_within_the_budget_passes() -> None:
    check_budget(Cost(60, 0.5, 0.25, 0.25, 0.0), 1.0)


@given(total=st.floats(1e-4, 500))
def test_a_run_over_the_budget_is_refused_and_the_advice_helps(total: float) -> None:
    cost = Cost(1800, total, 0, 0, 0)
    with pytest.raises(BudgetError) as caught:
        check_budget(cost, total * 0.99)
    text = str(caught.value)
    assert dollars(total) in text
    assert "30 minutes" in text
    advised = text.rpartition("WMS_BUDGET_USD=")[2].rstrip(".")
    check_budget(cost, read_budget({"WMS_BUDGET_USD": advised}))


def test_the_budget_has_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def main(_: object) -> int:
        check_budget(cost_of(36_000), 0.5)
        return 0

    assert run_main(main) == 86
    assert capsys.readouterr().err.count("\n") == 1
