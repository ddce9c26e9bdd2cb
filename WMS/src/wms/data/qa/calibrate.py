"""Prints what the warnings' limits do on a folder of good pairs: false alarms, and what they catch.

    wms data calibrate DIR

Masks are swapped among photos of the same size, because a mask of another size is an error anyway; photos are blurred,
darkened and brightened. For the near-duplicates each photo is altered as the shots of a burst are, and all photos are
compared with all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from rich.console import Console
from rich.progress import track

from wms.command import Command, any_path
from wms.config import own_data_settings
from wms.data.alike import LIKENESS, alike_ones, distances, groups, to_bits
from wms.data.looks import HASH_DIGITS, look_at, parts
from wms.data.overlay import matches
from wms.data.pairs import find_pairs
from wms.data.qa import agreement
from wms.data.qa.alterations import ALTERATIONS, HARD
from wms.data.qa.checks_content import BLURRED, LEAST_AGREEMENT, OVEREXPOSED, TOO_DARK
from wms.data.qa.reading import mask_strip, measure, small_grey
from wms.errors import UsageError
from wms.start import run_renamed
from wms.text import counted

Grey = NDArray[np.uint8]
_SWAPS = 4  # other photos' masks that each photo is tried with
_BLURS = (1.0, 2.0, 3.0, 4.0)  # pixels of standard deviation at a short side of 512


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the argument DIR."""
    parser.add_argument("folder", metavar="DIR", type=any_path, help="pairs that belong together")


def run(options: argparse.Namespace) -> int:
    """Print the table for a folder of correct pairs. Returns 0; raises the errors of reading."""
    pairs = find_pairs(options.folder)
    if len(pairs) < 2:
        raise UsageError("One pair can't be swapped; name a folder with more of them.")
    settings = own_data_settings()
    limit = settings.max_megapixels
    photos, masks = [], []
    for pair in track(pairs, "Reading photos and masks", console=Console(stderr=True), transient=True):
        photos.append(small_grey(pair.image, limit))
        masks.append(agreement.fitted(mask_strip(pair.mask, limit), photos[-1]))
    print(f"{counted(len(pairs), 'pair')}.")
    _print_agreement(photos, masks)
    _print_photos(photos)
    _print_alike(photos, settings.near_duplicate_bits)
    return 0


def _print_agreement(photos: Sequence[Grey], masks: Sequence[NDArray[np.bool_]]) -> None:
    own = _scores([(photo, mask) for photo, mask in zip(photos, masks, strict=True)])
    swapped = _scores(_swapped(photos, masks))
    for limit in sorted({LEAST_AGREEMENT, *np.percentile(own, [0.5, 1, 2, 5]).round(1).tolist()}):
        mark = "  <- in use" if limit == LEAST_AGREEMENT else ""
        caught = np.mean(swapped < limit) if len(swapped) else float("nan")
        print(f"agreement below {limit:4.1f}: {np.mean(own < limit):.1%} of pairs, {caught:.1%} of swapped masks{mark}")
    print(f"{len(swapped)} swapped masks of the same size were tried.")


def _swapped(photos: Sequence[Grey], masks: Sequence[NDArray[np.bool_]]) -> list[tuple[Grey, NDArray[np.bool_]]]:
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, photo in enumerate(photos):
        by_size.setdefault(photo.shape, []).append(index)
    found = []
    for group in by_size.values():
        for step in range(1, min(_SWAPS + 1, len(group))):
            found += [(photos[one], masks[group[(at + step) % len(group)]]) for at, one in enumerate(group)]
    return found


def _scores(pairs: Sequence[tuple[Grey, NDArray[np.bool_]]]) -> NDArray[np.float64]:
    scores = [agreement.agreement(agreement.scaled(photo), mask) for photo, mask in pairs]
    return np.array([score for score in scores if score is not None])


def _print_photos(photos: Sequence[Grey]) -> None:
    values = np.array([measure(photo) for photo in photos])
    for name, column, limit, low in (
        ("brightness", 0, TOO_DARK, True),
        ("glare", 1, OVEREXPOSED, False),
        ("sharpness", 2, BLURRED, True),
    ):
        share = np.mean(values[:, column] < limit if low else values[:, column] > limit)
        spread = ", ".join(f"{value:.3g}" for value in np.percentile(values[:, column], [0, 1, 50, 99, 100]))
        print(f"{name}: {share:.1%} warned (limit {limit:g}); 0, 1, 50, 99 and 100 %: {spread}")
    for sigma in _BLURS:
        blurred = [np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(sigma))) for photo in photos]
        print(f"blurred by {sigma:g} pixels: {np.mean([measure(photo)[2] < BLURRED for photo in blurred]):.1%} warned")
    dark = [(photo * 0.2).astype(np.uint8) for photo in photos]
    print(f"a fifth as bright: {np.mean([measure(photo)[0] < TOO_DARK for photo in dark]):.1%} warned")
    bright = [np.minimum(photo.astype(np.float32) * 3, 255).astype(np.uint8) for photo in photos]
    print(f"three times as bright: {np.mean([measure(photo)[1] > OVEREXPOSED for photo in bright]):.1%} warned")


def _print_alike(photos: Sequence[Grey], limit: int) -> None:
    """Print how many altered photos are found among all, and how many different photos are taken for one scene."""
    known = [_look(photo) for photo in photos]
    for name, alter in {**ALTERATIONS, **HARD}.items():
        generator = np.random.default_rng(0)
        looks = [_look(alter(photo, generator)) for photo in photos]
        hashed = distances(to_bits(looks), to_bits(known)) <= limit
        found = [index in alike for index, alike in enumerate(alike_ones(looks, known, limit))]
        print(f"{name}: {np.mean(found):.1%} found as near-duplicates, {np.mean(hashed):.1%} by the hash alone")
    sketches = [parts(look)[1] for look in known]
    likenesses = np.array([likeness for _, _, likeness in matches(sketches, sketches, 0.7, same=True)])
    pairs = len(known) * (len(known) - 1) // 2
    for least in (0.75, 0.8, 0.85, LIKENESS):
        mark = "  <- in use" if least == LIKENESS else ""
        print(
            f"likeness of {least:g} or more: {np.sum(likenesses >= least)} of {pairs} pairs of different photos{mark}"
        )
    print(f"highest likeness of different photos: {likenesses.max(initial=0):.3f}")
    alike = groups([look[:HASH_DIGITS] for look in known], limit)
    print(f"photos within {limit} bits of another: {sum(len(group.members) for group in alike)}")


def _look(photo: Grey) -> str:
    # As `read_small` hands it to `wms.data.looks.look_of`, at a fraction of the size.
    small = Image.fromarray(photo).convert("RGB").reduce(max(1, min(photo.shape[:2]) // 128))
    return look_at(np.asarray(small))


COMMAND = Command((__doc__ or "").split("\n")[0], declare, run)

if __name__ == "__main__":
    sys.exit(run_renamed("wms.data.qa.calibrate", "data", "calibrate"))
