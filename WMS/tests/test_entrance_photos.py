"""Photos at the entrance: whatever a user brings is read right, or refused by name."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from entrance_table import READ, REFUSED, Row
from hard_photos import HEIC, TURNED_HEIC, animated, heic_decoder, many_scans, picture, png, stored, thin
from PIL import Image, features

from wms.data import guard, heic, heic_child
from wms.data.heic import read_own_photo
from wms.data.images import decode_image, image_size, read_image, read_small
from wms.data.kinds import SUFFIXES, advice, kind_of
from wms.data.masks import read_mask
from wms.errors import ImageTooLargeError, NotAnImageError, TruncatedImageError, WmsError

PART = "photos"
__all__ = ["heic_decoder"]


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "tolerance"),
    [
        ("a.JPE", stored("JPEG", quality=95), 12),
        ("a.jfif", stored("JPEG", quality=95), 12),
        ("a.JPG", stored("JPEG", quality=95, progressive=True), 12),
        ("a.avif", stored("AVIF", quality=100), 12),
        ("a.gif", stored("GIF"), 40),
        ("frames.gif", animated("GIF"), 40),
        ("frames.webp", animated("WEBP"), 2),
        ("frames.png", animated("PNG"), 0),
        ("frames.avif", animated("AVIF"), 12),
        ("big.tif", stored("TIFF", big_tiff=True), 0),
        ("two.jpg", animated("MPO"), 40),
        ("gif.jpg", stored("GIF"), 40),
    ],
)
def test_formats_are_read_and_the_first_frame_counts(
    tmp_path: Path, entrance: Row, name: str, content: bytes, tolerance: int
) -> None:
    path = written(tmp_path, name, content)
    assert path.suffix.lower() in SUFFIXES
    read = read_image(path)
    assert np.abs(read.astype(int) - np.asarray(picture()).astype(int)).max() <= tolerance
    assert image_size(path) == (64, 48)
    entrance(PART, f"{name}, {kind_of(content)}", "the first picture's pixels", READ)


def test_an_avif_is_turned_by_its_own_property(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = written(tmp_path, "a.avif", stored("AVIF", quality=100, exif=exif.tobytes()))
    upright = np.asarray(picture().transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert np.abs(read_image(path).astype(int) - upright).max() <= 12
    assert image_size(path) == (48, 64)


def test_an_avif_without_a_decoder_says_so(monkeypatch: pytest.MonkeyPatch, entrance: Row) -> None:
    monkeypatch.setattr(features, "check", lambda _: False)
    with pytest.raises(NotAnImageError, match=r"AVIF photo, which needs Pillow 11\.3"):
        decode_image(stored("AVIF")[:40], "a.avif")
    entrance(PART, "AVIF, with a Pillow that lacks its decoder", "needs Pillow 11.3 or newer", REFUSED)


@pytest.mark.parametrize("name", ["a.heic", "a.jpg"])
@pytest.mark.parametrize("read", [read_image, read_small, read_mask, image_size])
def test_heic_is_named_with_the_way_to_convert_it(tmp_path: Path, entrance: Row, read: type, name: str) -> None:
    with pytest.raises(NotAnImageError, match=r"HEIC photo.*convert it to JPEG.*Most Compatible") as caught:
        read(written(tmp_path, name, HEIC))
    assert "remove" not in str(caught.value)
    entrance(PART, f"HEIC named {name}, {read.__name__}", "convert it to JPEG (how)", REFUSED)


@pytest.mark.usefixtures("heic_decoder")
def test_a_persons_own_heic_is_read(tmp_path: Path, entrance: Row) -> None:
    expected = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (220, 220, 220)]
    for name, content in (("plain.heic", HEIC), ("turned.jpg", TURNED_HEIC)):
        read = read_own_photo(written(tmp_path, name, content))
        stored_as = read if name == "plain.heic" else np.rot90(read)  # orientation 6 turned the pixels to the right
        assert stored_as.shape == (48, 64, 3)
        for at, colour in zip(((12, 16), (12, 48), (36, 16), (36, 48)), expected, strict=True):
            assert np.abs(stored_as[at].astype(int) - colour).max() <= 12
    with pytest.raises(ImageTooLargeError, match=r"64 x 48 .* 0\.001 megapixels"):
        read_own_photo(tmp_path / "plain.heic", max_megapixels=0.001)
    for content in (HEIC[:300], HEIC[:400] + bytes(221), HEIC[:40]):
        with pytest.raises(TruncatedImageError, match="convert it to JPEG"):
            read_own_photo(written(tmp_path, "half.heic", content))
    entrance(PART, "HEIC, with the group heic", "upright, in a process of its own", READ)


def test_without_the_group_heic_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heic, "find_spec", lambda _: None)
    with pytest.raises(NotAnImageError, match=r"convert it to JPEG.*FOR=heic"):
        read_own_photo(written(tmp_path, "a.heic", HEIC))


@pytest.mark.usefixtures("heic_decoder")
def test_a_decoder_with_known_holes_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entrance: Row) -> None:
    newer = Path(heic_child.__file__).read_text().replace("(1, 23, 4)", "(99, 0, 0)")
    monkeypatch.setattr(heic_child, "__file__", str(written(tmp_path, "child.py", newer.encode())))
    with pytest.raises(NotAnImageError, match=r"isn't safe: libheif [\d.]+, where at least libheif 1\.23\.4"):
        read_own_photo(written(tmp_path, "a.heic", HEIC))
    entrance(PART, "HEIC, with a decoder that is too old", "isn't safe, at least libheif 1.23.4 is needed", REFUSED)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit less; docs/KNOWN_ISSUES.md says what")
def test_the_decoding_process_has_no_rights(tmp_path: Path) -> None:
    victim = written(tmp_path, "victim", b"x")
    program = f"""
