"""`wms restore`: rebuilds what was lost from what is left, after a plan and a question."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from wms.command import Command, folder
from wms.errors import DECLINED, WmsError
from wms.names import tell
from wms.paths import ROOT
from wms.registry.anchors import NOBODY
from wms.registry.backing import require_evidence
from wms.registry.chain import Chain
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.mlflow_rebuild import missing_database
from wms.registry.mlflow_store import ModelVersion
from wms.registry.promotion import PromotionClient, repair
from wms.settings import TrackingSettings
from wms_ops.base.errors import BucketNotFoundError
from wms_ops.base.question import agrees
from wms_ops.commands.promote import add_files
from wms_ops.gate.witnesses import ReturningAnchors, witnesses_of
from wms_ops.git.command import Git
from wms_ops.pulls.gh import GitHub
from wms_ops.release.sources import ModelSource, ReleaseSource, S3Source
from wms_ops.restore.bucket import plan_bucket
from wms_ops.restore.mlflow import Sources, plan_mlflow
from wms_ops.restore.origin import plan_origin
from wms_ops.restore.pasts import ArtifactStore, FolderSource
from wms_ops.restore.plan import Plan, carry_out, show_plan
from wms_ops.restore.records import plan_records, recover
from wms_ops.restore.stores import artifacts_url, former_artifacts, open_artifacts
from wms_ops.storage.config import RemoteConfig, read_remote
from wms_ops.storage.remote import S3Remote

PARTS: Final = ("mlflow", "bucket", "origin", "all")


def run(options: argparse.Namespace) -> int:
    """Restore the chosen parts; returns 0, also if nothing was to be done, and DECLINED after "no".

    Raises LedgerError where sources contradict each other or entries are lost, ModelNotFoundError and MissingBlobError
    if files of a model, or objects of the bucket, are lost, and the errors of Git, the registry and the bucket.
    """
    ledger, git = Ledger(options.ledger), Git(options.repo)
    promotions = _client(options, ledger)
    plans = _plans(options, ledger, git, promotions)
    if not show_plan(plans, tell):
        if fault := next((plan.fault for plan in plans if plan.fault), None):
            raise fault
        is_elsewhere = options.part in ("bucket", "origin")
        if options.dry_run or is_elsewhere or promotions is None or missing_database(promotions.uri):
            print("Nothing is to be restored.")
            return 0
        done = repair(promotions)  # tags, and what a killed promotion has left
        print(done.text if done else "Nothing was ever promoted here, so there is nothing to restore.")
        return 0
    if options.dry_run:
        print("Nothing was changed.")
        return 0
    if not options.yes and not agrees("Go on?", "add --yes"):
        print("Nothing was changed.")
        return DECLINED
    if fault := carry_out(plans, tell):
        raise fault
    return 0


def _client(options: argparse.Namespace, ledger: Ledger) -> PromotionClient | None:
    uri = TrackingSettings.read().mlflow_tracking_uri
    # With --force a person believes the registry, whatever main and the bucket say.
    witnesses = NOBODY if options.force else witnesses_of(options.ledger, options.model)
    return PromotionClient(uri, ledger, options.metadata, options.model, witnesses=witnesses) if uri else None


def _plans(options: argparse.Namespace, ledger: Ledger, git: Git, promotions: PromotionClient | None) -> Sequence[Plan]:
    """The plans of the chosen parts, in the order in which one needs the other."""
    plans: list[Plan] = []
    entries = () if options.part == "mlflow" else recover(ledger, git, Chain(), "").entries
    if options.part in ("bucket", "all"):
        remote = read_remote(options.repo)
        location = options.artifacts or artifacts_url(remote)
        store = S3Remote(remote)
        plans.append(plan_bucket(store, git, options.model, entries, former_artifacts(location, remote)))
        if promotions is not None and promotions.witnesses.bucket is not None:
            anchors = ReturningAnchors(store, options.model, entries)
            promotions = replace(promotions, witnesses=replace(promotions.witnesses, bucket=anchors))
    if options.part in ("origin", "all"):
        plans.append(plan_origin(git, entries, _store(options)))
    if options.part in ("mlflow", "all"):
        plans += _plan_records(options, ledger, git, promotions)
    return plans


def _plan_records(
    options: argparse.Namespace, ledger: Ledger, git: Git, promotions: PromotionClient | None
) -> Sequence[Plan]:
    chain, server = Chain(), ""
    versions: Callable[[], Sequence[ModelVersion]] = tuple
    if promotions is None:
        print("MLFLOW_TRACKING_URI isn't set, so MLflow isn't looked at.")
    elif not missing_database(promotions.uri):
        chain, server, versions = promotions.entries.remains(), promotions.registry.server, promotions.registry.versions
    recovery = recover(ledger, git, chain, server, versions, force=options.force)
    if promotions is not None:
        where = f"the ledger that {server} and this clone have"
        promotions.witnesses.check(recovery.entries, where)
        if not options.force:
            own = recover(ledger, git, Chain(), "").entries
            _require_evidence(promotions, recovery.entries[: len(chain.entries)], own, where)
    records = plan_records(ledger, options.metadata, git, recovery, force=options.force)
    if promotions is None or not recovery.entries or (records.fault and not options.force):
        return [records]
    return [records, plan_mlflow(promotions, recovery.entries, chain, _sources(options))]


def _require_evidence(
    promotions: PromotionClient, entries: Sequence[LedgerEntry], own: Sequence[LedgerEntry], where: str
) -> None:
    """Raise LedgerError for an entry that neither main nor this clone has, unless its verdict and files are there."""
    for count, entry in enumerate(entries, start=1):
        if entry not in own:
            require_evidence(promotions.registry, entries[:count], where)


def _sources(options: argparse.Namespace) -> Sources:
    """The bucket's artifacts and the published models, as far as this clone names a bucket."""
    remote: RemoteConfig | None = None
    models: list[ModelSource] = [FolderSource(options.ledger)]
    try:
        remote = read_remote(options.repo)
        models.append(S3Source(S3Remote(remote)))
    except WmsError as error:
        print(f"{error} So the bucket isn't asked.")
    models.append(ReleaseSource(GitHub(options.repo)))

    def artifacts() -> ArtifactStore | None:
        if options.artifacts is not None:
            return open_artifacts(options.artifacts, remote)
        try:
            return open_artifacts(artifacts_url(remote), remote) if remote else None
        except BucketNotFoundError as error:
            print(f"{error} Name MLflow's own bucket by --artifacts s3://BUCKET/PREFIX.")
            return None

    return Sources(artifacts, models)


