"""A blocked pull request whose photos came back: the page that shows what was wrong, and the end of the old branch."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Collection
from pathlib import Path

from wms.errors import WmsError
from wms.files import write_atomic
from wms.names import reason_against
from wms_ops.base.layout import INBOX, LOOP, SPLITS
from wms_ops.dataset.publish import delete_branch
from wms_ops.dataset.returned import Returned, forget_returned, read_returned
from wms_ops.dataset.settings import data_settings
from wms_ops.git.command import Git
from wms_ops.git.scratch import scratch_clone
from wms_ops.pulls.file_branch import FileBranch
from wms_ops.pulls.gh import GitHub, is_at_github
from wms_ops.pulls.gh_pulls import GhPulls
from wms_ops.pulls.local_pulls import LocalPulls
from wms_ops.pulls.pages import RECORD
from wms_ops.pulls.protocol import Pull, PullRequests, PullState
from wms_ops.runs.store import RunStore

Say = Callable[[str], None]
_PAGE = "gate.html"


def find_pull(git: Git, url: str, branch: str) -> tuple[PullRequests, Pull] | None:
    """Return a branch's pull request, in the origin or at GitHub, with its service; None without any.

    Raises PullRequestError, and for an origin at GitHub the errors of `GitHub.ask`.
    """
    services: list[PullRequests] = [LocalPulls(git, url)]
    if is_at_github(url):
        services.append(GhPulls(git, url, GitHub(git.folder)))
    for service in services:
        if pull := service.find(branch):
            return service, pull
    return None


def show_what_was_wrong(git: Git, url: str, branch: str, say: Say) -> None:
    """Print the pull request's address and the page about its photos: the gate's, else one of the data check.

    A page that can't be had is only said.
    """
    pull = None
    try:
        found = find_pull(git, url, branch)
        pull = found[1] if found else None
    except WmsError as error:
        say(f"The pull request of {branch} can't be asked for: {error}")
    if pull:
        say(f"Its pull request: {pull.url}")
    try:
        page = _page_of_run(git, branch) or (_attached(git, url, pull) if pull else None) or _check_page(git, branch)
        say(f"What was wrong: {page}")
    except WmsError as error:
        say(f"No page of what was wrong can be shown: {error}")


def replace_returned(git: Git, url: str, new: str, stems: Collection[str], *, remote: str, say: Say) -> None:
    """After a push of corrected photos to the branch `new`: close the pull requests of the branches they came from.

    Each such branch is deleted, too, if all of its photos (`stems`, names without extension) are in this push and the
    branch hasn't moved. What can't be done is said, with the command that does it. Safe to repeat and to kill.
    """
    for old in read_returned(git):
        shared = old.stems & set(stems)
        if old.branch == new or not shared:
            continue
        if lacking := sorted(old.stems - shared):
            say(
                f"{old.branch} stays, since {lacking[0]!r} (and {len(lacking) - 1} more of its photos) isn't in this "
                f"push. If it isn't needed: {_by_hand(url, remote, old.branch, new)}"
            )
            continue
        try:
            _end(git, url, old, new, say)
        except WmsError as error:  # the photos are safe by now, so this push hasn't failed
            say(f"{old.branch} couldn't be ended: {error} Do that by: {_by_hand(url, remote, old.branch, new)}")
            continue
        forget_returned(git, old.branch)


def _end(git: Git, url: str, old: Returned, new: str, say: Say) -> None:
    found = find_pull(git, url, old.branch)
    closed = ""
    if found and found[1].state is not PullState.MERGED:
        service, pull = found
        service.close(pull, f"The corrected photos are on the branch {new}.")
        closed = f"Pull request {pull.number} is closed with a note that names {new}, and "
    delete_branch(git, url, old.branch, old.tip)
    say(f"{closed}{old.branch} is deleted: its corrected photos are on {new}.")


def _by_hand(url: str, remote: str, branch: str, new: str) -> str:
    if is_at_github(url):
        note = f"The corrected photos are on the branch {new}."
        return shlex.join(["gh", "pr", "close", branch, "--delete-branch", "--comment", note])
    return f"git push {shlex.join([remote, '--delete', branch])}"


def _page_of_run(git: Git, branch: str) -> Path | None:
    """Return the gate's page of the branch's newest run of the loop in this clone."""
    runs = RunStore(git.folder / LOOP / "runs")
    with contextlib.suppress(WmsError):  # another run's damaged record
        if (run := runs.newest(branch)) and (page := runs.path(run.id) / _PAGE).is_file():
            return page
    return None


def _attached(git: Git, url: str, pull: Pull) -> Path | None:
    """Bring the files of a pull request, and return its gate's page; None where the pull request has no such page."""
    folder = f"{pull.number:04d}"
    with scratch_clone(git, url) as scratch:
        files = FileBranch(scratch).look()
        names = [name for name in files.names(folder) if reason_against(name) is None]
        if f"{folder}/{_PAGE}" not in names:
            return None
        for name, content in zip(names, files.read(names), strict=True):
            if not name.endswith(f"/{RECORD}"):
                write_atomic(_pages(git, pull.branch) / name.removeprefix(f"{folder}/"), content)
    return _pages(git, pull.branch) / _PAGE


def _check_page(git: Git, branch: str) -> Path:
    """Write the data check's page about the inbox. Raises DataNotFoundError, SplitError and the like."""
    from wms.data.qa.html import render_html
    from wms.data.qa.validate import check

    folder, page = git.folder / INBOX, _pages(git, branch) / "qa.html"
    splits, settings = git.folder / SPLITS, data_settings(git, "HEAD")
    checked = check(
        folder,
        splits_file=splits if splits.is_file() else None,
        cache_folder=_pages(git, "").parent / "qa",
        config=settings,
    )
    write_atomic(page, render_html(folder, checked, settings))
    return page


def _pages(git: Git, branch: str) -> Path:
    shared = Path(git("rev-parse", "--path-format=absolute", "--git-common-dir"))
    return shared / "wms" / "pages" / branch.replace("/", "-")
