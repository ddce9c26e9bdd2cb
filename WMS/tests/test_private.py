"""Places, serial numbers and names leave photos; pixels, orientation and colour profile stay."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
from entrance_table import WORKS, Row
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin
from test_odd_metadata import ODD, ORIENTATION, exif_block

from wms.data.images import orientation_in
from wms.data.private import stripped, without_private

SECRETS: Final = {
    0x013B: "Anna Example",  # Artist
    0x013C: "annas-phone",  # HostComputer
    0x8298: "Copyright Anna",
    0x010E: "my kitchen",  # ImageDescription
}
SHOT_SECRETS: Final[dict[int, str | bytes]] = {
    0xA431: "SERIAL-4711",  # BodySerialNumber
    0xA435: "LENS-0815",  # LensSerialNumber
    0xA430: "Owner Anna",  # CameraOwnerName
    0xA420: "0123456789abcdef-unique",  # ImageUniqueID
    0x927C: b"NOTE-OF-THE-MAKER" * 9,  # MakerNote
    0x9286: b"ASCII\0\0\0a comment",  # UserComment
}
XMP: Final = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r exif:GPSLatitude="52,31.2N" tiff:Orientation="6"/></x:xmpmeta>'
GPS: Final = 0x8825
LATITUDE: Final = (52.0, 31.0, 47.8125)
TRACES: Final = (
    *(text.encode() if isinstance(text, str) else text for text in (*SECRETS.values(), *SHOT_SECRETS.values())),
    b"GPSLatitude",
    (4_781_25).to_bytes(4, "little"),
    b"TRAILER",
)
Pixels = NDArray[np.uint8]
pytestmark = pytest.mark.filterwarnings("ignore")  # readers warn of damaged metadata


def picture() -> Image.Image:
    """A picture with something in it, wider than high."""
    values = np.random.default_rng(7).integers(0, 255, (24, 40, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((160, 96))


def private_exif(turn: int = 6) -> Image.Exif:
    """EXIF data of a phone: camera, orientation, place, serial numbers and names."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112], exif[0x0132] = "Example", "Phone 7", turn, "2026:11:21 10:30:00"
    exif.update(SECRETS)
    exif.get_ifd(0x8769).update({0x829A: 0.01, 0x9003: "2026:11:21 10:30:00", **SHOT_SECRETS})
    exif.get_ifd(GPS).update({1: "N", 2: LATITUDE, 3: "E", 4: (13.0, 24.0, 18.5)})
    return exif


def saved(kind: str, exif: Image.Exif | bytes = b"", **more: Any) -> bytes:
    """The picture in a format, with a colour profile and the metadata given."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stream = io.BytesIO()
    told = {"exif": exif} if exif else {}
    picture().save(stream, kind, icc_profile=profile, **told, **more)
    return stream.getvalue()


def shown(content: bytes) -> tuple[Pixels, int, bytes]:
    """The pixels as stored, the orientation, and the colour profile."""
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return np.asarray(image.convert("RGB")), orientation_in(content), image.info.get("icc_profile", b"")


def readable(content: bytes) -> tuple[Pixels, int, bytes] | None:
    """As `shown`, None for a file that isn't read."""
    try:
        return shown(content)
    except Exception:
        return None


def jpeg() -> bytes:
    """A phone's JPEG: EXIF with a thumbnail, XMP, IPTC, a comment, a second picture and a trailer behind the end."""
    content = saved("JPEG", private_exif(), xmp=XMP, comment=b"my kitchen")
    iptc = b"Photoshop 3.0\0" + b"Owner Anna"
    content = content[:2] + b"\xff\xed" + (len(iptc) + 2).to_bytes(2, "big") + iptc + content[2:]
    return content + saved("JPEG", private_exif()) + b"MotionPhoto TRAILER"


def mpo() -> bytes:
    """Two JPEG pictures in one file, both with places."""
    stream = io.BytesIO()
    picture().save(stream, "MPO", save_all=True, append_images=[picture().rotate(9)], exif=private_exif())
    return stream.getvalue()


def png(*, late: bool = False) -> bytes:
    """A PNG with texts and EXIF data, which may follow the pixels."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "my kitchen", zip=True)
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    content = saved("PNG", private_exif(), pnginfo=texts)
    if late:
        start = content.index(b"eXIf") - 4
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        content = content[:start] + content[end:-12] + content[start:end] + content[-12:]
    return content + b"TRAILER"


def gif() -> bytes:
    """A GIF with a comment."""
    stream = io.BytesIO()
    picture().save(stream, "GIF", comment=b"my kitchen")
    return stream.getvalue() + b"TRAILER"


def thumbnail_jpeg() -> bytes:
    """A JPEG whose EXIF data ends in a thumbnail, as cameras write it."""
    exif = private_exif()
    small = saved("JPEG", private_exif())[:20_000]
    exif.get_ifd(1).update({0x0103: 6, 0x0201: 0, 0x0202: len(small)})
    return saved("JPEG", exif)


def packed_tiff() -> bytes:
    """A TIFF with LZW: the library that packs writes no place, so the place's entry is put in front of all others."""
    content = saved("TIFF", private_exif(), compression="tiff_lzw")
    first = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[first : first + 2], "little")
    entries = [content[at : at + 12] for at in range(first + 2, first + 2 + 12 * count, 12)]
    inside = exif_block((1, 2, 2, b"N\0\0\0")).removeprefix(b"Exif\0\0")[8:]
    entries.append(GPS.to_bytes(2, "little") + b"\4\0\1\0\0\0" + (len(content)).to_bytes(4, "little"))
    end = len(content) + len(inside) + len(inside) % 2
    rest = (count + 1).to_bytes(2, "little") + b"".join(sorted(entries, key=lambda one: one[1::-1])) + bytes(4)
    return content[:4] + end.to_bytes(4, "little") + content[8:] + inside.ljust(end - len(content), b"\0") + rest


