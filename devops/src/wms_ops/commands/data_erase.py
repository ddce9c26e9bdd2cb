"""`wms data erase`: photos leave the data set, the bucket and every picture of them within reach; the rest is named."""

from __future__ import annotations

import argparse
import hashlib
import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from wms.command import recorded
from wms.data.versions import DataVersionManager
from wms.errors import LedgerError, TrackingError, UsageError, from_os_error
from wms.links import refuse_links
from wms.names import harmless, tell
from wms.paths import RUNS
from wms.project import project
from wms.registry.ledger import Ledger
from wms.registry.lineage import MODEL_CARD_PAGE, WORST_PHOTOS
from wms_ops.base.layout import DATA_SET, KINDS, LOOP, MODELS, main_branch
from wms_ops.base.question import ask
from wms_ops.commands.data import Named, command, url_of
from wms_ops.dataset.erase import Erased, erase
from wms_ops.dataset.publish import open_store
from wms_ops.dataset.versions import dvc_config_at
from wms_ops.git.command import Git
from wms_ops.git.scratch import scratch_clone
from wms_ops.pulls.erase_pages import TEXTS, erase_pages, mentions, shows_photos

_JOIN: Final = ("wms", "data", "join")


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="names without extension")
    parser.add_argument(
        "--reason", type=recorded, default="", metavar="TEXT", help="why, for the tombstone (asked in a terminal)"
    )
    parser.add_argument(
        "--yes-erase", nargs="+", default=[], metavar="NAME", help="the names once more, where no terminal can ask"
    )


def _erase(git: Git, arguments: argparse.Namespace) -> Named:
    from wms_ops.release.publish import erase_documents  # Pillow, which help and completion do without

    names = list(dict.fromkeys(arguments.names))
    _confirm(names, arguments.yes_erase)
    reason = arguments.reason or harmless(ask("Why? (kept for good) ", 'give --reason "..."'))
    if not reason:
        raise UsageError("A tombstone needs a reason; nothing was changed.")
    for kind in KINDS:  # before the bucket's files go: this clone's copies go last
        refuse_links(git.folder / DATA_SET / kind, git.folder)
    url = url_of(git, arguments.remote)
    done = erase(git, url, names, reason)
    with scratch_clone(git, url) as scratch:
        pages = [f"{path} of the branch pull-requests" for path in erase_pages(scratch, names)]
        store = open_store(dvc_config_at(scratch.git, scratch.base or main_branch()), git)
        pages += [f"{key} in {store.config.url}" for key in erase_documents(store, names)]
    contents = {md5 for record in done.records for md5 in record.contents}
    local = list(_erase_here(git, names, contents - done.kept.keys()))
    _tell(done, names, [*pages, *local])
    for line in [*_models(git, names), *_left(git, names)]:
        print(line)
    return {"branch": done.branch, "versions_deleted": done.deleted, "done": str(done.done).lower()}


def _confirm(names: Sequence[str], given: Collection[str]) -> None:
    """Raise UsageError unless each name was typed twice."""
    for name in names:
        asks = f"Type {name} to erase it for good: ", "repeat the names after --yes-erase"
        if name not in given and (given or ask(*asks) != name):
            raise UsageError(f"{name!r} wasn't confirmed, so nothing was changed.")


def _tell(done: Erased, names: Sequence[str], pictures: Sequence[str]) -> None:
    for line in _former(done):
        tell(line)
    if done.done:
        by = " by this run" if done.former else ""
        print(f"Erased from the bucket: {', '.join(names)}: {done.deleted} versions of files are deleted{by}.")
    else:
        for line in _steps(done):
            print(line)
    for md5, namesake in done.kept.items():
        print(f"Kept: {md5} is also the content of {namesake}; the same erase again deletes it once no photo has it.")
    for path in pictures:
        print(f"Removed: {path}")
    if done.untold:
        print(
            f"{done.untold} older pushes can't be told, since the bucket lacks their manifests: other former contents "
            "of these names, if there were any, are still there."
        )


def _former(done: Erased) -> Iterator[str]:
    """Yield what earlier runs have recorded: their reason stays as long as the photo had no other content since."""
    now = {record.name: record.reason for record in done.records}
    for one in done.former:
        what = f"{'erased' if one.state == 'done' else 'begun'} at {one.date}{f' by {one.by}' if one.by else ''}"
        reason = "this reason stays" if now[one.name] == one.reason else f"it has another content now: {now[one.name]}"
        yield f"The erasure of {one.name} was recorded before: {what} ({one.reason}); {reason}."


