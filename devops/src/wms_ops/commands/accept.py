"""`wms accept`: one run of the whole path in a real account, with drawn photos, and a report of each seam."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from wms.command import Command, any_path, number, whole
from wms.config import parse_recipe
from wms.errors import DECLINED, UNHEALTHY, UsageError
from wms.files import write_atomic
from wms.names import tell
from wms.paths import ROOT
from wms_ops.accept.facts import Facts, SeamState, judge
from wms_ops.accept.report import NAMESPACE, sign, signing_key, write_report
from wms_ops.accept.watch import Acceptance
from wms_ops.base.layout import LOOP, RECIPE, main_branch
from wms_ops.base.question import agrees
from wms_ops.cost.estimate import cost_of, dollars, estimate_minutes
from wms_ops.dataset.versions import file_at
from wms_ops.git.command import Git
from wms_ops.loop.contexts import origin_of
from wms_ops.pulls.gh import GitHub, is_at_github
from wms_ops.pulls.protocol import without_login
from wms_ops.setup.github.adapter import read, wanted_by
from wms_ops.setup.github.wanted import ROLE, compare
from wms_ops.storage.names import Names
from wms_ops.targets.aws.cloud import FOLDER as AWS
from wms_ops.targets.aws.cloud import open_aws

FOLDER: Final = "accept"
_FACTS: Final = "facts.json"
_USUAL: Final = 40


def _declare(parser: argparse.ArgumentParser) -> None:
    usd, minutes, photos = number(0.01, 10_000), whole(1, 1440), whole(25, 10_000)
    parser.add_argument("--usd", type=usd, default=1.0, metavar="N", help="most dollars (default %(default)s)")
    parser.add_argument("--minutes", type=minutes, default=30, metavar="N", help="longest wait (default %(default)s)")
    parser.add_argument("--photos", type=photos, default=_USUAL, metavar="N", help="photos (default %(default)s)")
    parser.add_argument("--key", type=any_path, metavar="FILE", help="the SSH key that signs the report")
    parser.add_argument("--yes", action="store_true", help="start without a question")


def _accept(arguments: argparse.Namespace) -> int:
    """Run the path once and judge it; returns 0, DECLINED, or UNHEALTHY if a seam failed. Raises WmsError."""
    url = origin_of(ROOT)
    if not is_at_github(url):
        raise UsageError(f"The origin {url} isn't at GitHub, so nothing there can be accepted; try `make demo`.")
    folder = ROOT / LOOP / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    key = signing_key(Git(ROOT), arguments.key)
    cloud = open_aws(ROOT / LOOP / AWS)
    path = folder / _FACTS
    here = Acceptance(folder, url, GitHub(ROOT), cloud, lambda facts: _keep(path, facts), tell)
    facts = _left_off(path)
    if facts is not None:
        _require_same(path, facts, url, cloud.context.names)
        tell(f"The acceptance of {facts.begun_at:%Y-%m-%d %H:%M} UTC goes on, with its own limits and photos.")
    else:
        here.require_empty()
        facts = _fresh(here, arguments)
        tell(_plan(facts))
        if not facts.unset:  # else nothing is started that could be gone on with
            if not arguments.yes and not agrees("Start it?", "--yes starts it without a question"):
                print("Nothing was started.")
                return DECLINED
            _keep(path, facts)
    if not facts.unset:
        facts = _run(here, facts)
    facts = here.conclude(facts, _now())
    seams = judge(facts)
    report = write_report(folder, facts, seams)
    if not facts.unset:
        _keep(path, facts)
    for one in seams:
        tell(f"{one.name:12} {one.state:12} {one.text}")
        if one.mend:
            tell(f"{'':25} -> {one.mend}")
    tell(_signed(report, key))
    path.unlink(missing_ok=True)  # the next acceptance begins anew; one that lacks its signature goes on
    return UNHEALTHY if any(one.state is SeamState.FAILED for one in seams) else 0


def _run(here: Acceptance, facts: Facts) -> Facts:
    if not facts.registry:
        facts = facts.changed(registry=here.registry())
    if not facts.branch:
        facts = here.push(facts)
        here.keep(facts)
    left_s = facts.most_minutes * 60 - (_now() - facts.begun_at).total_seconds()
    facts = here.follow(facts, max(left_s, 1.0))
    if not facts.is_over:
        tell(f"{facts.most_minutes:.0f} minutes are over. The pipeline goes on, and its last jobs end the instance.")
    return facts


def _fresh(here: Acceptance, arguments: argparse.Namespace) -> Facts:
    """The facts before anything is started. Raises UsageError for limits that the run can't keep to."""
    there, names, now = read(here.github), here.cloud.context.names, _now()
    git = here.clone()
    main = f"refs/remotes/origin/{main_branch()}"
    config = parse_recipe(file_at(git, main, RECIPE) or "", f"{RECIPE} at main")
    choice = here.cloud.choice()
    minutes = estimate_minutes(arguments.photos, config)
    usd = cost_of(minutes * 60, choice.rates(), disk_gb=choice.disk_gb).total
    if minutes > arguments.minutes or usd > arguments.usd:
        raise UsageError(
            f"With {arguments.photos} photos the run takes about {minutes:.0f} minutes and {dollars(usd)}, more than "
            f"the {arguments.minutes} minutes and {arguments.usd:.2f} USD that it may take; ask for fewer --photos, or "
            "allow more with --minutes and --usd."
        )
    return Facts(
        repository=str(there.repository.get("full_name", "")),
        origin=without_login(here.url),
        account=names.account,
        region=names.region,
        environment=names.environment,
        begun_at=now,
        seed=int(now.timestamp()) % 1_000_000,
        photos=arguments.photos,
        most_usd=arguments.usd,
        most_minutes=arguments.minutes,
        unset=tuple(item.name for item in compare(wanted_by(ROOT), there) if not item.is_fine),
        role=there.variables.get(ROLE, ""),
    )


