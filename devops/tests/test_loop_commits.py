"""A run in parts is that of one commit of one branch, whatever is pushed, deleted or killed while it works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loop_shop import LoopShop
from s3_server import require_tool
from test_loop_parts import files, job, stored

from wms_ops.base.errors import PipelineError
from wms_ops.base.layout import INBOX
from wms_ops.loop.contexts import context_factory, shared_runs
from wms_ops.loop.shared_runs import run_of
from wms_ops.loop.steps_data import merge
from wms_ops.machine.types import CloudState
from wms_ops.pulls.file_branch import SHELF
from wms_ops.runs.record import StepState


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopShop]:
    require_tool("weed")
    shop = LoopShop.open(tmp_path_factory.mktemp("commits"), epochs=20)
    yield shop
    shop.close()


def push_photos(shop: LoopShop, branch: str, count: int) -> str:
    """Photos on a branch of their own, as a person without keys pushes them; returns the commit."""
    shop.shell("git", "checkout", "--quiet", "-B", "mine", "origin/main")
    shop.commit_photos(count)
    shop.shell("git", "push", "--quiet", "--force", "--no-verify", "origin", f"HEAD:refs/heads/{branch}")
    commit = shop.shell("git", "rev-parse", "HEAD").strip()
    shop.shell("git", "checkout", "--quiet", "main")
    assert not list((shop.demo_folder.clone / INBOX / "images").glob("*.jpg"))
    return commit


@pytest.mark.attack("whoever may push a branch", "another run of the same id", "branch and whole commit are on record")
def test_a_run_is_never_taken_for_that_of_another_branch_or_commit(shop: LoopShop, tmp_path: Path) -> None:
    """Names meet where a slash becomes a dash, and twelve digits of a commit can be made to order."""
    store, commit = shared_runs(tmp_path, shop.cloud), "a" * 40
    store.begin("data/a/b", commit, commit)
    for branch, other, words in (
        ("data/a-b", commit, "data/a/b has a run of this commit"),
        ("data/a/b", "a" * 12 + "b" * 28, "is that of aaaa"),
    ):
        assert run_of(branch, other) == run_of("data/a/b", commit)
        for part in ("train", "tell"):
            job(shop, part, "--branch", branch, "--commit", other, expect=89)
            assert words in job.said  # type: ignore[attr-defined]
        with pytest.raises(PipelineError, match=words):
            store.begin(branch, other, other)
    assert store.resume("data/a/b", commit).pushed == commit


@pytest.mark.timeout(300)
def test_a_run_does_not_take_what_was_pushed_after_its_commit(shop: LoopShop, tmp_path: Path) -> None:
    branch = "data/forced"
    which = ("--branch", branch, "--commit", push_photos(shop, branch, 3))
    run = shared_runs(tmp_path, shop.cloud).begin(branch, which[3], which[3]).id
    later = push_photos(shop, branch, 4)
    job(shop, "data", *which, expect=89)
    assert f"moved on from {which[3][:12]} to {later[:12]}" in job.said  # type: ignore[attr-defined]
    assert shop.branches()[branch] == later
    job(shop, "tell", *which, expect=89)
    shown = shop.origin("ls-tree", "-r", "--name-only", SHELF)
    assert f"commits/{which[3][:12]}.md" in shown and later[:12] not in shown
    assert "run.json" in files(shop, run)


@pytest.mark.timeout(300)
def test_a_job_killed_once_the_photos_are_published_goes_on_until_their_branch_is_deleted(
    shop: LoopShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in shop.environ.items():
        monkeypatch.setenv(name, text)
    branch, before = "data/killed", set(shop.branches())
    which = ("--branch", branch, "--commit", push_photos(shop, branch, 25))
    record = shared_runs(tmp_path, shop.cloud).begin(branch, which[3], which[3])
    context = context_factory(tmp_path, shop.origin("rev-parse", "--absolute-git-dir"), shop.cloud)(record)
    merge(context, record, {"branch": branch})  # and the job is gone before its record says so
    job(shop, "data", *which)
    values = stored(shop, record.id).outputs
    assert values["photos_new"] == "25" and set(shop.branches()) - before == {values["branch"]}
    shop.origin("update-ref", "-d", f"refs/heads/{values['branch']}")
    job(shop, "train", *which, expect=89)
    assert f"{values['branch']} was deleted or forced elsewhere" in job.said  # type: ignore[attr-defined]
    assert shop.cloud.status() is CloudState.ABSENT, "nothing is paid for a commit that is gone"
    job(shop, "tell", *which, expect=89)
    assert stored(shop, record.id).step("up").state is StepState.FAILED
