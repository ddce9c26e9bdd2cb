"""Habits and mistakes of others at a push: another folder, a stale view of main, a bad data branch, shared hooks."""

from __future__ import annotations

from pathlib import Path

import pytest
from workshop import INBOX, Workshop, leftovers, said

from wms_ops.base.layout import DATA_SET


def photos_on(shop: Workshop, branch: str) -> list[str]:
    tree = shop.run("git", "ls-tree", "-r", "--name-only", branch, where=shop.origin).stdout.splitlines()
    return [name for name in tree if name.startswith(INBOX) and not name.endswith(".gitkeep")]


def dataset(shop: Workshop, *arguments: str, where: Path):
    return shop.run("python", "-m", "wms_ops", "data", *arguments, where=where, check=False)


def test_a_push_from_another_folder_is_not_waved_through(shop: Workshop) -> None:
    clone, other = shop.clone("clone"), shop.clone("other")
    shop.photos(clone)
    shop.commit(clone)
    done = shop.run("git", f"--git-dir={clone / '.git'}", "push", "origin", "main", where=other, check=False)
    assert done.returncode == 1 and "Existing: 0, new: 3, total: 3" in said(done), said(done)
    assert not photos_on(shop, "main")


def test_a_stale_view_of_main_hides_no_photo(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    before = shop.branches()["main"]
    shop.commit(clone)
    shop.run("git", "push", "--quiet", "--no-verify", "origin", "main", where=clone)
    shop.run("git", "update-ref", "refs/heads/main", before, where=shop.origin)  # an admin takes them out again
    shop.write(clone, "README.md", "Only this.\n")
    shop.commit(clone)
    done = shop.push(clone)
    assert done.returncode == 1 and "take-back" in said(done)
    assert not photos_on(shop, "main")


@pytest.mark.parametrize("path", ["Images/a.jpg", "a.jpg"])
def test_a_photo_beside_the_folders_is_named(shop: Workshop, path: str) -> None:
    clone = shop.clone()
    shop.write(clone, f"{INBOX}/{path}", "x")
    shop.commit(clone)
    done = shop.push(clone)
    assert done.returncode == 1 and f"'{INBOX}/{path}'" in said(done) and "move photos to images/" in said(done)
    assert not photos_on(shop, "main")


def bad_branches(shop: Workshop, clone: Path) -> None:
    """What others may have left: photos in a folder too many, broken pointers, lost manifests."""
    start = shop.run("git", "rev-parse", "HEAD", where=clone).stdout.strip()
    oid = "0" * 32 + ".dir"
    pointer = "outs:\n- md5: {}\n  nfiles: 1\n  hash: md5\n  path: {}\n"
    good = {f"{DATA_SET}/{kind}.dvc": pointer.format(oid, kind) for kind in ("images", "masks")}
    kinds = {
        "folder": {f"{INBOX}/images/new/a.jpg": "x"},
        "yaml": {**good, f"{DATA_SET}/images.dvc": "outs: " + "[" * 20_000},
        "manifest": good,
        "half": {f"{DATA_SET}/images.dvc": good[f"{DATA_SET}/images.dvc"]},
    }
    for name, files in kinds.items():
        shop.run("git", "checkout", "--quiet", "--detach", start, where=clone)
        for path, text in files.items():
            shop.write(clone, path, text)
        shop.commit(clone, "x\n\nData-Removed: " + "9" * 5000)
        target = f"HEAD:refs/heads/data/20991231-{name}"
        shop.run("git", "push", "--quiet", "--no-verify", "origin", target, where=clone)


def pushed(shop: Workshop, clone: Path, count: int, seed: int) -> str:
    """The data branch of a push with new photos."""
    before = set(shop.data_branches())
    shop.photos(clone, count, seed=seed)
    shop.commit(clone)
    done = shop.push(clone)
    assert f"Existing: 2, new: {count}, total: {2 + count}" in said(done), said(done)
    (branch,) = set(shop.data_branches()) - before
    return branch


def test_a_bad_data_branch_stops_nobody_else(shop: Workshop) -> None:
    clone, bob = shop.clone("clone"), shop.clone("bob")
    shop.photos(clone, 2)
    shop.commit(clone)
    assert "take-back" in said(shop.push(clone))
    (first,) = shop.data_branches()
    shop.merge(first)
    bad_branches(shop, bob)
    mine = pushed(shop, shop.clone("again"), 2, seed=5)
    shop.merge(pushed(shop, shop.clone("third"), 1, seed=6))
    joined = dataset(shop, "join", "--all", where=clone)
    assert joined.returncode not in (0, 1) and "Traceback" not in said(joined)
    assert f"{mine} now holds all of main's 3 photos: 5 in all" in joined.stdout
    assert all(f"data/20991231-{name}: " in joined.stdout for name in ("yaml", "manifest", "half")), joined.stdout


def test_hooks_that_other_repositories_share_are_left_alone(shop: Workshop) -> None:
    clone, shared = shop.clone(), shop.folder / "shared hooks"
    shared.mkdir()
    shop.run("git", "config", "core.hooksPath", str(shared), where=clone)
    done = shop.run("devops/scripts/install-git-hooks.sh", where=clone, check=False)
    assert done.returncode == 80 and "which other repositories share" in said(done)
    assert not list(shared.iterdir())
    command = said(done).strip().splitlines()[-1].split("this again: ")[1]
    shop.run("bash", "-c", command, where=clone)
    assert shop.run("devops/scripts/install-git-hooks.sh", where=clone).returncode == 0
    shop.photos(clone)
    shop.commit(clone)
    assert shop.push(clone).returncode == 1


def test_a_setting_never_turns_a_trial_into_a_push(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    before = shop.branches()
    for setting in ("false", "maybe"):
        done = shop.run("git", "-c", f"wms.dryRun={setting}", "push", "-n", "origin", "main", where=clone, check=False)
        assert done.returncode == 1 and "dry run" in said(done)
    doubtful = shop.run("git", "-c", "wms.dryRun=maybe", "push", "origin", "main", where=clone, check=False)
    assert doubtful.returncode == 1 and "dry run" in said(doubtful)
    plain = shop.clone("plain")
    shop.write(plain, "README.md", "Other.\n")
    shop.commit(plain)
    done = shop.run("git", "-c", "wms.dryRun=true", "push", "origin", "main", where=plain, check=False)
    assert done.returncode == 1 and "nothing was pushed" in said(done)
    assert shop.branches() == before and not leftovers([clone])


def test_odd_settings_of_git_stop_no_push(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    shop.run("git", "config", "--global", "safe.bareRepository", "explicit", where=clone)
    done = shop.push(clone, GIT_CONFIG_COUNT="")
    assert "Existing: 0, new: 3, total: 3" in said(done), said(done)


def test_the_way_back_from_take_back_touches_nothing_that_is_staged(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    old = shop.commit(clone)
    shop.push(clone)
    shop.write(clone, "README.md", "staged\n")
    shop.run("git", "add", "README.md", where=clone)
    shop.write(clone, "README.md", "edited\n")
    done = dataset(shop, "take-back", where=clone)
    (command,) = [line.split("before: ")[1] for line in said(done).splitlines() if "as before: " in line]
    shop.run("bash", "-c", command, where=clone)
    assert shop.run("git", "rev-parse", "HEAD", where=clone).stdout.strip() == old
    assert shop.run("git", "show", ":README.md", where=clone).stdout == "staged\n"
    assert (clone / "README.md").read_text() == "edited\n"


def test_take_back_leaves_a_branch_alone_that_is_being_rebased_elsewhere(shop: Workshop) -> None:
    clone = shop.clone()
    shop.run("git", "branch", "topic", where=clone)
    shop.write(clone, "README.md", "main\n")
    shop.commit(clone, "On main")
    tree = shop.folder / "tree"
    shop.run("git", "worktree", "add", "--quiet", tree, "topic", where=clone)
    shop.write(tree, "README.md", "topic\n")
    shop.commit(tree, "On topic")
    assert shop.run("git", "rebase", "main", where=tree, check=False).returncode
    done = dataset(shop, "take-back", "--commits-of", "topic", where=clone)
    assert done.returncode == 80 and "A rebase of topic is half done" in said(done)
