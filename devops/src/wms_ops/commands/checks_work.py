"""Checks of `wms doctor` for operators and developers: prices and budget, overdue instances, tools of the tests."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from wms_ops.base.settings import BudgetSettings
from wms_ops.commands.checks import check_github
from wms_ops.commands.finding import Finding, State
from wms_ops.cost.budget import BUDGET, lifetime
from wms_ops.cost.prices import price_table
from wms_ops.git.command import Git

_TOOLS: Final = ("make", "bash", "curl")
_POSTGRESQL: Final = Path("/usr/lib/postgresql")  # where Debian keeps its programs, away from PATH


def check_pull_requests(repo: Path) -> Finding:
    """`check_github` for a clone whose remote is at GitHub; another clone's pull requests are branches and files."""
    from wms.project import project

    url = Git(repo).attempt("remote", "get-url", project().remote).stdout.decode("utf-8", "replace").strip()
    if url and "github" not in url:
        return Finding("GitHub", State.FINE, f"not needed: {url} isn't at GitHub")
    return check_github(repo)


def check_budget(_: Path) -> Finding:
    """The chosen instance's price, and whether the budget buys one. Raises ConfigError, UsageError, BudgetError."""
    from wms_ops.targets.aws.settings import read_settings

    settings, budgets = read_settings(environ=os.environ), BudgetSettings.read()
    rates = price_table().rates(settings.region, settings.instance_type)
    minutes = lifetime(round(settings.hours * 60), budgets.wms_budget_usd, rates, disk_gb=settings.disk_gb)
    month = budgets.wms_budget_month_usd
    text = (
        f"{settings.instance_type} in {settings.region} costs ${rates.on_demand_hour} an hour, {BUDGET} lets it live "
        f"{minutes} minutes, and a month {'has no limit' if month is None else f'may cost ${month}'}"
    )
    return Finding("budget", State.FINE, text)


def check_instances(_: Path) -> Finding:
    """Instances at AWS that outlived their deadline and go on costing. Raises the errors of AWS."""
    from wms_ops.targets.aws.clients import Aws
    from wms_ops.targets.aws.inventory import find_instances
    from wms_ops.targets.aws.reap import lateness
    from wms_ops.targets.aws.settings import read_settings

    settings, now = read_settings(environ=os.environ), datetime.now(UTC)
    alive = [one for one in find_instances(Aws(settings.region).ec2, settings.environment) if one.is_alive]
    late = [one for one in alive if lateness(now, one.deadline, one.launched_at, is_instance=True)]
    if late:
        shown = ", ".join(f"{one.id} of {one.owner or 'nobody known'}" for one in late)
        mend = f"wms cloud reap --environment {settings.environment} --region {settings.region}"
        return Finding("instances", State.MISSING, f"running past their deadline, at a price: {shown}", mend)
    text = f"{len(alive)} running in {settings.region}, none past its deadline"
    return Finding("instances", State.FINE, text)


def check_tools(_: Path) -> Finding:
    """The programs that `make test` and the scripts use."""
    if lacking := [name for name in _TOOLS if shutil.which(name) is None]:
        return Finding("tools", State.MISSING, f"{', '.join(lacking)} isn't installed", _package(*lacking))
    return Finding("tools", State.FINE, f"{', '.join(_TOOLS)} are installed")


def check_postgresql(_: Path) -> Finding:
    """The programs of PostgreSQL, against which the tests run the registry."""
    found = shutil.which("initdb") or next(map(str, sorted(_POSTGRESQL.glob("*/bin/initdb"), reverse=True)), "")
    if not found:
        text = "PostgreSQL isn't installed, so tests of the registry are skipped"
        return Finding("PostgreSQL", State.OPTIONAL, text, _package("postgresql"))
    return Finding("PostgreSQL", State.FINE, f"{Path(found).parent} has PostgreSQL")


def _package(*names: str) -> str:
    manager = next((name for name in ("apt-get", "dnf", "brew") if shutil.which(name)), "apt-get")
    return f"{'' if manager == 'brew' else 'sudo '}{manager} install {' '.join(names)}"
