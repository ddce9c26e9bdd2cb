"""The loop's steps that ask for money and tell of it, with a cloud that bills."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from cost_values import session
from report_values import Page, merged
from test_report_pull import rendered

from wms.errors import UsageError
from wms_ops.base.errors import BudgetError, StoreUnreachableError
from wms_ops.cost.bills import BillLine, RunBill, Saving, by_version
from wms_ops.cost.budget import most_of
from wms_ops.cost.estimate import Cost, cost_of
from wms_ops.cost.prices import Choice, price_table
from wms_ops.cost.sessions import EndedBy, Session, month_name, month_start
from wms_ops.loop import steps_cloud, steps_publish
from wms_ops.loop.context import RunContext
from wms_ops.machine.types import CloudState
from wms_ops.report.pull_request import pull_body
from wms_ops.runs.record import StepState
from wms_ops.targets.local import LocalCloud

HOUSE = Path(__file__).resolve().parents[2]
TABLE = price_table()


class BilledCloud:
    """A cloud whose instance is of the user's choice; the sessions on record are given."""

    name = "aws"
    billed = needs_account = True

    def __init__(self, choice: Choice, sessions: Sequence[Session] = (), *, broken: bool = False) -> None:
        self.chosen, self.kept, self.broken = choice, tuple(sessions), broken
        self.downs, self.kept_up = 0, False

    def choice(self) -> Choice:
        return self.chosen

    def sessions(self, since: datetime | None = None) -> Sequence[Session]:
        if self.broken:
            raise StoreUnreachableError("Amazon S3 doesn't answer.")
        return self.kept

    def for_run(self, run_id: str) -> BilledCloud:
        return self

    def note(self, change: Callable[[Session], Session], since: datetime) -> None:
        if self.broken:
            raise StoreUnreachableError("Amazon S3 doesn't answer.")
        self.kept = tuple(change(one) if one.run == "r1" else one for one in self.kept)

    def status(self) -> CloudState:
        return CloudState.ABSENT if self.downs else CloudState.RUNNING

    def down(self) -> None:
        self.downs += not self.kept_up


def context(folder: Path, cloud: object, **environ: str) -> RunContext:
    return RunContext(
        run_id="r1",
        workspace=HOUSE,
        folder=folder,
        cloud=cast(Any, cloud),
        pulls=cast(Any, None),
        environ=environ,
        show=lambda _: None,
    )


def budget(where: RunContext, photos: int = 360) -> dict[str, str]:
    return dict(steps_cloud.budget(where, {"photos_total": str(photos)}).outputs)


def test_the_local_cloud_counts_as_the_instance_of_record(tmp_path: Path) -> None:
    here = steps_cloud.budget(context(tmp_path, LocalCloud(tmp_path)), {"photos_total": "360"})
    record = steps_cloud.budget(context(tmp_path, BilledCloud(Choice())), {"photos_total": "360"})
    assert here == record
    assert here.text.startswith("On the instance of record: about 38 minutes and 0.11 USD.")
    # A month's budget is for what costs money.
    assert budget(context(tmp_path, LocalCloud(tmp_path), WMS_BUDGET_MONTH_USD="0"))


def test_the_estimate_is_of_the_chosen_instance(tmp_path: Path) -> None:
    choice = Choice(region="eu-west-1", instance_type="m6i.xlarge", spot=True, disk_gb=80)
    done = steps_cloud.budget(context(tmp_path, BilledCloud(choice)), {"photos_total": "360"})
    minutes = float(done.outputs["estimated_minutes"])
    expected = cost_of(minutes * 60, TABLE.rates("eu-west-1", "m6i.xlarge"), spot=True, disk_gb=80).total
    assert float(done.outputs["estimated_usd"]) == pytest.approx(expected, rel=0.02)
    assert "On a m6i.xlarge spot in eu-west-1: about" in done.text


def test_an_instance_that_lives_shorter_than_the_estimate_is_told_of(tmp_path: Path) -> None:
    done = [
        steps_cloud.budget(context(tmp_path, BilledCloud(Choice(minutes=minutes))), {"photos_total": "360"})
        for minutes in (37, 39)
    ]
    assert "Warning: the instance lives for 37 minutes, so the training may be cut off" in done[0].text
    assert "Warning" not in done[1].text and done[0].outputs == done[1].outputs


def test_the_budget_bears_the_price_on_demand(tmp_path: Path) -> None:
    """0.10 USD would do at the spot price of the day, but that may rise."""
    choice = Choice(instance_type="m6i.xlarge", spot=True)
    limit = "0.10"
    assert float(budget(context(tmp_path, BilledCloud(choice)))["estimated_usd"]) < float(limit)
    with pytest.raises(BudgetError, match="WMS_BUDGET_USD"):
        budget(context(tmp_path, BilledCloud(choice), WMS_BUDGET_USD=limit))


def test_an_unknown_type_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean t3\.large\?"):
        budget(context(tmp_path, BilledCloud(Choice(instance_type="t3.larg"))))


