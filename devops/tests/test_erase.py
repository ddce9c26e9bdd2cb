"""A photo is erased from the data set, from all versions in the bucket, from its pictures; a tombstone explains it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from entrance_table import REFUSED, WORKS, Row
from test_data_history import data, merged, pushed
from test_privacy import with_places
from workshop import INBOX, Workshop, said

from wms_ops.base.layout import ERASED
from wms_ops.git.command import Git
from wms_ops.git.scratch import scratch_clone
from wms_ops.pulls.erase_pages import erase_pages
from wms_ops.pulls.file_branch import SHELF, BranchEdit, FileBranch

# Runs the command and dies, or is refused, where the bucket's files are to be deleted.
DRIVER = """
import os, signal, sys
from wms_ops.base.errors import AccessDeniedError
from wms_ops.commands import data_erase
from wms_ops.dataset import erase
from wms.errors import run_main

def stop(*_):
    if sys.argv[1] == "kill": os.kill(os.getpid(), signal.SIGKILL)
    raise AccessDeniedError("Can't delete: s3:DeleteObjectVersion is missing.")
erase.S3Remote.erase = stop
sys.exit(run_main(lambda _: data_erase.ERASE(sys.argv[2:])))
"""


def erased(shop: Workshop, clone: Path, name: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return data(shop, "erase", name, "--reason", "shows a person", "--yes-erase", name, where=clone, check=check)


def left(shop: Workshop, md5s: set[str]) -> list[str]:
    """Versions and markers of these contents in the bucket."""
    client = shop.s3.client()
    found = []
    for md5 in md5s:
        page = client.list_object_versions(Bucket=shop.config.bucket, Prefix=shop.config.key(md5))
        found += [one["Key"] for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))]
    return found


@pytest.mark.slice("erased photos", of=2)
@pytest.mark.parametrize("versioned", [True, False])
def test_a_photo_leaves_everything_and_the_gap_is_explained(shop: Workshop, versioned: bool, entrance: Row) -> None:
    if versioned:
        shop.s3.client().put_bucket_versioning(Bucket=shop.config.bucket, VersioningConfiguration={"Status": "Enabled"})
    clone = shop.clone("one")
    photos = with_places(shop, clone)
    shop.commit(clone)
    shop.push(clone)
    merged(shop, *shop.data_branches(), 51)
    name, other = sorted(photos)
    _, image, _, mask = shop.version("main").pairs[name]
    if versioned:  # a deleted object leaves its versions and a marker
        shop.s3.client().put_object(Bucket=shop.config.bucket, Key=shop.config.key(mask), Body=b"older")
        shop.s3.client().delete_object(Bucket=shop.config.bucket, Key=shop.config.key(mask))
        shop.store().upload({mask: (clone / INBOX / "masks" / f"{name}.png").read_bytes()})
    keeper = shop.clone("keeper-of-data")
    older = shop.branches()["main"]
    assert list((clone / ".git" / "wms" / "cards").glob("*.html"))
    served = clone / ".loop" / "local" / "releases" / "v1"
    for folder, shown in ((clone / "WMS" / "models", name), (served, name), (served.with_name("v2"), f"{name}-b")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "MODEL_CARD.html").write_text(f"<td>{shown}</td>")
        (folder / "worst-photos.jpg").write_bytes(b"photos")
    first = said(erased(shop, clone, name))
    assert sorted(path.parent.name for path in clone.rglob("worst-photos.jpg")) == ["v2"], "cards show photos"
    assert sorted(path.parent.name for path in clone.rglob("MODEL_CARD.html")) == ["v2"]
    assert "main" in first.split("still do")[0]
    (branch,) = shop.data_branches()
    assert branch.endswith("-erase") and set(shop.version(branch).pairs) == {other}
    assert not list((clone / ".git" / "wms" / "cards").glob("*.html")), "cards show photos"
    assert len(left(shop, {image, mask})) >= 2, "a branch names them still"
    shop.run("git", "fetch", "--quiet", where=clone)
    data(shop, "verify", f"origin/{branch}", "--base", "origin/main", where=clone)
    data(shop, "join", branch, where=clone)
    merged(shop, branch, 52)
    second = said(erased(shop, clone, name))
    assert f"Erased from the bucket: {name}" in second
    assert "refs/pull" in second and "Left to you" in second
    assert not left(shop, {image, mask})
    assert not shop.store().missing(shop.version("main").oids)
    tombstone = json.loads(shop.run("git", "show", f"main:{ERASED}", where=shop.origin).stdout)
    assert tombstone["name"] == name and tombstone["reason"] == "shows a person" and image not in str(tombstone)
    how = "a bucket with versions" if versioned else "a bucket without versions"
    entrance("privacy", f"wms data erase NAME, {how}", "photo and mask are gone in all versions; tombstone", WORKS)

    refused = data(shop, "verify", older, where=keeper, check=False)
    assert refused.returncode == 76 and f"{name} was erased on 20" in refused.stderr, said(refused)
    assert "dvc push" not in refused.stderr
    fetched = data(shop, "fetch", "--folder", "there", where=keeper, check=False)
    assert fetched.returncode == 76 and f"{name} was erased on 20" in fetched.stderr
    entrance("privacy", "an older commit after an erasure", "verify and fetch say: erased on DATE", REFUSED)
    again = shop.push(clone)
    assert again.returncode != 0 and f"has the content of {name}, which was erased" in said(again), said(again)
    entrance("privacy", "the erased photo pushed again, with its GPS as before", "refused by name", REFUSED)
    raw = shop.push(clone, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert f"has the content of {name}, which was erased" in said(raw), "without keys Git's tombstone tells"
    assert erased(shop, clone, name).returncode == 0, "a repetition"
    assert "erased by Ada, pull request 52" in data(shop, "log", name, where=clone).stdout


@pytest.mark.slice("erased photos", of=2)
@pytest.mark.parametrize("how", ["kill", "denied"])
def test_a_second_run_finishes_the_first(shop: Workshop, how: str, entrance: Row) -> None:
    stems = pushed(shop, "one", 1, 61)
    pairs = shop.version("main").pairs
    clone = shop.clone("two")
    erased(shop, clone, stems[0])
    merged(shop, *shop.data_branches(), 62)
    _, image, _, mask = pairs[stems[0]]
    command = (sys.executable, "-c", DRIVER, how, stems[0], "--reason", "x", "--yes-erase", stems[0])
    stopped = shop.run(*command, where=clone, check=False)
    assert stopped.returncode == (-9 if how == "kill" else 72), said(stopped)
    assert left(shop, {image, mask})
    told = erased(shop, clone, stems[0]).stdout
    assert "Erased from the bucket" in told and f"{stems[0]} was recorded before: begun at 20" in told
    assert "by Ada (shows a person); this reason stays." in told, "the killed run's reason was another one, too"
    assert not left(shop, {image, mask})
    told = data(shop, "erase", stems[0], "--reason", "y", "--yes-erase", stems[0], where=clone).stdout
    assert f"{stems[0]} was recorded before: erased at 20" in told and "(shows a person); this reason stays." in told
    assert "0 versions of files are deleted by this run." in told
    what = "killed before the deletion" if how == "kill" else "without the right to delete versions"
    entrance("privacy", f"wms data erase {what}", "the record stays open; a second run finishes", WORKS)


@pytest.mark.slice("erased photos", of=2)
def test_it_asks_and_knows_its_names(shop: Workshop, entrance: Row) -> None:
    stems = pushed(shop, "one", 1, 71)
    clone = shop.clone("two")
    silent = data(shop, "erase", stems[0], "--reason", "x", where=clone, check=False)
    assert silent.returncode == 2 and "--yes-erase" in silent.stderr
    wrong = data(shop, "erase", stems[0], "--reason", "x", "--yes-erase", stems[1], where=clone, check=False)
    assert wrong.returncode == 2 and "wasn't confirmed" in wrong.stderr
    unknown = erased(shop, clone, "s1_O", check=False)
    assert unknown.returncode == 82 and "the nearest names are s1_" in unknown.stderr
    assert not shop.data_branches()
    entrance("privacy", "wms data erase unconfirmed, or of an unknown name", "refused; nothing changed", REFUSED)


@pytest.mark.slice("erased photos", of=2)
def test_content_that_another_name_has_stays(shop: Workshop, entrance: Row) -> None:
    clone = shop.clone("one")
    stems = shop.photos(clone, 2, seed=1)
    masks = [next((clone / INBOX / "masks").glob(f"{stem}.*")) for stem in stems]
    masks[1].write_bytes(masks[0].read_bytes())  # two photos, one mask
    shop.commit(clone)
    shop.push(clone)
    merged(shop, *shop.data_branches(), 81)
    erased(shop, clone, stems[0])
    merged(shop, *shop.data_branches(), 82)
    done = erased(shop, clone, stems[0])
    assert f"is also the content of {stems[1]}" in done.stdout
    shop.assert_complete()
    entrance("privacy", "an erased photo whose mask another photo shares", "the shared mask stays, named", WORKS)


@pytest.mark.slice("erased photos", of=2)
def test_pictures_of_pull_requests_leave_with_the_branchs_history(shop: Workshop, entrance: Row) -> None:
    clone = shop.clone("one")
    files = {
        "1/pull-request.json": b"{}",
        "1/gate.html": b"<p>meter_1</p>",
        "1/pictures/better.png": b"picture",
        "2/gate.html": b"<p>meter_2</p>",
        "2/pictures/better.png": b"other",
        "index.html": b"meter_1 and meter_2",
    }
    with scratch_clone(Git(clone), str(shop.origin)) as scratch:
        FileBranch(scratch).change(lambda _: BranchEdit(files, "Pages\n", None))
        gone = erase_pages(scratch, ["meter_1"])
        assert gone == ["1/gate.html", "1/pictures/better.png"]
        assert erase_pages(scratch, ["meter_1"]) == []
    listed = shop.run("git", "ls-tree", "-r", "--name-only", SHELF, where=shop.origin).stdout.split()
    assert listed == ["1/pull-request.json", "2/gate.html", "2/pictures/better.png", "index.html"]
    assert shop.run("git", "rev-list", "--count", SHELF, where=shop.origin).stdout.strip() == "1"
    entrance("privacy", "pictures of an erased photo in pull requests", "removed, with the branch's history", WORKS)


@pytest.mark.slice("erased photos", of=2)
def test_a_photo_of_an_open_branch_names_the_steps(shop: Workshop, entrance: Row) -> None:
    clone = shop.clone("one")
    name, _ = shop.photos(clone, 2, seed=1)
    shop.commit(clone)
    shop.push(clone)
    (branch,) = shop.data_branches()
    _, image, _, mask = shop.version(branch).pairs[name]
    shop.run("git", "config", "--unset", "user.name", where=clone, check=False)
    command = ("python", "-m", "wms_ops", "data", "erase", name, "--reason", "x", "--yes-erase", name)
    lines = shop.run(*command, where=clone, GIT_AUTHOR_NAME="Grace Hopper").stdout.splitlines()
    assert f"{branch} still does." in lines[0]
    assert f"delete the branch, by git push origin --delete {branch}; push its other photos again." in lines[1]
    assert lines[2] == "Then run the same erase again: it finishes the rest."
    entrance("privacy", "wms data erase of a photo on an open branch", "names the branch and the steps", WORKS)
    shop.run("git", "push", "--quiet", "origin", "--delete", branch, where=clone)
    assert f"Erased from the bucket: {name}" in erased(shop, clone, name).stdout
    assert not left(shop, {image, mask})
    again = said(shop.push(clone))
    assert f"has the content of {name}, which was erased on 20" in again and " by Grace Hopper (x)" in again, again
    entrance("privacy", "erase, the name in GIT_AUTHOR_NAME", "the tombstone names that person", WORKS)


@pytest.mark.slice("erased photos", of=2)
def test_a_branch_that_has_the_photo_from_main_is_joined(shop: Workshop, entrance: Row) -> None:
    stems = pushed(shop, "one", 1, 91)
    clone = shop.clone("two")
    shop.photos(clone, 1, seed=2)
    shop.commit(clone)
    shop.push(clone)
    (waiting,) = shop.data_branches()
    told = erased(shop, clone, stems[0]).stdout
    assert f"main, {waiting} still do." in told and f"has them from main: then wms data join {waiting}." in told, told
    assert "--delete" not in told
    (leaving,) = set(shop.data_branches()) - {waiting}
    assert f"Branch {leaving} leaves them out: merge its pull request." in told
    merged(shop, leaving, 92)
    data(shop, "join", waiting, where=clone)
    assert f"Erased from the bucket: {stems[0]}" in erased(shop, clone, stems[0]).stdout
    entrance("privacy", "wms data erase while a branch waits", "names merge and join; then the rest is erased", WORKS)


@pytest.mark.slice("erased photos", of=2)
def test_a_revert_brings_all_but_the_erased_photo_back(shop: Workshop, entrance: Row) -> None:
    stems = pushed(shop, "one", 1, 71)
    clone = shop.clone("two")
    data(shop, "remove", *stems, where=clone)
    merged(shop, *shop.data_branches(), 72)
    data(shop, "revert", "72", where=clone)
    merged(shop, *shop.data_branches(), 73)
    assert sorted(shop.version("main").pairs) == stems
    erased(shop, clone, stems[0])
    merged(shop, *shop.data_branches(), 74)
    erased(shop, clone, stems[0])
    data(shop, "remove", stems[1], where=clone)
    merged(shop, *shop.data_branches(), 75)
    done = data(shop, "revert", "72", where=clone)
    assert f"1 restored; 1 photo in all. Erased photos stay out: {stems[0]}." in said(done), said(done)
    (branch,) = shop.data_branches()
    assert list(shop.version(branch).pairs) == [stems[1]]
    entrance(
        "history", "wms data revert of a push with an erased photo", "the others come back, that one is named", WORKS
    )


@pytest.mark.slice("erased photos", of=2)
def test_nothing_is_deleted_while_a_branch_cannot_be_read(shop: Workshop, entrance: Row) -> None:
    stems = pushed(shop, "one", 1, 81)
    _, image, _, mask = shop.version("main").pairs[stems[0]]
    clone = shop.clone("two")
    data(shop, "remove", stems[0], where=clone)
    merged(shop, *shop.data_branches(), 82)
    shop.photos(clone, 1, seed=5, prefix="other")
    shop.commit(clone)
    shop.push(clone)
    (branch,) = shop.data_branches()
    oid = shop.version(branch).images.oid
    kept = shop.s3.client().get_object(Bucket=shop.config.bucket, Key=shop.config.key(oid))["Body"].read()
    shop.s3.client().delete_object(Bucket=shop.config.bucket, Key=shop.config.key(oid))
    told = said(erased(shop, clone, stems[0]))
    assert f"Branch {branch} can't be read and may name the same content" in told, told
    assert len(left(shop, {image, mask})) == 2
    shop.s3.client().put_object(Bucket=shop.config.bucket, Key=shop.config.key(oid), Body=kept)
    assert "Erased from the bucket" in said(erased(shop, clone, stems[0]))
    assert not left(shop, {image, mask})
    entrance(
        "privacy", "wms data erase, a branch that can't be read", "nothing is deleted; the branch is named", REFUSED
    )
