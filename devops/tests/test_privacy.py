"""Photos that name places come into the data set without them, whichever way they come; the setting keeps them."""

from __future__ import annotations

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
from entrance_table import REFUSED, WORKS, Row
from PIL import Image
from workshop import INBOX, Workshop, said

from wms.data.images import decode_image
from wms.data.private import stripped, without_private

GPS = 0x8825


def with_places(shop: Workshop, clone: Path, count: int = 2, *, seed: int = 1) -> dict[str, bytes]:
    """Put new pairs into the inbox whose photos are JPEG files with a place; returns the photos by stem."""
    found = {}
    for number, stem in enumerate(shop.photos(clone, count, seed=seed)):
        (path,) = (clone / INBOX / "images").glob(f"{stem}.*")
        with Image.open(path) as image:
            exif = Image.Exif()
            exif[0x010F], exif[0x0112] = "Example", 1
            exif.get_ifd(0x8769)[0xA431] = "SERIAL-4711"
            exif.get_ifd(GPS).update({1: "N", 2: (52.0, 31.0, number + 0.25), 3: "E", 4: (13.0, 24.0, 18.5)})
            stream = io.BytesIO()
            image.convert("RGB").save(stream, "JPEG", exif=exif, quality=92)
        path.unlink()
        path.with_suffix(".jpg").write_bytes(stream.getvalue())
        found[stem] = stream.getvalue()
    return found


def stored(shop: Workshop, branch: str, folder: Path) -> dict[str, bytes]:
    """The photos of a branch as the store holds them, by stem."""
    found = {}
    for stem, (_, md5, _, _) in shop.version(branch).pairs.items():
        shop.store().read_blob(md5, folder / md5)
        found[stem] = (folder / md5).read_bytes()
    return found


