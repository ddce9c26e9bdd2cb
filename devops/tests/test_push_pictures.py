"""No photo or mask reaches the remote beside the inbox, wherever it lies and whatever it is called."""

from __future__ import annotations

import io
import os
import shutil
import time
import zipfile
from pathlib import Path

import pytest
from entrance_table import READ, REFUSED, WORKS, Row
from PIL import Image
from workshop import ROOT, Workshop, said

from wms_ops.git.command import Git
from wms_ops.hook.pictures import _pictures

pytestmark = pytest.mark.slice("pictures in a push", of=2)

PART = "pushes"


def picture(kind: str = "JPEG", size: int = 200) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (size, size), os.urandom(3 * size * size)).save(file, kind)
    return file.getvalue()


def put(clone: Path, name: str, content: bytes) -> None:
    (clone / name).parent.mkdir(parents=True, exist_ok=True)
    (clone / name).write_bytes(content)


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("photos/a.JPG", picture())
    return file.getvalue()


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(500)
PLACES = {
    "WMS/data/training/raw.jpg": picture(),
    "WMS/data/Training/images/a.jpg": picture(),
    "WMS/data/dataset/raw.jpg": picture(),
    "WMS/data/dataset/images/x.jpg": picture(),
    "docs/photo.png": picture("PNG"),
    "photo": picture(),
    "notes/IMG_1.dat": HEIC,
    "IMG_1.HEIC": HEIC,
    "scan.tif": picture("TIFF"),
    "a/mask.bin": picture("BMP"),
    "x.webp.txt.part": picture("WEBP"),
    "photos.zip": archive(),
    "photos.tar": bytes(5_100_000),
    "with space/żółw.jpg": picture(),
}


@pytest.mark.parametrize("path", PLACES)
def test_a_photo_beside_the_inbox_is_refused_by_name(shop: Workshop, path: str, entrance: Row) -> None:
    clone = shop.clone()
    before = shop.branches()
    put(clone, path, PLACES[path])
    shop.run("git", "add", "--force", ".", where=clone)
    shop.run("git", "commit", "--quiet", "-m", "Photo", where=clone)
    for target in ("main", "HEAD:topic", "HEAD:refs/tags/v1", "HEAD:data/mine"):
        done = shop.push(clone, "origin", target)
        assert done.returncode == 1 and "Traceback" not in said(done), said(done)
        assert repr(path) in said(done), said(done)
        assert shop.branches() == before
    entrance(PART, f"{path} in a push", "refused for main, topics, tags and data branches", REFUSED)


def test_a_photo_that_a_later_commit_removes_is_refused_and_the_advice_helps(shop: Workshop, entrance: Row) -> None:
    clone = shop.clone()
    put(clone, "docs/photo.jpg", picture())
    shop.commit(clone)
    shop.run("git", "mv", "docs/photo.jpg", "photo.jpg", where=clone)
    shop.commit(clone, "Move")
    done = shop.push(clone)
    assert (done.returncode == 1 and "'docs/photo.jpg'" in said(done)) or "'photo.jpg'" in said(done)
    advice = said(done).split("out of your commits: ")[1].split("`")
    for command in (advice[1], advice[3].replace("docs/photo.jpg ", "")):
        shop.run("sh", "-c", command.replace("docs/photo.jpg", "photo.jpg"), where=clone)
    (clone / "photo.jpg").unlink()
    shop.write(clone, "README.md", "More.\n")
    shop.commit(clone, "Without")
    assert shop.push(clone).returncode == 0
    entrance(PART, "a photo in docs/ that a later commit moves or removes", "refused; the told commands help", REFUSED)


