"""Each kind of bad photo, mask, name and pair: made as a real file, found under its own code."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from qa_data import COUNT, checked, codes, first, problem, save, second_image

from wms.config import DataConfig
from wms.data.looks import look_of

pytest_plugins = ["qa_fixtures"]


def test_good_data_passes_without_a_warning(folder):
    report = checked(folder)
    assert (report["status"], report["errors"], report["warnings"]) == ("PASS", [], [])
    assert report["image_count"] == report["mask_count"] == report["valid_pairs"] == COUNT
    assert 0.1 < report["statistics"]["median_coverage_%"] < 10
    assert report["statistics"]["resolution"]["distinct"] >= 1


def repaint(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Replace a picture's grey values."""
    with Image.open(path) as picture:
        values = np.asarray(picture.convert("L"))
    Image.fromarray(change(values).astype(np.uint8)).save(path)


def refilter(path: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    with Image.open(path) as picture:
        changed = change(picture.convert("RGB"))
    changed.save(path)


def on_mask(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda folder: repaint(first(folder)[1], change)


def on_image(change: Callable[[Image.Image], Image.Image]) -> Callable[[Path], None]:
    return lambda folder: refilter(first(folder)[0], change)


def box(top: int, left: int, height: int, width: int) -> Callable[[Path], None]:
    """Replace the first mask by a white rectangle."""

    def draw(mask: np.ndarray) -> np.ndarray:
        mask = np.zeros_like(mask)
        mask[top : top + height, left : left + width] = 255
        return mask

    return on_mask(draw)


def twice_by_stem(folder: Path) -> None:
    _, mask = first(folder)
    shutil.copy(mask, mask.with_suffix(".bmp"))


def one_mask_for_two(folder: Path) -> None:
    second_image(folder, "twin")
    shutil.copy(first(folder)[1], folder / "masks" / "twin.png")


def truncated_mask(folder: Path) -> None:
    mask = first(folder)[1]
    mask.write_bytes(mask.read_bytes()[:200])


def grey_spot(mask: np.ndarray) -> np.ndarray:
    mask = mask.copy()
    mask[0, :3] = 3
    return mask


def softened(mask: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(mask).filter(ImageFilter.BoxBlur(1)))


def specks(mask: np.ndarray) -> np.ndarray:
    mask = mask.copy()
    for x in (5, 25, 45, 65, 85):
        mask[3:9, x : x + 6] = 255
    return mask


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def jpeg_mask(folder: Path) -> None:
    _, mask = first(folder)
    with Image.open(mask) as picture:
        picture.save(mask.with_suffix(".jpg"), quality=75)
    mask.unlink()


def fit_mask(folder: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    _, mask = first(folder)
    with Image.open(mask) as picture:
        changed = change(picture)
    changed.save(mask)


def turned_with_raw_mask(folder: Path) -> None:
    """A photo stored turned whose mask was drawn on the stored pixels."""
    image, mask = first(folder)
    with Image.open(image) as picture:
        upright = picture.resize((300, 240))
    save(upright, image, orientation=6)
    Image.fromarray(np.pad(np.full((20, 60), 255, np.uint8), ((100, 120), (100, 140)))).save(mask)


def bomb(path: Path) -> None:
    Image.new("1", (9000, 9000)).save(path.with_suffix(".png"))
    path.unlink()


def replace_with_link(path: Path) -> None:
    elsewhere = path.parents[2] / f"elsewhere{path.suffix}"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


def near_copy(folder: Path) -> None:
    image, mask = first(folder)
    with Image.open(image) as picture:
        picture.resize((picture.width - 20, picture.height - 15)).save(folder / "images" / "near.png")
    with Image.open(mask) as picture:
        size = picture.width - 20, picture.height - 15
        picture.resize(size, Image.Resampling.NEAREST).save(folder / "masks" / "near.png")


def exact_copy(folder: Path) -> None:
    image, mask = first(folder)
    shutil.copy(image, folder / "images" / "again.jpg")
    shutil.copy(mask, folder / "masks" / "again.png")


ERRORS = {
    "an empty image": ("empty-file", "0 bytes", lambda f: first(f)[0].write_bytes(b"")),
    "an empty mask": ("empty-file", "0 bytes", lambda f: first(f)[1].write_bytes(b"")),
    "a truncated image": ("damaged", "cut off or damaged", lambda f: truncate(first(f)[0])),
    "a truncated mask": ("damaged", "cut off or damaged", truncated_mask),
    "text as an image": ("not-an-image", "isn't an image", lambda f: first(f)[0].write_text("hello, I'm text")),
    "an image too large": ("too-large", "megapixels", lambda f: bomb(first(f)[0])),
    "an image alone": ("no-mask", "has no mask", lambda f: first(f)[1].unlink()),
    "a mask alone": ("no-image", "has no image", lambda f: first(f)[0].unlink()),
    "a mask of another case": (
        "no-mask",
        "differs in case",
        lambda f: first(f)[1].rename(f / "masks" / f"{first(f)[1].stem.upper()}.png"),
    ),
    "another size": ("size-mismatch", "but its upright image has", lambda f: fit_mask(f, lambda m: m.resize((90, 90)))),
    "a mask not upright": ("mask-not-upright", "EXIF orientation 6", turned_with_raw_mask),
    "a few grey pixels": ("mask-classes", "--fix --class N", on_mask(grey_spot)),
    "soft edges": ("mask-not-binary", "--fix", on_mask(softened)),
    "a JPEG mask": ("mask-not-binary", "neither 0 nor 255", jpeg_mask),
    "a mask of 0 and 1": ("mask-not-binary", "0 and 1", on_mask(lambda m: m // 255)),
    "a photo as mask": ("mask-grey", "isn't a mask", lambda f: shutil.copy(first(f)[0], first(f)[1])),
    "an all-black mask": ("mask-empty", "no pixel is white", on_mask(lambda m: m * 0)),
    "an all-white mask": ("mask-full", "100.0%", on_mask(lambda m: m * 0 + 255)),
    "an inverted mask": ("mask-full", "inverted", on_mask(lambda m: 255 - m)),
    "one photo twice": ("exact-duplicate", "byte for byte", exact_copy),
    "two masks of one stem": ("same-stem", "claim the same name", twice_by_stem),
    "names that differ in case": (
        "case-collision",
        "differ in case only",
        lambda f: (second_image(f, "Meter"), second_image(f, "meter")),
    ),
    "a symbolic link": ("symlink", "symbolic link", lambda f: replace_with_link(first(f)[0])),
    "a dangling link": ("symlink", "symbolic link", lambda f: (f / "images" / "x.jpg").symlink_to("nowhere")),
    "a subfolder": ("subfolder", "is a folder", lambda f: (f / "images" / "more").mkdir()),
    "a pipe": ("special-file", "neither a file nor a folder", lambda f: os.mkfifo(f / "images" / "x.jpg")),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_found_and_fails_the_check(folder, case):
    check, text, spoil = ERRORS[case]
    spoil(folder)
    report = checked(folder)
    assert report["status"] == "FAIL"
    assert check in codes(report, "error"), report["errors"]
    found = problem(report, check)
    assert text in f"{found['message']}; {found['next_step']}."
    assert found["files"], "it says where"
    assert report["valid_pairs"] < max(report["image_count"], report["mask_count"]) or check in {
        "symlink",
        "subfolder",
        "special-file",
    }
    assert checked(folder)["errors"] == report["errors"], "the cache changes no verdict"


WARNINGS = {
    "a small photo": ("small", lambda f: [refilter(p, lambda i: i.resize((120, 90), 0)) for p in first(f)]),
    "a dark photo": ("dark", on_image(lambda i: i.point(lambda v: v * 0.1))),
    "an overexposed photo": ("overexposed", on_image(lambda i: i.point(lambda v: min(255, v * 5)))),
    "a blurred photo": ("blurred", on_image(lambda i: i.filter(ImageFilter.GaussianBlur(5)))),
    "a near-duplicate": ("near-duplicate", near_copy),
    "a huge area": ("coverage", box(0, 0, 120, 240)),
    "a tiny area": ("coverage", box(50, 50, 4, 4)),
    "stray strokes": ("mask-pieces", on_mask(specks)),
    "a text file": ("other-file", lambda f: (f / "images" / "notes.txt").write_text("hello")),
    "one mask for two photos": ("same-mask", one_mask_for_two),
    "a mask with EXIF": ("mask-turned", lambda f: save(Image.open(first(f)[1]), first(f)[1], orientation=3)),
    "a mask elsewhere": ("pair-doubtful", box(2, 2, 12, 40)),
}  # fmt: skip


@pytest.mark.parametrize("case", WARNINGS)
def test_a_warning_is_given_and_fails_nothing(folder, case):
    check, spoil = WARNINGS[case]
    spoil(folder)
    report = checked(folder)
    assert check in codes(report, "warning"), report["warnings"]
    assert report["status"] == "PASS", report["errors"]
    assert problem(report, check)["files"]


def test_a_turned_photo_with_an_upright_mask_is_fine_and_noted(folder):
    image, _ = first(folder)
    with Image.open(image) as picture:
        save(picture.transpose(Image.Transpose.ROTATE_90), image, orientation=6)
    report = checked(folder)
    assert (report["status"], report["warnings"]) == ("PASS", [])
    assert codes(report, "note") == {"turned"}
    assert report["statistics"]["stored_turned"] == 1


def test_a_one_bit_png_is_binary(folder):
    _, mask = first(folder)
    with Image.open(mask) as picture:
        picture.convert("1").save(mask)
    assert checked(folder)["status"] == "PASS"


def test_every_bad_file_is_reported_not_only_the_first(folder):
    images = sorted((folder / "images").iterdir())
    for image in images[:3]:
        truncate(image)
    assert sum(p["check"] == "damaged" for p in checked(folder)["problems"]) == 3


def test_a_look_that_the_data_set_has_already_is_a_warning(folder):
    image, _ = first(folder)
    looks = {"old/one.jpg": look_of(image)}
    report = checked(folder, existing_looks=looks)
    assert codes(report, "warning") == {"near-duplicate"}
    assert "old/one.jpg" in report["warnings"][0]
    assert checked(folder, existing_looks={image.name: look_of(image)})["warnings"] == [], "that is itself"


def test_the_limit_on_pixels_is_the_configs_and_isnt_remembered(folder):
    assert checked(folder)["status"] == "PASS"
    report = checked(folder, config=DataConfig(max_megapixels=0.01))
    assert codes(report, "error") == {"too-large"}
    assert checked(folder)["status"] == "PASS"