PRIVATE: Final[dict[str, Callable[[], bytes]]] = {
    "JPEG with XMP, IPTC, comment, second picture and trailer": jpeg,
    "JPEG with a thumbnail": thumbnail_jpeg,
    "JPEG whose orientation only XMP tells": lambda: saved("JPEG", xmp=XMP),
    "MPO": mpo,
    "PNG with texts": png,
    "PNG with EXIF behind the pixels": lambda: png(late=True),
    "PNG whose orientation only XMP tells": lambda: saved("PNG", pnginfo=_xmp_text()),
    "WebP": lambda: saved("WEBP", private_exif(), xmp=XMP),
    "WebP without losses": lambda: saved("WEBP", private_exif(), xmp=XMP, lossless=True),
    "TIFF, packed": packed_tiff,
    "TIFF of one strip": lambda: saved("TIFF", private_exif(1).tobytes()),
    "TIFF, big": lambda: saved("TIFF", private_exif().tobytes(), big_tiff=True),
    "AVIF": lambda: saved("AVIF", private_exif(), xmp=XMP),
    "GIF": gif,
}


def _xmp_text() -> PngImagePlugin.PngInfo:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return texts


@pytest.mark.parametrize("name", PRIVATE)
def test_private_data_leaves_and_the_picture_stays(name: str, entrance: Row) -> None:
    before = PRIVATE[name]()
    done = stripped(before)
    assert done.content != before
    for trace in TRACES:
        assert trace not in done.content, trace
    (pixels, turn, profile), (same_pixels, same_turn, same_profile) = shown(before), shown(done.content)
    assert np.array_equal(pixels, same_pixels)
    assert turn == same_turn
    assert profile == same_profile
    with Image.open(io.BytesIO(done.content)) as image:
        exif = image.getexif()
        assert not exif.get_ifd(GPS)
        assert not {*exif, *exif.get_ifd(0x8769)} & {*SECRETS, *SHOT_SECRETS}
        assert getattr(image, "n_frames", 1) == 1
    assert done.place == (name != "GIF")
    assert without_private(done.content) == done.content
    assert not stripped(done.content).place
    entrance("privacy", name, f"{len(before)} -> {len(done.content)} bytes, same pixels, orientation {turn}", WORKS)


def test_camera_and_time_stay() -> None:
    with Image.open(io.BytesIO(without_private(jpeg()))) as image:
        exif = image.getexif()
        assert [exif.get(tag) for tag in (0x010F, 0x0110, 0x0132)] == ["Example", "Phone 7", "2026:11:21 10:30:00"]
        assert exif.get_ifd(0x8769)[0x829A] == 0.01


def test_the_compressed_pixels_stay_byte_for_byte() -> None:
    before, after = jpeg(), without_private(jpeg())
    scan = before[before.index(b"\xff\xda") : before.index(b"\xff\xd9") + 2]
    assert after.endswith(scan)
    before, after = png(), without_private(png())
    assert before[before.index(b"IDAT") :].startswith(after[after.index(b"IDAT") :])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP"])
def test_a_file_without_private_data_stays_as_it_is(kind: str, entrance: Row) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x0132] = "Example", 6, "2026:11:21 10:30:00"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    for content in (saved(kind), saved(kind, exif)) if kind not in ("GIF", "BMP") else (saved(kind),):
        assert without_private(content) == content
        assert not stripped(content).place
    entrance("privacy", f"{kind} with camera, time and orientation only", "the same bytes", WORKS)


@pytest.mark.parametrize("name", ODD)
def test_odd_exif_gives_way_to_the_orientation(name: str, entrance: Row) -> None:
    content = saved("JPEG", exif_block(ORIENTATION, ODD[name]))
    done = without_private(content)
    assert shown(done)[1] == shown(content)[1]
    assert np.array_equal(shown(done)[0], shown(content)[0])
    assert without_private(done) == done
    entrance("privacy", f"EXIF with {name}", f"orientation {shown(done)[1]} stays", WORKS)


@pytest.mark.parametrize("name", PRIVATE)
def test_damaged_files_never_raise_and_keep_what_readers_see(name: str, entrance: Row) -> None:
    chance, whole = random.Random(name), PRIVATE[name]()
    read = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        content = bytes(damaged[: chance.choice([len(damaged), chance.randrange(len(damaged))])])
        done = without_private(content)
        assert without_private(done) == done
        if (before := readable(content)) is not None:  # else refused by the data check
            read += 1
            assert shown(done)[1] == before[1]
            assert np.array_equal(shown(done)[0], before[0])
    entrance("privacy", f"150 damaged files: {name}", f"no error; {read} still read, with the same pixels", WORKS)