@pytest.mark.parametrize("way", ["docs/images", "wms.toml", "held by main", "renamed on main", "merged from main"])
def test_pictures_that_may_lie_in_git_pass(shop: Workshop, way: str, entrance: Row) -> None:
    clone, name = shop.clone(), "docs/images/a.png" if way == "docs/images" else "art/a.png"
    put(clone, name, picture("PNG"))
    more = {}
    if way == "wms.toml":
        more = {"WMS_PROJECT": str(clone / "wms.toml")}
        shop.write(clone, "wms.toml", 'allowed_images = ["art/**"]\n')
    shop.commit(clone)
    if way in ("held by main", "renamed on main"):
        shop.run("git", "push", "--quiet", "--no-verify", "origin", "main", where=clone)
        shop.run("git", "mv", name, "b.png", where=clone)
        shop.commit(clone)
    if way == "held by main":
        shop.run("git", "mv", "b.png", "c.png", where=clone)
        shop.commit(clone)
    if way == "merged from main":
        shop.run("git", "push", "--quiet", "--no-verify", "origin", "main", where=clone)
        shop.run("git", "checkout", "--quiet", "-b", "topic", "HEAD^", where=clone)
        shop.write(clone, "x.txt", "x\n")
        shop.commit(clone)
        shop.run("git", "merge", "--quiet", "--no-edit", "main", where=clone)
        assert shop.push(clone, "origin", "topic").returncode == 0
    done = shop.push(clone, "origin", "HEAD:main", **more)
    assert done.returncode == 0, said(done)
    entrance(PART, f"a picture that may lie in Git ({way})", "is pushed", READ)


def test_a_merge_that_adds_a_photo_itself_is_seen(shop: Workshop, entrance: Row) -> None:
    clone = shop.clone()
    shop.run("git", "checkout", "--quiet", "-b", "topic", where=clone)
    shop.write(clone, "x.txt", "x\n")
    shop.commit(clone)
    shop.run("git", "checkout", "--quiet", "main", where=clone)
    shop.write(clone, "y.txt", "y\n")
    shop.commit(clone)
    shop.run("git", "merge", "--quiet", "--no-commit", "topic", where=clone)
    put(clone, "evil.jpg", picture())
    shop.commit(clone, "Merge")
    assert "'evil.jpg'" in said(shop.push(clone))
    entrance(PART, "a merge commit that adds a photo itself", "refused", REFUSED)


def test_ten_thousand_commits_are_looked_at_in_seconds(shop: Workshop, entrance: Row) -> None:
    clone = shop.clone()
    lines = []
    for number in range(10_000):
        text = f"line {number}\n" * 20
        lines += [
            "commit refs/heads/main",
            f"committer Ada <ada@example.org> {1_700_000_000 + number} +0000",
            "data 1\nx",
            *(["from refs/heads/main^0"] if number == 0 else []),
            f"M 100644 inline src/{number % 200}/{number % 1000}.py",
            f"data {len(text)}\n{text}",
        ]
    fast = shop.folder / "import"
    fast.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shop.run("sh", "-c", f"git fast-import --quiet --force < '{fast}'", where=clone)
    shop.run("git", "reset", "--quiet", "--hard", where=clone)
    start = time.monotonic()
    done = shop.push(clone)
    took = time.monotonic() - start
    assert done.returncode == 0, said(done)
    assert took < 60  # a hang, not a machine that is busy
    entrance(PART, "a push of 10,000 commits without photos", f"passes in {took:.1f} s", WORKS)


def test_this_project_s_own_files_and_history_pass() -> None:
    """Else nobody could merge a newer version of this project and push the merge."""
    assert list(_pictures(Git(ROOT), "HEAD", ())) == []


def test_pointers_of_git_lfs_are_named_before_contents_are_compared(shop: Workshop, entrance: Row) -> None:
    clone = shop.clone()
    for stem in shop.photos(clone, 2):
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"
        (clone / "WMS/data/training/images" / f"{stem}.jpg").write_bytes(pointer)
    shop.commit(clone)
    told = said(shop.push(clone))
    assert "is a Git LFS pointer in place of the picture" in told and "git lfs untrack" in told, told
    assert shop.data_branches() == []
    entrance(
        PART, "two photos that Git LFS replaced by equal pointers", "the pointer is named, with the way back", REFUSED
    )


def test_a_link_in_place_of_the_folder_is_named(shop: Workshop, entrance: Row) -> None:
    clone = shop.clone()
    folder = clone / "WMS/data/training"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "images", ignore_errors=True)
    (folder / "images").symlink_to("../..")
    shop.commit(clone)
    told = said(shop.push(clone))
    assert "'WMS/data/training/images' is a link or a file where a folder must be" in told, told
    entrance(PART, "WMS/data/training/images is a symbolic link", "the link is named", REFUSED)
