"""Who brought a photo, and one push taken back: by command, and told where git or GitHub would lose later photos."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from entrance_table import REFUSED, WORKS, Row
from workshop import Workshop, said

from wms.data.manifest import DataSet, Manifest
from wms_ops.dataset.history import history
from wms_ops.dataset.versions import commit_version
from wms_ops.git.command import Git
from wms_ops.git.trailers import with_trailers


def data(shop: Workshop, *arguments: str, where: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return shop.run("python", "-m", "wms_ops", "data", *arguments, where=where, check=check)


def merged(shop: Workshop, branch: str, number: int) -> str:
    """Squash a branch into main as the loop does, its number and its author in trailers; then delete the branch."""
    shop.merge(branch)
    keeper = shop.folder / "keeper"
    told = {"Pull-Request": str(number), "Data-Branch": branch, "Data-Author": "Ada"}
    message = with_trailers(f"Photos (#{number})\n\nA text.", told)
    shop.run("git", "commit", "--quiet", "--amend", "-m", message, where=keeper, GIT_AUTHOR_NAME="The loop")
    shop.run("git", "push", "--quiet", "--force", "origin", "main", where=keeper)
    shop.run("git", "push", "--quiet", "origin", "--delete", branch, where=keeper)
    return shop.branches()["main"]


def pushed(shop: Workshop, name: str, seed: int, number: int, *, prefix: str = "") -> list[str]:
    """Bring two photos into main by the hook and a merge; returns their names."""
    clone = shop.clone(name)
    stems = shop.photos(clone, 2, seed=seed, prefix=prefix)
    shop.commit(clone)
    done = shop.run("git", "-c", "wms.replace=true", "push", "origin", "main", where=clone, check=False)
    assert "is on origin" in said(done), said(done)
    (branch,) = shop.data_branches()
    merged(shop, branch, number)
    return stems


def test_a_push_is_taken_back_and_later_photos_stay(shop: Workshop, entrance: Row) -> None:
    first, second = pushed(shop, "one", 1, 11), pushed(shop, "two", 2, 12)
    before = shop.version("main").pairs
    clone = shop.clone("undo")
    done = data(shop, "revert", "11", where=clone)
    assert "2 removed; 2 photos in all" in done.stdout
    (branch,) = shop.data_branches()
    assert branch.endswith("-revert")
    assert set(shop.version(branch).pairs) == set(second)
    assert "is there already" in data(shop, "revert", "11", where=clone).stdout
    shop.run("git", "fetch", "--quiet", where=clone)
    assert "holds all" in data(shop, "verify", f"origin/{branch}", "--base", "origin/main", where=clone).stdout
    assert data(shop, "join", branch, where=clone).returncode == 0
    entrance("history", "wms data revert 11", "a branch without that push's photos; later ones stay", WORKS)
    merged(shop, branch, 13)
    assert set(shop.version("main").pairs) == set(second)
    again = data(shop, "revert", "11", where=clone, check=False)
    assert again.returncode == 82 and "taken back before" in again.stderr, said(again)
    entrance("history", "the same revert once more", "refused: taken back before", REFUSED)
    data(shop, "revert", branch, where=clone)  # the revert of the revert, by the branch's name
    (restoring,) = shop.data_branches()
    assert shop.version(restoring).pairs == before
    assert not shop.store().missing(shop.version(restoring).oids)
    entrance("history", "a revert of the revert", f"{len(first)} photos are back", WORKS)
    told = data(shop, "log", first[0], where=clone).stdout.splitlines()
    assert ["reverted by Ada, pull request 13" in told[0], "added by Ada, pull request 11" in told[1]] == [True, True]
    assert len(told) == 2
    entrance("history", "wms data log NAME", "; ".join(line.split("  ", 1)[1] for line in told), WORKS)


@pytest.mark.slice("histories of data", of=2)
def test_replaced_photos_get_their_former_content_and_changed_ones_are_named(shop: Workshop, entrance: Row) -> None:
    pushed(shop, "one", 1, 21, prefix="p")
    before = shop.version("main").pairs
    pushed(shop, "two", 2, 22, prefix="p")
    clone = shop.clone("undo")
    refused = data(shop, "revert", "#21", where=clone, check=False)
    assert refused.returncode == 82 and "p_0, p_1 changed since, by Ada, pull request 22" in refused.stderr
    assert not shop.data_branches()
    entrance("history", "revert of a push whose photos a later push replaced", "refused, with the later push", REFUSED)
    commit = shop.branches()["main"]
    assert "2 back to their former content" in data(shop, "revert", commit, where=clone).stdout
    (branch,) = shop.data_branches()
    assert shop.version(branch).pairs == before
    shop.run("git", "fetch", "--quiet", where=clone)
    data(shop, "verify", f"origin/{branch}", "--base", "origin/main", where=clone)
    entrance("history", "revert of a push that replaced photos", "their former content is back", WORKS)
    unknown = data(shop, "revert", "99", where=clone, check=False)
    assert unknown.returncode == 82 and "wms data log" in unknown.stderr
    entrance("history", "revert of an unknown number", "refused, names wms data log", REFUSED)


@pytest.mark.slice("histories of data", of=2)
@pytest.mark.parametrize("way", ["git revert", "Revert button", "by hand", "reset to an older version"])
def test_a_revert_that_loses_photos_is_explained(shop: Workshop, way: str, entrance: Row) -> None:
    pushed(shop, "one", 1, 31)
    start = shop.branches()["main"]
    pushed(shop, "two", 2, 32)
    clone = shop.clone("undo")
    commit = shop.branches()["main"]
    if way == "git revert":
        shop.run("git", "revert", "--no-edit", commit, where=clone)
    elif way == "Revert button":
        shop.run("git", "revert", "--no-edit", commit, where=clone)
        message = 'Revert "Photos (#32)"\n\nReverts acme/meters#32'
        shop.run("git", "commit", "--quiet", "--amend", "-m", message, where=clone)
    else:
        shop.run("git", "checkout", "--quiet", start, "--", "WMS/data/dataset", where=clone)
        shop.commit(clone, "Oops" if way == "by hand" else "Back to the former version")
    advice = "`wms data revert 32`"
    hook = shop.push(clone)
    assert hook.returncode == 1
    assert advice in said(hook), said(hook)
    assert shop.branches()["main"] == commit
    workflow = data(shop, "verify", "HEAD", "--base", "origin/main", where=clone, check=False)
    assert workflow.returncode != 0 and advice in workflow.stderr
    entrance("history", f"a merged push taken back by {way}", f"refused: {advice}", REFUSED)


@pytest.mark.slice("histories of data", of=2)
def test_the_log_names_the_person_and_the_nearest_names(shop: Workshop, entrance: Row) -> None:
    pushed(shop, "one", 1, 41, prefix="meter")
    clone = shop.clone("asking")
    last = data(shop, "log", where=clone).stdout
    assert "2 added, by Ada, pull request 41 (data/" in last
    assert "added by Ada, pull request 41" in data(shop, "log", "meter_0.png", where=clone).stdout
    unknown = data(shop, "log", "meter_O", where=clone, check=False)
    assert unknown.returncode == 82 and "the nearest names are meter_" in unknown.stderr
    entrance("history", "wms data log of a name that never was", "refused, with the nearest names", REFUSED)


@pytest.mark.slice("histories of data", of=2)
def test_the_log_of_a_data_set_that_no_push_changed(shop: Workshop, entrance: Row) -> None:
    clone = shop.clone()
    assert data(shop, "log", where=clone).stdout.splitlines()[0] == "No push has changed the data set yet."
    unknown = data(shop, "log", "meter", where=clone, check=False)
    assert unknown.returncode == 82 and "No push ever brought a photo named 'meter'." in unknown.stderr, said(unknown)
    entrance("history", "wms data log before the first push", "no push has changed the data set yet", WORKS)


@pytest.mark.slice("histories of data", of=2)
def test_many_versions_are_read_once(shop: Workshop, tmp_path: Path, entrance: Row) -> None:
    clone = shop.clone("big")
    git, store = Git(clone), shop.store()
    tip, files = git("rev-parse", "HEAD"), {f"m{number:05d}": f"{number:032x}" for number in range(2_000)}
    for version in range(30):
        files[f"n{version:05d}"] = f"{version + 10**6:032x}"
        made = DataSet(
            Manifest({f"{stem}.jpg": md5 for stem, md5 in files.items()}),
            Manifest({f"{stem}.png": md5 for stem, md5 in files.items()}),
            None,
            None,
        )
        store.upload({manifest.oid: manifest.content for _, manifest, _ in made})
        tip = commit_version(git, made, [tip], f"Photos (#{version + 1})\n")
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        told = list(history(git, tip, store, tmp_path / "log.json"))
        seconds.append(time.perf_counter() - start)
        assert [push.number for push in told] == list(range(30, 0, -1))
        assert all(push.change and push.change.added == (f"n{push.number - 1:05d}",) for push in told[:-1])
    happens = f"first {seconds[0]:.1f} s, then {seconds[1]:.1f} s (names kept in .git/wms)"
    entrance("history", "wms data log over 30 versions of 2,000 photos", happens, WORKS)


@pytest.mark.slice("histories of data", of=2)
def test_a_photo_that_waits_on_a_branch_is_told_so(shop: Workshop, entrance: Row) -> None:
    clone = shop.clone()
    (stem, _) = shop.photos(clone, 2)
    shop.commit(clone)
    shop.push(clone)
    (branch,) = shop.data_branches()
    assert data(shop, "log", stem, where=clone).stdout.splitlines()[0] == (
        f"Waits on the branch {branch}, which isn't merged."
    )
    entrance("history", "wms data log of a photo on an open branch", "the branch on which it waits", WORKS)
