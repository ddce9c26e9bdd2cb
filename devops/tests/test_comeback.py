"""`wms data take-back BRANCH`: a blocked branch's photos come back, are mended and pushed, and the branch is closed."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest
from comeback_yard import GATE, PART, blocked, files, mend, published, show, take_back
from entrance_table import REFUSED, WORKS, Row
from test_without_keys import KEYLESS, raw, workflow
from workshop import INBOX, Workshop, fingerprint, leftovers, said

from wms_ops.base.layout import LOOP
from wms_ops.runs.store import RunStore

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
    assert f"6 files of 3 pairs of {branch} are in {INBOX}" in told
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


@pytest.mark.slice("photos that come back", of=3)
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
    assert "5 files of 3 pairs" in take_back(shop, clone, branch)
    assert "; 6 more files were there already" in take_back(shop, clone, branch)
    assert files(clone) == before
    entrance(PART, "a file of other content is in the inbox", "named, nothing is written", REFUSED)
    entrance(PART, "the same command again", "finds all files there", WORKS)


@pytest.mark.slice("photos that come back", of=3)
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


@pytest.mark.slice("photos that come back", of=3)
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


@pytest.mark.slice("photos that come back", of=3)
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


@pytest.mark.slice("photos that come back", of=3)
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


@pytest.mark.slice("photos that come back", of=3)
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


@pytest.mark.slice("photos that come back", of=3)
def test_the_same_photos_again_close_nothing(shop: Workshop, entrance: Row) -> None:
    clone, branch, _ = published(shop)
    blocked(shop, clone, branch)
    take_back(shop, clone)
    take_back(shop, clone, branch)
    shop.commit(clone)
    assert f"on branch {branch} already" in said(shop.push(clone))
    assert shop.data_branches() == [branch] and "| blocked |" in show(shop, "README.md")
    entrance(PART, "pushed again without a correction", "names the old branch, which stays", WORKS)


@pytest.mark.slice("photos that come back", of=3)
def test_the_page_of_a_run_in_this_clone_is_named(shop: Workshop, entrance: Row) -> None:
    clone, branch, _ = published(shop)
    runs = RunStore(clone / LOOP / "runs")
    page = runs.path(runs.create(branch).id) / "gate.html"
    page.write_bytes(GATE)
    assert f"What was wrong: {page}" in take_back(shop, clone, branch)
    entrance(PART, "the loop ran in this clone", "the run's own page is named", WORKS)


@pytest.mark.slice("photos that come back", of=3)
@pytest.mark.parametrize("name", ["main", "data/nothing", "-x"])
def test_another_name_is_one_sentence(shop: Workshop, name: str, entrance: Row) -> None:
    clone, _, _ = published(shop)
    before = fingerprint(clone)
    told = take_back(shop, clone, "--", name, code=80)
    assert f"no data branch '{name}'" in told and "--commits-of" in told
    assert fingerprint(clone) == before
    entrance(PART, f"wms data take-back {name}", "one sentence with --commits-of", REFUSED)


@pytest.mark.slice("photos that come back", of=3)
def test_keys_are_missing_and_the_photos_are_nowhere_here(shop: Workshop, entrance: Row) -> None:
    _, branch, _ = published(shop)
    other = shop.clone("other")
    assert "no usable AWS credentials" in take_back(shop, other, branch, code=70, **KEYLESS)
    assert not files(other)
    entrance(PART, "no keys, and the commits are another clone's", "one sentence, nothing is written", REFUSED)


STEPS = (("fetching", 1), ("fetching", 4), ("checked", 1), ("noted", 1), ("placed", 1), ("placed", 3), ("placed", 6))


@pytest.mark.slice("photos that come back", of=3)
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
