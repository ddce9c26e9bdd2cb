"""Photos with perfect pixels and mutated metadata: whatever the metadata holds, the pixels are read right.

`mutated_photo(seed)` makes the photo, `check(photo, folder)` reads it by each entrance of the data. Run all of them:

    python WMS/tests/fuzz_exif.py 4000
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from wms.data.images import image_size, read_image, read_small
from wms.data.qa.facts import ImageFacts
from wms.data.qa.fix import _upright
from wms.data.qa.reading import Task, read_task
from wms.files import sha256_bytes

FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", *(("AVIF",) if features.check("avif") else ()))
WIDTH, HEIGHT = 24, 16
_TAGS: Final = (0x0100, 0x0101, 0x010E, 0x010F, 0x0110, 0x011A, 0x0128, 0x0131, 0x0132, 0x0213, 0x02BC, 0x8769, 0x8825)
_EXIF_TAGS: Final = (0x829A, 0x829D, 0x8827, 0x9000, 0x9003, 0x927C, 0x9286, 0xA002, 0xA003, 0xA005, 0xA20E, 0xC4A5)
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


@dataclass(frozen=True)
class MutatedPhoto:
    """A photo's file, its stored pixels without metadata, and the orientations that its metadata may state."""

    seed: int
    kind: str
    content: bytes
    plain: bytes
    orientations: frozenset[int]


def mutated_photo(seed: int) -> MutatedPhoto:
    """The photo of a seed: the same bytes on every run with the same version of Pillow."""
    chance = random.Random(seed)
    kind = FORMATS[seed % len(FORMATS)]
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels.repeat(8, 0).repeat(8, 1))
    plain = _saved(image, kind)
    stated = chance.choice((None, None, 1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0xFFFF))
    block, certain = _block(chance, stated)
    if kind == "TIFF":
        content, certain = _with_tags(plain, chance, stated), True
    elif kind == "JPEG":
        content = _in_jpeg(plain, block, chance)
    elif kind == "PNG":
        content = _in_png(plain, block, chance)
    elif kind == "AVIF":  # whose orientation the picture's own properties tell, not the EXIF block
        content, stated, certain = _in_avif(image, block[6:], chance), 1, True
    else:
        content = _saved(image, kind, exif=block, xmp=_noise(chance, 60), lossless=True)
    known = stated if stated in range(1, 9) else 1
    may = frozenset({known} if certain else range(1, 9))
    return MutatedPhoto(seed, kind, content, plain, may)


def check(photo: MutatedPhoto, folder: Path) -> str:
    """Read a photo by each entrance; returns "upright" or "turned", raises AssertionError or what a reader raised."""
    path = folder / f"{photo.seed}.{photo.kind.lower()}"
    path.write_bytes(photo.content)
    stored = np.asarray(Image.open(io.BytesIO(photo.plain)).convert("RGB"))
    read = read_image(path)
    found = [turn for turn in sorted(photo.orientations) if _same(upright(stored, turn), read, photo.kind)]
    assert found, f"{path.name}: the pixels aren't those of an orientation among {sorted(photo.orientations)}"
    assert image_size(path) == (read.shape[1], read.shape[0]), path.name
    assert read_small(path, side=128).shape == read.shape, path.name
    digest = sha256_bytes(photo.content)
    facts = read_task(Task(path, digest, None, "", 50.0, wants_image=True, wants_mask=False, wants_pair=False))["image"]
    assert isinstance(facts, ImageFacts), f"{path.name}: {facts}"
    fixed = _upright(photo.content, str(path), 50.0)
    if fixed is not None:
        path.write_bytes(fixed)
        assert _same(read, read_image(path), photo.kind), f"{path.name}: --fix changes the pixels"
    path.unlink()
    return "upright" if found[0] == 1 else "turned"