import os, runpy, socket
child = runpy.run_path({heic_child.__file__!r})
child["confine"]()
for attempt in (lambda: open("/etc/passwd"), socket.socket, lambda: os.unlink({str(victim)!r}),
                lambda: os.execv("/bin/true", ["true"]), lambda: os.kill(os.getppid(), 0), os.pipe,
                lambda: os.rename({str(victim)!r}, {str(victim)!r} + "2")):
    try:
        attempt()
    except OSError:
        continue
    print("allowed")
print("done")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")
    assert victim.read_bytes() == b"x"


def test_repeated_scans_are_refused_before_they_cost(tmp_path: Path, entrance: Row) -> None:
    path = written(tmp_path, "scans.jpg", many_scans())
    for read in (read_image, read_small, read_mask):
        started = time.process_time()
        with pytest.raises(ImageTooLargeError, match="more than 31 passes"):
            read(path)
        seconds = time.process_time() - started
        assert seconds < 1, "decoding takes 40 seconds and more"
    entrance(
        PART, f"progressive JPEG, {path.stat().st_size // 1000} kB, 48 MP, 1510 scans", "more than 31 passes", REFUSED
    )


def test_usual_scans_pass(tmp_path: Path) -> None:
    assert read_image(written(tmp_path, "a.jpg", many_scans((400, 300), 60))).shape == (300, 400, 3)
    with pytest.raises(ImageTooLargeError, match="more than 100 passes"):
        read_image(written(tmp_path, "b.jpg", many_scans((400, 300), 100)))
    # A thumbnail or a video behind the picture isn't scanned.
    trailer = stored("JPEG") + b"\xff\xda" * 500
    assert read_image(written(tmp_path, "c.jpg", trailer)).shape == (48, 64, 3)


def test_slow_decoding_is_stopped(monkeypatch: pytest.MonkeyPatch, entrance: Row) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), dtype=np.uint8)
    content = stored("JPEG")
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG", compress_level=1)
    assert decode_image(content, "a.jpg").shape == (48, 64, 3)
    monkeypatch.setattr(guard, "DECODE_SECONDS", 0.01)
    started = time.process_time()
    with pytest.raises(ImageTooLargeError, match=r"takes more than 0\.01 seconds"):
        decode_image(stream.getvalue(), "noise.png")
    assert time.process_time() - started < 1
    entrance(PART, "a photo that takes longer than the time limit", "takes more than ... seconds", REFUSED)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "BMP", "GIF", "JPEG"])
def test_thin_pictures_are_refused_by_their_header(tmp_path: Path, entrance: Row, image_format: str) -> None:
    path = written(tmp_path, f"thin.{image_format.lower()}", thin(image_format))
    tracemalloc.start()
    for read in (read_image, read_small, read_mask):
        with pytest.raises(ImageTooLargeError, match=r"50000 x 1 pixels, more than the 20000"):
            read(path)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    entrance(PART, f"50,000 x 1 pixels, {image_format}", "more than the 20000 that a side may have", REFUSED)


def test_bombs_in_metadata_cost_nothing(tmp_path: Path, entrance: Row) -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()
    chunks = (
        (b"iCCP", b"p\0\0" + bomb),
        (b"zTXt", b"Comment\0\0" + bomb),
        (b"zTXt", b"Raw profile type exif\0\0" + bomb),
    )
    path = written(tmp_path, "bomb.png", png(*chunks))
    tracemalloc.start()
    assert not read_image(path).any()
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()
    entrance(PART, "PNG whose colour profile and texts unpack to 256 MB each", "its pixels; nothing unpacked", READ)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.HEIC", HEIC, "HEIC; convert it to JPEG"),
        ("a", HEIC, "HEIC; convert it to JPEG"),
        ("a.dng", stored("TIFF"), "raw photo"),
        ("a.psd", b"8BPS", "drawing"),
        ("a", b"8BPS", "drawing"),
        ("a.mp4", b"\0\0\0\x18ftypmp42", "video"),
        ("a", b"\0\0\0\x18ftypisom", "video"),
        ("IMG_1", stored("JPEG"), "JPEG by its content; give it a name that ends in .jpeg"),
        ("a.txt", stored("PNG"), "ends in .png"),
        ("a.jpg~", stored("AVIF"), "ends in .avif"),
        ("a.zip", b"PK", "unpack"),
    ],
)
def test_what_is_not_read_is_told(name: str, content: bytes, said: str) -> None:
    told = advice(name, content[:64])
    assert told is not None
    assert said in told


def test_what_holds_no_picture_is_nothing_to_tell() -> None:
    assert advice("notes.txt", b"Dear diary") is None
    assert advice("Thumbs.db", b"\xd0\xcf\x11\xe0") is None


def test_odd_errors_of_the_decoder_are_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    for raised, kind in ((MemoryError(), ImageTooLargeError), (ZeroDivisionError("x"), TruncatedImageError)):

        def fail(*_: object, _raised: BaseException = raised, **__: object) -> None:
            raise _raised

        for target in ("PIL.Image.open", "PIL.ImageFile.ImageFile.load"):
            with monkeypatch.context() as patch:
                patch.setattr(target, fail)
                with pytest.raises(WmsError) as caught:
                    decode_image(stored("PNG"), "a.png")
                assert type(caught.value) is kind
                assert re.fullmatch(r"a\.png .*\.", str(caught.value))


def test_a_file_without_rights_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jpg", stored("JPEG"))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(WmsError, match="Permission denied"):
        read_image(path)
