"""`wms upgrade`: brings a clone that an earlier version of this project set up to what this version needs.

The new code itself comes by git. Each change is found by its absence, so the next upgrade finishes a killed one, and a
second one changes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from wms.command import Command, folder, new_folder
from wms.errors import UNHEALTHY, InstallError, UsageError
from wms.install.environment import Environment
from wms.install.groups import digest
from wms.libraries import CORE
from wms.paths import ROOT
from wms.project import FILE, read_project
from wms.registry.ledger import Ledger
from wms_ops.base.layout import DVC_CONFIG, MODELS
from wms_ops.git.command import Git
from wms_ops.hook.install import install_hook, is_outdated
from wms_ops.loop import contexts
from wms_ops.loop.driver import one_at_a_time
from wms_ops.runs.record import RunOutcome
from wms_ops.setup import files
from wms_ops.setup.names import propose, was_used
from wms_ops.targets.local import DVC_URL

_INSTALLER: Final = Path("infrastructure") / "bootstrap" / "install.py"


@dataclass(frozen=True)
class Change:
    """What must change, and why; `make` changes it."""

    name: str
    text: str
    make: Callable[[], object]


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the upgrade."""
    parser.add_argument("--check", action="store_true", help="only say what must change; ends with 4 if anything must")
    parser.add_argument("--repo", type=folder, default=ROOT, metavar="DIR", help="the clone (default: this project's)")
    parser.add_argument("--folder", type=new_folder, default=contexts.FOLDER, help="where the loop lives (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Make the changes, or name them; returns 0, or UNHEALTHY if `--check` found any.

    Raises UsageError in the middle of a merge, BusyError in the middle of a run, LedgerError and PipelineError for
    records of a newer version, and the errors of each change. Nothing is changed then.
    """
    repo, store = arguments.repo, contexts.run_store(arguments.folder)
    _refuse_half_merged(Git(repo))
    Ledger(repo / MODELS).entries()
    store.runs()
    with one_at_a_time(store.folder) if store.folder.is_dir() else contextlib.nullcontext():
        found = 0
        for change in changes(repo):
            found += 1
            print(f"{change.name:10} {change.text}", flush=True)
            if not arguments.check:
                change.make()
    for note in notes(repo, arguments.folder):
        print(f"{'note':10} {note}")
    if not found:
        print("Nothing must change.")
    elif not arguments.check:
        print("The clone is upgraded. Commit and push what `git status` shows.")
    return UNHEALTHY if found and arguments.check else 0


def changes(repo: Path) -> Iterator[Change]:
    """What this version needs and the clone lacks. Raises ConfigError, GitError, LedgerError, StoreConfigError."""
    git = Git(repo)
    known = (repo / FILE).exists()
    if known or was_used(git):
        for one in files.changes(repo, read_project(repo / FILE) if known else propose(git)):
            yield Change(one.path, one.what, partial(files.write, repo, (one,)))
    for path in files.former_workflows(repo):
        text = f"{path.relative_to(repo).as_posix()} is an earlier version's and would run beside the new ones: removed"
        yield Change("workflow", text, path.unlink)
    if is_outdated(git):
        yield Change("hook", "the pre-push hook in this clone is an earlier version's", partial(install_hook, repo))
    environment = Environment(repo)
    groups = environment.record().get("groups", ())
    if environment.has_lost_record():
        text = "the record of the packages in .venv can't be read: installs core; `make install FOR=...` adds to it"
        yield Change("packages", text, partial(_install, repo, (CORE,)))
    elif groups and not environment.is_ready(digest(repo, groups)):
        text = f".venv ({' '.join(groups)}) lacks packages that this version has locked"
        yield Change("packages", text, partial(_install, repo, groups))


def notes(repo: Path, loop: Path) -> Iterator[str]:
    """What goes on with this version as it is, and what a person may want to do about it."""
    for record in contexts.run_store(loop).runs():
        if record.outcome is RunOutcome.RUNNING:
            yield f"Run {record.id} isn't finished: `wms loop run --branch {record.branch}` continues it."
    if _runs_former_code(repo, loop):
        yield "The local cloud runs the former code, and works on; `wms cloud down` and `wms cloud up` renew it."
    if f"url = {DVC_URL}\n" in files.read_text(repo / DVC_CONFIG):
        yield (
            f"{DVC_CONFIG} names {DVC_URL}, which is the local cloud's and at AWS not yours: "
            "`wms init --bucket s3://BUCKET/dvc` names your own."
        )


def _runs_former_code(repo: Path, loop: Path) -> bool:
    """Whether a process of the local cloud is older than a file of the code."""
    code = (path for part in ("WMS", "devops") for path in (repo / part / "src").rglob("*.py"))
    changed = max((path.stat().st_mtime for path in code), default=0.0)
    started = []
    for process in contexts.local_cloud(loop, lambda _: None).processes():
        with contextlib.suppress(psutil.Error):
            started.append(process.create_time())
    return min(started, default=changed) < changed


def _refuse_half_merged(git: Git) -> None:
    names = sorted({line.split("\t")[1] for line in git("ls-files", "--unmerged").splitlines()})
    if names:
        raise UsageError(
            f"The merge of the new version isn't finished, so nothing was changed: {', '.join(names)} has conflicts. "
            f"Settle them ({DVC_CONFIG} keeps your own remote), commit, then run this again."
        )


def _install(repo: Path, groups: Sequence[str]) -> None:
    """Run the installer in a process of its own, since this one's packages change meanwhile. Raises InstallError."""
    done = subprocess.run([sys.executable, repo / _INSTALLER, *groups], cwd=repo, check=False)
    if done.returncode:
        raise InstallError("The packages couldn't be installed, for the reason above; mend that, then run this again.")


COMMAND: Final = Command(
    "Bring this clone to what this version needs, after git brought the version itself.",
    declare,
    run,
    "First merge the new version; docs/SETUP.md has the commands.",
)
