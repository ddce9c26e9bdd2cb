"""Pushes from unusual places: named repositories, bare ones, submodules, folders of hooks that others share."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from entrance_table import REFUSED, WORKS, Row
from workshop import INBOX, ROOT, Workshop, said

pytestmark = pytest.mark.slice("places of a push", of=2)

PART = "pushes"
NEW = "Existing: 0, new: 3, total: 3"


@pytest.fixture
def clone(shop: Workshop) -> Path:
    """A clone with a commit of three photos and their masks."""
    folder = shop.clone()
    shop.photos(folder)
    shop.commit(folder)
    return folder


def diverted(shop: Workshop, done: subprocess.CompletedProcess[str]) -> str:
    """Make sure that the photos are on a data branch only; returns what to write into the table."""
    assert done.returncode == 1 and NEW in said(done), said(done)
    assert "Traceback" not in said(done)
    (branch,) = shop.data_branches()
    assert len(shop.version(branch).pairs) == 3
    assert INBOX not in shop.run("git", "ls-tree", "-r", "--name-only", "main", where=shop.origin).stdout
    return "3 pairs on a data branch, main as before"


@pytest.mark.parametrize("way", ["options", "variables", "git-dir only", "subfolder", "linked work tree", "moved"])
def test_a_repository_that_is_named(shop: Workshop, clone: Path, way: str, entrance: Row) -> None:
    words, where, more = ["git"], clone, {}
    if way == "options":
        words += [f"--git-dir={clone}/.git", f"--work-tree={clone}"]
        where = shop.folder
    elif way == "variables":
        more = {"GIT_DIR": ".git", "GIT_WORK_TREE": "."}
    elif way == "git-dir only":
        words += ["--git-dir=.git"]
    elif way == "subfolder":
        where = clone / INBOX
    elif way == "linked work tree":
        where = shop.folder / "linked"
        shop.run("git", "worktree", "add", "--quiet", "--detach", where, where=clone)
        words += [f"--git-dir={clone}/.git/worktrees/linked", f"--work-tree={where}"]
    else:
        where = clone.rename(clone.with_name("elsewhere"))
    done = shop.run(*words, "push", "origin", "HEAD:main", where=where, check=False, **more)
    entrance(PART, f"a push by {way}", diverted(shop, done), WORKS)


@pytest.mark.parametrize("way", ["options", "variables"])
def test_a_named_repository_without_photos_is_pushed(shop: Workshop, way: str, entrance: Row) -> None:
    clone = shop.clone()
    shop.write(clone, "README.md", "More.\n")
    commit = shop.commit(clone)
    place = [f"--git-dir={clone}/.git", f"--work-tree={clone}"] if way == "options" else []
    more = {} if place else {"GIT_DIR": str(clone / ".git"), "GIT_WORK_TREE": str(clone)}
    done = shop.run("git", *place, "push", "origin", "main", where=shop.folder, check=False, **more)
    assert done.returncode == 0, said(done)
    assert shop.branches()["main"] == commit
    entrance(PART, f"a push without photos by --git-dir and --work-tree ({way})", "is pushed", WORKS)


def test_a_bare_repository_with_work_trees(shop: Workshop, entrance: Row) -> None:
    bare, tree = shop.folder / "bare.git", shop.folder / "tree"
    shop.run("git", "clone", "--quiet", "--bare", f"file://{shop.origin}", bare, where=shop.folder)
    shop.run("git", "worktree", "add", "--quiet", "-b", "topic", tree, "main", where=bare)
    shop.run("devops/scripts/install-git-hooks.sh", where=tree)
    shop.photos(tree)
    shop.commit(tree)
    done = shop.run("git", "push", "origin", "topic:main", where=bare, check=False)
    entrance(PART, "a push from a bare repository that has work trees", diverted(shop, done), WORKS)


def test_a_submodule(shop: Workshop, entrance: Row) -> None:
    outer = shop.folder / "outer"
    shop.run("git", "init", "--quiet", outer, where=shop.folder)
    add = ("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", f"file://{shop.origin}", "wms")
    shop.run("git", *add, where=outer)
    clone = outer / "wms"
    shop.run("devops/scripts/install-git-hooks.sh", where=clone)
    shop.photos(clone)
    shop.commit(clone)
    entrance(PART, "a push from a submodule", diverted(shop, shop.push(clone, "origin", "HEAD:main")), WORKS)


@pytest.mark.parametrize("moved", [False, True], ids=["", "after the project moved"])
def test_a_foreign_repository_passes_a_hook_that_it_shares(shop: Workshop, moved: bool, entrance: Row) -> None:
    clone = shop.clone()
    shop.run("git", "config", "--global", "core.hooksPath", clone / ".git/hooks", where=clone)
    if moved:
        shop.run("git", "config", "--global", "core.hooksPath", shop.folder / "elsewhere/.git/hooks", where=clone)
        clone.rename(shop.folder / "elsewhere")
    other, remote = shop.folder / "other", shop.folder / "remote.git"
    shop.run("git", "init", "--quiet", "-b", "main", other, where=shop.folder)
    shop.run("git", "init", "--quiet", "--bare", remote, where=shop.folder)
    shop.write(other, f"{INBOX}/images/a.jpg", "x")
    shop.write(other, "hooks/pre-push", "of another project\n")
    shop.commit(other)
    done = shop.run("git", "push", remote, "main", where=other, check=False)
    assert done.returncode == 0, said(done)
    entrance(PART, f"a foreign repository whose push runs our hook {'after a move' * moved}", "passes", WORKS)


def test_an_old_hook_in_a_shared_folder_is_taken_out(shop: Workshop, entrance: Row) -> None:
    """What an earlier version installed into everybody's folder of hooks, with a husky hook moved aside."""
    shared = shop.folder / "home" / "hooks"
    clone = shop.clone()
    shop.write(shared, "pre-push", "#!/bin/sh\n# installed by devops/scripts/install-git-hooks.sh\nexit 1\n")
    shop.write(shared, "pre-push.before-wms", "#!/bin/sh\n# the company's\nexit 0\n")
    shop.run("git", "config", "--global", "core.hooksPath", "~/hooks", where=clone)
    done = shop.run("devops/scripts/install-git-hooks.sh", where=clone, check=False)
    assert done.returncode == 80 and "which other repositories share" in said(done)
    assert "the company's" in (shared / "pre-push").read_text() and not (shared / "pre-push.before-wms").exists()
    command = said(done).strip().splitlines()[-1].split("this again: ")[1]
    shop.run("bash", "-c", command, where=clone)
    assert "Installed" in shop.run("devops/scripts/install-git-hooks.sh", where=clone).stdout
    entrance(PART, "global core.hooksPath with an old hook of ours", "taken out; how to go on is told", REFUSED)


