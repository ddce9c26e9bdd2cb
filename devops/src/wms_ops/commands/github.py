"""`wms github`: what GitHub's workflows ask of this project, and what the repository's settings must be."""

from __future__ import annotations

import argparse
from typing import Final

from wms.command import Command, folder
from wms.paths import ROOT
from wms_ops.base.layout import DATA_BRANCHES, main_branch
from wms_ops.base.outputs import add_summary, annotate, put_outputs
from wms_ops.dataset.review import brings_data, refuse_foreign
from wms_ops.git.command import Git
from wms_ops.git.write import remote_tip
from wms_ops.loop import contexts
from wms_ops.loop.shared_runs import run_of
from wms_ops.loop.workspace import fetch
from wms_ops.pulls.dispatch import PIPELINE, dispatch, why_not
from wms_ops.pulls.gh import GitHub


def _of_start(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("branch", help=f"such as {DATA_BRANCHES}20261121-103000")
    parser.add_argument("commit", help="the whole commit that was pushed to it")
    parser.add_argument("--repo", type=folder, default=ROOT, help="a clone of the repository with main checked out")


def _start(arguments: argparse.Namespace) -> int:
    """Start the pipeline for a pushed commit, unless the branch changes more than data. Raises WmsError."""
    branch, commit, git = arguments.branch, arguments.commit, Git(arguments.repo)
    run_of(branch, commit)
    url = contexts.origin_of(arguments.repo)
    fetch(git)
    if text := why_not(git, remote_tip(git, url, branch), branch, commit):
        annotate("notice", text)
        print(text)
        return 0
    refuse_foreign(git, f"refs/remotes/origin/{main_branch()}", commit, branch)
    dispatch(GitHub(arguments.repo), PIPELINE, {"branch": branch, "commit": commit})
    text = f"{PIPELINE} was started on {main_branch()} for {branch} ({commit[:12]})."
    add_summary(text)
    print(text)
    return 0


def _of_changes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", help="the commit that a pull request is to be merged into")
    parser.add_argument("head", help="the commit of its branch")
    parser.add_argument("--repo", type=folder, default=ROOT, help="a clone that has both")


def _changes(arguments: argparse.Namespace) -> int:
    """Say whether a pull request brings data or records, as the output `data`. Raises GitError."""
    git = Git(arguments.repo)
    found = brings_data(git, git.commit(arguments.base), git.commit(arguments.head))
    put_outputs({"data": found})
    print("It brings data or records: the pipeline decides." if found else "It brings neither data nor records.")
    return 0


CHANGES: Final = Command(
    "Say whether a pull request brings data or records, which the pipeline alone may judge.", _of_changes, _changes
)
START: Final = Command(
    "Start the pipeline on main for a pushed data branch, which may change nothing but data.",
    _of_start,
    _start,
    "Exit codes: 0 started, or nothing is to be done for this commit; 99 the branch changes more than data; 88 GitHub "
    "refuses; docs/exit-codes.md.",
)