def test_a_month_that_would_pass_its_budget_is_refused(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    begun = month_start(month_name(now))
    spent = session(begun=begun, minutes=60).ended(begun + timedelta(hours=1), EndedBy.DOWN)
    choice = Choice(minutes=60, region="us-east-1")
    rates = TABLE.rates("us-east-1")
    needed = cost_of(3600, rates).total + most_of(60, rates).total
    cloud = BilledCloud(choice, [spent])
    assert budget(context(tmp_path, cloud, WMS_BUDGET_MONTH_USD=f"{needed + 0.001:.4f}"))
    with pytest.raises(
        BudgetError, match=r"has cost 0\.16\d USD so far, and this session may cost up to 0\.170 USD"
    ) as e:
        budget(context(tmp_path, cloud, WMS_BUDGET_MONTH_USD=f"{needed - 0.001:.4f}"))
    assert str(e.value).startswith(f"{now:%B %Y} has cost")


def test_the_end_tells_what_it_cost(tmp_path: Path) -> None:
    values = {"seconds_up": "3600", "seconds_busy": "0"}
    cloud = BilledCloud(Choice(region="us-east-1", instance_type="c6i.xlarge", spot=True))
    done = steps_cloud.down(context(tmp_path, cloud), values)
    assert cloud.downs == 1
    assert done.outputs["cost_usd"] == "0.0843"
    assert done.text == "The instance is gone; 60.0 minutes of it cost 0.084 USD."


def test_the_end_of_an_instance_that_stays_is_not_told(tmp_path: Path) -> None:
    cloud = BilledCloud(Choice())
    cloud.kept_up = True
    done = steps_cloud.down(context(tmp_path, cloud), {"seconds_up": "0"})
    assert done.text.startswith("The instance, which isn't the loop's own, stays;")


def test_the_pull_request_gets_the_runs_own_bill(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    own = session(begun=now - timedelta(minutes=30), run="r1", spot=True, instance_type="m6i.large")
    github = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "7"}
    where = context(tmp_path, BilledCloud(Choice(), [own, session(begun=now, run="r2")]), **github)
    steps_publish.report(where, merged())
    body = (tmp_path / steps_publish.BODY).read_text()
    assert "| cost of this run: m6i.large spot in us-east-1 | |" in body
    assert "| minutes until this report | 30.0 |" in body
    assert "- [the run on GitHub](https://github.com/o/r/actions/runs/7)" in body
    assert "would have" not in body


@pytest.mark.parametrize("broken", [True, False])
def test_a_bill_that_can_not_be_had_is_left_out(tmp_path: Path, broken: bool) -> None:
    """Neither a store that is away nor a run without a session keeps the report from being written."""
    steps_publish.report(context(tmp_path, BilledCloud(Choice(), broken=broken)), merged())
    assert "| cost in the cloud," in (tmp_path / steps_publish.BODY).read_text()


def test_a_run_s_bill_knows_its_model_version_and_its_work(tmp_path: Path) -> None:
    """Each of a run's two instances bears the work that came after its own beginning."""
    record = merged()
    train, gate = (record.step(name) for name in ("train", "gate"))
    begun = datetime.fromisoformat(train.started_at)
    first = session(begun=begun - timedelta(minutes=5), run="r1")
    second = session(begun=begun + timedelta(seconds=1), run="r1")
    other = session(begun=begun, run="r2")
    cloud = BilledCloud(Choice(), [first, second, other])
    steps_cloud.note(context(tmp_path, cloud), record)
    version = int(record.outputs["version"])
    assert [one.model_version for one in cloud.kept] == [version, version, None]
    assert [one.busy_seconds for one in cloud.kept] == [train.seconds + gate.seconds, gate.seconds, None]
    assert set(by_version(cloud.kept, TABLE, begun + timedelta(hours=1))) == {str(version), "none"}
    unfinished = record.with_step(train.model_copy(update={"state": StepState.FAILED}))
    steps_cloud.note(context(tmp_path, BilledCloud(Choice(), broken=True)), unfinished)


def test_the_local_cloud_keeps_its_would_have_cost(tmp_path: Path) -> None:
    steps_publish.report(context(tmp_path, LocalCloud(tmp_path)), merged())
    assert "| cost in the cloud," in (tmp_path / steps_publish.BODY).read_text()


# The table itself

BILL = RunBill(
    kind="t3.large on demand in us-east-1",
    cost=Cost(1620, 0.0374, 0.0200, 0.0015, 0.0022),
    month="2026-11",
    month_line=BillLine(12, Cost(20_000, 0.5, 0.25, 0.02, 0.03)),
    saving=Saving(864_000, "t3.large", 0.8, 21.9588),
    open=False,
)


def test_a_bill_in_a_pull_request() -> None:
    body = pull_body(merged(), gate_markdown="", bill=BILL)
    for row in (
        "| cost of this run: t3.large on demand in us-east-1 | |",
        "| minutes | 27.0 |",
        "| **this run, USD** | **0.0611** |",
        "| November 2026 so far, instances: 12, USD | 0.8000 |",
        "| a t3.large that is always on, the same 240.0 hours, USD | 21.9588 |",
        "| **saved, USD** | **21.1588** |",
        "The estimate before the start was 0.015 USD.",
    ):
        assert row in body
    assert "cost in the cloud" not in body
    page = Page(rendered(body))
    assert page.text.count("always on") == 1


def test_a_bill_without_a_saving_has_no_such_rows() -> None:
    body = pull_body(merged(), gate_markdown="", bill=replace(BILL, saving=None))
    assert "**this run, USD**" in body
    assert "saved" not in body
    assert "always on" not in body
