"""`wms cloud reap`: deletes every resource at AWS that is past its deadline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from wms.command import Command
from wms.errors import UsageError, WmsError
from wms.names import harmless
from wms.tables import Column, make_table, plain_console
from wms.text import counted
from wms_ops.base.outputs import add_summary, github_run
from wms_ops.cost.session_store import S3SessionStore
from wms_ops.report.notice import Notice, check_way, tell
from wms_ops.storage.bucket import Bucket, Shared
from wms_ops.storage.names import ENVIRONMENT, Names
from wms_ops.targets.aws.clients import Aws
from wms_ops.targets.aws.lease import LeaseClient
from wms_ops.targets.aws.locks import break_stale_lock, locked_states
from wms_ops.targets.aws.reap import Overdue, note_ends, reap
from wms_ops.targets.aws.settings import chosen_region


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the reaper."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--environment", metavar="E", help="only this one's")
    which.add_argument("--all", action="store_true", help="those of all environments of the account (default)")
    parser.add_argument("--region", help="where to look (default: AWS_REGION, else the one of wms.toml)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


def run(arguments: argparse.Namespace) -> int:
    """Run the reaper; returns 0. Raises CloudError and the errors of `aws_errors`."""
    environment = None if arguments.all else arguments.environment
    if environment is not None and not ENVIRONMENT.fullmatch(environment):
        raise UsageError(f"{environment!r} can't be an environment; use small letters, digits and dashes, 20 at most.")
    region = arguments.region or chosen_region().name
    check_way()
    title = f"Reaper at AWS, {region}"
    try:
        gone = _reap(environment, region, arguments.dry_run)
    except WmsError as error:
        if not arguments.dry_run:
            tell(Notice(title, f"It failed, so something may go on running. {error}", github_run()))
        raise
    if gone and not arguments.dry_run:
        ended = "; ".join(" ".join(_row(one)) for one in gone)
        tell(Notice(title, f"{counted(len(gone), 'resource')} past the deadline: {ended}.", github_run()))
    _report(gone, region, arguments.dry_run)
    return 0


def _reap(environment: str | None, region: str, dry_run: bool) -> list[Overdue]:
    aws = Aws(region)

    state = Bucket(Names(environment or "all", aws.account, region).state_bucket, aws.s3)

    def is_held(one: str) -> bool:
        return LeaseClient(Shared(state, Names(one, aws.account, region).lease_key)).is_beating()

    show: Callable[[str], None] = lambda text: print(harmless(text), flush=True)  # noqa: E731
    gone = reap(aws, environment=environment, is_held=is_held, show=show, dry_run=dry_run)
    for owner, key in locked_states(state):
        if environment in (None, owner):
            break_stale_lock(state, key, is_held=is_held(owner), show=show, dry_run=dry_run)
    if not dry_run:
        note_ends(S3SessionStore(state), gone, datetime.now(UTC), show)
    return list(gone)


def _report(gone: Iterable[Overdue], region: str, dry_run: bool) -> None:
    rows = [_row(one) for one in gone]
    done = "would go" if dry_run else "gone"
    if not rows:
        print(f"Nothing in {region} is past its deadline.")
        return
    print(f"Past their deadline in {region}, {done}: {len(rows)}.")
    table = make_table([Column(heading, wraps=True) for heading in _HEADINGS], rows, framed=False)
    plain_console(width=None if sys.stdout.isatty() else 200).print(table)
    lines = [f"Reaper, {region}: {len(rows)} {done}", "", *(f"| {' | '.join(one)} |" for one in (
        _HEADINGS, ["---"] * len(_HEADINGS), *rows))]  # fmt: skip
    add_summary("\n".join(lines))


_HEADINGS: Final = ("environment", "resource", "id", "owner", "launch", "why")


def _row(one: Overdue) -> tuple[str, ...]:
    resource = one.resource
    told = resource.environment, str(resource.kind), resource.id, resource.owner, resource.launch_id, one.reason
    return tuple(map(harmless, told))


COMMAND: Final = Command(
    "Delete what is past its deadline at AWS, and Terraform's locks whose holder is gone.", declare, run
)
