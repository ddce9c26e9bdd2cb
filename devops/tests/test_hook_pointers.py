"""Pushes of the data set's pointers by hand: none that loses a photo, or names what the store lacks, gets through."""

from __future__ import annotations

import hashlib
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest
from s3_server import S3Server
from workshop import INBOX, Workshop, said

from wms.data.manifest import DataSet, Manifest, pointer_text
from wms_ops.base.layout import DATA_SET, DVC_CONFIG, KINDS, pointer
from wms_ops.storage.config import RemoteConfig

NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, s3_of_session: S3Server) -> tuple[Workshop, Path, set[str]]:
    """A project whose data set holds s1_0, s1_1 and s1_2, with the clones first and other; its copy, its store's keys.

    Made once: six starts of Python, which a copy of the folder spares each test.
    """
    folder = tmp_path_factory.mktemp("pointers")
    bucket = f"pointers-{uuid.uuid4().hex[:12]}"
    s3_of_session.create_bucket(bucket)
    config = RemoteConfig(bucket=bucket, prefix="tests", endpoint_url=s3_of_session.endpoint)
    shop = Workshop(folder / "a shop", s3_of_session, config)
    clone = shop.clone("first")
    shop.photos(clone, 3)
    shop.commit(clone)
    shop.push(clone)
    (branch,) = shop.data_branches()
    shop.merge(branch)
    shop.run("git", "push", "--quiet", "origin", "--delete", branch, where=clone)
    shop.clone("other")
    shutil.copytree(shop.folder, folder / "saved", symlinks=True)
    return shop, folder / "saved", set(keys(shop))


def keys(shop: Workshop) -> list[str]:
    listed = shop.s3.client().list_objects_v2(Bucket=shop.config.bucket)
    return [one["Key"] for one in listed["Contents"]]


@pytest.fixture
def shop(saved: tuple[Workshop, Path, set[str]]) -> Workshop:
    """The project as it was made, at the same place."""
    made, copy, kept = saved
    shutil.rmtree(made.folder)
    shutil.copytree(copy, made.folder, symlinks=True)
    for key in set(keys(made)) - kept:
        made.s3.client().delete_object(Bucket=made.config.bucket, Key=key)
    return made


@pytest.fixture
def other(shop: Workshop) -> Path:
    """A clone of it."""
    return shop.folder / "other"


def changed(version: DataSet, changes: Mapping[str, str | None]) -> DataSet:
    """A version with other contents: stem -> text of the new photo, None to leave the pair out."""
    parts = []
    for _, manifest, _ in version:
        suffix = Path(next(iter(manifest.files))).suffix
        files = dict(manifest.files)
        for stem, text in changes.items():
            files.pop(f"{stem}{suffix}", None)
            if text is not None:
                files[f"{stem}{suffix}"] = md5(f"{text}{suffix}")
        parts.append(Manifest(files))
    return DataSet(*parts, None, None)


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def point(shop: Workshop, clone: Path, version: DataSet, message: str = "By hand", *, upload: str = "") -> None:
    """Commit pointers to a version; `upload` brings its manifests, and the photo of that text, to the store."""
    for kind, manifest, size in version:
        shop.write(clone, pointer(kind), pointer_text(manifest, size, kind))
        if upload:
            content = f"{upload}{Path(next(iter(manifest.files))).suffix}"
            shop.store().upload({md5(content): content.encode(), manifest.oid: manifest.content})
    shop.commit(clone, message)


def assert_refused(shop: Workshop, clone: Path, words: str, *targets: str) -> str:
    """The push stops with these words, and nothing at the origin is another."""
    before = shop.branches()
    done = shop.push(clone, "origin", *(targets or ("main",)))
    assert done.returncode == 1
    assert words in said(done), said(done)
    assert "Traceback" not in said(done)
    assert shop.branches() == before
    return said(done)


