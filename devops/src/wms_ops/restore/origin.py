"""Pushes to a new or emptied origin all that this clone knows of the lost one; nothing there is overwritten."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from wms.data.manifest import Pointer
from wms.errors import ManifestError
from wms.project import project
from wms.registry.ledger import LedgerEntry
from wms.text import counted
from wms_ops.base.errors import GitError
from wms_ops.base.layout import DATA_BRANCHES, KINDS, main_branch, pointer
from wms_ops.git.command import Git
from wms_ops.restore.plan import Outcome, Plan, Show
from wms_ops.storage.remote import S3Remote

_MANIFEST: Final = re.compile(r"files/md5/([0-9a-f]{2})/([0-9a-f]{30}\.dir)$")
_BATCH: Final = 200  # names in a push: a command line has an end


@dataclass(frozen=True)
class _Refs:
    """Refs by their full names at the origin: what this clone knows of them, and what the origin has now."""

    known: Mapping[str, str]
    there: Mapping[str, str]


def plan_origin(git: Git, entries: Sequence[LedgerEntry], store: S3Remote | None) -> Plan:
    """Plan the push of main, data branches, every other branch of the origin, and tags.

    `store` tells of data sets that only the origin's commits named. Raises GitError where the origin doesn't answer or
    this clone lacks a part of what is to be pushed, and the bucket's errors.
    """
    name = project().remote
    if not git.ok("remote", "get-url", name):
        raise GitError(f"This clone has no remote {name!r}; name the new one by `git remote add {name} URL`.")
    where = git("remote", "get-url", name)
    refs = _Refs(_known(git, name), _there(git, name, where))
    pushed = {ref: commit for ref, commit in refs.known.items() if _may_push(git, commit, refs.there.get(ref))}
    if pushed:
        _refuse_partial(git, name)
    notes = [*_left_alone(git, refs), *_stale(git, refs.known, pushed)]
    todo = []
    if pushed:
        todo.append(f"{counted(len(pushed), 'name')} pushed to {name}: {_names(pushed)}.")
    lost = [*_only_there(git, name, entries), *(_unnamed(git, store) if store else ())] if pushed else []

    def work(show: Show) -> Outcome:
        # Main last: a new clone that finds main finds the tags and branches that main's files name.
        order = sorted(pushed, key=lambda ref: (ref == f"refs/heads/{main_branch()}", ref))
        refused: dict[str, str] = {}
        for start in range(0, len(order), _BATCH):
            refused |= _push(git, name, {ref: pushed[ref] for ref in order[start : start + _BATCH]})
        return _outcome([ref for ref in order if ref not in refused], refused, where, show)

    return Plan("origin", todo, work, list(dict.fromkeys(lost)), notes)


def _push(git: Git, name: str, pushed: Mapping[str, str]) -> dict[str, str]:
    """Push commits by the refs at the origin; returns the reason for each ref that the origin didn't take."""
    done = git.attempt("push", "--porcelain", "--no-verify", name, *(f"{pushed[ref]}:{ref}" for ref in pushed))
    if done.returncode == 0:
        return {}
    told = [line.split("\t") for line in done.stdout.decode("utf-8", "surrogateescape").splitlines()]
    answers = {parts[1].partition(":")[2]: parts for parts in told if len(parts) == 3}
    said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
    broken = next((line for line in said if line.startswith("fatal:")), said[0]).removeprefix("fatal:").strip()
    refused = {}
    for ref in pushed:
        flag, _, summary = answers.get(ref, ("!", "", broken))
        if flag == "!":
            refused[ref] = summary.partition("(")[2].rstrip(")") or summary.rstrip(".")
    return refused


def _outcome(arrived: Sequence[str], refused: Mapping[str, str], where: str, show: Show) -> Outcome:
    """Tell which refs arrived, and which didn't and why."""
    show(f"origin: {counted(len(arrived), 'name')} pushed to {where}.")
    done = Outcome()
    if arrived:
        done.restored = [f"{counted(len(arrived), 'name')} with all their commits at {where}: {_names(arrived)}."]
    for reason in dict.fromkeys(refused.values()):
        refs = [ref for ref, why in refused.items() if why == reason]
        done.lost.append(f"{counted(len(refs), 'name')} didn't arrive ({reason}): {_names(refs)}.")
    if refused:
        done.fault = GitError(
            f"{where} didn't take {len(refused)} of {counted(len(arrived) + len(refused), 'name')}, as is said above; "
            "mend that, then run `wms restore origin` again: it pushes the rest."
        )
    return done


def _names(refs: Iterable[str]) -> str:
    return ", ".join(ref.removeprefix("refs/heads/").removeprefix("refs/") for ref in sorted(refs))


def _refuse_partial(git: Git, name: str) -> None:
    """Raise GitError for a clone that lacks old commits or files: only the lost origin could complete a push."""
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise GitError(
            "This clone is shallow: it lacks the older commits, so nothing was pushed. Run this in a clone that has "
            "all, or bring them from there by `git fetch --unshallow PATH`."
        )
    if not git.switched(f"remote.{name}.promisor"):
        return
    # Without asking the remote for what is missing, as git does for such a clone otherwise.
    found = git("rev-list", "--objects", "--all", "--missing=print").splitlines()
    if missing := sum(line.startswith("?") for line in found):
        raise GitError(
            f"This clone is partial: it lacks {counted(missing, 'object')} of older commits, so nothing was pushed. "
            "Run this in a clone that has all, or bring them from there by `git fetch --refetch --no-filter PATH`."
        )