def _steps(done: Erased) -> Iterator[str]:
    """Yield what a person does until no branch names the photos any more."""
    where, do = ", ".join([*done.naming, *done.unreadable]), "does" if len(done.naming) == 1 else "do"
    if done.unreadable:
        do = "may"
    yield f"Recorded. The bucket's files are deleted once no branch names them: {where} still {do}."
    if done.branch:
        yield f"- Branch {done.branch} leaves them out: merge its pull request."
    for branch in done.naming:
        if branch in done.bringing:
            yield (
                f"- Branch {branch} brings them: close its pull request and delete the branch, by "
                f"git push {shlex.join([project().remote, '--delete', branch])}; push its other photos again."
            )
        elif branch != main_branch():
            yield f"- Branch {branch} has them from {main_branch()}: then {shlex.join([*_JOIN, branch])}."
    remote = project().remote
    for branch in done.unreadable:
        yield (
            f"- Branch {branch} can't be read and may name the same content: `wms data verify {remote}/{branch}` says "
            f"why. Mend the branch, or delete it by git push {shlex.join([remote, '--delete', branch])}."
        )
    yield "Then run the same erase again: it finishes the rest."


def _erase_here(git: Git, names: Collection[str], contents: Collection[str]) -> Iterator[str]:
    """Delete this clone's copies and pictures; yield their paths."""
    cache = git.folder / ".dvc" / "cache" / "files" / "md5"
    copies = [cache / md5[:2] / md5[2:] for md5 in contents]
    folders = [
        git.folder / DATA_SET,
        *(path.parent for path in (git.folder / LOOP).glob(f"**/{Path(DATA_SET).name}/images")),
    ]
    named = (
        path
        for folder in folders
        for kind in KINDS
        for name in names
        for path in (folder / kind).glob("*")
        if path.stem == name
    )
    copies += [path for path in named if _md5(path) in contents]
    cards = (Path(git("rev-parse", "--path-format=absolute", "--git-common-dir")) / "wms" / "cards").glob("*.html")
    for path in [*copies, *cards, *_pictures(git.folder / LOOP, names), *_model_cards(git.folder, names)]:
        try:
            if path.is_file():
                path.unlink()
                yield str(path.relative_to(git.folder))
        except OSError as error:
            raise from_os_error(error, path) from error


def _pictures(folder: Path, names: Collection[str]) -> Iterator[Path]:
    """Yield the pictures and gate pages of runs whose texts name a photo."""
    for run in folder.glob("*/runs/*/"):
        texts = (path for path in run.glob("*") if path.suffix in TEXTS and path.is_file())
        if any(mentions(path.read_bytes(), names) for path in texts):
            yield from (path for path in run.rglob("*") if path.is_file() and shows_photos(path.name))


def _model_cards(folder: Path, names: Collection[str]) -> Iterator[Path]:
    """Yield the pages and pictures of model cards that name a photo: Production's here, and the loop's deployments."""
    for page in (folder / MODELS / MODEL_CARD_PAGE, *(folder / LOOP).glob(f"**/{MODEL_CARD_PAGE}")):
        if page.is_file() and mentions(page.read_bytes(), names):
            yield from (page.with_name(WORST_PHOTOS), page)


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path.is_file() else ""


def _models(git: Git, names: Iterable[str]) -> list[str]:
    """Return lines that name the runs and models trained on the photos, as far as this clone records them."""
    runs: dict[str, str] = {}
    try:
        manager = DataVersionManager(RUNS)
        runs = {use.run_name: use.data_version for name in names for use in manager.runs_using(name)}
        entries = Ledger(git.folder / MODELS).entries()
    except (TrackingError, LedgerError) as error:
        return [f"Which models were trained on them can't be told here: {error}"]
    versions = sorted({entry.to_version for entry in entries if entry.data_version in runs.values()})
    if not runs:
        return ["No run recorded in this clone used them; ask MLflow, whose runs keep their photos in data.jsonl."]
    models = f"; versions {', '.join(map(str, versions))} of the model" if versions else ""
    return [
        f"Trained on them: {', '.join(sorted(runs))}{models}. A model can't forget a photo: train without, promote."
    ]


def _left(git: Git, names: Sequence[str]) -> list[str]:
    """Return what is beyond reach, each with the command or the person that can do the rest."""
    backups = git("for-each-ref", "--format=%(refname)", "refs/wms").split()
    here = f" (this clone has {len(backups)}, such as {backups[0]})" if backups else ""
    return [
        "Left to you, since nothing here reaches it:",
        f"- other clones: their WMS/data, .dvc/cache and {LOOP}: run this command there, or delete the clones;",
        f"- commits with raw photos, also refs/wms/before-take-back/*{here}: git update-ref -d REF; git reflog expire "
        "--expire=now --all; git gc --prune=now;",
        "- GitHub's refs/pull/*, caches and attachments, if photos were ever pushed raw to a data branch: ask GitHub's "
        "support to remove them;",
        f"- MLflow's artifacts and the folder {RUNS.name}/ with pictures of these photos: search them for "
        f"{', '.join(names)}, delete the pictures there, also gate/{WORST_PHOTOS}, card/ and model/{MODEL_CARD_PAGE};",
        "- model cards on GitHub's releases and in running services, if wms.toml says publish_photos: `gh release "
        f"delete-asset TAG {MODEL_CARD_PAGE}` and the same for {WORST_PHOTOS}; deploy another version.",
    ]


ERASE: Final = command("Erase photos for good: data set, bucket, pictures; a tombstone stays.", _erase, _declare)