@pytest.mark.slice("pushed pointers", of=2)
@pytest.mark.parametrize("pushed", [False, True], ids=["no dvc push", "dvc push"])
def test_dvc_add_after_one_was_removed_and_one_added(shop: Workshop, other: Path, pushed: bool) -> None:
    """As many files as before, and yet a photo less."""
    targets = [f"{DATA_SET}/{kind}" for kind in KINDS]
    shop.run("dvc", "pull", "--quiet", *[f"{target}.dvc" for target in targets], where=other)
    for target in targets:
        lost = next((other / target).glob("s1_0.*"))
        lost.rename(lost.with_stem("another"))
        (other / target / f"another{lost.suffix}").write_bytes(lost.suffix.encode())
    shop.run("dvc", "add", "--quiet", *targets, where=other)
    if pushed:
        shop.run("dvc", "push", "--quiet", where=other)
    shop.commit(other, "Sorted")
    text = assert_refused(shop, other, "would lose 1 photo ('s1_0' first)")
    assert "would lose 1 photo" in assert_refused(shop, other, "Nothing was pushed to data/x", "HEAD:data/x")
    command = re.search(r"`(git revert --no-edit \w+)`", text)
    assert command is not None
    shop.run("sh", "-c", command[1], where=other)
    assert shop.push(other).returncode == 0


def test_a_manifest_that_the_store_lacks_is_never_named(shop: Workshop, other: Path) -> None:
    grown = changed(shop.version("main"), {"new": "new"})
    point(shop, other, grown)
    assert "then push again" in assert_refused(shop, other, "run `dvc push`")
    for _, manifest, _ in grown:
        shop.store().upload({manifest.oid: manifest.content})
    assert_refused(shop, other, "2 files of the data set aren't in")
    for suffix in (".jpg", ".png"):
        shop.store().upload({md5(f"new{suffix}"): f"new{suffix}".encode()})
    assert shop.push(other).returncode == 0
    shop.assert_complete()


@pytest.mark.slice("pushed pointers", of=2)
def test_other_content_under_the_same_name_needs_the_word(shop: Workshop, other: Path) -> None:
    version = changed(shop.version("main"), {"s1_1": "swapped"})
    point(shop, other, version, upload="swapped")
    assert_refused(shop, other, "give 1 photo other content under the same name ('s1_1' first)")
    shop.run("git", "commit", "--quiet", "--amend", "-m", "By hand", "-m", "Data-Replaced: 1", where=other)
    assert shop.push(other).returncode == 0


def test_a_removal_is_believed_as_far_as_its_own_commit_goes(shop: Workshop, other: Path) -> None:
    version = shop.version("main")
    point(shop, other, changed(version, {"s1_0": None, "s1_1": None}), "Less\n\nData-Removed: 1", upload="x")
    assert_refused(shop, other, "says Data-Removed: 1, but that is so of 2 photos")
    shop.run("git", "reset", "--quiet", "--hard", "origin/main", where=other)
    point(shop, other, changed(version, {"s1_0": None}), "Less\n\nData-Removed: 1", upload="x")
    point(shop, other, changed(version, {"s1_0": None, "s1_1": None}), "Even less", upload="x")
    assert_refused(shop, other, "would lose 1 photo ('s1_1' first)")
    shop.run("git", "reset", "--quiet", "--hard", "HEAD^", where=other)
    assert shop.push(other).returncode == 0
    assert set(shop.version("main").pairs) == {"s1_1", "s1_2"}


@pytest.mark.slice("pushed pointers", of=2)
def test_a_trailer_that_came_by_a_merge_is_no_intent(shop: Workshop, other: Path) -> None:
    version = shop.version("main")
    shop.run("git", "checkout", "--quiet", "-b", "side", where=other)
    point(shop, other, changed(version, {"s1_0": None}), "Less\n\nData-Removed: 1", upload="x")
    shop.run("git", "checkout", "--quiet", "main", where=other)
    shop.run("git", "merge", "--quiet", "--no-ff", "-m", "Merge a branch for its code", "side", where=other)
    assert_refused(shop, other, "would lose 1 photo ('s1_0' first)")


