"""`take-back`, which the hook prints: photos leave the commits that aren't pushed yet, and all else stays as it is."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from entrance_table import REFUSED, Row
from workshop import INBOX, Workshop, fingerprint, leftovers, said

pytestmark = pytest.mark.slice("pushes that are taken back", of=2)

COMMAND = re.compile(r"keep all else, by: (wms .*)")

# Runs the command and dies at a step of it.
DRIVER = """
import os, signal, sys
from pathlib import Path
from wms_ops.dataset import takeback, takeback_files
from wms_ops.commands import data as cli

def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
step, real_note, real_remove = sys.argv[1], takeback.note, takeback_files.remove_file
removed = []
def note(*arguments):
    real_note(*arguments)
    die()
def remove(path, top):
    removed.append(path)
    if len(removed) > {"index": 0, "half": 2}[step]: die()
    real_remove(path, top)
if step == "noted": takeback.note = note
if step == "moved": takeback.finish = die
if step in ("index", "half"): takeback_files.remove_file = remove
if step == "files": takeback._next = die
cli.TAKE_BACK([])
"""


def take_back(shop: Workshop, clone: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return shop.run("python", "-m", "wms_ops", "data", "take-back", *arguments, where=clone, check=check)


def git(shop: Workshop, clone: Path, *arguments: str) -> str:
    return shop.run("git", *arguments, where=clone).stdout


def status(shop: Workshop, clone: Path) -> list[str]:
    return sorted(git(shop, clone, "status", "--porcelain", "--untracked-files=all").splitlines())


def pushed(shop: Workshop, clone: Path) -> str:
    """Push to main, which stops; the command that the hook prints."""
    done = shop.push(clone)
    assert done.returncode == 1
    found = COMMAND.search(said(done))
    assert found, said(done)
    assert "You will see `error: failed to push some refs`. That is expected" in said(done)
    return found[1]


def test_what_is_not_committed_stays_and_each_commit_keeps_its_own(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.write(clone, "code.py", "print(1)\n")
    shop.commit(clone, "Photos and code\n\nWith a text.\n\n\nAnd more.")
    shop.write(clone, "code.py", "print(2)\n")
    git(shop, clone, "-c", "user.name=Bob", "add", "code.py")
    bob = {"GIT_AUTHOR_NAME": "Bob", "GIT_AUTHOR_EMAIL": "bob@x.y", "GIT_AUTHOR_DATE": "2020-02-02T02:02:02 +0200"}
    shop.run("git", "commit", "--quiet", "-m", "Code by Bob", where=clone, **bob)
    shop.photos(clone, 2, seed=2)
    shop.commit(clone, "More photos")
    about = "--format=%an %ae %ad %cn %cd%n%B"
    first, second = (git(shop, clone, "log", "-1", about, name) for name in ("HEAD~2", "HEAD~1"))
    command = pushed(shop, clone)
    mask = next((clone / INBOX / "masks").glob("s1_1*"))
    mask.write_bytes(b"edited")
    edited = clone / INBOX / "images" / "s2_0.jpg"
    edited.write_bytes(b"edited and staged")
    new = clone / INBOX / "images" / "new one.jpg"
    new.write_bytes(b"new")
    shop.write(clone, "notes.txt", "staged\n")
    git(shop, clone, "add", new.relative_to(clone).as_posix(), edited.relative_to(clone).as_posix(), "notes.txt")
    shop.write(clone, "notes.txt", "and changed\n")
    shop.write(clone, "loose.txt", "loose\n")
    done = shop.run("sh", "-c", command, where=clone)
    assert [git(shop, clone, "log", "-1", about, name) for name in ("HEAD~1", "HEAD")] == [first, second]
    inbox = f"{INBOX}/masks/{mask.name}"
    staged = [f'A  "{INBOX}/images/new one.jpg"', f"A  {INBOX}/images/s2_0.jpg"]
    assert status(shop, clone) == ["?? " + inbox, "?? loose.txt", *staged, "AM notes.txt"]
    assert git(shop, clone, "show", f":{INBOX}/images/s2_0.jpg") == "edited and staged"
    assert (mask.read_bytes(), new.read_bytes()) == (b"edited", b"new")
    assert git(shop, clone, "show", ":notes.txt") == "staged\n"
    assert f"{inbox} was changed after its commit: it is left as it is." in said(done)
    assert "2 commits of main are left, without photos; push them as before." in said(done)
    assert {path.name for path in (clone / INBOX).rglob("*") if path.is_file()} == {*(mask.name, new.name, edited.name)}
    assert shop.push(clone).returncode == 0
    assert git(shop, shop.origin, "log", "--format=%s", "main") == "Code by Bob\nPhotos and code\nStart\n"
    assert INBOX not in git(shop, shop.origin, "log", "--name-only", "--format=", "main")
    assert not leftovers([clone])


def test_nothing_is_left_where_all_were_photos_and_the_way_back_is_named(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone, prefix="grün ä [1]")
    old = shop.commit(clone)
    command = pushed(shop, clone)
    shop.merge(shop.data_branches()[0])
    done = shop.run("sh", "-c", command, where=clone)
    assert status(shop, clone) == []
    assert git(shop, clone, "rev-parse", "HEAD").strip() == shop.branches()["main"]
    assert "main is as main over there." in said(done)
    assert "nothing was changed" in said(take_back(shop, clone))
    back = re.search(r"as before: (git reset --soft refs/wms/before-take-back/\S+)", said(done))
    file = re.search(r"photo's file: (git restore --source=refs/wms/before-take-back/\S+ -- )PATH", said(done))
    assert back is not None and file is not None
    shop.run("sh", "-c", back[1], where=clone)
    assert git(shop, clone, "rev-parse", "HEAD").strip() == old
    shop.run("sh", "-c", file[1] + INBOX, where=clone)
    assert len(list((clone / INBOX / "images").iterdir())) == 3


@pytest.mark.parametrize("lost", ["never pushed", "not in the store"])
def test_a_photo_that_is_nowhere_else_stops_it(shop: Workshop, lost: str) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    pushed(shop, clone)
    if lost == "never pushed":
        shop.photos(clone, 1, seed=2)
        shop.commit(clone, "One more")
        name = f"{INBOX}/images/s2_0.jpg"
    else:
        images = shop.version(shop.data_branches()[0]).images.files
        name = f"{INBOX}/images/{next(iter(images))}"
        shop.s3.client().delete_object(Bucket=shop.config.bucket, Key=shop.config.key(next(iter(images.values()))))
    before = fingerprint(clone), git(shop, clone, "for-each-ref")
    done = take_back(shop, clone, check=False)
    assert done.returncode == 76
    assert f"{name!r} (and " in said(done)
    assert "nothing was changed" in said(done)
    assert (fingerprint(clone), git(shop, clone, "for-each-ref")) == before


def test_it_refuses_before_it_changes_anything(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    git(shop, clone, "checkout", "--quiet", "--detach")
    assert "git switch --create NAME" in said(take_back(shop, clone, check=False))
    git(shop, clone, "worktree", "add", "--quiet", shop.folder / "side tree", "main")
    assert "side tree: run this there" in said(take_back(shop, clone, "--commits-of", "main", check=False))
    assert "no local branch 'none'" in said(take_back(shop, clone, "--commits-of", "none", check=False))
    git(shop, clone, "worktree", "remove", "--force", shop.folder / "side tree")
    git(shop, clone, "checkout", "--quiet", "-b", "side", "origin/main")
    shop.write(clone, "README.md", "Other.\n")
    shop.commit(clone, "Other")
    git(shop, clone, "checkout", "--quiet", "main")
    shop.write(clone, "README.md", "Another.\n")
    shop.commit(clone, "Another")
    shop.run("git", "merge", "side", where=clone, check=False)
    before = fingerprint(clone)
    done = take_back(shop, clone, check=False)
    assert done.returncode == 80
    assert "A merge is half done here, so nothing was changed" in said(done)
    assert fingerprint(clone) == before


@pytest.mark.parametrize("what", ["rebase", "bisect"])
def test_what_git_stopped_half_way_is_named_before_the_missing_branch(shop: Workshop, what: str, entrance: Row) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    if what == "rebase":
        edit = ("git", "-c", "sequence.editor=sed -i s/^pick/edit/", "rebase", "--quiet", "--interactive", "HEAD~1")
        shop.run(*edit, where=clone)
    else:
        git(shop, clone, "bisect", "start")
        git(shop, clone, "checkout", "--quiet", "--detach")
    before = fingerprint(clone), git(shop, clone, "for-each-ref")
    refused = take_back(shop, clone, check=False)
    assert refused.returncode == 80 and f"A {what} is half done here" in said(refused), said(refused)
    assert "git status" in said(refused) and "git switch" not in said(refused)
    assert (fingerprint(clone), git(shop, clone, "for-each-ref")) == before
    entrance("take-back", f"wms data take-back during a {what}", f"refused: the {what} is named first", REFUSED)


def test_merges_keep_their_shape_and_lose_their_photos(shop: Workshop) -> None:
    clone = shop.clone()
    for name, seed in (("photos", 1), ("both", 2)):
        git(shop, clone, "checkout", "--quiet", "-b", name, "origin/main")
        shop.photos(clone, 1, seed=seed)
        if name == "both":
            shop.write(clone, "both.txt", "x\n")
        shop.commit(clone, name)
    git(shop, clone, "checkout", "--quiet", "main")
    shop.write(clone, "x.txt", "x\n")
    own = shop.commit(clone, "x")
    for name in ("photos", "both"):
        git(shop, clone, "merge", "--quiet", "--no-ff", "-m", f"Merge {name}", name)
    shop.run("sh", "-c", pushed(shop, clone), where=clone)
    # Of the first merge nothing is left; the second has both its parents.
    assert git(shop, clone, "log", "--first-parent", "--format=%s") == "Merge both\nx\nStart\n"
    assert git(shop, clone, "rev-parse", "HEAD^1").strip() == own
    assert git(shop, clone, "log", "-1", "--format=%s", "HEAD^2") == "both\n"
    assert status(shop, clone) == []
    assert shop.push(clone).returncode == 0


@pytest.mark.parametrize("sign", [True, False])
def test_signed_commits(shop: Workshop, sign: bool) -> None:
    clone, home = shop.clone(), shop.folder / "home"
    shop.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "key", where=home)
    for name, value in (("gpg.format", "ssh"), ("user.signingKey", str(home / "key")), ("commit.gpgSign", "true")):
        git(shop, clone, "config", name, value)
    shop.photos(clone)
    shop.write(clone, "x.txt", "x\n")
    shop.commit(clone, "Photos and a text, größer")
    about = git(shop, clone, "log", "-1", "--format=%an %ad %cn %cd%n%B")
    command = pushed(shop, clone)
    if not sign:
        git(shop, clone, "config", "commit.gpgSign", "false")
    done = shop.run("sh", "-c", command, where=clone)
    assert git(shop, clone, "log", "-1", "--format=%an %ad %cn %cd%n%B") == about
    assert ("gpgsig" in git(shop, clone, "cat-file", "commit", "HEAD")) == sign
    assert ("1 commits lost their signature" in said(done)) != sign


def test_a_branch_that_is_not_checked_out(shop: Workshop) -> None:
    clone = shop.clone("clone", "--origin=company")
    shop.photos(clone)
    shop.write(clone, "x.txt", "x\n")
    shop.commit(clone)
    git(shop, clone, "checkout", "--quiet", "-b", "topic", "company/main")
    shop.write(clone, "y.txt", "y\n")
    before = fingerprint(clone)
    found = COMMAND.search(said(shop.push(clone, "company", "main")))
    assert found is not None
    assert found[1].endswith("take-back --remote company --commits-of main")
    shop.run("sh", "-c", found[1], where=clone)
    assert fingerprint(clone) == before
    assert git(shop, clone, "diff", "--name-only", "company/main", "main") == "x.txt\n"


@pytest.mark.parametrize("step", ["noted", "moved", "index", "half", "files"])
def test_killed_and_run_again(shop: Workshop, step: str) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    pushed(shop, clone)
    shop.merge(shop.data_branches()[0])
    shop.photos(clone, 1, seed=2)
    git(shop, clone, "add", "--all")
    own = sorted(path.name for path in (clone / INBOX / "images").glob("s2*"))
    killed = shop.run(sys.executable, "-c", DRIVER, step, where=clone, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    take_back(shop, clone)
    assert git(shop, clone, "rev-parse", "HEAD").strip() == shop.branches()["main"]
    assert [line[:2] for line in status(shop, clone)] == ["A ", "A "]
    assert sorted(path.name for path in (clone / INBOX / "images").iterdir()) == own
    assert "nothing was changed" in said(take_back(shop, clone))
    assert not leftovers([clone])


def test_a_sparse_clone(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.write(clone, "x.txt", "x\n")
    shop.commit(clone)
    command = pushed(shop, clone)
    git(shop, clone, "sparse-checkout", "set", "--cone", "--sparse-index", "hooks", "devops")
    assert not (clone / INBOX).exists()
    shop.run("sh", "-c", command, where=clone)
    assert status(shop, clone) == []
    assert shop.push(clone).returncode == 0


def test_photos_that_wait_on_a_raw_branch_are_told_so(shop: Workshop, entrance: Row) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    assert shop.push(clone, "origin", "HEAD:data/mine").returncode == 0
    done = take_back(shop, clone, check=False)
    assert done.returncode == 76 and "data/mine holds it and waits for GitHub's workflow" in said(done), said(done)
    entrance("take-back", "take-back with keys, while data/NAME waits", "not in the data set yet; again later", REFUSED)
