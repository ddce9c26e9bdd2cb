"""Starts the pipeline on main for a pushed data branch, whose workflow has no secret: names only are looked at here."""

from __future__ import annotations

from typing import Final

from wms.names import harmless
from wms_ops.base.errors import PullRequestError
from wms_ops.base.layout import main_branch
from wms_ops.dataset.review import only_joined
from wms_ops.git.command import Git
from wms_ops.pulls.gh import REPO, GitHub

PIPELINE: Final = "training-data-pipeline.yaml"
"""The workflow that works with the account's keys; it runs as main has it, whatever a branch's own files say."""


def dispatch(github: GitHub, workflow: str, inputs: dict[str, str]) -> None:
    """Start a workflow as main has it. Raises PullRequestError if GitHub refuses, and the errors of `GitHub.ask`."""
    path, what = f"{REPO}/actions/workflows/{workflow}/dispatches", f"workflow {workflow}"
    answer = github.ask(path, method="POST", body={"ref": main_branch(), "inputs": inputs}, what=what)
    if answer.ok:
        return
    if answer.status == 404:
        raise PullRequestError(
            f"GitHub has no {what} on {main_branch()}, or this login may not see it; nothing was started. Bring the "
            f"file to {main_branch()}, then run this job again."
        )
    raise PullRequestError(
        f"GitHub refuses to start the {what}: {harmless(answer.words)}. It needs a token with the right "
        "`actions: write`."
    )


def why_not(git: Git, tip: str | None, branch: str, commit: str) -> str:
    """Return the sentence that says why a commit of a branch is no longer to be trained on; "" if it is.

    `tip` is the branch's commit at the origin now. A later push starts a run of its own.
    """
    main = f"refs/remotes/origin/{main_branch()}"
    if tip is None:
        return f"{branch} isn't at the origin any more, so nothing was started."
    if not only_joined(git, main, commit, tip):
        return f"{branch} moved on from {commit[:12]} to {tip[:12]}, whose own push starts a run; nothing was started."
    if git.ok("merge-base", "--is-ancestor", commit, main):
        return f"{main_branch()} has all of {branch} already, so nothing was started."
    return ""
