"""The hook as a user meets it: real pushes to a bare origin, a real S3 server behind it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from workshop import INBOX, Workshop, fingerprint, leftovers, said

from wms_ops.hook.refs import parse


def test_photos_go_to_a_data_branch_and_main_stays(shop: Workshop) -> None:
    clone = shop.clone()
    main = shop.branches()["main"]
    shop.photos(clone, 3)
    shop.commit(clone)
    before = fingerprint(clone)
    done = shop.push(clone)
    assert done.returncode == 1
    assert "Existing: 0, new: 3, total: 3" in said(done)
    (branch,) = shop.data_branches()
    assert re.fullmatch(r"data/\d{8}-\d{6}", branch)
    assert branch in said(done)
    assert shop.branches()["main"] == main
    assert shop.changed(branch) == ["WMS/data/dataset/images.dvc", "WMS/data/dataset/masks.dvc"]
    assert len(shop.version(branch).pairs) == 3
    shop.assert_complete()
    assert fingerprint(clone) == before
    assert not leftovers([clone])


def test_pushing_the_same_again_does_nothing(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    shop.push(clone)
    branches = shop.branches()
    again = shop.push(clone)
    assert again.returncode == 1
    assert f"on branch {shop.data_branches()[0]} already" in said(again)
    assert shop.branches() == branches
    shop.merge(shop.data_branches()[0])
    after = shop.push(clone, "--force", "origin", "main")
    assert after.returncode == 1
    assert "in the data set already" in said(after)


@pytest.mark.slice("pushes", of=2)
@pytest.mark.parametrize("merged", [False, True], ids=["on its branch", "in main"])
def test_what_is_published_already_is_there_before_it_says_so(shop: Workshop, merged: bool) -> None:
    """Its user may throw the photos away after that: a file that the remote lost is brought back first."""
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    shop.push(clone)
    (branch,) = shop.data_branches()
    # A commit on top, as the loop makes it: the branch is recognised by what it holds.
    keeper = shop.clone("keeper2")
    shop.run("git", "checkout", "--quiet", branch, where=keeper)
    shop.write(keeper, "model-metadata.json", "{}\n")
    shop.commit(keeper, "A note")
    assert shop.push(keeper, "origin", branch).returncode == 0
    if merged:
        shop.merge(branch)
    md5 = next(iter(shop.version(branch).images.files.values()))
    shop.s3.client().delete_object(Bucket=shop.config.bucket, Key=shop.config.key(md5))
    done = shop.push(clone, "--force", "origin", "main")
    assert "already" in said(done)
    assert shop.data_branches() == [branch]
    shop.assert_complete()


@pytest.mark.slice("pushes", of=2)
def test_growing_fetches_no_photo(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone, 4, seed=1)
    shop.commit(clone)
    shop.push(clone)
    shop.merge(shop.data_branches()[0])
    other = shop.clone("other")
    shop.photos(other, 2, seed=2)
    shop.commit(other)
    done = shop.push(other)
    assert "Existing: 4, new: 2, total: 6" in said(done)
    newest = max(shop.data_branches())
    assert len(shop.version(newest).pairs) == 6


@pytest.mark.slice("pushes", of=2)
def test_dvc_pull_brings_every_file_back(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone, 3)
    shop.commit(clone)
    shop.push(clone)
    shop.merge(shop.data_branches()[0])
    fresh = shop.clone("fresh")
    shop.run("dvc", "pull", "--quiet", "WMS/data/dataset/images.dvc", "WMS/data/dataset/masks.dvc", where=fresh)
    for kind in ("images", "masks"):
        there = {path.name: path.read_bytes() for path in (fresh / "WMS/data/dataset" / kind).iterdir()}
        pushed = {path.name: path.read_bytes() for path in (clone / INBOX / kind).iterdir()}
        assert there == pushed
        assert len(there) == 3
    assert shop.run("git", "status", "--porcelain", where=fresh).stdout == ""


def test_replacing_needs_the_word(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone, 2, seed=1, prefix="p")
    shop.commit(clone)
    shop.push(clone)
    shop.merge(shop.data_branches()[0])
    other = shop.clone("other")
    shop.photos(other, 2, seed=9, prefix="p")
    shop.commit(other)
    refused = shop.push(other)
    assert refused.returncode == 1
    assert "need a decision: p_0: another photo of this name is there" in said(refused)
    assert len(shop.data_branches()) == 1
    done = shop.run("git", "-c", "wms.replace=true", "push", "origin", "main", where=other, check=False)
    assert "replaced: 2" in said(done)
    assert len(shop.version(max(shop.data_branches())).pairs) == 2


def test_pushes_without_photos_pass(shop: Workshop) -> None:
    clone = shop.clone()
    shop.write(clone, "notes.txt", "x\n")
    shop.write(clone, f"{INBOX}/images/.gitkeep", "")
    shop.commit(clone, "Notes")
    assert shop.push(clone).returncode == 0
    shop.run("git", "tag", "-a", "v1", "-m", "one", where=clone)
    shop.run("git", "branch", "topic", where=clone)
    assert shop.push(clone, "origin", "v1", "topic").returncode == 0
    assert shop.push(clone, "origin", "--delete", "topic", "v1").returncode == 0
    assert shop.push(clone, "--all", "origin").returncode == 0  # nothing new: the hook gets no line


def test_every_ref_of_a_push_is_looked_at(shop: Workshop) -> None:
    clone = shop.clone()
    main = shop.branches()["main"]
    shop.run("git", "branch", "aaa", where=clone)
    shop.photos(clone)
    shop.commit(clone)
    done = shop.push(clone, "origin", "aaa", "main")
    assert done.returncode == 1
    assert "Not pushed with it: aaa" in said(done)
    assert shop.branches()["main"] == main
    assert len(shop.data_branches()) == 1


@pytest.mark.slice("pushes", of=2)
@pytest.mark.parametrize("target", ["HEAD:topic", "HEAD:refs/tags/v1", "HEAD:mainly"])
def test_photos_may_not_go_elsewhere(shop: Workshop, target: str) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    done = shop.push(clone, "origin", target)
    assert done.returncode == 1
    assert "belong into the data set" in said(done)
    assert set(shop.branches()) == {"main"}


@pytest.mark.slice("pushes", of=2)
def test_an_annotated_tag_of_photos_is_refused(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    shop.run("git", "tag", "-a", "v2", "-m", "two", where=clone)
    assert "belong into the data set" in said(shop.push(clone, "origin", "v2"))


@pytest.mark.slice("pushes", of=2)
def test_photos_on_a_data_branch_pass_and_may_not_reach_main_from_there(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    assert shop.push(clone, "origin", "HEAD:data/my-photos").returncode == 0
    main = shop.branches()["main"]
    shop.run("git", "fetch", "--quiet", where=clone)
    done = shop.push(clone)  # all of its commits are over there by now, but not on main
    assert done.returncode == 1
    assert shop.branches()["main"] == main
    merged = shop.run(
        "python", "-m", "wms_ops", "data", "merge", "origin/data/my-photos", where=shop.clone("ci"), check=False
    )
    assert "already" in merged.stdout


@pytest.mark.slice("pushes", of=2)
def test_photos_that_a_later_commit_removes_stay_out_of_history(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    shop.run("git", "rm", "-rq", INBOX, where=clone)
    shop.commit(clone, "Remove them again")
    done = shop.push(clone)
    assert done.returncode == 1
    assert "history" in said(done)
    command = re.search(r"keep all else, by: (wms .*)", said(done))
    assert command is not None
    shop.run("sh", "-c", command[1], where=clone)
    assert shop.run("git", "rev-parse", "HEAD", where=clone).stdout.strip() == shop.branches()["main"]
    assert shop.push(clone).returncode == 0


@pytest.mark.slice("pushes", of=2)
def test_a_merge_commit_that_brings_photos_is_seen(shop: Workshop) -> None:
    clone = shop.clone()
    shop.run("git", "checkout", "--quiet", "-b", "side", where=clone)
    shop.photos(clone)
    shop.commit(clone)
    shop.run("git", "checkout", "--quiet", "main", where=clone)
    shop.write(clone, "x.txt", "x\n")
    shop.commit(clone, "x")
    shop.run("git", "merge", "--quiet", "--no-edit", "side", where=clone)
    main = shop.branches()["main"]
    done = shop.push(clone)
    assert done.returncode == 1
    assert shop.branches()["main"] == main
    assert len(shop.data_branches()) == 1


@pytest.mark.slice("pushes", of=2)
@pytest.mark.parametrize("way", ["detached", "shallow", "url", "renamed", "worktree", "force"])
def test_unusual_clones(shop: Workshop, way: str) -> None:
    options = {"shallow": ["--depth=1"], "renamed": ["--origin=company"]}.get(way, [])
    clone = shop.clone("cl one", *options)
    context, target = clone, ["origin", "HEAD:main"]
    if way == "worktree":
        context = shop.folder / "side tree"
        shop.run("git", "worktree", "add", "--quiet", "-b", "side", context, where=clone)
    if way == "detached":
        shop.run("git", "checkout", "--quiet", "--detach", where=clone)
    shop.photos(context)
    shop.commit(context)
    if way == "url":
        target = [f"file://{shop.origin}", "main"]
    if way == "renamed":
        target = ["company", "main"]
    if way == "force":
        target = ["--force", "origin", "main"]
    done = shop.push(context, *target)
    assert done.returncode == 1
    assert "Existing: 0, new: 3, total: 3" in said(done)
    assert "Traceback" not in said(done)
    assert len(shop.data_branches()) == 1
    assert len(shop.branches()) == 2
    shop.assert_complete()


@pytest.mark.slice("pushes", of=2)
def test_an_earlier_hook_still_runs_and_may_refuse(shop: Workshop) -> None:
    clone = shop.clone()
    hook = clone / ".git/hooks/pre-push"
    assert "install-git-hooks" in hook.read_text()
    shop.run("devops/scripts/install-git-hooks.sh", "--remove", where=clone)
    assert not hook.exists()
    shop.write(clone, ".git/hooks/pre-push", '#!/bin/sh\ncat > "$(git rev-parse --git-dir)/seen"\nexit ${REFUSE:-0}\n')
    hook.chmod(0o755)
    for _ in range(2):
        assert "kept" in shop.run("devops/scripts/install-git-hooks.sh", where=clone).stdout or _
    shop.write(clone, "x.txt", "x\n")
    shop.commit(clone, "x")
    assert shop.push(clone, REFUSE="3").returncode == 1
    assert "refs/heads/main" in (clone / ".git/seen").read_text()
    assert shop.push(clone).returncode == 0
    shop.photos(clone)
    shop.commit(clone)
    assert "Existing: 0, new: 3" in said(shop.push(clone))
    shop.run("devops/scripts/install-git-hooks.sh", "--remove", where=clone)
    assert "seen" in hook.read_text()


@pytest.mark.slice("pushes", of=2)
def test_a_work_tree_without_the_hook_file_pushes_nothing(shop: Workshop) -> None:
    clone = shop.clone()
    shop.run("git", "rm", "-q", "hooks/pre-push", where=clone)
    shop.commit(clone, "No hook")
    done = shop.push(clone)
    assert done.returncode == 1
    assert "photos could reach main unseen" in said(done)


def test_a_shrunken_pointer_is_not_pushed(shop: Workshop) -> None:
    clone = shop.clone()
    stems = shop.photos(clone, 3)
    shop.commit(clone)
    shop.push(clone)
    shop.merge(shop.data_branches()[0])
    other = shop.clone("other")
    folder = other / "WMS/data/dataset/images"
    folder.mkdir()
    (folder / "one.png").write_bytes((clone / INBOX / "images" / f"{stems[0]}.jpg").read_bytes())
    # What the field notes warn of: `dvc add` on a folder that isn't complete.
    shop.run("dvc", "add", "--quiet", "WMS/data/dataset/images", where=other)
    shop.commit(other, "Oops")
    for target in ("main", "HEAD:data/by-hand"):
        done = shop.push(other, "origin", target)
        assert done.returncode == 1
        assert "would lose 3 photos" in said(done)
    main = shop.run("git", "rev-parse", "origin/main", where=other).stdout.strip()
    assert shop.branches()["main"] == main
    done = shop.run("python", "-m", "wms_ops", "data", "remove", stems[0], where=other)
    branch = next(name for name in shop.data_branches() if name.endswith("-remove"))
    shop.run("git", "fetch", "--quiet", where=other)
    shop.run("git", "checkout", "--quiet", branch, where=other)
    shop.run("git", "commit", "--quiet", "--allow-empty", "-m", "A note", where=other)
    assert shop.push(other, "origin", branch).returncode == 0


@pytest.mark.slice("pushes", of=2)
def test_the_card_knows_all_merges(shop: Workshop) -> None:
    clone = shop.clone()
    for seed, total in ((1, 3), (2, 6)):
        shop.photos(clone, 3, seed=seed)
        shop.commit(clone)
        done = shop.push(clone)
        page = Path(re.findall(r"holds now: (.*\.html)", said(done))[0])
        assert f"{total:,} photos" in page.with_suffix(".md").read_text()
        assert "data:image/jpeg" in page.read_text()
        shop.merge(max(shop.data_branches()))
        shop.run("git", "pull", "--quiet", "--rebase", where=clone)
    assert "are known of" not in page.read_text()


def test_lines_are_read_as_git_writes_them() -> None:
    sha = "a" * 40
    ref, gone = parse([f"refs/heads/x {sha} refs/heads/main {'0' * 40}", f"(delete) {'0' * 40} refs/heads/y {sha}"])
    assert ref.to_main
    assert not ref.deletes
    assert gone.deletes


@pytest.mark.slice("pushes", of=2)
def test_thousand_files_at_once(shop: Workshop, tmp_path: Path) -> None:
    from PIL import Image

    clone = shop.clone()
    for number in range(500):
        for kind, mode in (("images", "RGB"), ("masks", "L")):
            path = clone / INBOX / kind / f"n{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.effect_noise((32, 32), 90).convert(mode)
            if kind == "masks":
                image = Image.new("L", (32, 32))
                image.paste(255, (4, 10, 28, 16))
            image.save(path)
    shop.commit(clone)
    done = shop.push(clone)
    assert "Existing: 0, new: 500, total: 500" in said(done)
    shop.assert_complete()