DAMAGES = {
    "one is gone": "its partner is",
    "both are gone": "would lose 3 photos",
    "a folder": "isn't a file",
    "a link": "isn't a file",
    "conflict marks": "is not a .dvc file",
    "another path": "stands for 'masks'",
    "another hash": "by 'sha256'",
    "a remote of its own": "names a remote",
    "a folder of its own": "names a remote or a folder",
    "one changed": "would lose 1 photo",
}


@pytest.mark.slice("pushed pointers", of=2)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pointer_is_refused(shop: Workshop, other: Path, damage: str) -> None:
    file, text = other / pointer("images"), (other / pointer("images")).read_text()
    if damage in ("one is gone", "both are gone", "a folder", "a link"):
        file.unlink()
    if damage == "both are gone":
        (other / pointer("masks")).unlink()
    if damage == "a folder":
        shop.write(other, f"{pointer('images')}/x", text)
    if damage == "a link":
        shop.write(other, "elsewhere.dvc", text)
        file.symlink_to("../../../elsewhere.dvc")
    replaced = {
        "conflict marks": f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n",
        "another path": text.replace("path: images", "path: masks"),
        "another hash": text.replace("hash: md5", "hash: sha256"),
        "a remote of its own": text.replace("  hash: md5", "  remote: elsewhere\n  hash: md5"),
        "a folder of its own": f"{text}wdir: ../..\n",
    }
    if damage in replaced:
        file.write_text(replaced[damage])
    if damage == "one changed":
        images = changed(shop.version("main"), {"s1_0": None}).images
        shop.store().upload({images.oid: images.content})
        file.write_text(pointer_text(images, None, "images"))
    shop.commit(other, damage)
    assert_refused(shop, other, DAMAGES[damage])


@pytest.mark.slice("pushed pointers", of=2)
def test_another_store_must_hold_everything(shop: Workshop, other: Path) -> None:
    """A changed .dvc/config moves the data set, too: the store that counts after the push is looked into."""
    config = (other / DVC_CONFIG).read_text()
    shop.write(other, DVC_CONFIG, config.replace(shop.config.url, f"{shop.config.url}-new"))
    shop.commit(other, "Another bucket")
    assert_refused(shop, other, "-new")
    shop.write(other, DVC_CONFIG, config + "[core]\n    analytics = false\n")
    shop.commit(other, "No analytics")
    assert shop.push(other).returncode == 0


@pytest.mark.slice("pushed pointers", of=2)
@pytest.mark.parametrize("target", ["main", "HEAD:data/by-hand"])
def test_without_keys_changed_pointers_are_never_waved_through(shop: Workshop, other: Path, target: str) -> None:
    point(shop, other, changed(shop.version("main"), {"new": "new"}), upload="new")
    done = shop.push(other, "origin", target, **NO_KEYS)
    assert done.returncode == 1
    assert "changes the pointers to the data set, so the store must be asked" in said(done)
    assert "credentials" in said(done)
    shop.run("git", "reset", "--quiet", "--hard", "origin/main", where=other)
    shop.run("git", "commit", "--quiet", "--allow-empty", "-m", "A note", where=other)
    assert shop.push(other, "origin", target, **NO_KEYS).returncode == 0
    if target != "main":
        shop.photos(other, 1, seed=4)
        shop.commit(other)
        assert shop.push(other, "origin", target, **NO_KEYS).returncode == 0


@pytest.mark.slice("pushed pointers", of=2)
def test_main_over_there_counts_and_not_what_was_fetched(shop: Workshop, other: Path) -> None:
    """A forced push from a clone that hasn't seen the newest photos."""
    first = shop.clone("second")
    shop.photos(first, 1, seed=2)
    shop.commit(first)
    shop.push(first)
    shop.merge(shop.data_branches()[0])
    shop.run("git", "commit", "--quiet", "--allow-empty", "-m", "A note", where=other)
    assert_refused(shop, other, "would lose 1 photo ('s2_0' first)", "--force", "main")