def test_the_tracked_hooks_may_be_git_s_own(shop: Workshop, entrance: Row) -> None:
    """An installation there would replace the file that it calls: a hook that starts itself without an end."""
    clone = shop.clone()
    shop.run("devops/scripts/install-git-hooks.sh", "--remove", where=clone)
    shop.run("git", "config", "core.hooksPath", "hooks", where=clone)
    assert "itself" in shop.run("devops/scripts/install-git-hooks.sh", where=clone).stdout
    assert shop.run("git", "status", "--porcelain", where=clone).stdout == ""
    shop.photos(clone)
    shop.commit(clone)
    entrance(PART, "core.hooksPath=hooks, the tracked folder", diverted(shop, shop.push(clone)), WORKS)


def test_tags_that_follow_main_wait(shop: Workshop, clone: Path, entrance: Row) -> None:
    shop.run("git", "tag", "-a", "v1", "-m", "one", where=clone)
    done = shop.push(clone, "--follow-tags", "origin", "main")
    happens = diverted(shop, done)
    assert "Not pushed with it: v1" in said(done) and "git tag --force v1" in said(done)
    assert "push them to main" not in said(done)
    shop.run("python", "-m", "wms_ops", "data", "take-back", where=clone)
    shop.run("git", "tag", "--force", "-a", "v1", "-m", "one", where=clone)
    assert shop.push(clone, "--follow-tags", "origin", "main").returncode == 0
    entrance(PART, "--follow-tags with a tag on the photos' commit", f"{happens}; the tag is told to wait", WORKS)


def test_an_empty_origin(shop: Workshop, clone: Path, entrance: Row) -> None:
    shutil.rmtree(shop.origin)
    shop.run("git", "init", "--quiet", "--bare", "--initial-branch=main", shop.origin, where=shop.folder)
    done = shop.push(clone)
    assert done.returncode == 1
    assert "has no branch main yet: push your commits without photos first" in said(done), said(done)
    entrance(PART, "photos to an empty origin", "main is to be pushed without photos first", REFUSED)


@pytest.mark.parametrize("what", ["photos", "cloud-status", "deploy-to-cloud", "stop-cloud", "cleanup-aws"])
def test_a_python_without_libraries(shop: Workshop, clone: Path, what: str, entrance: Row) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", shop.folder / "bare"], check=True, timeout=60)
    bare = str(shop.folder / "bare/bin")
    shop.extra["PATH"] = f"{bare}:/usr/bin:/bin"
    if what == "photos":
        done = shop.push(clone)
    else:
        for name in ("cloud.sh", f"{what}.sh"):
            shutil.copy2(ROOT / "devops/scripts" / name, clone / "devops/scripts" / name)
        done = shop.run("bash", f"devops/scripts/{what}.sh", where=clone, check=False)
    told = said(done)
    assert "Traceback" not in told and "make install" in told, told
    assert told.count("lacks") == 1 and not shop.data_branches()
    entrance(PART, f"{what} without .venv, python3 without libraries", "one sentence: make install", REFUSED)