def _known(git: Git, name: str) -> dict[str, str]:
    """The clone's refs by their names at the origin: what it last fetched, own main and data branches, tags."""
    found: dict[str, str] = {}
    lines = git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", f"refs/remotes/{name}", "refs/tags")
    for line in lines.splitlines():
        ref, _, commit = line.partition(" ")
        branch = ref.removeprefix(f"refs/remotes/{name}/")
        if ref.startswith("refs/tags/"):
            found[ref] = commit
        elif branch not in (ref, "HEAD"):
            found[f"refs/heads/{branch}"] = commit
        else:
            own = ref.removeprefix("refs/heads/")
            if own == main_branch() or own.startswith(DATA_BRANCHES):
                found.setdefault(ref, commit)  # refs/heads come first, so what was fetched wins
    return found


def _there(git: Git, name: str, where: str) -> dict[str, str]:
    done = git.attempt("ls-remote", name)
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = reason[0].removeprefix("fatal:").strip().rstrip(".") if reason else "it doesn't answer"
        raise GitError(
            f"{where} can't be read ({said}), so nothing was pushed; make an empty repository there, or name another "
            f"one by `git remote set-url {name} URL`."
        )
    lines = (line.split("\t") for line in done.stdout.decode("utf-8", "surrogateescape").splitlines())
    return {ref: commit for commit, ref in lines if ref.startswith("refs/") and not ref.endswith("^{}")}


def _may_push(git: Git, commit: str, there: str | None) -> bool:
    """Whether the origin lacks a ref, or has an ancestor of the clone's commit."""
    return there is None or (there != commit and git.ok("merge-base", "--is-ancestor", there, commit))


def _left_alone(git: Git, refs: _Refs) -> Iterator[str]:
    for ref, commit in sorted(refs.known.items()):
        there = refs.there.get(ref)
        if there in (None, commit) or _may_push(git, commit, there):
            continue
        short = ref.removeprefix("refs/heads/")
        if git.ok("merge-base", "--is-ancestor", commit, str(there)):
            yield f"{short} is newer at the origin than here, and stays as it is."
        else:
            yield f"{short} at the origin isn't what this clone knows, and stays as it is; run `git fetch` and look."


def _stale(git: Git, known: Mapping[str, str], pushed: Mapping[str, str]) -> Iterator[str]:
    branches = [ref for ref in pushed if ref.startswith(f"refs/heads/{DATA_BRANCHES}")]
    if branches:
        yield "Data branches that the origin deleted after this clone's last `git fetch --prune` come back, too."
    main = f"refs/heads/{main_branch()}"
    if pushed and git.ok("rev-parse", "--verify", "--quiet", main):
        fetched = known.get(main, main)
        ahead = git("rev-list", "--count", f"{fetched}..{main}")
        if ahead != "0":
            verb, them = ("was", "it") if ahead == "1" else ("were", "them")
            yield f"{counted(int(ahead), 'commit')} of {main_branch()} here {verb} never pushed; push {them} as usual."


def _only_there(git: Git, name: str, entries: Sequence[LedgerEntry]) -> Iterator[str]:
    """What the origin may have had beyond this clone, as far as ledger and clone tell."""
    folder = Path(git("rev-parse", "--absolute-git-dir"))
    mark = folder / "FETCH_HEAD"
    when = f" at {datetime.fromtimestamp(mark.stat().st_mtime, UTC):%Y-%m-%d %H:%M} UTC" if mark.is_file() else ""
    yield f"What was pushed to {name} after this clone's last fetch{when}; other clones may have it."
    yield "Pull requests, releases, secrets and settings, where the origin was at GitHub: no clone has them."
    for entry in entries:
        commit = entry.git_commit
        if commit not in ("", "None") and not git.ok("cat-file", "-e", f"{commit}^{{commit}}"):
            yield f"Commit {commit[:12]}, with which version {entry.to_version} was trained: only the origin had it."


def _unnamed(git: Git, store: S3Remote) -> Iterator[str]:
    """Data sets in the bucket that no commit of this clone names."""
    paths = [pointer(kind) for kind in KINDS]
    named: set[str] = set()
    for commit in git("rev-list", "--all", "--full-history", "--", *paths).split():
        for _, blob, path in git.files(commit, *paths):
            (content,) = git.blobs([blob])
            try:
                named.add(Pointer.parse(content.decode("utf-8", "replace"), path).oid)
            except ManifestError:
                continue  # damaged in an old commit; it names nothing
    for key in store.bucket.names(store.config.inside("files/md5/")):
        found = _MANIFEST.search(key)
        if found and found[1] + found[2] not in named:
            yield (
                f"A commit that names the list {found[1]}{found[2]} in {store.config.url}: it was pushed after this "
                "clone's last fetch, or never got that far. The photos are in the bucket; push them again."
            )
