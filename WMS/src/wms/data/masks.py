"""Decodes masks; no other module does: training, the data check, the gate and the merge read a mask alike.

In a lossless file, two values or colours of which one is black or transparent are background and strip, whatever the
strip's value, colour or depth. More are classes, of which a person names the strip. Soft edges are cut at half.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wms.data.images import DEFAULT_MEGAPIXELS, decode, read_bytes
from wms.data.mask_edges import GREY, MASK_THRESHOLD, as_grey, cut, hidden, is_soft
from wms.data.mask_values import Found, MaskClass, Stored, alpha_of, frames_of, stored_values
from wms.errors import EmptyMaskError, GreyMaskError, MaskClassesError

__all__ = ["MASK_THRESHOLD", "DecodedMask", "black_white", "decode_mask", "name_classes", "read_mask", "resize_mask"]

_LISTED: Final = 8  # classes in a sentence
_DARK: Final = 16  # grey value up to which a whole picture counts as black
_BRIGHTER: Final = 1.05  # times the strip's own strength, up to which a value may belong to a soft edge
_BETWEEN: Final = 0.9  # share of the other values that must lie below the strip's


def read_mask(
    path: Path, *, max_megapixels: float = DEFAULT_MEGAPIXELS, max_grey_fraction: float = 0.01
) -> NDArray[np.uint8]:
    """Decode a mask: upright, uint8, shape (height, width), every value 0 or 255.

    Raises MaskClassesError if the file holds several classes and doesn't tell which is the strip; GreyMaskError if more
    than `max_grey_fraction` of all pixels lie between black and the strip's colour; EmptyMaskError if the mask reads as
    empty although the file marks pixels, or if most marks would be lost. Other errors as `read_image`.
    """
    mask = decode_mask(read_bytes(path), str(path), max_megapixels=max_megapixels)
    if mask.ambiguous:
        what, next_step = name_classes(mask.classes, str(path.parent.parent))
        raise MaskClassesError(f"{path} {what}; {next_step}.")
    if mask.grey > max_grey_fraction:
        raise GreyMaskError(
            f"{path} isn't a black-and-white mask: {mask.grey:.1%} of its pixels are grey "
            f"(at most {max_grey_fraction:.1%} may be); paint the strip white and all else black."
        )
    if mask.hides:
        raise EmptyMaskError(f"{path} {mask.hides}.")
    return black_white(mask.strip)


@dataclass(frozen=True)
class DecodedMask:
    """A mask as read: `strip` (height, width), upright; all that isn't black where the strip is unknown."""

    strip: NDArray[np.bool_]
    neither: float
    """Share of pixels (0..1) that a viewer doesn't show as white on the strip and as black elsewhere."""
    grey: float
    """Share of pixels between black and the strip's colour."""
    classes: tuple[MaskClass, ...] = ()
    """The distinct values, most frequent first; none for a mask with soft edges."""
    ambiguous: bool = False
    """Whether the classes don't tell which of them is the strip."""
    hides: str = ""
    """Why the mask reads as empty or nearly so, although the file marks pixels; else ""."""


def decode_mask(
    content: bytes, name: str, *, max_megapixels: float = DEFAULT_MEGAPIXELS, wanted: str = ""
) -> DecodedMask:
    """Decode a mask without refusing any. Raises the errors of `read_image`.

    `wanted` is the name of the strip's class (see `MaskClass`); a mask without that class is read as without a name.
    """
    seen: list[tuple[Image.Image, Stored]] = []
    # While it decodes, `decode` turns errors of damaged bytes into sentences.
    picture = decode(
        content, name, max_megapixels, look=lambda image: seen.append((image, stored_values(image, content)))
    )
    ((image, stored),) = seen
    shown = np.asarray(picture.convert("L"))
    mask = _exact(stored, shown, wanted) or _soft(stored, image, np.asarray(picture), shown)
    if mask.strip.any() or mask.hides:
        return mask
    return replace(mask, hides=_unread(stored, content))


def name_classes(classes: Sequence[MaskClass], folder: str = "DIR") -> tuple[str, str]:
    """The sentence on a mask of several classes, and the next step for the data set `folder`."""
    by_value = all(one.value for one in classes)
    listed = ", ".join(str(one) if by_value else f"{one.colour} ({one.share:.2%})" for one in classes[:_LISTED])
    more = f" and {len(classes) - _LISTED} more" if len(classes) > _LISTED else ""
    option = "--class N" if by_value else "--colour R,G,B"
    what = f"holds {len(classes)} classes and doesn't tell which of them is the strip: {listed}{more}"
    return what, f"name the strip's with `wms data check {folder} --fix {option}`"


