"""Photos as they come: turned, odd modes, damaged, dangerous."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wms.data.bare import ORIENTATION_TAG
from wms.data.images import image_size, read_image, read_small, to_input
from wms.data.masks import read_mask
from wms.errors import (
    DataNotFoundError,
    GreyMaskError,
    ImageTooLargeError,
    NotAnImageError,
    TruncatedImageError,
    WmsError,
)

# EXIF orientation -> how an upright image is stored under it
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
NAME = "zähler 1 é"


def photo(width: int = 24, height: int = 16) -> Image.Image:
    """Noise, so that no two orientations look alike."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def save_turned(upright: Image.Image, path: Path, orientation: int) -> Path:
    method = STORED.get(orientation)
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    (upright if method is None else upright.transpose(method)).save(path, exif=exif, **lossless)
    return path


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks, with correct checksums."""
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def encoded(image: Image.Image, image_format: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format)
    return stream.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", [*STORED, 0, 9])
def test_every_orientation_gives_the_same_upright_pixels(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = photo()
    path = save_turned(upright, tmp_path / f"turned{suffix}", orientation)
    pixels = read_image(path)
    np.testing.assert_array_equal(pixels, np.asarray(upright))
    assert image_size(path) == (pixels.shape[1], pixels.shape[0]) == upright.size
    np.testing.assert_array_equal(read_small(path, side=64), pixels)


@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_of_a_jpeg(tmp_path: Path, orientation: int) -> None:
    path = save_turned(Image.new("RGB", (48, 32), "red"), tmp_path / "turned.jpg", orientation)
    assert read_image(path).shape == (32, 48, 3)
    assert image_size(path) == (48, 32)


@pytest.mark.parametrize("orientation", STORED)
def test_masks_are_turned_like_photos(tmp_path: Path, orientation: int) -> None:
    upright = photo().convert("L").point(lambda value: 255 if value > 127 else 0)
    path = save_turned(upright, tmp_path / "mask.png", orientation)
    np.testing.assert_array_equal(read_mask(path), np.asarray(upright))


def test_a_png_whose_orientation_follows_its_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    content = encoded(photo(), "PNG")
    late = png((b"eXIf", exif.tobytes().removeprefix(b"Exif\x00\x00"))).removeprefix(png())
    path = tmp_path / "late.png"
    path.write_bytes(content[:-12] + late + content[-12:])
    assert read_image(path).shape == (24, 16, 3)
    assert image_size(path) == (16, 24)


GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def of_mode(mode: str) -> tuple[Image.Image, NDArray[np.uint8]]:
    """An image of `mode` and the RGB pixels that are expected from it."""
    grey = Image.fromarray(GREY)
    rgb = np.repeat(GREY[..., None], 3, axis=2)
    alpha = Image.fromarray(np.where(GREY < 128, np.uint8(0), np.uint8(255)))
    on_black = np.where(GREY[..., None] < 128, np.uint8(0), rgb)
    if mode in ("I;16", "I small"):  # the latter: 8-bit values in a 32-bit container
        values = GREY.astype(np.uint16) * 257 if mode == "I;16" else GREY.astype(np.int32)
        return Image.fromarray(values), rgb
    if mode in ("P", "P with transparency"):
        image = Image.fromarray(GREY).convert("P")
        image.putpalette([value for level in range(256) for value in (level, level, level)])
        if mode == "P":
            return image, rgb
        image.info["transparency"] = bytes([0] * 128 + [255] * 128)
        return image, on_black
    if mode in ("LA", "RGBA"):
        image = grey.convert(mode)
        image.putalpha(alpha)
        return image, on_black
    if mode == "1":
        rgb = np.where(rgb > 127, np.uint8(255), np.uint8(0))
        grey = Image.fromarray(rgb[..., 0])
    return grey.convert(mode), rgb


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("L", ".png"),
        ("L", ".bmp"),
        ("P", ".png"),
        ("P with transparency", ".png"),
        ("CMYK", ".tif"),
        ("CMYK", ".jpg"),
        ("I;16", ".png"),
        ("I;16", ".tif"),
        ("I small", ".tif"),
        ("LA", ".png"),
        ("RGBA", ".png"),
        ("RGBA", ".tif"),
        ("1", ".png"),
        ("1", ".tif"),
    ],
)
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    image, expected = of_mode(mode)
    path = tmp_path / f"image{suffix}"
    image.save(path)
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    tolerance = 12 if suffix == ".jpg" else 0
    assert np.abs(pixels.astype(int) - expected).max() <= tolerance


def damaged_in_the_middle(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 8]) + content[middle + 8 :]


@pytest.mark.parametrize("read", [read_image, read_small, read_mask])
@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("half.jpg", encoded(photo(), "JPEG")[:700], TruncatedImageError),
        ("stump.jpg", encoded(photo(), "JPEG")[:10], TruncatedImageError),
        ("stump.png", encoded(photo(), "PNG")[:20], TruncatedImageError),
        ("half.tif", encoded(photo(), "TIFF")[:600], TruncatedImageError),
        ("damaged.png", damaged_in_the_middle(encoded(photo(), "PNG")), TruncatedImageError),
        ("empty.jpg", b"", TruncatedImageError),
        ("text.jpg", b"Dear diary,\n" * 9, NotAnImageError),
        ("page.png", b"<!doctype html><title>404</title>", NotAnImageError),
        ("ppm.png", encoded(photo(), "PPM"), NotAnImageError),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_that_cant_be_decoded(
    tmp_path: Path, read: type, name: str, content: bytes, kind: type[WmsError]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(kind) as caught:
        read(path)
    assert type(caught.value) is kind
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["absent.jpg", "."])
def test_an_absent_file_or_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataNotFoundError, match="Can't read"):
        read_image(tmp_path / name)
    with pytest.raises(DataNotFoundError, match="Can't read"):
        image_size(tmp_path / name)


@pytest.mark.parametrize("read", [read_image, read_small, read_mask])
def test_a_bomb_is_refused_undecoded(tmp_path: Path, read: type) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(png((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")))
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(ImageTooLargeError, match=r"60000 x 60000 .* 50 megapixels"):
        read(path)
    assert image_size(path) == (60_000, 60_000)
    seconds, (_, peak) = time.monotonic() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5
    assert peak < 5e6


def test_the_limit_can_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    photo(100, 100).save(path)
    assert read_image(path, max_megapixels=0.01).shape == (100, 100, 3)
    with pytest.raises(ImageTooLargeError):
        read_image(path, max_megapixels=0.0099)
    with pytest.raises(ImageTooLargeError):
        read_small(path, max_megapixels=0.0099)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_with_spaces_and_unicode(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"{unicodedata.normalize(form, NAME)}.png"
    photo().save(path)
    assert read_image(path).shape == (16, 24, 3)


def test_a_name_says_nothing_about_the_format(tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(encoded(photo(), "PNG"))
    np.testing.assert_array_equal(read_image(path), np.asarray(photo()))


def test_several_photos_in_one_file_give_the_first(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    photo(64, 48).save(path, format="MPO", save_all=True, append_images=[photo(32, 32)])
    assert read_image(path).shape == (48, 64, 3)
    assert image_size(path) == (64, 48)


def test_the_soft_edges_of_a_jpeg_mask_are_cut(tmp_path: Path) -> None:
    mask = np.zeros((120, 160), dtype=np.uint8)
    mask[41:77, 33:121] = 255
    path = tmp_path / "mask.jpg"
    Image.fromarray(mask).save(path, quality=75)
    assert len(np.unique(np.asarray(Image.open(path)))) > 2
    found = read_mask(path)
    assert found.dtype == np.uint8
    assert set(np.unique(found)) == {0, 255}
    assert np.mean(found != mask) < 0.005


@pytest.mark.parametrize(("grey", "refused"), [(64, True), (191, True), (63, False), (192, False)])
def test_a_grey_mask_is_refused(tmp_path: Path, grey: int, refused: bool) -> None:
    mask = np.zeros((400, 40), dtype=np.uint8)
    mask[:8] = grey  # 2 %, a row of a JPEG's blocks, which keep an even value
    mask[80:160] = 255
    path = tmp_path / "mask.jpg"
    Image.fromarray(mask).save(path, quality=100)
    if refused:
        with pytest.raises(GreyMaskError, match=r"2\.0% of its pixels are grey"):
            read_mask(path)
        read_mask(path, max_grey_fraction=0.02)
    else:
        assert read_mask(path)[0].max() == (255 if grey > 127 else 0)


def test_the_models_input() -> None:
    pixels = np.zeros((30, 50, 3), dtype=np.uint8)
    pixels[..., 1] = 255
    found = to_input(pixels, 32)
    assert found.shape == (1, 3, 32, 32)
    assert found.dtype == np.float32
    assert found.flags["C_CONTIGUOUS"]
    assert [float(found[0, channel].mean()) for channel in range(3)] == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize(("size", "side"), [((1200, 800), 128), ((800, 1200), 100), ((90, 60), 128)])
def test_a_small_view_has_sides_of_at_least_the_wanted_length(
    tmp_path: Path, suffix: str, size: tuple[int, int], side: int
) -> None:
    path = tmp_path / f"image{suffix}"
    Image.linear_gradient("L").resize(size).convert("RGB").save(path)
    height, width = read_small(path, side=side).shape[:2]
    assert min(height, width) >= min(side, *size)
    assert min(height, width) < 2 * side
    assert width / height == pytest.approx(size[0] / size[1], rel=0.05)