def _plan(facts: Facts) -> str:
    if facts.unset:
        return "The settings at GitHub aren't as the workflows need them, so nothing will be started."
    return (
        f"{facts.photos} drawn photos will be pushed to {facts.repository}, where the pipeline starts an instance in "
        f"account {facts.account}, {facts.region}, trains once, merges them into {main_branch()} and ends the "
        f"instance: at most {facts.most_usd:.2f} USD and {facts.most_minutes:.0f} minutes."
    )


def _signed(report: Path, key: Path | None) -> str:
    if key is None:
        return f"The report is {report}. It isn't signed: --key names an SSH key that signs it."
    signature = sign(report, key)
    return (
        f"The report is {report}, signed by {signature.name}. Check it: ssh-keygen -Y verify -n {NAMESPACE} "
        f"-f ALLOWED_SIGNERS -I NAME -s {signature} < {report}"
    )


def _keep(path: Path, facts: Facts) -> None:
    write_atomic(path, facts.model_dump_json(indent=1) + "\n")


def _left_off(path: Path) -> Facts | None:
    """The facts of an acceptance that was stopped; None without one. Raises UsageError for a damaged file."""
    if not path.is_file():
        return None
    try:
        return Facts.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError) as error:
        raise UsageError(f"{path} can't be read; delete it, then run this again.") from error


def _require_same(path: Path, facts: Facts, url: str, names: Names) -> None:
    """Raise UsageError for facts of another repository or account: these resources would be judged by its run."""
    here = (without_login(url), names.account, names.region, names.environment)
    if (there := (facts.origin, facts.account, facts.region, facts.environment)) != here:
        raise UsageError(
            f"{path} belongs to an acceptance of {', '.join(there)}, but the settings name {', '.join(here)}; take "
            "its settings to go on, or delete the file to begin anew."
        )


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


COMMAND: Final = Command(
    "Accept a real account: push drawn photos once, follow the pipeline, and judge each seam between systems.",
    _declare,
    _accept,
    "For a new repository only. Stopped and started again, it goes on. Exit codes: 0 accepted, 3 you said no, 4 a seam "
    "failed; docs/SETUP.md#accept-an-account.",
)