@pytest.mark.slice("pushed pointers", of=2)
def test_a_rebased_data_branch_keeps_what_main_gained(shop: Workshop, other: Path) -> None:
    shop.run("git", "checkout", "--quiet", "-b", "mine", where=other)
    point(shop, other, changed(shop.version("main"), {"new": "new"}), upload="new")
    assert shop.push(other, "origin", "HEAD:data/mine").returncode == 0
    first = shop.clone("second")
    shop.photos(first, 1, seed=2)
    shop.commit(first)
    shop.push(first)
    shop.merge(shop.data_branches()[0])
    # Main has one more by now, of which the branch is no loss.
    shop.run("git", "commit", "--quiet", "--allow-empty", "-m", "A note", where=other)
    assert shop.push(other, "origin", "HEAD:data/mine", **NO_KEYS).returncode == 0
    shop.run("git", "fetch", "--quiet", where=other)
    shop.run("git", "rebase", "--quiet", "-X", "theirs", "origin/main", where=other)
    assert_refused(shop, other, "would lose 1 photo ('s2_0' first)", "--force", "HEAD:data/mine")


@pytest.mark.slice("pushed pointers", of=2)
def test_pointers_that_main_had_before_go_back_though_mains_own_are_lost(shop: Workshop, other: Path) -> None:
    whole = shop.run("git", "rev-parse", "HEAD", where=other).stdout.strip()
    point(shop, other, changed(shop.version("main"), {"new": "new"}))
    shop.run("git", "push", "--quiet", "--no-verify", "origin", "main", where=other)
    shop.run("git", "checkout", "--quiet", whole, "--", DATA_SET, where=other)
    shop.commit(other, "Back")
    assert shop.push(other).returncode == 0


def test_main_is_not_deleted(shop: Workshop, other: Path) -> None:
    assert_refused(shop, other, "would delete main", "--delete", "main")


@pytest.mark.slice("pushed pointers", of=2)
@pytest.mark.parametrize("trailer", [True, False], ids=["with the trailer", "as it was written before"])
def test_a_replacement_by_the_hook_is_on_purpose(shop: Workshop, other: Path, trailer: bool) -> None:
    shop.photos(other, 1, seed=9, prefix="s1")
    shop.commit(other)
    shop.run("git", "-c", "wms.replace=true", "push", "origin", "main", where=other, check=False)
    (branch,) = shop.data_branches()
    ci = shop.clone("ci")
    shop.run("git", "checkout", "--quiet", branch, where=ci)
    message = shop.run("git", "log", "-1", "--format=%B", where=ci).stdout
    assert "Data-Replaced: 1\n" in message
    if not trailer:
        shop.run("git", "commit", "-q", "--amend", "-m", message.replace("Data-Replaced: 1\n", ""), where=ci)
    check = ("python", "-m", "wms_ops", "data", "verify", "HEAD", "--base", "origin/main")
    assert "all 6 files of 3 photos" not in said(shop.run(*check, where=ci))
    shop.run("git", "commit", "-q", "--amend", "-m", "Without a word", where=ci)
    lost = shop.run(*check, where=ci, check=False)
    assert lost.returncode == 83
    assert "other content under the same name ('s1_0' first)" in said(lost)


@pytest.mark.slice("pushed pointers", of=2)
@pytest.mark.parametrize("kind", ["lost", "swapped"])
def test_the_check_of_a_branch_compares_contents_too(shop: Workshop, other: Path, kind: str) -> None:
    changes = {"s1_0": None, "new": "new"} if kind == "lost" else {"s1_0": "new"}
    point(shop, other, changed(shop.version("main"), changes), upload="new")
    check = ("python", "-m", "wms_ops", "data", "verify", "HEAD", "--base", "origin/main")
    done = shop.run(*check, where=other, check=False)
    assert done.returncode == 83
    assert "'s1_0' first" in said(done)


@pytest.mark.slice("pushed pointers", of=2)
def test_raw_photos_beside_unchanged_pointers_ask_no_store(shop: Workshop, other: Path) -> None:
    shop.photos(other, 1, seed=5)
    shop.commit(other)
    assert (other / INBOX).is_dir()
    assert shop.push(other, "origin", "HEAD:data/raw", **NO_KEYS).returncode == 0
