"""`wms restore origin`: an empty origin gets what a clone knows, nothing is overwritten, what is lost is named."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from restore_yard import tell
from s3_server import S3Server
from sync_shop import make_run, promote
from workshop import Workshop

from wms.data.manifest import Manifest, pointer_text
from wms.errors import run_main
from wms.registry.metadata import write_metadata
from wms_ops.base.errors import GitError
from wms_ops.base.layout import KINDS, pointer
from wms_ops.commands.restore import COMMAND as RESTORE

pytestmark = pytest.mark.slice("restores of an origin", of=2)


@pytest.fixture
def clone(shop: Workshop, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of an origin with main, a data branch, a page's branch and a tag; all of them fetched."""
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    other = shop.clone("other")
    for kind in KINDS:
        shop.write(other, pointer(kind), pointer_text(Manifest({f"m.{kind}": "a" * 32}), None, kind))
    models = other / "WMS" / "models"
    run = make_run(shop.folder)
    promote(run, models, 1)
    write_metadata(promote(run, models, 1, "rollback"), other / "model-metadata.json")
    shop.commit(other, "Promote")
    shop.run("git", "tag", "model-v1", where=other)
    shop.run("git", "branch", "data/20261121-103000", where=other)
    shop.run("git", "branch", "pull-requests", where=other)
    shop.run("git", "push", "--quiet", "--no-verify", "--all", "origin", where=other)
    shop.run("git", "push", "--quiet", "--no-verify", "--tags", "origin", where=other)
    return shop.clone()


def restore(clone: Path, *more: str) -> int:
    named = {"--ledger": clone / "WMS/models", "--metadata": clone / "model-metadata.json", "--repo": clone}
    return run_main(RESTORE, ["origin", *(str(word) for pair in named.items() for word in pair), *more])


def refs(shop: Workshop) -> dict[str, str]:
    lines = shop.run("git", "for-each-ref", "--format=%(refname) %(objectname)", where=shop.origin).stdout.split("\n")
    return dict(line.split(" ") for line in lines if line)


def lose(shop: Workshop) -> None:
    """A new, empty repository at the same address."""
    shutil.rmtree(shop.origin)
    shop.run("git", "init", "--quiet", "--bare", "--initial-branch=main", shop.origin, where=shop.folder)


def test_an_empty_origin_gets_all_refs_and_what_only_it_had_is_named(
    shop: Workshop, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = refs(shop)
    assert len(before) == 4
    assert restore(clone) == 0
    assert "Nothing is to be restored." in capsys.readouterr().out
    later = Manifest({"late.png": hashlib.md5(b"late", usedforsecurity=False).hexdigest()})
    shop.store().upload({later.oid: later.content})
    shop.run("git", "commit", "--quiet", "--allow-empty", "-m", "Mine", where=clone)
    lose(shop)
    assert restore(clone, "--dry-run") == 0
    assert refs(shop) == {}
    capsys.readouterr()
    assert restore(clone, "--yes") == 0
    said = capsys.readouterr().out
    assert refs(shop) == before, "the clone's own commit isn't the origin's"
    assert "1 commit of main here was never pushed; push it as usual." in said
    assert f"the list {later.oid}" in said
    assert said.count("Commit cccccccccccc, with which version 1 was trained: only the origin had it.") == 2, "and plan"
    assert "after this clone's last fetch" in said
    tell(capsys, "4 branches and tags of the origin", said)
    assert restore(clone, "--yes") == 0
    assert "Nothing is to be restored." in capsys.readouterr().out
    assert shop.run("git", "clone", "--quiet", shop.origin, shop.folder / "new", where=shop.folder).returncode == 0


def test_what_the_new_origin_has_already_is_never_overwritten(
    shop: Workshop, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lose(shop)
    strange = shop.folder / "strange"
    shop.run("git", "clone", "--quiet", shop.origin, strange, where=shop.folder)
    shop.write(strange, "README.md", "Another beginning.\n")
    theirs = shop.commit(strange)
    shop.run("git", "push", "--quiet", "origin", "HEAD:main", where=strange)
    assert restore(clone, "--yes") == 0
    assert "main at the origin isn't what this clone knows, and stays as it is" in capsys.readouterr().out
    now = refs(shop)
    assert now["refs/heads/main"] == theirs
    assert {"refs/heads/data/20261121-103000", "refs/tags/model-v1"} <= set(now)


def test_a_push_that_was_cut_off_goes_on_and_an_origin_behind_is_brought_forward(shop: Workshop, clone: Path) -> None:
    before = refs(shop)
    lose(shop)
    behind = ("push", "--quiet", "--no-verify", "origin", "main~1:refs/heads/main")
    shop.run("git", *behind, where=shop.folder / "other")
    assert restore(clone, "--yes") == 0
    assert refs(shop) == before


def test_what_the_origin_refuses_is_named_beside_what_arrived(
    shop: Workshop, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = refs(shop)
    lose(shop)
    hook = shop.origin / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase "$1" in refs/heads/data/*) exit 1;; esac\n')
    hook.chmod(0o755)
    assert restore(clone, "--yes") == GitError.exit_code
    said = capsys.readouterr()
    assert f"Restored. origin: 3 names with all their commits at file://{shop.origin}: " in said.out
    assert "main, pull-requests, tags/model-v1." in said.out
    assert "Lost. origin: 1 name didn't arrive (hook declined): data/20261121-103000." in said.out
    assert "run `wms restore origin` again" in said.err and said.err.count("\n") == 1
    assert set(before) - set(refs(shop)) == {"refs/heads/data/20261121-103000"}
    hook.unlink()
    assert restore(clone, "--yes") == 0
    assert refs(shop) == before


@pytest.mark.parametrize("how", [("--depth", "1"), ("--filter=blob:none",)])
def test_a_clone_that_lacks_commits_or_files_is_told_up_front(
    shop: Workshop, clone: Path, how: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert clone.is_dir()
    shop.run("git", "config", "uploadpack.allowFilter", "true", where=shop.origin)
    less = shop.folder / "less"
    shop.run("git", "clone", "--quiet", "--no-checkout", *how, shop.origin.as_uri(), less, where=shop.folder)
    assert restore(less, "--yes") == 0, "nothing is to be pushed"
    lose(shop)
    capsys.readouterr()
    assert restore(less, "--yes") == GitError.exit_code
    said = capsys.readouterr().err
    assert ("git fetch --unshallow" if len(how) == 2 else "git fetch --refetch") in said and said.count("\n") == 1
    assert refs(shop) == {}


def test_an_origin_that_cannot_be_read_is_one_sentence(
    shop: Workshop, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(shop.origin)
    assert restore(clone, "--yes") != 0
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and "make an empty repository there" in said
    shop.run("git", "remote", "remove", "origin", where=clone)
    assert restore(clone) != 0
    assert "git remote add origin URL" in capsys.readouterr().err
