"""`wms data take-back BRANCH`: a blocked branch's photos come back, are mended and pushed, and the branch is closed."""

from __future__ import annotations

import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from entrance_table import REFUSED, WORKS, Row
from github_fake import fake_github
from github_fake_pulls import FakePulls
from PIL import Image
from test_without_keys import KEYLESS, raw, workflow
from workshop import INBOX, Workshop, fingerprint, leftovers, said

from wms_ops.base.layout import LOOP
from wms_ops.git.command import Git
from wms_ops.pulls import blocked as ending
from wms_ops.pulls.gh import GitHub
from wms_ops.pulls.gh_pulls import GhPulls
from wms_ops.pulls.local_pulls import LocalPulls
from wms_ops.pulls.protocol import Pull, PullState
from wms_ops.runs.store import RunStore

PART = "take-back"
GATE = b"<html>the gate's page</html>"

# Runs the command and dies at a step of it, the n-th time.
DRIVER = """
import os, signal, sys
from pathlib import Path
from wms_ops.dataset.comeback import bring_back
from wms_ops.git.command import Git

url, branch, wanted, times = sys.argv[1:5]
seen = []
def step(name):
    seen.append(name)
    if seen.count(wanted) == int(times): os.kill(os.getpid(), signal.SIGKILL)
if wanted == "fetching":
    from wms_ops.storage.remote import S3Remote
    real = S3Remote.read_blob
    def read_blob(self, md5, path):
        step(wanted)
        real(self, md5, path)
    S3Remote.read_blob = read_blob
bring_back(Git(Path.cwd()), url, branch, step=step)
"""


def wms(shop: Workshop, clone: Path, *arguments: str, code: int | None = 0, **more: str) -> str:
    done = shop.run("python", "-m", "wms_ops", *arguments, where=clone, check=False, **more)
    assert code is None or done.returncode == code, said(done)
    assert "Traceback" not in said(done)
    return said(done)


def take_back(shop: Workshop, clone: Path, *arguments: str, code: int | None = 0, **more: str) -> str:
    return wms(shop, clone, "data", "take-back", *arguments, code=code, **more)


def files(clone: Path) -> dict[str, bytes]:
    found = (path for path in (clone / INBOX).rglob("*") if path.is_file())
    return {path.relative_to(clone / INBOX).as_posix(): path.read_bytes() for path in found}


def published(shop: Workshop, **environ: str) -> tuple[Path, str, dict[str, bytes]]:
    """A clone whose photos went to a data branch and out of its commits; the branch, and the photos as they were."""
    clone = shop.clone()
    shop.photos(clone)
    before = files(clone)
    shop.commit(clone)
    shop.push(clone, **environ)
    (branch,) = shop.data_branches()
    return clone, branch, before


def blocked(shop: Workshop, clone: Path, branch: str) -> LocalPulls:
    """The branch's pull request in the origin, as the loop leaves a blocked one: with the gate's page."""
    pulls = LocalPulls(Git(clone, {"user.name": "Loop", "user.email": "loop@example.org"}), f"file://{shop.origin}")
    pull = pulls.open(branch, "Blocked: 3 new photos", "Worse.")
    pulls.update(pull, "Worse.", {"gate.html": GATE, "pictures/a.png": b"PNG"})
    pulls.block(pull, "Dice 0.7 is below 0.9.")
    return pulls


def mend(clone: Path, name: str = "s1_0") -> None:
    """Draw another mask for a photo."""
    path = clone / INBOX / "masks" / f"{name}.png"
    with Image.open(path) as mask:
        moved = Image.new("L", mask.size)
        moved.paste(255, (8, 30, mask.width - 8, 48))
    moved.save(path)


def show(shop: Workshop, path: str) -> str:
    return shop.run("git", "show", f"pull-requests:{path}", where=shop.origin).stdout


