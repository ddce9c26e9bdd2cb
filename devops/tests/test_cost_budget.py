"""The budget: what it refuses, and that no lifetime that it grants can cost more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms.errors import UsageError, run_main
from wms_ops.base.errors import BudgetError
from wms_ops.base.settings import BudgetSettings
from wms_ops.cost.budget import (
    LONGEST_MINUTES,
    MARGIN_MINUTES,
    SHORTEST_MINUTES,
    affordable_minutes,
    check_budget,
    check_month,
    lifetime,
    most_of,
)
from wms_ops.cost.estimate import Cost, cost_of, dollars
from wms_ops.cost.prices import Rates, price_table

TABLE = price_table()
all_rates = st.sampled_from([TABLE.rates(region, kind) for region in TABLE.regions for kind in TABLE.instances])
budgets = st.one_of(st.floats(0, 20), st.floats(0, 1e9), st.integers(0, 500).map(lambda cents: cents / 100))
disks = st.floats(1, 16_384)


@pytest.mark.parametrize(("text", "budget"), [(None, 1.0), ("", 1.0), (" 2.5 ", 2.5), ("0", 0.0)])
def test_the_budget_is_read(text: str | None, budget: float) -> None:
    assert BudgetSettings.read({} if text is None else {"WMS_BUDGET_USD": text}).wms_budget_usd == budget


def test_a_month_has_no_budget_unless_it_is_given_one() -> None:
    assert BudgetSettings.read({"WMS_BUDGET_USD": "1"}).wms_budget_month_usd is None
    assert BudgetSettings.read({"WMS_BUDGET_MONTH_USD": " 0 "}).wms_budget_month_usd == 0.0
    assert BudgetSettings.read({"WMS_BUDGET_MONTH_USD": "7.5"}).wms_budget_month_usd == 7.5
    with pytest.raises(UsageError, match=r"WMS_BUDGET_MONTH_USD is 'five'; give a number of US dollars for each month"):
        BudgetSettings.read({"WMS_BUDGET_MONTH_USD": "five"})


@pytest.mark.parametrize("text", ["a lot", "nan", "inf", "-1", "1,50", "1 USD"])
def test_a_budget_that_is_no_number_is_a_mistake_of_usage(text: str) -> None:
    with pytest.raises(UsageError, match=r"WMS_BUDGET_USD is .*; give a number of US dollars for each run"):
        BudgetSettings.read({"WMS_BUDGET_USD": text})


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
    check_budget(cost, BudgetSettings.read({"WMS_BUDGET_USD": advised}).wms_budget_usd)


@given(committed=st.floats(0, 100), total=st.floats(1e-3, 10))
def test_a_month_over_its_budget_is_refused_and_the_advice_helps(committed: float, total: float) -> None:
    most = Cost(7200, total, 0, 0, 0)
    check_month(committed, most, None, month="November 2026")
    check_month(committed, most, committed + total, month="November 2026")
    with pytest.raises(BudgetError) as caught:
        check_month(committed, most, (committed + total) * 0.99, month="November 2026")
    text = str(caught.value)
    assert text.startswith(f"November 2026 has cost {dollars(committed)} so far")
    assert "120 minutes" in text
    advised = text.rpartition("WMS_BUDGET_MONTH_USD=")[2].rstrip(".")
    check_month(
        committed,
        most,
        BudgetSettings.read({"WMS_BUDGET_MONTH_USD": advised}).wms_budget_month_usd,
        month="November 2026",
    )


@given(budget=budgets, rates=all_rates, disk=disks)
def test_the_longest_lifetime_that_a_budget_buys_never_costs_more(budget: float, rates: Rates, disk: float) -> None:
    minutes = affordable_minutes(budget, rates, disk_gb=disk)
    assert 0 <= minutes <= LONGEST_MINUTES
    if minutes:
        # With boot and shutdown, at full speed all the time, whichever way it's paid for.
        for spot in (False, True):
            real = cost_of((minutes + MARGIN_MINUTES) * 60, rates, spot=spot, disk_gb=disk)
            assert real.total <= most_of(minutes, rates, disk_gb=disk).total <= budget
    if minutes < LONGEST_MINUTES:  # and not a minute less than it could be, but for a rounding error's
        assert most_of(minutes + 2, rates, disk_gb=disk).total > budget


@given(requested=st.integers(SHORTEST_MINUTES, LONGEST_MINUTES), budget=budgets, rates=all_rates, disk=disks)
def test_an_instance_ends_before_its_budget_does(requested: int, budget: float, rates: Rates, disk: float) -> None:
    try:
        minutes = lifetime(requested, budget, rates, disk_gb=disk)
    except BudgetError as error:
        assert affordable_minutes(budget, rates, disk_gb=disk) < SHORTEST_MINUTES
        advised = float(str(error).rpartition("WMS_BUDGET_USD=")[2].rstrip("."))
        assert lifetime(SHORTEST_MINUTES, advised, rates, disk_gb=disk) == SHORTEST_MINUTES
        return
    assert SHORTEST_MINUTES <= minutes <= requested
    assert most_of(minutes, rates, disk_gb=disk).total <= budget


def test_a_lifetime_in_figures() -> None:
    """docs/cost.md: one US dollar buys six hours of a t3.large at full speed."""
    rates = TABLE.rates("us-east-1")
    assert affordable_minutes(1.0, rates) == 368
    assert lifetime(120, 1.0, rates) == 120
    assert lifetime(600, 1.0, rates) == 368
    with pytest.raises(BudgetError, match=r"0\.010 USD don't buy 5 minutes of a t3\.large, which may cost 0\.022 USD"):
        lifetime(600, 0.01, rates)


@pytest.mark.parametrize("minutes", [-1, 0, 4, 2881])
def test_impossible_lifetimes_are_refused(minutes: int) -> None:
    with pytest.raises(UsageError, match=f"can't live for {minutes} minutes; give 5 to 2880"):
        lifetime(minutes, 1.0, TABLE.rates("us-east-1"))


@pytest.mark.parametrize("budget", [-0.01, float("nan")])
def test_impossible_budgets_are_bugs(budget: float) -> None:
    with pytest.raises(ValueError, match="can't be"):
        affordable_minutes(budget, TABLE.rates("us-east-1"))


def test_the_budget_has_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def main(_: object) -> int:
        check_budget(cost_of(36_000), 0.5)
        return 0

    assert run_main(main) == 86
    assert capsys.readouterr().err.count("\n") == 1
