"""Renders a data card: as a self-contained HTML page, and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageFilter

from wms.data.card import COVERAGE_EDGES, MOST_PICTURES, DataCard
from wms.data.images import read_small
from wms.data.masks import read_mask
from wms.data.pairs import find_pairs
from wms.pages import render
from wms.pictures import data_uri, encoded
from wms.text import literal

SIDE: Final = 300  # pixels of a picture's longer side: 24 of them stay below a megabyte
OUTLINE: Final = (46, 204, 64)
SPLITS: Final = ("train", "val", "test", "excluded", "unassigned")
MOST_RESOLUTIONS: Final = 6


@dataclass(frozen=True)
class CardPicture:
    """A small photo of the page with the outline of the mask; `jpeg` is a file's bytes."""

    stem: str
    jpeg: bytes


@dataclass(frozen=True)
class HistogramBar:
    """A line of a bar chart: a label, photos in total and of the last merge, and the share of the longest bar, 0..1."""

    label: str
    all: int
    new: int
    share: float


def pictures(folder: Path, stems: Sequence[str]) -> tuple[CardPicture, ...]:
    """Pictures of the pairs `stems` in folder/images and folder/masks, in this order, at most MOST_PICTURES.

    Stems that the folder doesn't hold are skipped. Raises the errors of `find_pairs` and `read_image`.
    """
    pairs = {pair.stem: pair for pair in find_pairs(folder)}
    chosen = [pairs[stem] for stem in stems if stem in pairs][:MOST_PICTURES]
    return tuple(CardPicture(pair.stem, encoded(_outlined(pair.image, pair.mask), quality=80)) for pair in chosen)


def render_card(card: DataCard, shown: Sequence[CardPicture] = ()) -> str:
    """The card as an HTML page: every value escaped, every picture a data URI, nothing loaded."""
    total, newest = card.facts.total, card.facts.newest
    values = {
        "card": card,
        "headline": _headline(card),
        "facts": _facts(card),
        "unknown": _unknown(card),
        "splits": _bars(_ordered(total.splits), newest.splits),
        "resolutions": _bars(_largest(total.resolutions), newest.resolutions),
        "more_resolutions": max(0, len(total.resolutions) - MOST_RESOLUTIONS),
        "coverage": _bars(_binned(total.coverage), _binned(newest.coverage)),
        "pictures": [(picture.stem, data_uri(picture.jpeg)) for picture in shown],
    }
    return render(Path(__file__).with_name("card.html.j2"), values)


def render_markdown(card: DataCard) -> str:
    """The card for a pull request: GitHub's Markdown without pictures; names are escaped and can't add markup."""
    lines = [f"### Data set: {card.images:,} photos", "", _headline(card), ""]
    lines += ["| | all | new |", "|---|---:|---:|"]
    total, newest = card.facts.total, card.facts.newest
    rows = [(f"photos in {name}", count, newest.splits.get(name, 0)) for name, count in _ordered(total.splits).items()]
    lines += [f"| {literal(label)} | {count:,} | {new:,} |" for label, count, new in rows]
    lines += [f"| {label} | {every} | {new} |" for label, every, new in _facts(card)]
    resolutions = _largest(total.resolutions)
    lines += [f"| {label} pixels | {n:,} | {newest.resolutions.get(label, 0):,} |" for label, n in resolutions.items()]
    if note := _unknown(card):
        lines += ["", note]
    if card.manifests:
        lines += ["", ", ".join(f"{literal(kind)} `{oid}`" for kind, oid in card.manifests.items())]
    return "\n".join(lines) + "\n"


def _headline(card: DataCard) -> str:
    parts = [f"{card.added:,} added"]
    parts += [f"{card.replaced:,} replaced"] if card.replaced else []
    parts += [f"{card.removed:,} removed"] if card.removed else []
    return f"{card.before:,} photos before, {', '.join(parts)}, {card.images:,} now."


def _facts(card: DataCard) -> list[tuple[str, str, str]]:
    """Rows of label, value of all counted pairs, value of the newest."""
    both = (card.facts.total, card.facts.newest)
    rows = {
        "size of photos": [_size(f.image_bytes) for f in both],
        "size of masks": [_size(f.mask_bytes) for f in both],
        "mean coverage": [f"{f.mean_coverage:.2%}" if f.images else "none" for f in both],
        "resolutions": [f"{len(f.resolutions):,}" for f in both],
    }
    return [(label, every, new) for label, (every, new) in rows.items()]


def _unknown(card: DataCard) -> str:
    missing = card.images - card.facts.total.images
    if missing <= 0:
        return ""
    return (
        f"Sizes, resolutions and coverage are known of {card.facts.total.images:,} of {card.images:,} photos: "
        "the others were merged before there was a card."
    )


def _bars(every: Mapping[str, int], newest: Mapping[str, int]) -> list[HistogramBar]:
    longest = max(every.values(), default=0) or 1
    return [HistogramBar(label, count, newest.get(label, 0), count / longest) for label, count in every.items()]


def _ordered(splits: Mapping[str, int]) -> dict[str, int]:
    """Known splits first, in the usual order."""
    names = [name for name in SPLITS if name in splits] + sorted(splits.keys() - set(SPLITS))
    return {name: splits[name] for name in names}


def _largest(resolutions: Mapping[str, int]) -> dict[str, int]:
    ranked = sorted(resolutions.items(), key=lambda item: (-item[1], item[0]))
    return dict(ranked[:MOST_RESOLUTIONS])


def _binned(counts: Sequence[int]) -> dict[str, int]:
    """The coverage histogram with the names of the bins."""
    edges = [f"{edge:g}" for edge in COVERAGE_EDGES]
    between = [f"{low} to {high} %" for low, high in pairwise(edges)]
    names = [f"below {edges[0]} %", *between, f"{edges[-1]} % and more"]
    return dict(zip(names, counts, strict=True))


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def _outlined(photo: Path, mask: Path) -> Image.Image:
    """The photo, small, with a line around the mask, drawn outside so that the masked area stays visible."""
    image = Image.fromarray(read_small(photo, side=SIDE))
    image.thumbnail((SIDE, SIDE))
    # The reading strip is a few pixels high at this size: any covered pixel counts.
    share = Image.fromarray(read_mask(mask)).resize(image.size, Image.Resampling.BOX)
    inside = share.point([0] * 32 + [255] * 224)
    grown = inside.filter(ImageFilter.MaxFilter(5))
    line = np.asarray(grown).astype(bool) & ~np.asarray(inside).astype(bool)
    pixels = np.array(image)
    pixels[line] = OUTLINE
    return Image.fromarray(pixels)