@pytest.mark.parametrize("keys", [True, False], ids=["with keys", "without keys"])
def test_the_whole_way_of_a_blocked_branch(shop: Workshop, keys: bool, entrance: Row) -> None:
    environ = {} if keys else KEYLESS
    clone, branch, before = published(shop, **environ)
    if not keys:
        workflow(shop, branch)
        (branch,) = shop.data_branches()
    take_back(shop, clone, **environ)
    assert not files(clone)
    blocked(shop, clone, branch)
    told = take_back(shop, clone, branch, **environ)
    assert files(clone) == before
    assert f"6 files of 3 photos and masks of {branch} are in {INBOX}" in told
    assert "#pull-requests:0001/README.md" in told
    page = re.search(r"What was wrong: (.*gate\.html)", told)
    assert page is not None and Path(page[1]).read_bytes() == GATE
    assert (Path(page[1]).parent / "pictures/a.png").read_bytes() == b"PNG"
    assert f"git add {INBOX}" in told and "git push origin main" in told
    mend(clone)
    shop.run("git", "add", INBOX, where=clone)
    shop.run("git", "commit", "--quiet", "-m", "Mended", where=clone)
    done = said(shop.push(clone, **environ))
    (new,) = shop.data_branches()
    assert new != branch or raw(shop, new)
    assert f"Pull request 1 is closed with a note that names {new}, and {branch} is deleted" in done
    assert f"**Closed** without a merge: `{branch}` into `main`. The corrected photos are on the branch {new}." in show(
        shop, "0001/README.md"
    )
    assert f"| closed | `{branch}` |" in show(shop, "README.md")
    take_back(shop, clone, **environ)
    if not keys:
        workflow(shop, new)
        (new,) = shop.data_branches()
    shop.merge(new)
    version = shop.version("main")
    assert len(version.pairs) == 3
    shop.assert_complete()
    assert not leftovers([clone])
    who = "with keys" if keys else "without keys"
    entrance(PART, f"blocked branch, {who}", "photos back, mended, pushed; the old pull request closed", WORKS)


def test_nothing_is_overwritten_and_all_is_checked_first(shop: Workshop, entrance: Row) -> None:
    clone, branch, before = published(shop)
    take_back(shop, clone)
    inbox = clone / INBOX
    inbox.mkdir(parents=True, exist_ok=True)
    own = inbox / "masks/s1_1.png"
    own.parent.mkdir(exist_ok=True)
    own.write_bytes(b"my own")
    state = fingerprint(clone)
    told = take_back(shop, clone, branch, code=82)
    assert f"'{INBOX}/masks/s1_1.png' (and 0 more)" in told and "nothing was written" in told
    assert fingerprint(clone) == state
    own.rename(own.with_suffix(".bmp"))
    assert f"'{INBOX}/masks/s1_1.bmp'" in take_back(shop, clone, branch, code=82)
    own.with_suffix(".bmp").unlink()
    own.write_bytes(before["masks/s1_1.png"])
    assert "5 files of 3 photos and masks" in take_back(shop, clone, branch)
    assert "; 6 more files were there already" in take_back(shop, clone, branch)
    assert files(clone) == before
    entrance(PART, "a file of other content is in the inbox", "named, nothing is written", REFUSED)
    entrance(PART, "the same command again", "finds all files there", WORKS)


def test_a_linked_folder_is_not_written_through(shop: Workshop, entrance: Row) -> None:
    clone, branch, _ = published(shop)
    take_back(shop, clone)
    outside = shop.folder / "outside"
    outside.mkdir()
    (clone / INBOX / "images").rmdir()
    (clone / INBOX / "images").symlink_to(outside)
    assert "is a symbolic link" in take_back(shop, clone, branch, code=80)
    assert not list(outside.iterdir())
    entrance(PART, "the inbox's folder is a link", "named, nothing is written", REFUSED)


def test_a_lost_or_damaged_file_stops_it_before_anything_is_written(shop: Workshop, entrance: Row) -> None:
    clone, branch, _ = published(shop)
    take_back(shop, clone)
    md5 = next(iter(shop.version(branch).images.files.values()))
    key = shop.config.key(md5)
    shop.s3.client().put_object(Bucket=shop.config.bucket, Key=key, Body=b"other bytes")
    assert "is damaged" in take_back(shop, clone, branch, code=77)
    shop.s3.client().delete_object(Bucket=shop.config.bucket, Key=key)
    assert "doesn't hold the object" in take_back(shop, clone, branch, code=76)
    assert not files(clone)
    entrance(PART, "the bucket lost or damaged a photo", "named, nothing is written", REFUSED)


def test_only_what_is_new_comes_back_and_a_replaced_pair_does(shop: Workshop, entrance: Row) -> None:
    first = shop.clone("first")
    shop.photos(first, 2, seed=7, prefix="old")
    shop.commit(first)
    shop.push(first)
    shop.merge(shop.data_branches()[0])
    shop.run("git", "push", "--quiet", "origin", "--delete", shop.data_branches()[0], where=first)
    clone = shop.clone()
    shop.photos(clone, 1, seed=8, prefix="old")  # old_0 anew
    shop.photos(clone, 1, seed=9, prefix="new")
    before = files(clone)
    shop.commit(clone)
    shop.run("git", "-c", "wms.replace=true", "push", "origin", "main", where=clone, check=False)
    (branch,) = shop.data_branches()
    take_back(shop, clone)
    told = take_back(shop, clone, branch)
    assert files(clone) == before
    assert "git -c wms.replace=true push origin main" in told
    entrance(PART, "a branch of new and replaced pairs", "these come back, main's others don't", WORKS)


