"""Builds the context of a run: the loop's own clone, the cloud named by WMS_CLOUD, pull requests at the origin."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from wms.paths import ROOT
from wms.project import project
from wms_ops.base.layout import LOOP, RECIPE
from wms_ops.base.outputs import on_actions
from wms_ops.git.command import Git
from wms_ops.loop.context import RunContext
from wms_ops.loop.shared_runs import SharedRunStore
from wms_ops.loop.workspace import clone_origin
from wms_ops.pulls.gh import GitHub, is_at_github
from wms_ops.pulls.gh_pulls import GhPulls
from wms_ops.pulls.local_pulls import LocalPulls
from wms_ops.pulls.protocol import PullRequests
from wms_ops.runs.record import RunRecord
from wms_ops.runs.store import RunStore
from wms_ops.targets.local import FOLDER as LOCAL_FOLDER
from wms_ops.targets.local import LocalCloud
from wms_ops.targets.protocol import Cloud

FOLDER = ROOT / LOOP
"""The folder of the cloud's state, the loop's clone and the records of runs."""


def local_cloud(folder: Path, show: Callable[[str], None] = print) -> LocalCloud:
    """The local cloud of a loop's folder."""
    return LocalCloud(folder / LOCAL_FOLDER, show=show)


def run_store(folder: Path) -> RunStore:
    """The records of runs in a loop's folder."""
    return RunStore(folder / "runs")


def shared_runs(folder: Path, cloud: Cloud) -> SharedRunStore:
    """The records of runs in a loop's folder and in the cloud's bucket."""
    return SharedRunStore(run_store(folder).folder, *cloud.records())


def workspace(folder: Path, url: str) -> Git:
    """The loop's own clone of the origin, up to date. Raises GitError."""
    return clone_origin(url, folder / "workspace")


def context_factory(
    folder: Path, url: str, cloud: Cloud, *, recipe: str = RECIPE, show: Callable[[str], None] = print
) -> Callable[[RunRecord], RunContext]:
    """Return a function that makes the context of a run whose origin is `url`. Raises GitError, CloudError."""

    def make(record: RunRecord) -> RunContext:
        git = workspace(folder, url)
        own = cloud.for_run(record.id)
        return RunContext(
            run_id=record.id,
            workspace=git.folder,
            folder=run_store(folder).path(record.id),
            cloud=own,
            pulls=pulls_of(git, url, cloud),
            environ={**os.environ, **own.environ()},
            recipe=recipe,
            show=show,
        )

    return make


def pulls_of(workspace: Git, url: str, cloud: Cloud) -> PullRequests:
    """GitHub's pull requests if the origin is at GitHub and the target needs an account; else files on a branch.

    A loop on a target without an account needs access for a push only, so `gh` isn't required either.
    """
    if is_at_github(url) and cloud.needs_account:
        return GhPulls(workspace, url, GitHub(workspace.folder))
    return LocalPulls(workspace, url)


def origin_of(repo: Path) -> str:
    """The URL of the remote that wms.toml names, as a clone knows it; a workflow's checkout calls every remote origin.

    Raises GitError.
    """
    git, name = Git(repo), project().remote
    if on_actions() and not git.ok("remote", "get-url", name):
        name = "origin"
    return git("remote", "get-url", name)
