"""Random mask files, with the strip where it is known, and what must hold for each of them.

Deterministic: `mutated_masks(seed)` yields the same files for the same seed on every machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mask_samples
import numpy as np
from mask_samples import Sample, Strip, grey, layers, paint, palette
from numpy.typing import NDArray
from PIL import Image

from wms.data.masks import read_mask
from wms.data.qa.cli import COMMAND as data_qa
from wms.errors import WmsError

Mask = NDArray[np.uint8]
DAMAGED = 0.3
"""Share of the files in which bytes are changed or the end is missing; of these, the strip isn't known."""


@dataclass(frozen=True)
class Mutant:
    """A mask file; `truth` (H, W) is the strip, or None where nobody can tell."""

    name: str
    content: bytes
    truth: Strip | None


def mutated_masks(seed: int) -> Iterator[Mutant]:
    """Endless random mask files: kinds, depths, palettes, classes, alpha, truncation, changed bytes."""
    random = np.random.default_rng(seed)
    number = 0
    while True:
        strip = random_strip(random)
        kind, sample, known = random_kind(random)
        content = sample.draw(strip)
        if damaged := random.random() < DAMAGED:
            content = damage(random, content)
        yield Mutant(
            f"{number:05} {kind}{', damaged' if damaged else ''}.{sample.suffix}",
            content,
            strip if known and not damaged else None,
        )
        number += 1


def try_mask(mutant: Mutant, folder: Path) -> str:
    """What reading and `--fix` make of a mask, in `folder`, which must be new; raises AssertionError for a fault.

    Returns "read", or the name of the error. Any exception but WmsError is a fault, and so is an empty or another strip
    where the strip is known, a mask that `--fix` empties, and a reading that `--fix` changes.
    """
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    path = folder / "masks" / f"a.{mutant.name.rpartition('.')[2]}"
    path.write_bytes(mutant.content)
    Image.new("RGB", (8, 8)).save(folder / "images" / "a.png")
    before, refused = read(path)
    if mutant.truth is not None and before is not None:
        assert np.array_equal(before > 0, mutant.truth), f"{mutant.name}: another strip is read than is drawn"
    for options in ((), ("--class", "1"), ("--colour", "255,0,0")):
        was, _ = read(path)
        with contextlib.suppress(WmsError):
            data_qa([str(folder), "--fix", "--cache", str(folder / "cache"), "--workers", "1", *options])
        (path,) = (folder / "masks").iterdir()
        now, _ = read(path)
        if now is not None:
            assert now.any() or (was is not None and not was.any()), f"{mutant.name}: --fix emptied the mask"
            assert was is None or options or np.array_equal(was, now), f"{mutant.name}: --fix changed the strip"
        assert was is None or now is not None, f"{mutant.name}: --fix made the mask unreadable"
    return refused or "read"


def read(path: Path) -> tuple[Mask | None, str]:
    """The mask, or the name of the error."""
    try:
        return read_mask(path), ""
    except WmsError as error:
        assert str(path) in str(error), "the sentence names the file"
        return None, type(error).__name__


def random_strip(random: np.random.Generator) -> Strip:
    """A rectangle, or two, in a small photo; never empty, never full."""
    height, width = (int(side) for side in random.integers(20, 90, 2))
    strip = np.zeros((height, width), bool)
    for _ in range(int(random.integers(1, 3))):
        top, left = int(random.integers(0, height - 8)), int(random.integers(0, width - 8))
        strip[top : top + int(random.integers(4, 30)), left : left + int(random.integers(4, 60))] = True
    strip[-1, -1] = False
    return strip


def random_kind(random: np.random.Generator) -> tuple[str, Sample, bool]:
    """A kind of mask, and whether the strip is what the file says."""
    value, other = (int(number) for number in random.choice(np.arange(1, 256), 2, replace=False))
    colour, second = (tuple(int(part) for part in random.integers(1, 256, 3)) for _ in range(2))
    wide = int(random.integers(1, 65536))
    alpha = int(random.integers(1, 256))
    kinds = list({**mask_samples.READ, **mask_samples.REFUSED}.items())
    name, sample = kinds[int(random.integers(len(kinds)))]
    made = {
        f"grey {value}": Sample("png", grey(value)),
        f"16 bits {wide}": Sample("png", grey(wide, dtype=np.uint16)),
        f"16 bits {wide} in TIFF": Sample("tif", grey(wide, dtype=np.uint16, kind="TIFF")),
        f"32 bits {-wide}": Sample("tif", grey(-wide, dtype=np.int32, kind="TIFF")),
        f"float {wide}": Sample("tif", grey(wide, dtype=np.float32, kind="TIFF")),
        f"colour {colour}": Sample("png", paint(colour, (0, 0, 0))),
        f"colour {colour} in BMP": Sample("bmp", paint(colour, (0, 0, 0), kind="BMP")),
        f"colour {colour} in WebP": Sample("webp", paint(colour, (0, 0, 0), kind="WEBP", lossless=True, exact=True)),
        f"alpha {alpha} of {colour}": Sample("png", paint((*colour, alpha), (*second, 0))),
        f"palette {colour}": Sample("png", palette([(0, 0, 0), colour])),
        f"palette {colour}, index 2": Sample("png", palette([(0, 0, 0), second, colour], mark=2)),
        f"classes {value}, {other}": Sample("png", layers(value, other)),
        f"classes {colour}, {second}": Sample("png", layers(colour, second)),
        f"classes 0 to {value}": Sample("png", lambda _: labels(random, value)),
        f"{name}, any size": sample,
    }
    kind = list(made)[int(random.integers(len(made)))]
    if made[kind] is not sample:
        return kind, made[kind], "classes 0" not in kind
    # Soft masks of strips with few pixels may lose a corner at half.
    return kind, sample, sample.reads == "strip" and not any(word in name for word in ("soft", "JPEG", "fades"))


def labels(random: np.random.Generator, most: int) -> bytes:
    """Areas of random labels up to `most`."""
    areas = random.integers(0, most + 1, (6, 7)).astype(np.uint8)
    return mask_samples.stored(Image.fromarray(areas.repeat(7, axis=0).repeat(9, axis=1)))


def damage(random: np.random.Generator, content: bytes) -> bytes:
    """The file cut off, or with some bytes changed."""
    if random.random() < 0.3:
        return content[: int(random.integers(0, len(content)))]
    changed = bytearray(content)
    for _ in range(int(random.integers(1, 12))):
        changed[int(random.integers(len(changed)))] = int(random.integers(256))
    return bytes(changed)
