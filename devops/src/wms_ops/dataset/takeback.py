"""The removal of photos from a branch's commits, once the data set has them: uncommitted changes stay as they are.

The order makes a kill safe at any point, and a repetition, too: all new commits are written first, then a note of the
files to go, then the branch moves, in one step with a name for its old tip; then the index, then the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from wms.files import exclusive_lock
from wms_ops.base.errors import GitError
from wms_ops.base.layout import main_branch
from wms_ops.dataset.rewrite import Rewritten, rewrite
from wms_ops.dataset.safe import refuse_unsafe
from wms_ops.dataset.takeback_files import finish, forget, note, noted, sort_out
from wms_ops.git.command import Git
from wms_ops.git.scratch import scratch_clone

BACKUPS = "refs/wms/before-take-back"
_STOPPED = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "BISECT_LOG": "bisect",
}

Say = Callable[[str], None]


def take_back(git: Git, remote: str, url: str, branch: str | None, say: Say) -> int:
    """Take the photos out of the commits that the remote's main lacks; return how many files the commits held.

    `branch` is a local branch, None for the branch that is checked out. Every photo of it must be in the data set and
    in the store; else, and during a merge or rebase, nothing is changed. Raises GitError, MissingBlobError and the
    store's errors.
    """
    _refuse_half_done(git)  # first: a rebase and a bisect have no branch checked out, and git makes none meanwhile
    ref = _branch(git, branch)
    common = Path(git("rev-parse", "--path-format=absolute", "--git-common-dir"))
    with exclusive_lock(common / "wms" / "take-back.lock"):
        here = _refuse_busy(git, ref)
        killed = here and noted(git, ref)
        if killed:
            finish(git, ref)
        old = git("rev-parse", f"{ref}^{{commit}}")
        with scratch_clone(git, url, depth=None) as scratch:
            if scratch.base is None:
                raise GitError(f"There is no branch {main_branch()} in the remote repository, so nothing was changed.")
            main = _here(git, remote, scratch.base)
            done = rewrite(git, old, main, scratch.folder, sign=git.switched("commit.gpgSign") is True)
            sums, holder = refuse_unsafe(git, scratch, done.photos, old)
        if done.tip != old:
            _carry_out(git, ref, old, done, sums=sums, holder=holder, say=say, here=here)
        elif killed:
            say("An earlier run was stopped half-way; the rest is done now.")
        else:
            say(f"No commit that the remote's {main_branch()} lacks holds photos; nothing was changed.")
        if done.tip != old or killed:
            say(_next(git, ref, done, main, here=here, remote=remote))
        if here:
            forget(git)
        return len(done.photos)


def _carry_out(
    git: Git, ref: str, old: str, done: Rewritten, *, sums: Mapping[str, str], holder: str, say: Say, here: bool
) -> None:
    going, changed = sort_out(git, done.photos, sums) if here else ({}, [])
    if here:
        note(git, ref, done.tip, going)
    backup = f"{BACKUPS}/{datetime.now(UTC):%Y%m%d-%H%M%S}-{old[:8]}"
    # One transaction: once the branch has moved, the name of its old tip exists.
    moves = f"create {backup} {old}\nupdate {ref} {done.tip} {old}\n".encode("utf-8", "surrogateescape")
    git("update-ref", "-m", "take-back: without photos", "--stdin", data=moves)
    if here:
        finish(git, ref)
    name = ref.removeprefix("refs/heads/")
    say(f"{len(done.photos)} photos and masks are out of {name}'s commits; {holder}.")
    if done.earlier:
        say(f"Out are also {len(done.earlier)} ({min(done.earlier)!r} first) that later commits removed or changed.")
    for path in changed[:5]:
        say(f"{path} was changed after its commit: it is left as it is.")
    if len(changed) > 5:
        say(f"So are {len(changed) - 5} more.")
    if done.unsigned:
        say(f"{done.unsigned} commits lost their signature, since `git config commit.gpgSign` isn't on.")
    # A soft reset touches neither the index nor a file, even if more was staged meanwhile.
    say(f"To have {name} as before: {f'git reset --soft {backup}' if here else f'git update-ref {ref} {backup}'}")
    if here:
        say(f"And a photo's file: git restore --source={backup} -- PATH")


def _next(git: Git, ref: str, done: Rewritten, main: str, *, here: bool, remote: str) -> str:
    """Return the advice for the rest; a branch without commits of its own moves to the remote's main."""
    name, pull = ref.removeprefix("refs/heads/"), f"git pull --rebase {remote} {main_branch()}"
    if done.kept:
        moved = not git.ok("merge-base", "--is-ancestor", main, done.tip)
        then = f"the remote's {main_branch()} has moved on, so first: {pull}" if moved else "push them as before."
        return f"{done.kept} commits of {name} are left, without photos; {then}"
    forward = ("merge", "--ff-only", "--quiet", main) if here else ("update-ref", ref, main, done.tip)
    if done.tip == main or git.ok(*forward):
        return f"{name} is as {main_branch()} over there."
    return f"The remote's {main_branch()} has moved on, and changes of yours are in its way: commit them, then {pull}"


def _branch(git: Git, branch: str | None) -> str:
    if branch is None:
        found = git.attempt("symbolic-ref", "--quiet", "HEAD").stdout.decode("utf-8", "surrogateescape").strip()
        if not found:
            raise GitError(
                "No branch is checked out here, so nothing was changed: `git switch --create NAME` puts your commits "
                "on one, then run this again."
            )
        ref = found
    else:
        ref = f"refs/heads/{branch}"
    if git.commits(ref) == [None]:
        raise GitError(f"There is no local branch {ref.removeprefix('refs/heads/')!r} with a commit; nothing to do.")
    return ref


def _refuse_half_done(git: Git) -> None:
    for name, what in _STOPPED.items():
        if Path(git("rev-parse", "--path-format=absolute", "--git-path", name)).exists():
            raise GitError(
                f"A {what} is half done here, so nothing was changed: finish or abort it (`git status` shows how), "
                "then run this."
            )


def _refuse_busy(git: Git, ref: str) -> bool:
    """Return whether the branch is checked out here. Raises GitError for conflicts and for another work tree."""
    if git("ls-files", "--unmerged"):
        raise GitError("The index holds files in conflict, so nothing was changed: settle them, then run this.")
    common = Path(git("rev-parse", "--path-format=absolute", "--git-common-dir"))
    for head in (*common.glob("worktrees/*/rebase-*/head-name"), *common.glob("rebase-*/head-name")):
        if head.read_text(encoding="utf-8", errors="surrogateescape").strip() == ref:
            name = ref.removeprefix("refs/heads/")
            raise GitError(f"A rebase of {name} is half done in a work tree, so nothing was changed: end it first.")
    worktree = git("for-each-ref", "--format=%(worktreepath)", ref)
    here = bool(worktree) and Path(worktree).resolve() == git.folder.resolve()
    if worktree and not here:
        raise GitError(f"{ref.removeprefix('refs/heads/')} is checked out in {worktree}: run this there.")
    return here


def _here(git: Git, remote: str, main: str) -> str:
    """Return the commit of the remote's main, fetched if this clone lacks the commit."""
    if git.commits(main) == [None]:
        git(
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-gc",
            remote,
            f"refs/heads/{main_branch()}",
        )
    if git.commits(main) == [None]:
        raise GitError(f"The remote's {main_branch()} moved on in the meantime; run this again.")
    return main
