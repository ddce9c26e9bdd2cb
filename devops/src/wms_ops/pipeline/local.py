"""The loop on one machine: its own clone, processes on loopback, pull requests as files in the origin."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from wms.paths import ROOT
from wms_ops.cloud.factory import PLACE
from wms_ops.cloud.local import LocalCloud
from wms_ops.git import Git
from wms_ops.github.local_pulls import LocalPulls
from wms_ops.pipeline.place import RECIPE, Place
from wms_ops.pipeline.record import RunRecord
from wms_ops.pipeline.store import RunStore
from wms_ops.pipeline.workspace import clone_origin

FOLDER = ROOT / PLACE.parent
"""Where the local cloud, the loop's clone and the records of runs lie."""


def local_cloud(folder: Path, show: Callable[[str], None] = print) -> LocalCloud:
    """The local cloud of a loop's folder."""
    return LocalCloud(folder / PLACE.name, show=show)


def run_store(folder: Path) -> RunStore:
    """The records of a loop's folder."""
    return RunStore(folder / "runs")


def place_in(
    folder: Path, url: str, *, recipe: str = RECIPE, show: Callable[[str], None] = print
) -> Callable[[RunRecord], Place]:
    """Makes the place of a run whose origin is `url`. Raises GitError, CloudError."""
    cloud = local_cloud(folder, show)

    def make(record: RunRecord) -> Place:
        workspace = clone_origin(url, folder / "workspace")
        return Place(
            run_id=record.id,
            workspace=workspace.folder,
            folder=run_store(folder).path(record.id),
            cloud=cloud,
            pulls=LocalPulls(workspace, url),
            environ={**os.environ, **cloud.environ()},
            recipe=recipe,
            show=show,
        )

    return make


def origin_of(repo: Path, remote: str = "origin") -> str:
    """The address of a clone's origin. Raises GitError."""
    return Git(repo)("remote", "get-url", remote)
