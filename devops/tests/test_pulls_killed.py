"""Local pull requests under fire: killed at each step, or many at once; in the end nothing is lost or done twice."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pull_yard import BRANCH, Yard, make_yard

from wms_ops.git.command import Git
from wms_ops.git.scratch import scratch_clone
from wms_ops.pulls import file_branch
from wms_ops.pulls.local_pulls import LocalPulls
from wms_ops.pulls.protocol import PullState

pytestmark = pytest.mark.slice("killed pull requests", of=2)

# Runs one verb on an origin; prints each step's name, and dies at the wanted one.
DRIVER = """
import os, signal, sys
from pathlib import Path
from wms_ops.git.scratch import scratch_clone
from wms_ops.git.command import Git
from wms_ops.pulls.local_pulls import LocalPulls

clone, url, branch, verb, wanted = sys.argv[1:6]
def step(name):
    print(name, flush=True)
    if name == wanted:
        os.kill(os.getpid(), signal.SIGKILL)
pulls = LocalPulls(Git(Path(clone)), url, step=step)
title = "Add data to " + branch
if verb == "open":
    pulls.open(branch, title, "Better.")
pull = pulls.find(branch)
if verb == "update":
    pulls.update(pull, "![a](pictures/a.png)", {"pictures/a.png": bytes(range(256))})
if verb == "block":
    pulls.block(pull, "Worse.")
if verb == "close" and pull:
    pulls.close(pull, "The corrected photos are on data/new.")
if verb == "merge":
    pulls.merge(pull, head=sys.argv[6], title=title, message="All of it.")
