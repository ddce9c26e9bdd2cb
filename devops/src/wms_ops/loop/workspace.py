"""The loop's own clone: no person works in this clone, so the loop may check out, reset and clean freely."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wms.data.splits import SplitRecord
from wms.errors import SplitError
from wms_ops.base.errors import GitError, PipelineError
from wms_ops.base.layout import SPLITS, main_branch
from wms_ops.dataset.review import adds_records_only, refuse_foreign
from wms_ops.dataset.versions import file_at
from wms_ops.git.command import Git
from wms_ops.git.write import push, remote_tip
from wms_ops.loop.context import BOT, RunContext

RUN_TRAILER = "Loop-Run"
"""The trailer of the loop's own commits on a data branch, with the run's id."""

# Paths that `git clean` must keep: runs, caches and the downloaded data set.
_KEPT = ("runs/", ".cache/", "WMS/data/dataset/images", "WMS/data/dataset/masks")


def clone_origin(url: str, folder: Path) -> Git:
    """Return the clone in `folder`, newly made or updated. Raises GitError."""
    git = Git(folder, BOT)
    if not (folder / ".git" / "HEAD").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        Git(folder.parent, BOT)("clone", "--quiet", "--no-checkout", url, str(folder))
    git("remote", "set-url", "origin", url)
    fetch(git)
    return git


def fetch(git: Git) -> None:
    """Fetch the origin's branches, and prune those that the origin deleted."""
    git("fetch", "--quiet", "--prune", "--tags", "--force", "origin", "+refs/heads/*:refs/remotes/origin/*")


def tip(git: Git, branch: str) -> str | None:
    """The commit of the origin's branch as of the last fetch; None for a missing branch."""
    name = f"refs/remotes/origin/{branch}"
    return git("rev-parse", name) if git.ok("rev-parse", "--verify", "--quiet", name) else None


def check_out(context: RunContext, commit: str, branch: str) -> None:
    """Make the work tree that of `commit`; runs, caches and the data set's files stay.

    The workspace's code runs with the account's keys, so a commit that differs from main in more than data isn't
    checked out: BranchContentError. Raises GitError.
    """
    git = context.git
    require_commit(git, commit, branch)
    refuse_foreign(git, main_tip(context), commit, branch)
    lock = git.folder / ".git" / "index.lock"
    lock.unlink(missing_ok=True)  # of a git that was killed; this clone has one user, who holds the loop's lock
    git("checkout", "--quiet", "--force", "--detach", commit)
    git("clean", "--quiet", "-ffd", *(part for kept in _KEPT for part in ("-e", kept)))


def require_commit(git: Git, commit: str, branch: str) -> None:
    """Raise PipelineError for a commit that a clone lacks: its branch was deleted, or forced elsewhere."""
    if git.commits(commit) == [None]:
        raise PipelineError(
            f"{branch} was deleted or forced elsewhere, so {commit[:12]} isn't at the origin any more, and nothing was "
            f"done with it. Push that commit to {branch} again and repeat this part, or leave the run as it is."
        )


def stand_at(context: RunContext, commit: str, branch: str) -> None:
    """Check `commit` out unless the work tree is at it, with what the steps of this job have added. Raises as above."""
    if context.git.attempt("rev-parse", "--verify", "HEAD^{commit}").stdout.decode().strip() != commit:
        check_out(context, commit, branch)


def refuse_moved_splits(git: Git, commit: str) -> None:
    """Raise SplitError unless the work tree's split record, returned by an instance, only appends to that of `commit`.

    A job's result comes from another machine, and this result is committed: no test photo may become a training photo.
    """
    path = git.folder / SPLITS
    before = (file_at(git, commit, SPLITS) or "").encode()
    if not (path.read_bytes() if path.is_file() else b"").startswith(before):
        raise SplitError(
            f"The instance gave back {SPLITS} with recorded lines changed, so nothing was recorded: a split never "
            "moves. Look at who has access to the instance and the bucket, then run the loop again."
        )
    SplitRecord(path)


def commit_and_push(context: RunContext, branch: str, paths: Sequence[str], message: str, before: str) -> str:
    """Commit `paths` on top of `before`, the branch's known tip, and push; returns the branch's new tip.

    Without changes nothing is committed. Killed before the push, a second call pushes; killed after the push, a second
    call recognises its own commit by content, never by its message. Raises GitError if the branch moved on.
    """
    git = context.git
    git("add", "--all", "--", *[path for path in paths if (context.workspace / path).exists()])
    if not git.ok("diff-index", "--cached", "--quiet", "HEAD"):
        git("commit", "--quiet", "--no-verify", "-m", message, "-m", f"{RUN_TRAILER}: {context.run_id}")
    head, there = git("rev-parse", "HEAD"), remote_tip(git, context.url, branch)
    if there is not None and (there == head or _same(context, before, head, there)):
        # An earlier call pushed this already, before it was killed.
        git("reset", "--quiet", "--soft", there)
        return there
    if there != before:
        raise GitError(f"Branch {branch} moved on while it was worked with, so nothing was pushed; run the loop again.")
    push(git, context.url, branch, head, before)
    return head


def _same(context: RunContext, before: str, head: str, there: str) -> bool:
    """Whether the remote's commit `there` equals `head`: the same files on top of the same commit."""
    if there == before:
        return False
    git = context.git
    fetch(git)
    trees = [git.attempt("rev-parse", "--verify", f"{name}^{{tree}}").stdout for name in (head, there)]
    return trees[0] == trees[1] != b"" and adds_records_only(git, before, there)


def main_tip(context: RunContext) -> str:
    """Main's commit on the remote as of the last fetch. Raises PipelineError without a main."""
    found = tip(context.git, main_branch())
    if found is None:
        raise PipelineError(f"There is no branch {main_branch()} on origin; push one first.")
    return found
