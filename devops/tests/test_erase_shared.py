"""A content that an erased photo shared with another one: whatever uses it keeps it, and nothing refuses it later."""

from __future__ import annotations

import io
from pathlib import Path

from entrance_table import WORKS, Row
from PIL import Image
from test_data_history import data, merged
from test_erase import erased, left
from workshop import INBOX, Workshop, said

from wms_ops.base.layout import ERASED
from wms_ops.dataset.erased import Erasure, mark_of, read_erasures, tombstones, write_erasure


def one_mask(shop: Workshop, clone: Path, stems: list[str], content: bytes | None = None) -> bytes:
    """Give all of these photos in the inbox the same mask, and its size; returns the mask's bytes."""
    masks = [next((clone / INBOX / "masks").glob(f"{stem}.*")) for stem in stems]
    content = content or masks[0].read_bytes()
    for mask in masks:
        mask.write_bytes(content)
        (photo,) = (clone / INBOX / "images").glob(f"{mask.stem}.*")
        with Image.open(io.BytesIO(content)) as shape, Image.open(photo) as image:
            resized = image.convert("RGB").resize(shape.size)
        resized.save(photo)
    shop.commit(clone)
    return content


def sharing(shop: Workshop, count: int = 2) -> tuple[Path, list[str], bytes]:
    """A clone of a main with photos of one mask, the photos' names, and the mask."""
    shop.s3.client().put_bucket_versioning(Bucket=shop.config.bucket, VersioningConfiguration={"Status": "Enabled"})
    clone = shop.clone("one")
    stems = shop.photos(clone, count, seed=1)
    mask = one_mask(shop, clone, stems)
    pushed = shop.push(clone)
    assert shop.data_branches(), said(pushed)
    merged(shop, *shop.data_branches(), 81)
    return clone, stems, mask


def erase_whole(shop: Workshop, clone: Path, name: str, number: int) -> str:
    """Erase a photo of main to the end; returns the last run's words."""
    erased(shop, clone, name)
    merged(shop, *shop.data_branches(), number)
    return erased(shop, clone, name).stdout


def as_formerly(shop: Workshop, contents: list[str]) -> None:
    """Make the tombstone as the former version wrote it, in the bucket and in Git: marks of all contents, none kept."""
    (now,) = read_erasures(shop.store())
    marks = sorted(map(mark_of, contents))
    former = Erasure(name=now.name, contents=contents, marks=marks, date=now.date, reason="x", by="Ada", state="done")
    former_json = former.model_dump(exclude={"kept"})
    write_erasure(shop.store(), Erasure.model_validate(former_json))
    keeper = shop.folder / "keeper"
    shop.write(keeper, ERASED, former.line + "\n")
    shop.commit(keeper, "As formerly")
    shop.run("git", "push", "--quiet", "--no-verify", "origin", "HEAD:main", where=keeper)


def restore(shop: Workshop, clone: Path) -> str:
    shop.run("git", "fetch", "--quiet", "--prune", where=clone)
    named = ("--ledger", clone / "WMS/models", "--metadata", clone / "model-metadata.json", "--repo", clone)
    return said(shop.run("python", "-m", "wms_ops", "restore", "bucket", *map(str, named), "--yes", where=clone))


def lost_and_restored(shop: Workshop, clone: Path, mask: str, image: str) -> None:
    shop.s3.client().delete_object(Bucket=shop.config.bucket, Key=shop.config.key(mask))
    assert shop.store().missing({mask}) == {mask}
    assert "1 object comes back" in restore(shop, clone)
    shop.assert_complete()
    assert not left(shop, {image}), "the erased photo stays away"


def test_a_mask_that_another_photo_uses_is_restored_and_taken_again(shop: Workshop, entrance: Row) -> None:
    clone, (name, other), mask = sharing(shop)
    _, image, _, shared = shop.version("main").pairs[name]
    assert f"Kept: {shared} is also the content of {other}" in erase_whole(shop, clone, name, 82)
    (record,) = read_erasures(shop.store())
    assert record.kept == [shared] and record.marks == [mark_of(image)]
    told = shop.run("git", "show", f"main:{ERASED}", where=shop.origin).stdout
    assert [one.marks for one in tombstones(told)] == [[mark_of(image)]] and shared not in told
    lost_and_restored(shop, clone, shared, image)
    as_formerly(shop, [image, shared])
    lost_and_restored(shop, clone, shared, image)
    fresh = shop.clone("two")
    one_mask(shop, fresh, shop.photos(fresh, 1, seed=2), mask)
    raw = shop.push(fresh, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert "was erased" not in said(raw), "by Git's tombstone"
    pushed = shop.push(fresh)
    assert "was erased" not in said(pushed) and shop.data_branches(), said(pushed)
    entrance(
        "privacy",
        "a mask that an erased photo shared, with a tombstone of this version and of the former",
        "wms restore brings it back; a new photo may have it",
        WORKS,
    )


def test_a_kept_mask_goes_with_its_last_branch_and_stays_usable(shop: Workshop, entrance: Row) -> None:
    clone, (name,), mask = sharing(shop, 1)
    _, image, _, shared = shop.version("main").pairs[name]
    fresh = shop.clone("two")
    one_mask(shop, fresh, shop.photos(fresh, 1, seed=2), mask)
    shop.push(fresh)
    (user,) = shop.data_branches()
    erased(shop, clone, name)
    leaving = next(branch for branch in shop.data_branches() if branch.endswith("-erase"))
    merged(shop, leaving, 83)
    data(shop, "join", user, where=fresh)
    told = erased(shop, clone, name).stdout
    assert f"Kept: {shared} is also the content of s2_0" in told and "the same erase again" in told, told
    assert left(shop, {shared}) and not left(shop, {image})
    shop.run("git", "push", "--quiet", "origin", "--delete", user, where=clone)
    again = erased(shop, clone, name).stdout
    assert "Kept" not in again and not left(shop, {shared}), again
    record = next(one for one in read_erasures(shop.store()) if one.name == name)
    assert record.kept == [] and mark_of(shared) in record.marks and record.state == "done"
    shop.run("git", "commit", "--quiet", "--amend", "-m", "Again", where=fresh)
    pushed = shop.push(fresh)
    assert len(shop.data_branches()) == 1, said(pushed)
    shop.assert_complete()
    entrance("privacy", "a mask kept for a branch that goes", "the same erase again deletes it", WORKS)
    entrance("privacy", "a new photo with the mask of an erased one, such as an empty mask", "taken", WORKS)


def test_a_mask_that_only_older_commits_name_stays_until_their_photo_is_erased(shop: Workshop, entrance: Row) -> None:
    clone, (name, other), _ = sharing(shop)
    shared = shop.version("main").pairs[name][3]
    data(shop, "remove", other, where=clone)
    (branch,) = shop.data_branches()
    merged(shop, branch, 82)
    assert f"Kept: {shared} is also the content of {other} in older commits" in erase_whole(shop, clone, name, 83)
    done = data(shop, "revert", branch, where=clone)
    assert "1 restored" in said(done) and "stay out" not in said(done), said(done)
    shop.assert_complete()
    entrance("privacy", "a mask that a removed photo shares with an erased one", "stays; a revert finds it", WORKS)
    merged(shop, *shop.data_branches(), 84)
    assert "Kept" not in erase_whole(shop, clone, other, 85)
    assert not left(shop, {shared}), "the photos that had it are erased, both"