"""
VERBS = ("open", "update", "block", "close", "merge")


def command(yard: Yard, verb: str, *, branch: str = BRANCH, die: str = "", head: str = "") -> list[str]:
    return [sys.executable, "-c", DRIVER, str(yard.clone.folder), yard.url, branch, verb, die, head]


def drive(yard: Yard, verb: str, *, die: str = "", head: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(yard, verb, die=die, head=head), capture_output=True, text=True, timeout=120, check=False
    )


def prepared(folder: Path, verb: str) -> tuple[Yard, str]:
    """A yard in which this verb is next."""
    folder.mkdir()
    yard = make_yard(folder)
    head = yard.branch()
    pulls = LocalPulls(yard.clone, yard.url)
    if verb != "open":
        pulls.open(BRANCH, f"Add data to {BRANCH}", "Better.")
    return yard, head


def state(yard: Yard) -> dict[str, str]:
    """What is in the origin, but for times and ids that follow from them."""
    git = Git(yard.origin)
    found = {"main": "\n".join(yard.main()), "branch": yard.tip(BRANCH) and "there"}
    if yard.tip("pull-requests"):
        main = git("rev-parse", "main")
        for path in git.names("ls-tree", "-r", "-z", "--name-only", "pull-requests"):
            text = git("show", f"pull-requests:{path}").replace(main, "MAIN")
            text = re.sub(r'"head": "\w{40}"', "", text)
            found[path] = re.sub(r"\d{4}-\d\d-\d\dT[\d:+]+", "TIME", text)
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_each_step_and_run_again(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    yard, head = prepared(tmp_path / "clean", verb)
    clean = drive(yard, verb, head=head)
    assert clean.returncode == 0, clean.stderr
    steps, end = clean.stdout.split("\n")[:-1], state(yard)
    assert len(steps) == {"merge": 10}.get(verb, 3), steps
    rows = []
    for number, step in enumerate(steps):
        yard, head = prepared(tmp_path / f"killed {number}", verb)
        killed = drive(yard, verb, die=step, head=head)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        between, left = state(yard), len(yard.leftovers())
        again = drive(yard, verb, head=head)
        assert again.returncode == 0, again.stderr
        assert state(yard) == end, step
        assert not yard.leftovers()
        changed = sum(between.get(name) != text for name, text in end.items())
        rows.append(
            f"  {verb:7} {step:14} SIGKILL  {changed} of {len(end)} parts and {left} clone left for the second run"
        )
    with capsys.disabled():
        print(f"\nkill matrix of {verb}: step, fault, what the second run had to do; its end was always the same")
        print("\n".join(rows))


def test_a_merge_that_was_killed_is_known_to_whoever_comes_next(tmp_path: Path) -> None:
    """Main has the commit, the record doesn't say so yet: nobody may open or block it as if it weren't merged."""
    yard, head = prepared(tmp_path / "y", "merge")
    assert drive(yard, "merge", die="main: pushed", head=head).returncode == -signal.SIGKILL
    assert json.loads(yard.show("0001/pull.json"))["merging"] == head
    assert "was begun" in yard.show("0001/README.md")
    pulls = LocalPulls(yard.clone, yard.url)
    found = pulls.find(BRANCH)
    assert found is not None
    assert found.state is PullState.MERGED
    assert pulls.open(BRANCH, "Add data", "Again.").state is PullState.MERGED
    assert json.loads(yard.show("0001/pull.json"))["merged"] == yard.tip("main")
    assert pulls.merge(found, head=head, title="t", message="") == yard.tip("main")
    assert len(yard.main()) == 2
    assert yard.tip(BRANCH) == ""


def test_many_at_once_lose_nothing_and_share_no_number(tmp_path: Path) -> None:
    yard = make_yard(tmp_path)
    branches = [f"data/2026112{number}-103000" for number in range(4)]
    heads = [yard.branch(branch, **{f"new{number}": "x"}) for number, branch in enumerate(branches)]
    clones = []
    for number in range(len(branches)):
        clone = Yard(yard.folder / f"person {number}")
        clone.folder.mkdir()
        Git(clone.folder)("clone", "--quiet", str(yard.origin), str(clone.clone.folder))
        clones.append(clone.clone)
    for verb in ("open", "update", "merge"):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", DRIVER, str(clone.folder), yard.url, branch, verb, "", head],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for clone, branch, head in zip(clones, branches, heads, strict=True)
        ]
        for one in running:
            _, said = one.communicate(timeout=200)
            assert one.returncode == 0, said
    pulls = [LocalPulls(yard.clone, yard.url).find(branch) for branch in branches]
    assert sorted(pull.number for pull in pulls if pull) == [1, 2, 3, 4]
    assert {pull.state for pull in pulls if pull} == {PullState.MERGED}
    assert len(yard.main()) == 5
    assert all(yard.show(f"new{number}", "main") == "x" for number in range(4))
    assert [yard.tip(branch) for branch in branches] == [""] * 4
    for number in range(1, 5):
        assert Git(yard.origin).raw("show", f"pull-requests:000{number}/pictures/a.png") == bytes(range(256))


def test_a_branch_that_is_deleted_between_the_look_and_the_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard, _ = prepared(tmp_path / "y", "merge")
    look = file_branch.remote_tip

    def look_and_delete(git: Git, url: str, branch: str) -> str | None:
        tip = look(git, url, branch)
        if tip is not None and branch == BRANCH:
            Git(yard.origin)("update-ref", "-d", f"refs/heads/{BRANCH}")
        return tip

    monkeypatch.setattr(file_branch, "remote_tip", look_and_delete)
    with scratch_clone(yard.clone, yard.url) as scratch:
        assert file_branch.fetch_branch(scratch, BRANCH) is None


def test_the_same_one_merged_by_two_at_once(tmp_path: Path) -> None:
    yard, head = prepared(tmp_path / "y", "merge")
    other = Yard(yard.folder / "other")
    other.folder.mkdir()
    Git(other.folder)("clone", "--quiet", str(yard.origin), str(other.clone.folder))
    running = [
        subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(folder), yard.url, BRANCH, "merge", "", head],
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in (yard.clone.folder, other.clone.folder)
    ]
    for one in running:
        _, said = one.communicate(timeout=120)
        assert one.returncode == 0, said
    assert yard.main() == [f"Add data to {BRANCH} (#1)", "Start"]
    assert json.loads(yard.show("0001/pull.json"))["merged"] == yard.tip("main")
