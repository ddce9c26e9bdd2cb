"""A plain `git push origin main` of a person without any AWS keys, what GitHub makes of it, and the way back."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest
from entrance_table import REFUSED, WORKS, Row
from report_values import merged
from workshop import INBOX, Workshop, fingerprint, leftovers, said

from wms_ops.dataset.proofs import source_of, sources_since
from wms_ops.git.command import Git
from wms_ops.loop.steps_publish import merge_message
from wms_ops.pulls.local_pulls import LocalPulls

PART = "without keys"
KEYLESS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
STEPS = ("clone", "export", "blobs", "check", "commit", "push", "done")

# Runs `push_raw` and dies at a step of it.
DRIVER = """
import os, signal, sys
from pathlib import Path
from wms_ops.dataset.publish import Watch
from wms_ops.dataset.raw import push_raw
from wms_ops.git.command import Git

url, wanted = sys.argv[1:3]
def step(name):
    if name == wanted: os.kill(os.getpid(), signal.SIGKILL)
git = Git(Path.cwd())
push_raw(git, git("rev-parse", "HEAD"), url, Watch(step=step))
"""


def wms(shop: Workshop, clone: Path, *arguments: str, check: bool = True, **more: str) -> str:
    return said(shop.run("python", "-m", "wms_ops", *arguments, where=clone, check=check, **more))


def labelled(shop: Workshop, name: str = "clone", **photos: int) -> Path:
    """A clone with a commit of photos and of other work."""
    clone = shop.clone(name)
    shop.photos(clone, **photos)
    shop.write(clone, "notes.txt", "mine\n")
    shop.commit(clone)
    return clone


def workflow(shop: Workshop, branch: str, *, check: bool = True) -> str:
    """What GitHub does with a pushed data branch, in a clone of its own and with the account's keys.

    The pipeline merges by `wms loop part data`; this is the same merge as a command of its own.
    """
    ci = shop.folder / f"ci-{len(list(shop.folder.glob('ci-*')))}"
    shop.run("git", "clone", "--quiet", f"file://{shop.origin}", ci, where=shop.folder)
    commit = shop.branches()[branch]
    merge = ("data", "merge", commit, "--remote", "origin", "--if-any", "--delete-branch", branch)
    told = wms(shop, ci, *merge, check=check)
    return told + (wms(shop, ci, "data", "verify", commit, "--base", "origin/main") if check else "")


def raw(shop: Workshop, branch: str) -> list[str]:
    return [name for name in shop.changed(branch) if name.startswith(INBOX)]


def test_a_push_without_keys_is_merged_by_the_workflow(shop: Workshop, entrance: Row) -> None:
    clone = labelled(shop)
    main, before = shop.branches()["main"], fingerprint(clone)
    done = shop.push(clone, **KEYLESS)
    (branch,) = shop.data_branches()
    assert done.returncode == 1 and "Traceback" not in said(done)
    assert re.fullmatch(r"data/\d{8}-\d{6}", branch)
    told = (
        f"There are no AWS keys here, so GitHub merges these photos: all 3 passed the data check, and branch {branch}"
    )
    assert told in said(done)
    assert "has one of the names already" in said(done)
    assert "That is expected" in said(done) and "wms data take-back" in said(done)
    assert shop.changed(branch) == raw(shop, branch) and len(raw(shop, branch)) == 6
    assert shop.branches()["main"] == main and fingerprint(clone) == before and not leftovers([clone])
    again = said(shop.push(clone, **KEYLESS))
    assert f"on branch {branch} already" in again and shop.data_branches() == [branch]
    workflow(shop, branch)
    (merged,) = shop.data_branches()
    assert merged != branch or not raw(shop, merged)
    assert len(shop.version(merged).pairs) == 3
    shop.assert_complete()
    told = said(shop.push(clone, **KEYLESS))
    assert f"{merged} on origin has them" in told and shop.data_branches() == [merged]
    # A person with keys who pushes the same is told the same.
    assert f"on branch {merged} already" in said(shop.push(clone))
    entrance(PART, "git push origin main, no keys at all", "photos on data/TIMESTAMP, merged by the workflow", WORKS)
    entrance(PART, "the same push again, before and after the merge", "names the branch, pushes nothing", WORKS)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "run `aws configure`"),
        ({"AWS_ACCESS_KEY_ID": "unknown"}, "doesn't know the access key"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "no usable AWS credentials"),
        ({**KEYLESS, "AWS_PROFILE": "gone"}, "gone"),
    ],
    ids=["wrong secret", "unknown key", "half a key", "a profile that doesn't exist"],
)
def test_wrong_keys_stay_an_error(
    shop: Workshop, variables: dict[str, str], words: str, entrance: Row, request: pytest.FixtureRequest
) -> None:
    clone = labelled(shop)
    done = shop.push(clone, **variables)
    assert done.returncode == 1 and words in said(done) and "Traceback" not in said(done)
    assert not shop.data_branches()
    entrance(PART, request.node.callspec.id, "one sentence, nothing is pushed", REFUSED)


def test_bad_photos_are_refused_before_anything_is_pushed(shop: Workshop, entrance: Row) -> None:
    clone = shop.clone()
    (stem, *_) = shop.photos(clone)
    (clone / INBOX / "masks" / f"{stem}.png").write_bytes((clone / INBOX / "images" / f"{stem}.jpg").read_bytes())
    shop.commit(clone)
    done = shop.push(clone, **KEYLESS)
    assert done.returncode == 1 and "The data check refuses the new files" in said(done)
    assert not shop.data_branches()
    replaced = shop.run("git", "-c", "wms.replace=true", "push", "origin", "main", where=clone, check=False, **KEYLESS)
    assert "only with keys to its bucket" in said(replaced) and not shop.data_branches()
    entrance(PART, "a photo in place of a mask, no keys", "refused by the data check in the hook", REFUSED)
    entrance(PART, "wms.replace=true, no keys", "one sentence, nothing is pushed", REFUSED)


def test_a_name_that_is_taken_is_refused_by_the_workflow(shop: Workshop, entrance: Row) -> None:
    first = labelled(shop, "first", seed=1)
    shop.push(first)
    shop.merge(shop.data_branches()[0])
    shop.run("git", "push", "--quiet", "origin", "--delete", shop.data_branches()[0], where=first)
    clone = shop.clone()
    shop.photos(clone, seed=2, prefix="s1")
    shop.commit(clone)
    shop.push(clone, **KEYLESS)
    (branch,) = shop.data_branches()
    assert "another photo of this name is there" in workflow(shop, branch, check=False)
    assert shop.data_branches() == [branch]
    assert "on branch" in said(shop.push(clone, **KEYLESS))
    entrance(PART, "a name that the data set has", "the workflow refuses the branch, which stays", REFUSED)


@pytest.mark.parametrize("stage", ["waiting", "merged by the workflow", "merged by the loop"])
def test_take_back_without_keys(shop: Workshop, stage: str, entrance: Row) -> None:
    clone = labelled(shop)
    shop.push(clone, **KEYLESS)
    if stage != "waiting":
        workflow(shop, shop.data_branches()[0])
    if stage == "merged by the loop":
        (branch,) = shop.data_branches()
        loop, url = Git(clone, {"user.name": "Loop", "user.email": "loop@example.org"}), f"file://{shop.origin}"
        pulls, head = LocalPulls(loop, url), shop.branches()[branch]
        sources = sources_since(Git(shop.origin), "main", head)
        assert source_of(loop, "HEAD") in sources
        pulls.merge(pulls.open(branch, "New", ""), head=head, title="New", message=merge_message(merged(), sources))
        assert not shop.data_branches()
    told = wms(shop, clone, "data", "take-back", **KEYLESS)
    assert "the remote has them all, merged already or on a branch" in told, told
    assert "are out of main's commits" in told
    assert not [path for path in (clone / INBOX).rglob("*") if path.is_file()]
    assert (clone / "notes.txt").read_text() == "mine\n"
    shop.run("git", "pull", "--quiet", "--rebase", "origin", "main", where=clone)
    assert shop.push(clone, **KEYLESS).returncode == 0
    entrance(PART, f"wms data take-back, photos {stage}", "photos leave the commits, other work stays", WORKS)


def test_a_merge_by_hand_proves_nothing(shop: Workshop, entrance: Row) -> None:
    clone = labelled(shop)
    shop.push(clone, **KEYLESS)
    workflow(shop, shop.data_branches()[0])
    (branch,) = shop.data_branches()
    shop.merge(branch)  # its message names no inbox
    shop.run("git", "push", "--quiet", "origin", "--delete", branch, where=clone)
    before = fingerprint(clone)
    told = wms(shop, clone, "data", "take-back", check=False, **KEYLESS)
    assert "isn't in the remote as far as can be told without keys" in told and fingerprint(clone) == before
    assert "are out of main's commits" in wms(shop, clone, "data", "take-back")  # with keys
    entrance(PART, "take-back after a merge by hand", "no proof: refused without keys, done with keys", REFUSED)


def test_a_photo_that_no_branch_holds_stops_take_back(shop: Workshop, entrance: Row) -> None:
    clone = labelled(shop)
    shop.push(clone, **KEYLESS)
    shop.photos(clone, 1, seed=2)
    shop.commit(clone, "One more")
    before = fingerprint(clone)
    told = wms(shop, clone, "data", "take-back", check=False, **KEYLESS)
    assert f"'{INBOX}/images/s2_0.jpg' (and 1 more) isn't in the remote" in told and "nothing was changed" in told
    workflow(shop, shop.data_branches()[0])
    told = wms(shop, clone, "data", "take-back", check=False, **KEYLESS)
    assert "nothing was changed" in told and fingerprint(clone) == before
    entrance(PART, "take-back of a photo that was never pushed", "named, nothing changes", REFUSED)


def test_killed_at_any_step_of_the_raw_push(shop: Workshop, entrance: Row, capsys: pytest.CaptureFixture[str]) -> None:
    clone = labelled(shop)
    before, rows = fingerprint(clone), []
    for step in STEPS:
        for branch in shop.data_branches():
            shop.run("git", "push", "--quiet", "--no-verify", "origin", "--delete", branch, where=clone)
        url = f"file://{shop.origin}"
        killed = shop.run(sys.executable, "-c", DRIVER, url, step, where=clone, check=False, **KEYLESS)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        there = shop.data_branches()
        assert len(there) == (step == "done")
        done = shop.push(clone, **KEYLESS)
        (branch,) = shop.data_branches()
        assert (f"on branch {branch} already" in said(done)) == (step == "done"), said(done)
        assert len(raw(shop, branch)) == 6 and fingerprint(clone) == before and not leftovers([clone])
        rows.append(
            f"  {step:8} SIGKILL  {len(there)} branches after the kill, 1 with all 6 files after the second push"
        )
    with capsys.disabled():
        print("\nkill matrix of a push without keys\n" + "\n".join(rows))
    entrance(PART, f"killed at {len(STEPS)} steps of the push", "the second push makes or names the one branch", WORKS)
