"""Where a clone's loop runs: a clone of its own, the cloud that WMS_CLOUD names, pull requests at the origin."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from wms.paths import ROOT
from wms_ops.git.command import Git
from wms_ops.loop.context import RECIPE, RunContext
from wms_ops.loop.workspace import clone_origin
from wms_ops.pulls.gh import GitHub
from wms_ops.pulls.gh_pulls import GhPulls
from wms_ops.pulls.local_pulls import LocalPulls
from wms_ops.pulls.protocol import PullRequests
from wms_ops.runs.record import RunRecord
from wms_ops.runs.store import RunStore
from wms_ops.targets.factory import LOOP
from wms_ops.targets.local import FOLDER as LOCAL_FOLDER
from wms_ops.targets.local import LocalCloud
from wms_ops.targets.protocol import Cloud

_HOST = re.compile(r"(?:\w+://)?(?:[^@/]+@)?([^/:]+)")

FOLDER = ROOT / LOOP
"""Where the cloud's state, the loop's clone and the records of runs lie."""


def local_cloud(folder: Path, show: Callable[[str], None] = print) -> LocalCloud:
    """The local cloud of a loop's folder."""
    return LocalCloud(folder / LOCAL_FOLDER, show=show)


def run_store(folder: Path) -> RunStore:
    """The records of a loop's folder."""
    return RunStore(folder / "runs")


def context_factory(
    folder: Path, url: str, cloud: Cloud, *, recipe: str = RECIPE, show: Callable[[str], None] = print
) -> Callable[[RunRecord], RunContext]:
    """Makes the place of a run whose origin is `url`. Raises GitError, CloudError."""

    def make(record: RunRecord) -> RunContext:
        workspace = clone_origin(url, folder / "workspace")
        own = cloud.for_run(record.id)
        return RunContext(
            run_id=record.id,
            workspace=workspace.folder,
            folder=run_store(folder).path(record.id),
            cloud=own,
            pulls=pulls_of(workspace, url, cloud),
            environ={**os.environ, **own.environ()},
            recipe=recipe,
            show=show,
        )

    return make


def pulls_of(workspace: Git, url: str, cloud: Cloud) -> PullRequests:
    """Those of GitHub, where the origin lies there; else, and with a target that needs no account, files on a branch.

    A loop on such a target needs no account but that for a push, so it doesn't ask for `gh` either.
    """
    if _is_at_github(url) and cloud.needs_account:
        return GhPulls(workspace, url, GitHub(workspace.folder))
    return LocalPulls(workspace, url)


def _is_at_github(url: str) -> bool:
    """Also by SSH, with a name before the host, and at the company's own GitHub that GH_HOST names."""
    found = _HOST.match(url)
    host = found[1].lower() if found else ""
    return host in ("github.com", "ssh.github.com", os.environ.get("GH_HOST", "github.com").lower())


def origin_of(repo: Path, remote: str = "origin") -> str:
    """The address of a clone's origin. Raises GitError."""
    return Git(repo)("remote", "get-url", remote)