def _store(options: argparse.Namespace) -> S3Remote | None:
    """The bucket, if this clone names one that can be read: the origin comes back without it, too."""
    try:
        store = S3Remote(read_remote(options.repo))
        store.bucket.try_listing()
    except WmsError as error:
        print(f"{error} So the bucket isn't asked which data sets only the origin named.")
        return None
    return store


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "part",
        nargs="?",
        choices=PARTS,
        default="mlflow",
        help="mlflow: ledger, files and registry (the default); bucket: deleted and overwritten objects; "
        "origin: what this clone knows of it; all",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the plan and change nothing")
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument(
        "--force",
        action="store_true",
        help="let the registry decide where it contradicts the ledger in Git, cut the ledger off where entries are "
        "lost, and believe entries that only this clone's files have",
    )
    parser.add_argument(
        "--artifacts", metavar="PLACE", help="where the lost MLflow kept its files: s3://BUCKET/PREFIX, or a folder"
    )
    add_files(parser)
    parser.add_argument("--repo", type=folder, default=ROOT, metavar="DIR", help="the clone")


COMMAND: Final = Command(
    "Rebuild ledger, registry and aliases from what Git and the bucket have left.",
    _declare,
    run,
    "Exit codes: 0 done or nothing to do, 3 you said no, 40 a model's files are lost, 76 objects are lost, 80 "
    "the origin didn't take all, 94 the sources contradict each other, or entries of the ledger are lost.",
)
