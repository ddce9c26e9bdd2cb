"""The corrected push ends the old branch: its pull request is closed, here or at GitHub, also after a kill."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterator

import pytest
from comeback_yard import GATE, PART, blocked, mend, published, show, take_back
from entrance_table import WORKS, Row
from github_fake import fake_github
from github_fake_pulls import FakePulls
from workshop import Workshop, said

from wms_ops.git.command import Git
from wms_ops.pulls import blocked as ending
from wms_ops.pulls.gh import GitHub
from wms_ops.pulls.gh_pulls import GhPulls
from wms_ops.pulls.protocol import Pull, PullState

END = """
import os, signal, sys
from pathlib import Path
from wms_ops.git.command import Git
from wms_ops.pulls import blocked

url, new, wanted = sys.argv[1:4]
real = getattr(blocked, wanted.partition("-")[0])
def die(*arguments, **more):
    if wanted.endswith("-done"): real(*arguments, **more)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(blocked, wanted.partition("-")[0], die)
blocked.replace_returned(Git(Path.cwd()), url, new, ["s1_0", "s1_1", "s1_2"], remote="origin", say=print)
"""


@pytest.mark.parametrize("wanted", ["delete_branch", "delete_branch-done", "forget_returned"])
def test_killed_while_the_old_branch_ends(shop: Workshop, wanted: str, entrance: Row) -> None:
    clone, branch, _ = published(shop)
    blocked(shop, clone, branch)
    take_back(shop, clone)
    take_back(shop, clone, branch)
    mend(clone)
    shop.commit(clone)
    url = f"file://{shop.origin}"
    killed = shop.run(sys.executable, "-c", END, url, "data/new", wanted, where=clone, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "is deleted" in said(shop.push(clone))
    assert branch not in shop.data_branches() and len(shop.data_branches()) == 1
    assert "| closed |" in show(shop, "README.md")
    again = said(shop.push(clone))
    assert "is deleted" not in again and "already" in again
    entrance(PART, f"killed in the end of the old branch ({wanted})", "the next push does the rest", WORKS)


@pytest.fixture
def at_github(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePulls]:
    """The origin's pull requests at a fake GitHub, which the real gh asks; the origin itself stays where it is."""
    with fake_github() as github:
        for name, value in {**github.environ, **shop.s3.environ}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(ending, "is_at_github", lambda _: True)
        yield FakePulls(github, shop.origin)


def old_and_new(shop: Workshop) -> tuple[Git, str]:
    """A clone's repository after take-back of a branch that GitHub has a pull request of; and the branch."""
    clone, branch, _ = published(shop)
    git, url = Git(clone), f"file://{shop.origin}"
    GhPulls(git, url, GitHub(clone)).open(branch, "Blocked", "Worse.")
    take_back(shop, clone, branch)
    return git, branch


NAMES = ["s1_0", "s1_1", "s1_2"]


def test_at_github_the_old_one_is_closed_with_a_comment(shop: Workshop, at_github: FakePulls, entrance: Row) -> None:
    git, branch = old_and_new(shop)
    url = f"file://{shop.origin}"
    told: list[str] = []
    ending.show_what_was_wrong(git, url, branch, told.append)
    assert told[0].endswith("/pull/1") and told[1].endswith("qa.html")
    GhPulls(git, url, GitHub(git.folder)).update(Pull(1, branch, "", PullState.OPEN, "", ""), "", {"gate.html": GATE})
    ending.show_what_was_wrong(git, url, branch, told.append)
    assert told[-1].endswith("gate.html")
    for _ in range(2):
        ending.replace_returned(git, url, "data/new", NAMES, remote="origin", say=told.append)
    assert at_github.pulls[1]["state"] == "closed"
    assert at_github.comments == {"1": ["The corrected photos are on the branch data/new."]}
    assert "Pull request 1 is closed with a note that names data/new" in told[-1] and not shop.data_branches()
    entrance(PART, "a blocked pull request at GitHub, by the real gh", "closed with a comment, branch deleted", WORKS)


@pytest.mark.parametrize("lacking", ["no gh", "no login"])
def test_at_github_without_a_login_the_command_is_printed(
    shop: Workshop, at_github: FakePulls, lacking: str, monkeypatch: pytest.MonkeyPatch, entrance: Row
) -> None:
    git, branch = old_and_new(shop)
    if lacking == "no gh":
        tools = shop.folder / "tools"
        tools.mkdir()
        (tools / "git").symlink_to(str(shutil.which("git")))
        monkeypatch.setenv("PATH", str(tools))
    else:
        monkeypatch.delenv("GH_TOKEN")
        monkeypatch.setenv("GH_CONFIG_DIR", str(shop.folder / "no config"))
    told: list[str] = []
    ending.replace_returned(git, f"file://{shop.origin}", "data/new", NAMES, remote="origin", say=told.append)
    note = "--comment 'The corrected photos are on the branch data/new.'"
    assert f"Do that by: gh pr close {branch} --delete-branch {note}" in told[-1]
    assert shop.data_branches() == [branch] and at_github.pulls[1]["state"] == "open"
    entrance(PART, f"a blocked pull request at GitHub, {lacking} here", "one command is printed", WORKS)