def upright(stored: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Stored pixels (H, W, 3) as the EXIF orientation says they are seen."""
    turned = stored.transpose(1, 0, 2) if orientation >= 5 else stored
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return turned


def _same(one: NDArray[np.uint8], other: NDArray[np.uint8], kind: str) -> bool:
    if one.shape != other.shape:
        return False
    far = np.abs(one.astype(int) - other.astype(int))
    return int(far.max()) <= (40 if kind in ("JPEG", "AVIF") else 0)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    if not options:
        options = {
            "JPEG": {"quality": 95, "subsampling": 0},
            "WEBP": {"lossless": True},
            "AVIF": {"quality": 100, "speed": 10},
        }.get(kind, {})
    image.save(stream, kind, **options)
    return stream.getvalue()


def _noise(chance: random.Random, most: int) -> bytes:
    return chance.randbytes(chance.randrange(most))


def _entry(chance: random.Random, order: str, tag: int) -> bytes:
    """A field of an EXIF folder: a random type, count, and value or place."""
    kind = chance.choice((*_SIZES, 13, 16, 99, 0))
    count = chance.choice((0, 1, 1, 1, 2, 3, 8, 0x7FFFFFFF, 0xFFFFFFFF, 40))
    value = chance.choice(
        (
            chance.randbytes(4),
            struct.pack(order + "I", chance.choice((0, 1, 8, 26, 60, 1 << 16, 0xFFFFFFFF))),
            struct.pack(order + "i", -chance.randrange(1, 100)),
            struct.pack(order + "f", chance.choice((2.3, float("nan"), float("inf")))),
        )
    )
    return struct.pack(order + "HHI", tag, kind, count) + value


def _block(chance: random.Random, stated: int | None) -> tuple[bytes, bool]:
    """An EXIF block, and whether its orientation is certainly the stated one."""
    order, certain = chance.choice("<>"), True
    entries = [_entry(chance, order, tag) for tag in chance.sample(_TAGS, chance.randrange(len(_TAGS)))]
    entries += [_entry(chance, order, tag) for tag in chance.sample(_EXIF_TAGS, chance.randrange(4))]
    if stated is not None:
        entries.insert(chance.randrange(len(entries) + 1), struct.pack(order + "HHIHH", 0x0112, 3, 1, stated, 0))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    block = mark + struct.pack(order + "IH", 8, len(entries)) + b"".join(entries)
    block += struct.pack(order + "I", chance.choice((0, 0, 8, 0xFFFFFFFF))) + _noise(chance, 80)
    damage = chance.randrange(8)
    if damage == 0:
        block, certain = block[: chance.randrange(len(block))], stated is None
    elif damage == 1:
        torn = bytearray(block)
        for _ in range(chance.randrange(1, 6)):
            torn[chance.randrange(len(torn))] = chance.randrange(256)
        block, certain = bytes(torn), False
    elif damage == 2:
        block, certain = _noise(chance, 200), False
    return b"Exif\0\0" + block, certain


def _in_jpeg(plain: bytes, block: bytes, chance: random.Random) -> bytes:
    segments = [(0xE1, block)]
    for _ in range(chance.randrange(3)):
        segments.append(
            chance.choice(
                (
                    (0xE2, b"MPF\0" + block[6:]),
                    (0xE2, b"MPF\0" + _noise(chance, 90)),
                    (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + _noise(chance, 90)),
                    (0xE2, b"ICC_PROFILE\0" + _noise(chance, 40)),
                    (0xED, b"Photoshop 3.0\0" + b"8BIM" + _noise(chance, 60)),
                    (0xFE, _noise(chance, 60)),
                    (0xE0, b"JFIF\0" + _noise(chance, 12)),
                    (0xE1, b"Exif\0\0" + _noise(chance, 30)),
                )
            )
        )
    body = b"".join(bytes((0xFF, mark)) + struct.pack(">H", len(data) + 2) + data for mark, data in segments)
    return plain[:2] + body + plain[2:]


def _in_png(plain: bytes, block: bytes, chance: random.Random) -> bytes:
    bomb = zlib.compress(bytes(chance.choice((10, 2_000_000))))
    chunks = [(b"eXIf", block[6:])]
    for _ in range(chance.randrange(3)):
        chunks.append(
            chance.choice(
                (
                    (b"iCCP", b"p\0\0" + chance.choice((bomb, _noise(chance, 40)))),
                    (b"zTXt", b"Comment\0\0" + chance.choice((bomb, _noise(chance, 40)))),
                    (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _noise(chance, 60)),
                    (b"tEXt", b"Raw profile type exif\0" + _noise(chance, 60)),
                    (b"tEXt", _noise(chance, 60)),
                    (b"pHYs", _noise(chance, 12)),
                    (b"gAMA", _noise(chance, 6)),
                    (b"cHRM", _noise(chance, 40)),
                    (b"sRGB", _noise(chance, 3)),
                    (b"acTL", _noise(chance, 12)),
                    (b"tIME", _noise(chance, 9)),
                )
            )
        )
    chance.shuffle(chunks)
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    place = chance.choice((plain.index(b"IDAT"), plain.index(b"IEND"))) - 4
    return plain[:place] + body + plain[place:]


def _in_avif(image: Image.Image, block: bytes, chance: random.Random) -> bytes:
    """An AVIF file, whose valid EXIF block is overwritten in place: the file's format has the block's length."""
    exif = Image.Exif()
    exif[0x010E] = "x" * len(block)
    content = bytearray(_saved(image, "AVIF", exif=exif.tobytes(), xmp=_noise(chance, 60), quality=100, speed=10))
    place = content.index(b"x" * len(block)) - 26
    content[place : place + len(block)] = block
    return bytes(content)


def _with_tags(plain: bytes, chance: random.Random, stated: int | None) -> bytes:
    """A TIFF with more fields in its folder, which moves to the end of the file."""
    (place,) = struct.unpack_from("<I", plain, 4)
    (count,) = struct.unpack_from("<H", plain, place)
    own = [plain[place + 2 + 12 * at : place + 14 + 12 * at] for at in range(count)]
    taken = {struct.unpack("<H", entry[:2])[0] for entry in own} | {0x0100, 0x0101}
    more = [_entry(chance, "<", tag) for tag in (*_TAGS, *_EXIF_TAGS) if tag not in taken and chance.random() < 0.4]
    if stated is not None:
        more.append(struct.pack("<HHIHH", 0x0112, 3, 1, stated, 0))
    entries = sorted([*own, *more], key=lambda entry: struct.unpack("<H", entry[:2])[0])
    folder = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", chance.choice((0, 0, 8)))
    return plain[:4] + struct.pack("<I", len(plain)) + plain[8:] + folder