def resize_mask(mask: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize (H, W) to (size, size) by area: values between 0 and 255 are the strip's share of a pixel."""
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.BOX))


def black_white(marked: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A mask (H, W) bool as grey values: 255 where marked, else 0."""
    return np.where(marked, np.uint8(255), np.uint8(0))


def _marks(found: Sequence[Found], keyed: bool) -> list[object] | None:
    """The keys of the strip, [] for an empty mask; None if the classes don't tell the strip."""
    clear = [one for one in found if one.is_clear]
    black = [one for one in found if one.is_black and not one.is_clear]
    marks = [one for one in found if not (one.is_black or one.is_clear)]
    if not marks and clear and black and not (keyed and not all(one.is_black for one in clear)):
        # Black drawn on nothing; but beside a single colour that is declared transparent either may be meant.
        marks, black = black, []
        if len(marks) > 1:
            return None  # black in several strengths: maybe a soft edge
    if not marks:
        return [] if len(found) == 1 else None
    if len(marks) == 1:
        is_strip = len(found) == 1 or (len(clear) + len(black) > 0 and marks[0].told.value != "nan")
    else:  # a palette may hold a colour twice
        is_strip = len(marks) < len(found) and marks[0].shown is not None and len({one.shown for one in marks}) == 1
    return [one.key for one in marks] if is_strip else None


def _exact(stored: Stored, shown: NDArray[np.uint8], wanted: str) -> DecodedMask | None:
    """The mask by its classes; None for a mask with soft edges."""
    found = () if stored.is_lossy else stored.found or ()
    keys = [one.key for one in found if wanted and one.told.is_named(wanted)] or _marks(found, stored.keyed)
    if not found or (keys is None and _has_soft_edges(stored, found)):
        return None
    ambiguous = keys is None
    if keys is None:
        keys = [one.key for one in found if not (one.is_black or one.is_clear)] or [found[-1].key]
    strip = _where(stored, keys)
    neither = float(np.mean(black_white(strip) != shown))
    classes = tuple(sorted((one.told for one in found), key=lambda one: -one.share))
    is_grey = len(classes) == 1 and bool(classes[0].value) and neither > 0 and GREY[0] <= shown.min() <= GREY[1]
    return DecodedMask(strip, neither, float(is_grey), classes, ambiguous)  # one grey everywhere is no mask


def _where(stored: Stored, keys: Iterable[object]) -> NDArray[np.bool_]:
    """The pixels of the classes with these keys."""
    found = np.zeros(stored.keys.shape, bool)
    for key in keys:
        found |= np.isnan(stored.keys) if isinstance(key, float) and math.isnan(key) else stored.keys == key
    return found


def _has_soft_edges(stored: Stored, found: Sequence[Found]) -> bool:
    marks = [one for one in found if not (one.is_black or one.is_clear)]
    marks = marks or [one for one in found if not one.is_clear]
    if not marks:
        return False
    peak = max(marks, key=lambda one: one.told.share)
    others = sum(one.told.share for one in marks if one is not peak)
    below = sum(one.told.share for one in marks if one is not peak and one.strength <= peak.strength * _BRIGHTER)
    behind = _where(stored, [one.key for one in found if one not in marks])
    return is_soft(stored.keys, behind, peak.key, len(marks) + 1, ordered=below >= _BETWEEN * others)


def _soft(stored: Stored, image: Image.Image, picture: NDArray[np.uint8], shown: NDArray[np.uint8]) -> DecodedMask:
    """The mask cut at half, by the numbers, the alpha channel or the colours that draw it."""
    may_have_colours = False
    if stored.is_numbers:
        picture = as_grey(stored.keys)
        grey = picture[..., 0]
    elif stored.has_alpha and shown.max() <= _DARK:  # only the alpha channel can draw here
        grey = alpha_of(image, stored.orientation)
        picture = np.repeat(grey[..., None], 3, axis=2)
    else:
        grey, may_have_colours = shown, image.mode not in ("1", "L", "LA")
    found = cut(picture, grey, may_have_colours=may_have_colours)
    hides = found.hides
    if not hides and not found.strip.any() and (stored.keys != stored.keys[0, 0]).any():
        hides = hidden(0, 0.0, 0.0)
    return DecodedMask(found.strip, float(np.mean(black_white(found.strip) != shown)), found.grey, hides=hides)


def _unread(stored: Stored, content: bytes) -> str:
    """Why a mask that reads as empty may hold marks that no reading reaches; else ""."""
    if (frames := frames_of(content)) > 1:
        return f"reads as empty, but holds {frames} pictures, of which the first is read; save the mask as one"
    if stored.is_shortened:
        return "reads as empty, but has colours of more than 8 bits, which aren't read in full; save it in 8 bits"
    return ""
