"""docs/cost.md says what the code computes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wms.config import load_config
from wms_ops.commands.main import main
from wms_ops.cost.budget import BUDGET, DEFAULT_BUDGET_USD, MARGIN_MINUTES, MONTH_BUDGET, affordable_minutes
from wms_ops.cost.estimate import cost_of, estimate_minutes, hourly, month_of
from wms_ops.cost.prices import price_table

HOUSE = Path(__file__).resolve().parents[2]
TEXT = (HOUSE / "docs/cost.md").read_text(encoding="utf-8")
TABLE = price_table()


@pytest.mark.parametrize("name", TABLE.instances)
def test_each_types_hour(name: str) -> None:
    rates, kind = TABLE.rates("us-east-1", name), TABLE.instances[name]
    hours = " | ".join(f"{value:.4f}" for value in (hourly(rates), hourly(rates, busy=True), hourly(rates, spot=True)))
    assert f"| {name} | {kind.vcpus} | {kind.memory_gib:g} | {hours} |" in TEXT
    assert f"| {TABLE.as_of} | vCPU |" in TEXT


@pytest.mark.parametrize("photos", [49, 240, 360])
def test_the_estimates(photos: int) -> None:
    minutes = estimate_minutes(photos, load_config(HOUSE / "WMS/configs/train.yaml"))
    costs = (cost_of(minutes * 60, TABLE.rates("us-east-1", name)).total for name in ("t3.large", "m6i.large"))
    assert f"| {photos} photos | {minutes:.1f} | {' | '.join(f'{cost:.3f}' for cost in costs)} |" in TEXT
    if photos == 360:
        month = month_of(cost_of(minutes * 60))
        assert f"costs {month.always_on:.2f} USD a month" in TEXT
        assert f"Twenty runs of 360 photos cost {month.as_needed:.2f} USD" in TEXT


@pytest.mark.parametrize("budget", [0.5, 1.0, 5.0])
def test_the_lifetimes(budget: float) -> None:
    types = ("t3.large", "t3.xlarge", "m6i.large", "m6i.xlarge", "c6i.xlarge")
    assert f"| budget | {' | '.join(types)} |" in TEXT
    minutes = (str(affordable_minutes(budget, TABLE.rates("us-east-1", name))) for name in types)
    assert f"| {budget:.2f} USD | {' | '.join(minutes)} |" in TEXT


def test_other_regions_beside_the_first() -> None:
    shares = {
        region: [TABLE.rates(region, name).on_demand_hour / TABLE.rates("us-east-1", name).on_demand_hour
                 for name in TABLE.instances]
        for region in ("us-west-2", "eu-west-1")
    }  # fmt: skip
    assert set(shares["us-west-2"]) == {1.0}
    low, high = (round(100 * (share - 1)) for share in (min(shares["eu-west-1"]), max(shares["eu-west-1"])))
    assert f"`eu-west-1` {low} to {high} % more" in TEXT


def test_the_variables_and_the_assumption() -> None:
    assert f"`{BUDGET}` is what one run may cost by the estimate, {DEFAULT_BUDGET_USD:.2f} by default" in TEXT
    assert f"`{MONTH_BUDGET}` is" in TEXT
    assert f"with {MARGIN_MINUTES} minutes\nfor boot" in TEXT


@pytest.mark.parametrize("line", re.findall(r"^    wms cost ([^#\n]+)", TEXT, re.MULTILINE))
def test_each_command_exists(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["cost", *line.split(), "--help"])
    assert ended.value.code == 0
    options = set(re.findall(r"--[a-z]+", line))
    assert options <= set(re.findall(r"--[a-z]+", capsys.readouterr().out))
