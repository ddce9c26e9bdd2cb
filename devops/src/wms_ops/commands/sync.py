"""`wms sync`: brings Production to this machine, through GitHub or with AWS credentials."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wms.command import Command, folder, new_folder, number
from wms.paths import ROOT
from wms.project import project
from wms.registry.anchors import AnchorPlace
from wms.registry.ledger import FOLDER
from wms.registry.mlflow_store import ModelRegistry
from wms_ops.base.layout import MODELS
from wms_ops.gate.witnesses import BucketAnchors, witnesses_of
from wms_ops.git.command import Git
from wms_ops.git.records import require_sound
from wms_ops.pulls.gh import GitHub
from wms_ops.release.run import sentence, sync_model
from wms_ops.release.sources import MlflowSource, ModelSource, ReleaseSource, S3Source
from wms_ops.release.upstream import current_production
from wms_ops.storage.config import read_remote
from wms_ops.storage.remote import S3Remote
from wms_ops.targets.factory import cloud_of
from wms_ops.targets.protocol import Cloud
from wms_ops.targets.sleeping import SleepingSource, ask_to_stop


def run(options: argparse.Namespace, *, cloud: Cloud | None = None) -> int:
    """Bring Production to this machine; returns 0.

    Raises the errors of `require_sound`, `current_production`, `sync_model` and S3.
    """
    require_sound(options.models, asked=True)  # the ledger of the team
    if options.source == "s3":
        store = S3Remote(read_remote(options.repo))
        return _sync(options, [S3Source(store)], None, cloud, BucketAnchors(store, project().model))
    github = GitHub(options.repo)
    anchors = witnesses_of(options.repo / MODELS, project().model).bucket  # asked for what main doesn't vouch for
    return _sync(options, [ReleaseSource(github)], github, cloud, anchors)


def _sync(
    options: argparse.Namespace,
    sources: Sequence[ModelSource],
    github: GitHub | None,
    cloud: Cloud | None,
    bucket: AnchorPlace | None = None,
) -> int:
    models: Path = options.models
    # An MLflow server that is named needs no instance to be started.
    registry = ModelRegistry.if_named()
    entry = current_production(models, Git(options.repo), github, print, registry, bucket=bucket)
    answering = [MlflowSource(registry)] if registry else []
    instance = cloud or cloud_of(options.repo)
    sleeping = SleepingSource(instance, print, ask_to_stop, limit_s=options.limit, keep=options.no_stop)
    last: list[ModelSource] = [*answering] or [sleeping]
    try:
        done = sync_model(entry, models, [*sources, *last], force=options.force)
        print(sentence(done, models))
    finally:
        sleeping.close()
    return 0


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a sync."""
    parser.add_argument(
        "--from",
        dest="source",
        choices=("github", "s3"),
        default="github",
        help="github: a release, needs `gh` and a login; s3: the data set's bucket, needs AWS keys (default: github)",
    )
    parser.add_argument("--force", action="store_true", help="download although the right files are there")
    parser.add_argument("--no-stop", action="store_true", help="leave an instance running that had to be started")
    parser.add_argument(
        "--limit",
        type=number(0.001, 1e6),
        default=600.0,
        metavar="SECONDS",
        help="longest wait for MLflow (default: 600)",
    )
    parser.add_argument(
        "--models", type=new_folder, default=FOLDER, metavar="DIR", help="where to (default: WMS/models)"
    )
    parser.add_argument("--repo", type=folder, default=ROOT, metavar="DIR", help="the clone that has the ledger")


COMMAND: Final = Command(
    "Bring the model that is Production to WMS/models: from GitHub or S3, else from MLflow.",
    declare,
    run,
    "Exit codes: 0 done, 40 no source has the model, 41 it isn't the ledger's, 92 MLflow doesn't answer.",
)
