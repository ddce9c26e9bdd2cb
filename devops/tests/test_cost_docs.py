"""docs/cost.md says what the code computes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wms.config import load_config
from wms_ops.base.settings import BudgetSettings
from wms_ops.cost.budget import BUDGET, MARGIN_MINUTES, MONTH_BUDGET, affordable_minutes
from wms_ops.cost.estimate import cost_of, estimate_minutes, hourly, month_of
from wms_ops.cost.prices import REGION, price_table

HOUSE = Path(__file__).resolve().parents[2]
TEXT = (HOUSE / "docs/cost.md").read_text(encoding="utf-8")
TABLE = price_table()


@pytest.mark.parametrize("name", TABLE.instances)
def test_each_types_hour(name: str) -> None:
    rates, kind = TABLE.rates(REGION, name), TABLE.instances[name]
    hours = " | ".join(f"{value:.4f}" for value in (hourly(rates), hourly(rates, busy=True), hourly(rates, spot=True)))
    assert f"| {name} | {kind.vcpus} | {kind.memory_gib:g} | {hours} |" in TEXT
    assert f"| {TABLE.as_of} | vCPU |" in TEXT


@pytest.mark.parametrize("photos", [49, 240, 360])
def test_the_estimates(photos: int) -> None:
    minutes = estimate_minutes(photos, load_config(HOUSE / "WMS/configs/train.yaml"))
    costs = (cost_of(minutes * 60, TABLE.rates(REGION, name)).total for name in ("t3.large", "m6i.large"))
    assert f"| {photos} photos | {minutes:.1f} | {' | '.join(f'{cost:.3f}' for cost in costs)} |" in TEXT
    if photos == 360:
        month = month_of(cost_of(minutes * 60))
        assert f"| always on | {month.always_on:.2f} |" in TEXT
        assert f"| twenty runs of 360 photos | {month.as_needed:.2f} |" in TEXT


@pytest.mark.parametrize("budget", [0.5, 1.0, 5.0])
def test_the_lifetimes(budget: float) -> None:
    types = ("t3.large", "t3.xlarge", "m6i.large", "m6i.xlarge", "c6i.xlarge")
    assert f"| budget | {' | '.join(types)} |" in TEXT
    minutes = (str(affordable_minutes(budget, TABLE.rates(REGION, name))) for name in types)
    assert f"| {budget:.2f} USD | {' | '.join(minutes)} |" in TEXT


@pytest.mark.parametrize("region", sorted(set(TABLE.regions) - {REGION}))
def test_other_regions_beside_the_default(region: str) -> None:
    shares = [
        TABLE.rates(region, name).on_demand_hour / TABLE.rates(REGION, name).on_demand_hour for name in TABLE.instances
    ]
    low, high = sorted((round(100 * (1 - max(shares))), round(100 * (1 - min(shares)))))
    assert f"| `{region}` | {low} to {high} % less |" in TEXT


def test_the_variables_and_the_assumption() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([\w.]+) \|", TEXT, re.MULTILINE))
    assert rows == {BUDGET: f"{BudgetSettings.read({}).wms_budget_usd:.2f}", MONTH_BUDGET: "none"}
    minutes = re.search(r"boot and shutdown take\s+(\d+)\s+minutes", TEXT)
    assert minutes and float(minutes[1]) == MARGIN_MINUTES
