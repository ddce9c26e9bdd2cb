"""Many clones at once, and branches that both grew."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import cast

import pytest
from workshop import INBOX, Workshop, said

from wms_ops.base.layout import SPLITS
from wms_ops.git.command import Git
from wms_ops.loop.context import RunContext
from wms_ops.loop.waiting import join_waiting
from wms_ops.pulls.local_pulls import LocalPulls
from wms_ops.pulls.protocol import PullState


def started(shop: Workshop, clone) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["git", "push", "origin", "main"],
        cwd=clone,
        env=shop.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def dataset(shop: Workshop, command: str, *arguments: str, where, check: bool = True):
    return shop.run("python", "-m", "wms_ops", "data", command, *arguments, where=where, check=check)


@pytest.mark.slice("joined branches", of=2)
def test_ten_clones_at_once_end_in_the_exact_union(shop: Workshop) -> None:
    clones = [shop.clone(f"clone{number}") for number in range(10)]
    expected = set()
    for number, clone in enumerate(clones):
        expected |= set(shop.photos(clone, 2, seed=10 + number))
        shop.commit(clone)
    pushes = [started(shop, clone) for clone in clones]
    outputs = [push.communicate(timeout=280)[0] for push in pushes]
    assert all("Existing: 0, new: 2, total: 2" in output for output in outputs), outputs
    branches = shop.data_branches()
    assert len(branches) == 10
    for branch in branches:
        dataset(shop, "join", branch, where=clones[0])
        shop.merge(branch)
    assert set(shop.version("main").pairs) == expected
    assert len(expected) == 20
    shop.assert_complete()


def test_the_same_name_with_other_content_is_a_named_conflict(shop: Workshop) -> None:
    one, two = shop.clone("one"), shop.clone("two")
    for seed, clone in enumerate((one, two), 1):
        shop.photos(clone, 1, seed=seed, prefix="same")
        shop.commit(clone)
        shop.push(clone)
    first, second = sorted(shop.data_branches())
    shop.merge(first)
    before = shop.branches()
    done = dataset(shop, "join", second, where=one, check=False)
    assert done.returncode == 82
    assert "same_0: both branches changed it differently" in said(done)
    assert shop.branches() == before


def test_joining_twice_changes_nothing(shop: Workshop) -> None:
    one, two = shop.clone("one"), shop.clone("two")
    for seed, clone in enumerate((one, two), 1):
        shop.photos(clone, 2, seed=seed)
        shop.commit(clone)
        shop.push(clone)
    first, second = sorted(shop.data_branches())
    shop.merge(first)
    assert "now holds all of main's 2 photos: 4 in all" in dataset(shop, "join", second, where=one).stdout
    tip = shop.branches()[second]
    assert "holds already" in dataset(shop, "join", second, where=one).stdout
    assert shop.branches()[second] == tip
    assert sorted(shop.changed(second)) == ["WMS/data/dataset/images.dvc", "WMS/data/dataset/masks.dvc"]


@pytest.mark.slice("joined branches", of=2)
def test_all_waiting_branches_are_joined_and_a_conflict_stops_none(shop: Workshop) -> None:
    clones = [shop.clone(f"clone{number}") for number in range(4)]
    for number, clone in enumerate(clones):
        shop.photos(clone, 1, seed=number + 1, prefix="same" if number in (0, 1) else "")
        shop.commit(clone)
        shop.push(clone)
    raw = shop.clone("raw")
    shop.photos(raw, 1, seed=9)
    shop.commit(raw)
    assert shop.push(raw, "origin", "HEAD:data/raw").returncode == 0
    first, second, *others = sorted(set(shop.data_branches()) - {"data/raw"})
    shop.merge(first)
    tips = shop.branches()
    done = dataset(shop, "join", "--all", where=clones[0], check=False)
    assert done.returncode == 82
    assert f"{second}: Nothing was merged" in done.stdout
    assert [len(shop.version(branch).pairs) for branch in others] == [2, 2]
    assert {name for name, tip in shop.branches().items() if tips[name] != tip} == set(others)


@pytest.mark.slice("joined branches", of=2)
def test_a_branch_that_has_all_of_main_keeps_its_commit_and_so_its_verdict(shop: Workshop) -> None:
    """As a run leaves it that was blocked: its splits are on record, and the check is on that commit."""
    clone = shop.clone("one")
    shop.photos(clone, 2, seed=1)
    shop.commit(clone)
    shop.push(clone)
    (branch,) = shop.data_branches()
    shop.run("git", "fetch", "--quiet", where=clone)
    shop.run("git", "checkout", "--quiet", "--detach", f"origin/{branch}", where=clone)
    (clone / SPLITS).touch()
    shop.run("git", "add", "--force", SPLITS, where=clone)
    shop.run("git", "commit", "--quiet", "--no-verify", "-m", "Record the splits", where=clone)
    shop.run("git", "push", "--quiet", "--no-verify", "origin", f"HEAD:refs/heads/{branch}", where=clone)
    before = shop.branches()
    dataset(shop, "join", "--all", where=clone)
    assert shop.branches() == before


@pytest.mark.slice("joined branches", of=2)
def test_gits_own_conflict_is_resolved_in_a_fresh_clone(shop: Workshop) -> None:
    one, two = shop.clone("one"), shop.clone("two")
    base = shop.clone("base")
    shop.photos(base, 1, seed=5)
    shop.commit(base)
    shop.push(base)
    (start,) = shop.data_branches()
    shop.merge(start)
    for seed, clone in enumerate((one, two), 1):
        shop.run("git", "pull", "--quiet", where=clone)
        shop.photos(clone, 2, seed=seed)
        shop.commit(clone)
        shop.push(clone)
    _, first, second = sorted(shop.data_branches())
    shop.merge(first)
    fresh = shop.clone("fresh")
    shop.run("git", "checkout", "--quiet", second, where=fresh)
    assert "Git hasn't stopped" in said(dataset(shop, "resolve", where=fresh, check=False))
    assert "CONFLICT" in shop.run("git", "merge", "origin/main", where=fresh, check=False).stdout
    assert "5 in the union" in dataset(shop, "resolve", where=fresh).stdout
    shop.run("git", "commit", "--quiet", "--no-edit", where=fresh)
    assert shop.push(fresh, "origin", second).returncode == 0
    assert len(shop.version(second).pairs) == 5
    shop.assert_complete()


@pytest.mark.slice("joined branches", of=2)
def test_removal_is_a_branch_of_its_own_and_keeps_the_files(shop: Workshop) -> None:
    clone = shop.clone()
    stems = shop.photos(clone, 3)
    shop.commit(clone)
    shop.push(clone)
    shop.merge(shop.data_branches()[0])
    oids = shop.version("main").oids
    assert "'nobody'" in said(dataset(shop, "remove", "nobody", where=clone, check=False))
    done = dataset(shop, "remove", stems[0], where=clone)
    assert "3 photos before, 2 after" in done.stdout
    (branch,) = [name for name in shop.data_branches() if name.endswith("-remove")]
    assert set(shop.version(branch).pairs) == set(stems[1:])
    assert not shop.store().missing(oids)


def test_ci_merges_raw_photos_of_a_branch_without_keys_on_the_laptop(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone, 2)
    shop.commit(clone)
    no_keys = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    assert shop.push(clone, "origin", "HEAD:data/my-photos", **no_keys).returncode == 0
    runner = shop.clone("runner")
    shop.write(clone, "WMS/src/more.py", "x = 1\n")
    shop.commit(clone, "And something else")
    stopped = shop.push(clone, "origin", "HEAD:data/more-than-photos", **no_keys)
    assert stopped.returncode == 1 and "'WMS/src/more.py'" in said(stopped), "the hook says it first"
    assert shop.push(clone, "--no-verify", "origin", "HEAD:data/more-than-photos").returncode == 0
    shop.run("git", "fetch", "--quiet", where=runner)
    more = ("origin/data/more-than-photos", "--delete-branch", "data/more-than-photos")
    refused = dataset(shop, "merge", *more, where=runner, check=False)
    assert refused.returncode == 99 and "'WMS/src/more.py'" in said(refused), "its other commits would be lost"
    assert sorted(shop.data_branches()) == ["data/more-than-photos", "data/my-photos"]
    output = shop.folder / "output"
    done = shop.run(
        *("python", "-m", "wms_ops", "data", "merge", "origin/data/my-photos"),
        *("--if-any", "--delete-branch", "data/my-photos", "--summary"),
        where=runner,
        GITHUB_OUTPUT=str(output),
        GITHUB_STEP_SUMMARY=str(shop.folder / "summary"),
    )
    assert "data/my-photos" not in shop.branches()
    assert "2 photos" in (shop.folder / "summary").read_text()
    assert "Existing: 0, new: 2, total: 2" in done.stdout
    named = dict(line.split("=") for line in output.read_text().splitlines())
    assert named["new"] == "2"
    assert len(shop.version(named["branch"]).pairs) == 2
    listed = shop.run("git", "ls-tree", "-r", "--name-only", named["branch"], where=shop.origin).stdout
    assert INBOX not in listed
    again = shop.clone("again")
    branch = f"origin/{named['branch']}"
    assert "2 photos" in dataset(shop, "verify", branch, "--base", "origin/main", where=again).stdout
    assert "nothing to merge" in dataset(shop, "merge", branch, "--if-any", where=again).stdout
    shop.run("git", "checkout", "--quiet", branch, where=again)
    shop.run("git", "rm", "-q", "WMS/data/dataset/images.dvc", "WMS/data/dataset/masks.dvc", where=again)
    shop.commit(again, "Oops")
    lost = dataset(shop, "verify", "HEAD", "--base", branch, where=again, check=False)
    assert lost.returncode == 83
    assert "would lose 2 photos" in said(lost)


def test_a_merge_leaves_each_waiting_branch_with_its_verdict(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a merge what is blocked stays so, what passed and waits for a review is left, and the rest is joined."""
    for name, value in shop.environ.items():
        monkeypatch.setenv(name, value)
    clone = shop.clone("one")
    branches = []
    for seed in range(1, 5):
        shop.run("git", "checkout", "--quiet", "-B", "main", "origin/main", where=clone)
        shop.photos(clone, 1, seed=seed, prefix=f"set{seed}")
        shop.commit(clone)
        before = set(shop.data_branches())
        shop.push(clone)
        branches += set(shop.data_branches()) - before
    merged, blocked, passed, fresh = branches
    git = Git(clone)
    pulls = LocalPulls(git, f"file://{shop.origin}")
    pulls.block(pulls.open(blocked, "Add data", ""), "No better.")
    pulls.open(passed, "Add data", "")
    shop.merge(merged)
    said, tips = list[str](), shop.branches()
    context = SimpleNamespace(git=git, url=f"file://{shop.origin}", pulls=pulls)
    for _ in range(2):
        join_waiting(cast(RunContext, context), said.append)
    assert sorted(said) == sorted(f"Main's photos are joined into {name}: 2 in all." for name in (blocked, fresh))
    now = shop.branches()
    assert now[passed] == tips[passed] and now[blocked] != tips[blocked] and now[fresh] != tips[fresh]
    found = pulls.find(blocked)
    assert found is not None and found.state is PullState.BLOCKED