@pytest.mark.parametrize("stage", ["a raw branch", "pushed by hand"])
def test_a_branch_that_still_holds_photos(shop: Workshop, stage: str, entrance: Row) -> None:
    clone = shop.clone()
    shop.photos(clone)
    before = files(clone)
    shop.commit(clone)
    pushed = ("origin", "main") if stage == "a raw branch" else ("origin", "HEAD:data/mine")
    shop.push(clone, *pushed, **KEYLESS)
    (branch,) = shop.data_branches()
    other = shop.clone("other")
    told = take_back(shop, other, branch, **KEYLESS)
    assert files(other) == before
    assert re.search(r"What was wrong: .*qa\.html", told)
    mend(other)
    shop.commit(other)
    done = said(shop.push(other, **KEYLESS))
    assert f"{branch} is deleted: its corrected photos are on data/" in done
    assert len(shop.data_branches()) == 1
    entrance(PART, f"{stage}, in a colleague's clone", "photos back; the corrected push ends the old branch", WORKS)


def test_a_corrected_push_that_lacks_a_photo_leaves_the_branch(shop: Workshop, entrance: Row) -> None:
    clone, branch, _ = published(shop)
    take_back(shop, clone)
    take_back(shop, clone, branch)
    for kind in ("images", "masks"):
        next((clone / INBOX / kind).glob("s1_2.*")).unlink()
    mend(clone)
    shop.commit(clone)
    done = said(shop.push(clone))
    assert f"{branch} stays, since 's1_2' (and 0 more of its photos)" in done
    assert f"git push origin --delete {branch}" in done and len(shop.data_branches()) == 2
    entrance(PART, "the corrected push lacks a photo", "the old branch stays, with the command that ends it", WORKS)


def test_the_same_photos_again_close_nothing(shop: Workshop, entrance: Row) -> None:
    clone, branch, _ = published(shop)
    blocked(shop, clone, branch)
    take_back(shop, clone)
    take_back(shop, clone, branch)
    shop.commit(clone)
    assert f"on branch {branch} already" in said(shop.push(clone))
    assert shop.data_branches() == [branch] and "| blocked |" in show(shop, "README.md")
    entrance(PART, "pushed again without a correction", "names the old branch, which stays", WORKS)


def test_the_page_of_a_run_in_this_clone_is_named(shop: Workshop, entrance: Row) -> None:
    clone, branch, _ = published(shop)
    runs = RunStore(clone / LOOP / "runs")
    page = runs.path(runs.create(branch).id) / "gate.html"
    page.write_bytes(GATE)
    assert f"What was wrong: {page}" in take_back(shop, clone, branch)
    entrance(PART, "the loop ran in this clone", "the run's own page is named", WORKS)


@pytest.mark.parametrize("name", ["main", "data/nothing", "-x"])
def test_another_name_is_one_sentence(shop: Workshop, name: str, entrance: Row) -> None:
    clone, _, _ = published(shop)
    before = fingerprint(clone)
    told = take_back(shop, clone, "--", name, code=80)
    assert f"no data branch '{name}'" in told and "--commits-of" in told
    assert fingerprint(clone) == before
    entrance(PART, f"wms data take-back {name}", "one sentence with --commits-of", REFUSED)


def test_keys_are_missing_and_the_photos_are_nowhere_here(shop: Workshop, entrance: Row) -> None:
    _, branch, _ = published(shop)
    other = shop.clone("other")
    assert "no usable AWS credentials" in take_back(shop, other, branch, code=70, **KEYLESS)
    assert not files(other)
    entrance(PART, "no keys, and the commits are another clone's", "one sentence, nothing is written", REFUSED)


STEPS = (("fetching", 1), ("fetching", 4), ("checked", 1), ("noted", 1), ("placed", 1), ("placed", 3), ("placed", 6))


def test_killed_at_any_step(shop: Workshop, entrance: Row, capsys: pytest.CaptureFixture[str]) -> None:
    clone, branch, before = published(shop)
    take_back(shop, clone)
    rows = []
    for step, times in STEPS:
        for path in (clone / INBOX).rglob("*.*"):
            path.unlink()
        command = (sys.executable, "-c", DRIVER, f"file://{shop.origin}", branch, step, str(times))
        killed = shop.run(*command, where=clone, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        there = files(clone)
        assert there.items() <= before.items()  # whole files only, none under a temporary name
        assert len(there) == (times if step == "placed" else 0)
        take_back(shop, clone, branch)
        assert files(clone) == before and not leftovers([clone])
        rows.append(f"  {step:8} {times}  SIGKILL  {len(there)} of 6 files after the kill, 6 after the second run")
    with capsys.disabled():
        print("\nkill matrix of take-back BRANCH\n" + "\n".join(rows))
    entrance(PART, f"killed at {len(STEPS)} steps", "whole files or none; the second run brings the rest", WORKS)


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
