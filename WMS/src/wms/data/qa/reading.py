"""Reads facts from files: the only part of the data check that opens photos and masks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wms.data.images import image_size, orientation_of, read_small
from wms.data.kinds import HEAD_BYTES, kind_of
from wms.data.looks import look_of
from wms.data.masks import MASK_THRESHOLD, black_white, decode_mask
from wms.data.private import stripped
from wms.data.qa import agreement
from wms.data.qa.facts import FILE, Fact, ImageFacts, MaskFacts, PairFacts, Unreadable
from wms.errors import DataNotFoundError, ImageTooLargeError, NotAnImageError, TruncatedImageError, WmsError
from wms.files import sha256_file
from wms.regular import read_regular

Grey = NDArray[np.uint8]
_Reader = Callable[[Path, float], "tuple[Fact, Grey]"]

_LOOK_SIDE: Final = 512  # pixels of the short side for brightness and sharpness: the size that training sees
_TILE: Final = 16
_GLARE: Final = 250
_PIECES_SIDE: Final = 512
_SPECK: Final = 2  # pixels; JPEG's ringing leaves such dots
_MANY_RUNS: Final = 20_000  # noise, whose areas may all touch: it isn't one area
_CHECKS: Final[dict[type[WmsError], str]] = {
    TruncatedImageError: "damaged",
    NotAnImageError: "not-an-image",
    ImageTooLargeError: "too-large",
    DataNotFoundError: "unreadable",
}


@dataclass(frozen=True, slots=True)
class Task:
    """A request for the facts of a photo, a mask or both; sha256 "" and path None for an absent file."""

    image: Path | None
    image_sha256: str
    mask: Path | None
    mask_sha256: str
    max_megapixels: float
    wants_image: bool
    wants_mask: bool
    wants_pair: bool

    @property
    def files(self) -> int:
        """How many files have to be opened."""
        return (self.wants_image or self.wants_pair) + (self.wants_mask or self.wants_pair)


def read_task(task: Task) -> dict[str, Fact]:
    """The requested facts by kind: "image", "mask", "pair". Never raises for a file's content."""
    found: dict[str, Fact] = {}
    small: Grey | None = None
    mask: Grey | None = None
    if task.image is not None and (task.wants_image or task.wants_pair):
        found["image"], small = _guarded(_read_image, task.image, task.image_sha256, task.max_megapixels)
    if task.mask is not None and (task.wants_mask or task.wants_pair):
        found["mask"], mask = _guarded(_read_mask, task.mask, task.mask_sha256, task.max_megapixels)
    if task.wants_pair and small is not None and mask is not None:
        found["pair"] = compare(small, mask, found["image"], found["mask"])
    return found


def compare(small: Grey, mask: Grey, image_facts: Fact, mask_facts: Fact) -> PairFacts:
    """Facts of a pair: `small` (h, w) the photo's grey values, `mask` (H, W) the mask's, both upright."""
    sizes = [(f.width, f.height) for f in (image_facts, mask_facts) if isinstance(f, ImageFacts | MaskFacts)]
    if len(sizes) != 2 or sizes[0] != sizes[1]:
        return PairFacts(None)
    return PairFacts(agreement.agreement(agreement.scaled(small), agreement.fitted(mask > MASK_THRESHOLD, small)))


