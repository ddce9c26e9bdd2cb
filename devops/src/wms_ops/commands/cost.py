"""`wms cost`: the cost of past instances, from their recorded sessions, and prices an hour."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.table import Table

from wms.command import Command
from wms.errors import UsageError
from wms.json_text import to_json
from wms.project import REGION, project
from wms.tables import Column, make_table, plain_console
from wms_ops.base.errors import AccessDeniedError
from wms_ops.base.settings import AwsSettings
from wms_ops.cost.bills import BillLine
from wms_ops.cost.estimate import dollars, hourly
from wms_ops.cost.prices import DISK_GB, price_table
from wms_ops.cost.session_store import make_store
from wms_ops.cost.sessions import NAME, month_start
from wms_ops.cost.statement import Statement, statement_of
from wms_ops.cost.storage import buckets_of, stored_gb
from wms_ops.storage.client import account_of, make_client
from wms_ops.targets.aws.settings import chosen_region

ENVIRONMENT: Final = "main"


def _of_prices(parser: argparse.ArgumentParser) -> None:
    region = AwsSettings.read().region or project().region or REGION
    parser.add_argument("--region", default=region, help=f"where they run (default: {region})")


def _of_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--month", help="only this UTC month, such as 2026-11 (default: all)")
    parser.add_argument("--environment", default=ENVIRONMENT, help="whose instances (default: main)")
    parser.add_argument("--region", help="where they run (default: AWS_REGION, else the one of wms.toml)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")


def _report(arguments: argparse.Namespace) -> int:
    """Print the bill; returns 0. Raises UsageError, ConfigError and the errors of wms_ops.storage.trouble."""
    month, environment = arguments.month, arguments.environment
    _check(month, environment)
    # Never a default: in another region than the instances' the bill would be empty.
    region = arguments.region or chosen_region().name
    table, now = price_table(), datetime.now(UTC)
    table.rates(region)  # a wrong name is told before AWS is asked
    account = account_of(region)
    store = make_store(region, account)
    statement = statement_of(
        store.sessions(environment, since=None if month is None else month_start(month)),
        table,
        environment=environment,
        region=region,
        now=now,
        month=month,
        stored_gb=_stored(environment, account, region, now),
    )
    if arguments.json:
        print(to_json(statement.as_json(), indent=2))
    else:
        show(statement, plain_console(soft_wrap=True))
    return 0


def _check(month: str | None, environment: str) -> None:
    if not re.fullmatch(NAME, environment):
        raise UsageError(f"{environment!r} can't be the name of an environment; use letters, digits and hyphens.")
    if month is not None:
        try:
            month_start(month)
        except ValueError:
            raise UsageError(f"--month is {month!r}; give a year and a month, such as 2026-11.") from None


def _stored(environment: str, account: str, region: str, now: datetime) -> dict[str, float] | None:
    """Stored gigabytes by bucket; None without access to CloudWatch, because the bill is useful without them."""
    try:
        return stored_gb(make_client("cloudwatch", region), buckets_of(environment, account, region), now)
    except AccessDeniedError:
        return None


def show(statement: Statement, console: Console) -> None:
    """Print a statement for people."""
    if not statement.runs:
        console.print(
            f"No instance ran in {statement.month}." if statement.month else "No instance was ever started here."
        )
    else:
        console.print(_bill("run", statement.runs))
        console.print(_months(statement))
        console.print(_bill("model version", statement.versions))
        console.print(_together(statement))
        console.print(_saved(statement))
        if statement.running:
            console.print(f"Not over yet: {statement.running}; counted until now.")
    console.print(_storage(statement))
    console.print(
        f"List prices of {statement.prices_of} in {statement.region}; where it isn't on record how long all cores "
        "computed, they are counted as busy all the time."
    )


def _table(rows: Iterable[Sequence[str]], first: str, *others: str) -> Table:
    figures = [Column(heading, justify="right", least=len(heading)) for heading in others]
    return make_table([Column(first, wraps=True), *figures], list(rows), framed=False)


def _bill(what: str, lines: Mapping[str, BillLine]) -> Table:
    rows = ((name, *_figures(line)) for name, line in lines.items())
    return _table(rows, what, "instances", "minutes", "USD")


def _months(statement: Statement) -> Table:
    rows = []
    for name, line in statement.months.items():
        saving = statement.savings.get(name)
        rows.append((name, *_figures(line), *((f"{saving.always_on:.2f}", f"{saving.saved:.2f}") if saving else ())))
    return _table(rows, "month, UTC", "instances", "minutes", "USD", "always on", "saved")


def _figures(line: BillLine) -> tuple[str, str, str]:
    return str(line.sessions), f"{line.cost.seconds / 60:.1f}", f"{line.cost.total:.4f}"


def _together(statement: Statement) -> str:
    cost = statement.total.cost
    return (
        f"Together: {dollars(cost.total)} (instances {cost.instance:.4f}, their work above the baseline "
        f"{cost.surplus:.4f}, disks and addresses {cost.disk + cost.address:.4f})."
    )


def _saved(statement: Statement) -> str:
    savings = statement.savings.values()
    kinds = ", ".join(sorted({saving.instance_type for saving in savings}))
    whole, hours = sum(saving.always_on for saving in savings), sum(saving.seconds for saving in savings) / 3600
    word = "saved" if statement.saved >= 0 else "dearer by"
    return (
        f"The same {hours:.0f} hours with an instance always on ({kinds}, on demand): {dollars(whole)}; "
        f"{word} {dollars(abs(statement.saved))}."
    )


def _storage(statement: Statement) -> str:
    if statement.stored_gb is None:
        return "What lies in the buckets is unknown: these credentials may not ask CloudWatch for it."
    if not statement.stored_gb:
        return "What lies in the buckets isn't measured yet; CloudWatch does it once a day."
    gb = sum(statement.stored_gb.values())
    return f"In the buckets: {gb:.2f} GB, {dollars(statement.storage_usd_month or 0.0)} a month."


def _prices(arguments: argparse.Namespace) -> int:
    prices = price_table()
    prices.rates(arguments.region)
    rows = []
    for name in prices.regions[arguments.region].prices:
        rates, kind = prices.rates(arguments.region, name), prices.instances[name]
        amounts = (hourly(rates), hourly(rates, busy=True), hourly(rates, spot=True))
        rows.append((name, str(kind.vcpus), f"{kind.memory_gib:g}", *(f"{value:.4f}" for value in amounts)))
    console = plain_console(soft_wrap=True)
    console.print(_table(rows, "instance type", "vCPU", "GiB", "on demand", "all cores busy", "spot, about"))
    console.print(
        f"USD an hour in {arguments.region} with {DISK_GB:.0f} GB of disk and one address; prices of {prices.as_of}."
    )
    return 0


REPORT: Final = Command(
    "Show what the instances of an environment have cost, and what an instance that is always on would have.",
    _of_report,
    _report,
)
PRICES: Final = Command("Show what each instance type costs an hour.", _of_prices, _prices)
