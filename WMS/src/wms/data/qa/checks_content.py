"""Checks the facts of each photo, each mask and each pair. Pure.

The limits of the warnings were set on 360 real photos: see docs/data-qa.md.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Final, TypeVar

from wms.config import DataConfig
from wms.data.kinds import HEIC_SUFFIXES
from wms.data.masks import name_classes
from wms.data.qa.facts import FILE, FolderFacts, ImageFacts, MaskFacts, Unreadable
from wms.data.qa.listing import match
from wms.data.qa.names import shown
from wms.data.qa.naming import doubts
from wms.data.qa.problems import Problem

Found = TypeVar("Found")

SMALLEST_SIDE: Final = 200  # pixels; training looks at 256 and more, so less is blown up
TOO_DARK: Final = 25.0  # mean grey value of 255; the darkest half per cent of the real photos lies at 29
OVEREXPOSED: Final = 0.15  # share of blank white pixels; the largest among the real photos is 0.07
BLURRED: Final = 7.0  # sharpness, see ImageFacts; half a per cent of the real photos lies below 8
FULL: Final = 0.5  # share of white from which a mask is called full: a strip never fills half a photo
COVERAGE: Final = (0.002, 0.2)  # share of white; the real masks have 0.004 to 0.09
COVERAGE_SPREAD: Final = 4.0  # robust standard deviations of the logarithm: 1 in 16,000 of a normal distribution
COVERAGE_FROM: Final = 30  # masks from which a set's own spread is known well enough
MOST_PIECES: Final = 3  # a strip is one area, in two or three where a finger or a reflection covers it
LEAST_AGREEMENT: Final = 3.9  # see `agreement`: 2 % of the real pairs lie below


def check_images(facts: FolderFacts) -> Iterator[Problem]:
    """Unreadable photos; warnings for small, dark, overexposed and blurred ones; notes for turned ones and for GPS."""
    for file, known in files_with(facts, "images/", facts.image_facts):
        if isinstance(known, Unreadable):
            yield _unreadable(file, known)
            continue
        if PurePath(file).suffix.lower() in HEIC_SUFFIXES:
            yield _error("not-read", file, "has the name of a HEIC photo, but holds another kind", "name it .jpg")
        if min(known.width, known.height) < SMALLEST_SIDE:
            what = f"is small: {known.width} x {known.height} pixels (the short side should have {SMALLEST_SIDE})"
            yield _warning("small", file, what, "use the camera's original")
        if known.brightness < TOO_DARK:
            what = f"is too dark: its mean brightness is {known.brightness:.0f} of 255 (at least {TOO_DARK:.0f})"
            yield _warning("dark", file, what, "take the photo again with light")
        if known.glare > OVEREXPOSED:
            what = f"is overexposed: {known.glare:.0%} of it is blank white (at most {OVEREXPOSED:.0%})"
            yield _warning("overexposed", file, what, "take the photo again without glare")
        if known.sharpness < BLURRED and min(known.width, known.height) >= SMALLEST_SIDE:
            what = f"is blurred: its sharpness is {known.sharpness:.1f} (at least {BLURRED:.1f})"
            yield _warning("blurred", file, what, "take the photo again with a steady hand")
        if known.orientation != 1:
            what = f"{shown(file)} is stored turned, with EXIF orientation {known.orientation}, and is read upright"
            yield Problem("turned", "note", (file,), what, "nothing has to be done, or let --fix store it upright")
        if known.place:
            what = f"{shown(file)} carries GPS: stripped at the push, unless wms.toml says keep_metadata = true"
            yield Problem("gps", "note", (file,), what, "nothing has to be done")


def check_masks(facts: FolderFacts, config: DataConfig) -> Iterator[Problem]:
    """Unreadable, ambiguous, grey, empty and full masks; warnings for odd coverage, many pieces, a needless EXIF."""
    low, high = coverage_limits(facts)
    masks = dict(files_with(facts, "masks/", facts.mask_facts))
    doubted = doubts({file: mask for file, mask in masks.items() if isinstance(mask, MaskFacts)}, facts.named)
    for file, known in masks.items():
        if isinstance(known, Unreadable):
            yield _unreadable(file, known)
            continue
        if known.ambiguous:
            yield _error("mask-classes", file, *name_classes(known.classes))
            continue
        yield from _values(file, known, config.max_grey_fraction, doubted.get(file))
        if known.hides:
            if known.grey <= config.max_grey_fraction:  # else `_values` reports the problem
                what, _, next_step = known.hides.partition("; ")
                yield _error("mask-reads-as-empty", file, what, next_step)
        elif known.coverage == 0:
            yield _error("mask-empty", file, "is empty: no pixel is white", "paint the strip white, or remove the pair")
        elif known.coverage >= FULL:
            what = f"is full: {known.coverage:.1%} of it is white"
            yield _error("mask-full", file, what, "paint only the strip white; if it's inverted, invert it")
        elif known.coverage and not low <= known.coverage <= high:
            what = f"covers {known.coverage:.2%} of the photo, where {low:.2%} to {high:.2%} is usual"
            yield _warning("coverage", file, what, "look whether it marks the strip, the whole strip and nothing else")
        if known.pieces > MOST_PIECES:
            what = f"has {known.pieces} separate white areas (at most {MOST_PIECES} are usual)"
            yield _warning("mask-pieces", file, what, "look for stray strokes of the brush")
        if known.orientation != 1:
            what = f"has EXIF orientation {known.orientation}, which many programs overlook in masks"
            yield _warning("mask-turned", file, what, "let --fix store it upright")


def check_pairs(facts: FolderFacts) -> Iterator[Problem]:
    """Masks whose size differs from the upright photo; a warning for pairs that don't seem to fit."""
    for files in match(facts.images, facts.masks):
        shas = (facts.hashes.get(files[0], ""), facts.hashes.get(files[1], ""))
        image, mask = facts.image_facts.get(shas[0]), facts.mask_facts.get(shas[1])
        if not isinstance(image, ImageFacts) or not isinstance(mask, MaskFacts):
            continue
        if (image.width, image.height) != (mask.width, mask.height):
            yield _other_size(files, image, mask)
            continue
        pair = facts.pair_facts.get(":".join(shas))
        if pair is not None and pair.agreement is not None and pair.agreement < LEAST_AGREEMENT:
            what = f"{shown(files[1])} may not belong to {shown(files[0])}: the photo shows no edges along its outline"
            next_step = f"look at both (agreement {pair.agreement:.1f}, usually {LEAST_AGREEMENT:.1f} or more)"
            yield Problem("pair-doubtful", "warning", files, what, next_step)