def measure(small: Grey) -> tuple[float, float, float]:
    """Brightness (0..255), glare (0..1) and sharpness (grey values) of a photo's grey values, short side 512."""
    values = small.astype(np.float32)
    centre = values[1:-1, 1:-1]
    around = values[1:-1, 2:] + values[1:-1, :-2] + values[2:, 1:-1] + values[:-2, 1:-1]
    laplacian = around - 4 * centre
    rows, columns = (side // _TILE for side in laplacian.shape)
    sharpness = 0.0
    if rows and columns:
        cut = laplacian[: rows * _TILE, : columns * _TILE]
        tiles = cut.reshape(rows, _TILE, columns, _TILE).std(axis=(1, 3))
        sharpness = float(np.percentile(tiles, 95))
    return round(float(values.mean()), 2), round(float(np.mean(small >= _GLARE)), 5), round(sharpness, 2)


def small_grey(path: Path, max_megapixels: float) -> Grey:
    """The upright photo's grey values (h, w), with a short side of at most 512 pixels; never enlarged."""
    grey = Image.fromarray(read_small(path, _LOOK_SIDE, max_megapixels)).convert("L")
    scale = _LOOK_SIDE / min(grey.size)
    if scale < 1:
        size = (round(grey.width * scale), round(grey.height * scale))
        grey = grey.resize(size, Image.Resampling.BOX)
    return np.asarray(grey)


def mask_strip(path: Path, max_megapixels: float) -> NDArray[np.bool_]:
    """A mask's strip (H, W), upright; all that is marked where the strip is unknown."""
    return decode_mask(read_regular(path), str(path), max_megapixels=max_megapixels).strip


def count_pieces(strip: NDArray[np.bool_]) -> int:
    """Separate areas (touching by side or corner) of a strip (H, W), at 512 pixels on the long side."""
    from scipy.ndimage import label

    white = Image.fromarray(black_white(strip))
    white.thumbnail((_PIECES_SIDE, _PIECES_SIDE), Image.Resampling.BOX)
    inside = np.asarray(white) > MASK_THRESHOLD
    runs = int(np.count_nonzero(inside & ~np.pad(inside, ((0, 0), (1, 0)))[:, :-1]))  # of white pixels in a row
    if runs > _MANY_RUNS:
        return runs
    areas, _ = label(inside, np.ones((3, 3)))
    return int(np.count_nonzero(np.bincount(areas.ravel())[1:] > _SPECK))


def _read_image(path: Path, max_megapixels: float) -> tuple[Fact, Grey]:
    small = small_grey(path, max_megapixels)
    width, height = image_size(path)
    look = look_of(path, max_megapixels=max_megapixels)
    place = stripped(read_regular(path)).place
    return ImageFacts(width, height, orientation_of(path), *measure(small), look, place), small


def _read_mask(path: Path, max_megapixels: float) -> tuple[Fact, Grey]:
    mask = decode_mask(read_regular(path), str(path), max_megapixels=max_megapixels)
    facts = MaskFacts(
        width=mask.strip.shape[1],
        height=mask.strip.shape[0],
        orientation=orientation_of(path),
        neither=mask.neither,
        grey=mask.grey,
        coverage=float(mask.strip.mean()),
        pieces=count_pieces(mask.strip),
        classes=mask.classes,
        ambiguous=mask.ambiguous,
        hides=mask.hides,
    )
    return facts, black_white(mask.strip)


def _is_heic(path: Path, error: WmsError) -> bool:
    with contextlib.suppress(OSError):
        return isinstance(error, NotAnImageError) and kind_of(read_regular(path)[:HEAD_BYTES]) == "HEIC"
    return False


def _guarded(read: _Reader, path: Path, sha256: str, max_megapixels: float) -> tuple[Fact, Grey | None]:
    """The result of `read`, or the reason for its failure; a file that changes meanwhile has no facts."""
    facts: Fact
    grey: Grey | None
    try:
        facts, grey = read(path, max_megapixels)
    except WmsError as error:
        check = "heic" if _is_heic(path, error) else _CHECKS.get(type(error), "damaged")
        lasting = not isinstance(error, DataNotFoundError)
        facts, grey = Unreadable(check, str(error).replace(str(path), FILE), lasting), None
    except Exception as error:  # a single odd file must not hide the problems of the others
        reason = f"{FILE} can't be read ({type(error).__name__}: {error}); copy it again from the camera."
        facts, grey = Unreadable("damaged", reason.replace(os.fspath(path), FILE), lasting=False), None
    with contextlib.suppress(OSError):
        if sha256_file(path) == sha256:
            return facts, grey
    changed = f"{FILE} changed while it was being checked; run the check again when nothing writes to it."
    return Unreadable("unreadable", changed, lasting=False), None