def refuse_places(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    assert before.keys() == after.keys()
    for stem, content in after.items():
        assert stripped(before[stem]).place and not stripped(content).place
        assert b"SERIAL-4711" not in content
        with Image.open(io.BytesIO(content)) as image:
            assert not image.getexif().get_ifd(GPS)
        assert np.array_equal(decode_image(content, stem), decode_image(before[stem], stem))


def taken_back(shop: Workshop, clone: Path) -> str:
    done = shop.run("python", "-m", "wms_ops", "data", "take-back", where=clone)
    assert not list((clone / INBOX / "images").glob("*.jpg"))
    return said(done)


def test_a_push_stores_no_place(shop: Workshop, tmp_path: Path, entrance: Row) -> None:
    clone = shop.clone()
    photos = with_places(shop, clone)
    shop.commit(clone)
    pushed = said(shop.push(clone))
    assert "2 photos carried GPS: their places aren't stored." in pushed
    (branch,) = shop.data_branches()
    refuse_places(photos, stored(shop, branch, tmp_path))
    again = said(shop.push(clone))
    assert f"These photos are on branch {branch} already" in again
    assert "the data set has them all" in taken_back(shop, clone)
    entrance("privacy", "a push of photos with GPS", "stored without, same pixels; take-back finds them", WORKS)


def test_ci_stores_no_place_either(shop: Workshop, tmp_path: Path, entrance: Row) -> None:
    clone = shop.clone()
    photos = with_places(shop, clone)
    shop.commit(clone)
    refused = shop.push(clone, "origin", "HEAD:data/raw")
    assert refused.returncode and "2 photos of the push to data/raw" in said(refused), said(refused)
    assert "git push origin HEAD:main" in said(refused) and shop.data_branches() == []
    entrance("privacy", "photos with GPS pushed to data/NAME", "refused: push them to main, which strips", REFUSED)
    assert shop.push(clone, "--no-verify", "origin", "HEAD:data/raw").returncode == 0
    runner = shop.clone("runner")
    merge = ("python", "-m", "wms_ops", "data", "merge", "origin/data/raw", "--delete-branch", "data/raw")
    done = shop.run(*merge, where=runner)
    assert "2 photos carried GPS" in done.stdout
    (branch,) = shop.data_branches()
    refuse_places(photos, stored(shop, branch, tmp_path))
    entrance("privacy", "a branch of raw photos with GPS, merged by CI", "stored without", WORKS)


def test_the_setting_keeps_places_and_such_a_store_goes_on(shop: Workshop, tmp_path: Path, entrance: Row) -> None:
    settings = tmp_path / "wms.toml"
    settings.write_text("keep_metadata = true\n", encoding="utf-8")
    clone = shop.clone()
    photos = with_places(shop, clone)
    shop.commit(clone)
    assert "carried GPS" not in said(shop.push(clone, WMS_PROJECT=str(settings)))
    (branch,) = shop.data_branches()
    assert stored(shop, branch, tmp_path) == photos
    entrance("privacy", "keep_metadata = true", "stored byte for byte", WORKS)
    shop.merge(branch)
    shop.run("git", "push", "--quiet", "origin", "--delete", branch, where=clone, check=False)
    again = said(shop.push(clone))  # without the setting: the same photos, as they were stored once
    assert "(2 photos) is in the data set already" in again, again
    assert shop.data_branches() == [branch] or not shop.data_branches()
    stripper = shop.clone("stripper")  # as CI gets photos that were pushed without keys
    for stem, content in photos.items():
        (stripper / INBOX / "images").mkdir(parents=True, exist_ok=True)
        (stripper / INBOX / "images" / f"{stem}.jpg").write_bytes(without_private(content))
    shutil.copytree(clone / INBOX / "masks", stripper / INBOX / "masks", dirs_exist_ok=True)
    shop.commit(stripper)
    assert "(2 photos) is in the data set already" in said(shop.push(stripper))
    push = ("git", "-c", "wms.replace=true", "push", "origin", "main")
    replacing = said(shop.run(*push, where=clone, check=False))
    assert "replaced: 2" in replacing, replacing
    (newest, *_) = sorted(set(shop.data_branches()) - {branch})
    refuse_places(photos, stored(shop, newest, tmp_path))
    assert "the data set has them all" in taken_back(shop, clone)
    shop.assert_complete()
    entrance("privacy", "the same photos again, stored with places earlier", "present, no conflict", WORKS)


def test_the_same_photo_under_another_name_is_found_with_and_without_place(shop: Workshop, entrance: Row) -> None:
    clone = shop.clone()
    photos = with_places(shop, clone, 1)
    shop.commit(clone)
    shop.push(clone)
    shop.merge(*shop.data_branches())
    ((stem, content),) = photos.items()
    other = shop.clone("other")
    for kind, suffix in (("images", ".jpg"), ("masks", ".png")):
        (mask,) = [content] if kind == "images" else [next((clone / INBOX / kind).glob(f"{stem}.*")).read_bytes()]
        (other / INBOX / kind).mkdir(parents=True, exist_ok=True)
        (other / INBOX / kind / f"twin{suffix}").write_bytes(mask)
    shop.commit(other)
    refused = shop.push(other)
    assert refused.returncode != 0
    assert f"the same photo is there as '{stem}'" in said(refused)
    entrance("privacy", "a photo with GPS whose stored twin has none, other name", "refused by name", "refused by name")


def test_pictures_of_photos_carry_no_metadata(shop: Workshop, tmp_path: Path, entrance: Row) -> None:
    clone = shop.clone()
    with_places(shop, clone)
    page = tmp_path / "page.html"
    where = clone / INBOX
    check = ("data", "check", where, "--html", page, "--cache", tmp_path / "cache")
    done = shop.run("python", "-m", "wms_ops", *check, where=clone, check=False)
    assert "carries GPS" in done.stdout
    shop.commit(clone)
    shop.push(clone)
    cards = list((clone / ".git" / "wms" / "cards").glob("*.html"))
    assert cards
    for path in (page, *cards):
        pictures = re.findall(r"data:image/\w+;base64,([A-Za-z0-9+/=]+)", path.read_text(encoding="utf-8"))
        assert pictures, path
        for text in pictures:
            with Image.open(io.BytesIO(base64.b64decode(text))) as image:
                assert not image.getexif() and "exif" not in image.info
    entrance("privacy", "the check's page and the data set's card", "pictures without any EXIF", WORKS)