def coverage_limits(facts: FolderFacts) -> tuple[float, float]:
    """Lowest and highest usual share of white: from this set's spread, or else from real photos."""
    known = (fact for _, fact in files_with(facts, "masks/", facts.mask_facts) if isinstance(fact, MaskFacts))
    logs = [math.log(fact.coverage) for fact in known if 0 < fact.coverage < FULL]
    if len(logs) < COVERAGE_FROM:
        return COVERAGE
    centre = statistics.median(logs)
    # 1.4826 turns the median deviation of a normal distribution into its standard deviation.
    spread = 1.4826 * statistics.median(abs(value - centre) for value in logs)
    # Never narrower than what real photos have: a set of one meter isn't a reason to suspect another one.
    low, high = centre - COVERAGE_SPREAD * spread, centre + COVERAGE_SPREAD * spread
    return min(COVERAGE[0], math.exp(low)), max(COVERAGE[1], min(FULL, math.exp(high)))


def files_with(facts: FolderFacts, part: str, found: Mapping[str, Found]) -> Iterator[tuple[str, Found | Unreadable]]:
    """Each file of a part that has facts, or a reason for having none, in the order of names."""
    names = [name for name in (*facts.hashes, *facts.unreadable) if name.startswith(part)]
    for name in sorted(names):
        known = facts.unreadable.get(name) or found.get(facts.hashes.get(name, ""))
        if known is not None:
            yield name, known


def _values(file: str, mask: MaskFacts, most_grey: float, doubt: tuple[str, str] | None) -> Iterator[Problem]:
    if mask.grey > most_grey:
        what = f"isn't a mask: {mask.grey:.1%} of its pixels are grey (64 to 191; at most {most_grey:.1%} may be)"
        yield _error("mask-grey", file, what, "paint the strip white and all else black")
    elif doubt and not mask.hides:
        yield _error("mask-not-binary", file, *doubt)
    elif mask.neither > 0 and not mask.hides:
        what = f"isn't strictly black and white: {mask.neither:.2%} of its pixels are neither 0 nor 255"
        if len(mask.classes) == 2 and all(one.value for one in mask.classes):
            what = f"holds {' and '.join(sorted(one.value for one in mask.classes))} in place of 0 and 255"
        yield _error("mask-not-binary", file, what, "run `wms data check DIR --fix`, which writes a binary PNG")


def _other_size(files: tuple[str, str], image: ImageFacts, mask: MaskFacts) -> Problem:
    sizes = f"{mask.width} x {mask.height} pixels, but its upright image has {image.width} x {image.height}"
    what = f"{shown(files[1])} has {sizes}"
    if image.orientation >= 5 and (mask.width, mask.height) == (image.height, image.width):
        what = (
            f"{shown(files[1])} lies as the photo is stored, not as it is seen (EXIF orientation {image.orientation})"
        )
        return Problem("mask-not-upright", "error", files, what, "turn the mask as a viewer shows the photo")
    return Problem("size-mismatch", "error", files, what, "draw the mask on the upright photo")


def _unreadable(file: str, reason: Unreadable) -> Problem:
    message, _, next_step = reason.message.replace(FILE, shown(file)).rstrip(".").rpartition("; ")
    return Problem(reason.check, "error", (file,), message or next_step, next_step if message else "")


def _error(check: str, file: str, what: str, next_step: str) -> Problem:
    return Problem(check, "error", (file,), f"{shown(file)} {what}", next_step)


def _warning(check: str, file: str, what: str, next_step: str) -> Problem:
    return Problem(check, "warning", (file,), f"{shown(file)} {what}", next_step)
