"""The steps about data: settle the commit to train on, and check that its data set is complete and sound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from wms.data.card_page import render_markdown
from wms.data.manifest import DataSet, Manifest, stem_of
from wms.data.qa import validate_data
from wms.data.splits import SplitRecord, refuse_empty
from wms.errors import DataQualityError
from wms.files import remove, write_atomic
from wms.text import counted
from wms_ops.base.errors import PipelineError
from wms_ops.base.layout import SPLITS, main_branch
from wms_ops.dataset.branches import join_into
from wms_ops.dataset.cards import decided, grow_card
from wms_ops.dataset.fetch import bring
from wms_ops.dataset.inbox import inbox_files
from wms_ops.dataset.losses import common, refuse_losses
from wms_ops.dataset.publish import Watch, delete_branch, publish, verify
from wms_ops.dataset.review import only_joined, refuse_foreign, rests_on
from wms_ops.dataset.settings import data_settings
from wms_ops.dataset.split_records import told
from wms_ops.dataset.versions import file_at, pointers_at, version_at
from wms_ops.git.write import remote_tip
from wms_ops.loop.context import Done, RunContext
from wms_ops.loop.workspace import check_out, fetch, main_tip, tip
from wms_ops.runs.record import RunRecord

CARD = "card.md"


def merge(context: RunContext, record: RunRecord, values: Mapping[str, str]) -> Done:
    """Settle the commit to train on: photos become pointers, and main's photos and files are joined in.

    Raises BranchContentError for a branch that changes more than data, the errors of `publish` and `join_into`,
    PipelineError for a missing branch, and for one that moved on from the commit that the run was started for.
    """
    branch = values["branch"]
    git = context.git
    fetch(git)
    commit, pushed = _tip(context, branch), record.pushed
    if pushed and not only_joined(git, main_tip(context), pushed, commit):
        raise PipelineError(
            f"{branch} moved on from {pushed[:12]} to {commit[:12]}, whose own push starts a run; nothing was done."
        )
    refuse_foreign(git, main_tip(context), commit, branch)
    photos = {}
    text = f"{branch} holds pointers only."
    if inbox_files(git, commit):
        done = publish(git, commit, context.url, watch=Watch(say=context.show))
        if done.branch is None:
            raise PipelineError(f"The data set holds all photos of {branch} already; delete that branch.")
        photos = {"photos": commit}
        text = f"The photos of {branch} are in the store; {done.branch} points to them. {done.plan.summary}"
        branch = done.branch
        fetch(git)
        commit = _tip(context, branch)
    elif not pointers_at(git, commit):
        raise PipelineError(f"{branch} holds neither photos nor a data set; there is nothing to train on.")
    if not rests_on(git, main_tip(context), commit):
        joined = join_into(git, context.url, branch)
        text = f"Main's photos are joined into {branch}: {joined.after} in all.{told(joined.moved)}"
        fetch(git)
        commit = joined.commit
    check_out(context, commit, branch)
    return Done({"branch": branch, "commit": commit, **photos}, text)


def validate(context: RunContext, record: RunRecord, values: Mapping[str, str]) -> Done:
    """Check that the store holds every file, that none of main's is lost, and that the new photos are sound.

    A branch of photos is deleted first, now that the run's record names the branch that points to them.
    Only the new photos are downloaded; the data set's card is made from them, card.md in the run's folder.
    Raises MissingBlobError, ShrinkError, DataQualityError and the store's errors.
    """
    git, commit = context.git, values["commit"]
    if "photos" in values and remote_tip(git, context.url, record.branch) == values["photos"]:
        delete_branch(git, context.url, record.branch, values["photos"])
    store = context.store()
    main = _tip(context, main_branch())
    before, after = version_at(git, main, store), version_at(git, commit, store)
    verify(store, after)
    refuse_losses(git, common(git, main, commit), commit, lambda one: version_at(git, one, store))
    known = before.pairs
    new = {stem: pair for stem, pair in after.pairs.items() if known.get(stem) != pair}
    remove(context.folder / CARD)  # of an earlier try of this step
    if new:
        _check(context, before, after, set(new), commits=(main, commit))
    counts = {"photos_before": len(known), "photos_new": len(new), "photos_total": len(after.pairs)}
    outputs = {name: str(count) for name, count in counts.items()} | {"data_oid": after.images.oid}
    text = f"Existing: {len(known)}, new: {len(new)}, total: {len(after.pairs)}; all files are in {store.config.url}."
    return Done(outputs, text)


def _check(context: RunContext, before: DataSet, after: DataSet, stems: set[str], commits: tuple[str, str]) -> None:
    """Check the data of the new pairs by the settings of main's recipe, and write the card of their data set.

    `commits` are main's and the branch's.

    Raises DataQualityError, and SplitError for a first data set of so few scenes that a split would be empty: before an
    instance is paid for that could not train on it.
    """
    main, commit = commits
    config = data_settings(context.git, main, context.recipe)
    kinds = {kind: _only(manifest, stems) for kind, manifest, _ in after}
    with TemporaryDirectory(prefix="new-", dir=_made(context.folder)) as folder:
        bring(context.store(), DataSet(kinds["images"], kinds["masks"]), Path(folder))
        splits = Path(folder) / "splits.jsonl"
        splits.write_text(file_at(context.git, commit, SPLITS) or "", encoding="utf-8", newline="\n")
        recorded = {f"{one.split} photo {one.sha256[:12]}": one.look for one in SplitRecord(splits).entries}
        report = validate_data(
            Path(folder),
            splits_file=splits,
            existing_looks=recorded,
            cache_folder=context.folder.parent / "qa",
            config=config,
        )
        for warning in list(report["warnings"])[:5]:
            context.show(f"warning: {str(warning).replace(folder, '')}")
        if errors := list(report["errors"]):
            first = str(errors[0]).replace(f"{folder}/", "")
            raise DataQualityError(
                f"The data check refuses the branch's new photos, {counted(len(errors), 'error')}: {first} Mend them "
                "with `wms data check DIR --fix` and push again."
            )
        if recorded or not before.pairs:
            placed = decided(Path(folder), splits, config)
            refuse_empty(placed, near_duplicate_bits=config.near_duplicate_bits)
        card = grow_card(context.store(), before, after, Path(folder), splits=splits, config=config)
        write_atomic(context.folder / CARD, render_markdown(card))


def _only(manifest: Manifest, stems: set[str]) -> Manifest:
    return Manifest({name: md5 for name, md5 in manifest.files.items() if stem_of(name) in stems})


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _tip(context: RunContext, branch: str) -> str:
    found = tip(context.git, branch)
    if found is None:
        raise PipelineError(f"There is no branch {branch!r} on origin; `git ls-remote` lists those that are.")
    return found
