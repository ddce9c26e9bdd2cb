"""Lays two photos over each other: finds shots of one scene that differ by crop, shift, turn, mirror or light.

A sketch is a photo of 24 x 24 grey values, 4 bits each. Two sketches are laid over each other in three stages: a
correlation of coarse features over a few turns and scales, in all eight orientations, picks the candidates;
Gauss-Newton steps find the affine map between the two (Lucas and Kanade 1981, forward additive, from coarse to fine);
and the correlation of what both show, without the broad light and shadow, is the pair's likeness, -1..1.
"""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Match = tuple[int, int, float]
"""(Index of a query, index in the base, likeness)."""

SIDE: Final = 24
SKETCH_DIGITS: Final = SIDE * SIDE // 2 * 4 // 3
"""Characters of a sketch: 288 bytes in base64, a multiple of three, so without padding."""

_MOST: Final = 15  # the largest value of 4 bits
_LEAST_CANDIDATE: Final = 0.7  # of the coarse correlation; real bursts of docs/data-qa.md reach 0.73
_CANDIDATES: Final = 50  # pairs a photo that are aligned, the most promising first: bounds the time
_LEVELS: Final = ((1.2, 4), (0.6, 6))  # blur in pixels of the sketch, steps
_LEAST_AFTER_FIRST: Final = 0.5  # likeness below which the finer steps wouldn't help any more
_BROAD: Final = 2.4  # pixels; light and shadow broader than this don't count
_SHARED: Final = 0.5  # share of a sketch that both photos show, at least
_LARGEST: Final = (0.3, 0.3, 0.4)  # of an affine map: change of scale, of shear or turn, shift in half sides
_BATCH: Final = 512  # pairs aligned at once: bounds the memory
_BLOCK: Final = 64  # queries compared with the whole base at once


def sketch(photo: NDArray[np.uint8]) -> str:
    """The sketch of an upright photo (H, W, 3) or (H, W): SKETCH_DIGITS characters of base64."""
    small = Image.fromarray(photo).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, np.float32)
    low, high = np.percentile(grey, [1, 99])
    levels = np.rint(np.clip((grey - low) / max(high - low, 1), 0, 1) * _MOST).astype(np.uint8).reshape(-1, 2)
    return base64.b64encode((levels[:, 0] << 4 | levels[:, 1]).tobytes()).decode()


def matches(queries: Sequence[str], base: Sequence[str], least: float, *, same: bool = False) -> Iterator[Match]:
    """Pairs of a query's sketch and one of the base whose likeness is at least `least`.

    With `same` the base begins with the queries themselves, and a query is compared with later entries only: each pair
    comes once, and none with itself.
    """
    if not queries or not base:
        return
    levels, asked = _unpack(base), _unpack(queries)
    known = np.concatenate([_features(_floats(levels[at : at + _BATCH])) for at in range(0, len(levels), _BATCH)])
    for start in range(0, len(asked), _BLOCK):
        block = _floats(asked[start : start + _BLOCK])
        variants = _variants(block)
        best = _best(variants, known)
        if same:
            best[np.arange(len(base))[None, :] <= start + np.arange(len(block))[:, None]] = -1
        rows, columns = _promising(best)
        for at in range(0, len(rows), _BATCH):
            row, column = rows[at : at + _BATCH], columns[at : at + _BATCH]
            way = np.einsum("vpd,pd->pv", variants[:, row], known[column]).argmax(1)
            likeness = _likeness(_floats(levels[column]), block[row], way)
            for hit in np.flatnonzero(likeness >= least):
                yield start + int(row[hit]), int(column[hit]), float(likeness[hit])


def _unpack(sketches: Sequence[str]) -> NDArray[np.uint8]:
    """Sketches as (N, SIDE, SIDE) of 0..15."""
    raw = np.frombuffer(b"".join(base64.b64decode(one) for one in sketches), np.uint8)
    return np.stack([raw >> 4, raw & _MOST], axis=-1).reshape(-1, SIDE, SIDE)


def _floats(levels: NDArray[np.uint8]) -> Floats:
    return (levels / _MOST).astype(np.float32)


def _oriented(sketches: Floats, way: int) -> Floats:
    """Sketches (N, SIDE, SIDE) turned by `way` % 4 quarters, and mirrored from 4 on."""
    turned = np.rot90(sketches, way % 4, (1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if way >= 4 else turned)


def _tries() -> Floats:
    """The affine maps (15, 6) by which candidates are looked for: turned by 4 degrees, 8 or 19 % nearer, or not."""
    found = []
    for degrees, scale in itertools.product((0, -4, 4), (1, 0.92, 1.08, 0.84, 1.19)):
        cosine, sine = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
        found.append((cosine - 1, -sine, 0, sine, cosine - 1, 0))
    return np.array(found, np.float32)


_TRIES: Final = _tries()


def _features(sketches: Floats) -> Floats:
    """Coarse features (N, 144) of unit length: means of 2 x 2 pixels between two blurs."""
    half = SIDE // 2
    band = (_blurred(sketches, 1) - _blurred(sketches, 3)).reshape(-1, half, 2, half, 2).mean((2, 4))
    flat = band.reshape(len(sketches), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return np.asarray(flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6), np.float32)


def _variants(queries: Floats) -> Floats:
    """Coarse features of the queries in each way, which is orientation * 15 + try: (120, Q, 144)."""
    found = []
    for orientation in range(8):
        turned = _oriented(queries, orientation)
        for one in _TRIES:
            warped, _ = _sampled(turned, np.broadcast_to(one, (len(turned), 6)))
            found.append(_features(warped.reshape(turned.shape)))
    return np.stack(found)


def _best(variants: Floats, known: Floats) -> Floats:
    """The best coarse correlation of each query with each of the base (Q, N), over all ways."""
    best: Floats = variants[0] @ known.T
    found = np.empty_like(best)
    for variant in variants[1:]:
        np.maximum(best, np.matmul(variant, known.T, out=found), out=best)
    return best


def _promising(best: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the candidates: at most _CANDIDATES of each row."""
    limit = np.full((len(best), 1), _LEAST_CANDIDATE, np.float32)
    if best.shape[1] > _CANDIDATES:
        limit = np.maximum(limit, np.partition(best, -_CANDIDATES, axis=1)[:, -_CANDIDATES, None])
    rows, columns = np.nonzero(best >= limit)
    return rows, columns


def _likeness(one: Floats, other: Floats, way: NDArray[np.int64]) -> Floats:
    """The likeness of pairs (P, SIDE, SIDE); `way` tells in which orientation and map to begin."""
    turned = np.empty_like(other)
    for orientation in np.unique(way // len(_TRIES)):
        its = way // len(_TRIES) == orientation
        turned[its] = _oriented(other[its], int(orientation))
    maps = _TRIES[way % len(_TRIES)]
    result = np.full(len(one), -1, np.float32)
    left = np.arange(len(one))
    for blur, steps in _LEVELS:
        if not len(left):
            break
        maps[left] = _aligned(_blurred(one[left], blur), _blurred(turned[left], blur), maps[left], steps)
        result[left] = _correlation(one[left], turned[left], maps[left])
        left = left[result[left] >= _LEAST_AFTER_FIRST]
    return result


def _aligned(one: Floats, other: Floats, maps: Floats, steps: int) -> Floats:
    """The affine maps (P, 6) after some Gauss-Newton steps that lay `other` over `one`, whatever gain and offset."""
    slopes_y, slopes_x = (np.asarray(slope, np.float32) for slope in np.gradient(other, axis=(1, 2)))
    height, width = _GRID
    flat, half = one.reshape(len(one), -1), (SIDE - 1) / 2
    for _ in range(steps):
        seen, shared = _sampled(other, maps)
        over_x, over_y = _sampled(slopes_x, maps)[0] * half, _sampled(slopes_y, maps)[0] * half
        centred, spread = _standard(seen, shared)
        target, target_spread = _standard(flat, shared)
        rest = target / target_spread - centred / spread
        slopes = np.stack([over_x * width, over_x * height, over_x, over_y * width, over_y * height, over_y], 1)
        slopes = slopes * (shared / spread)[:, None]
        slopes -= slopes.sum(2, keepdims=True) / shared.sum(1)[:, None, None] * shared[:, None]
        normal = slopes @ slopes.transpose(0, 2, 1)
        # A little of Levenberg's damping: a wall without any edge has no unique map.
        damping = 0.02 * np.trace(normal, axis1=1, axis2=2) / 6 + 1e-6
        normal += damping[:, None, None] * np.eye(6, dtype=np.float32)
        change = np.linalg.solve(normal, slopes @ rest[..., None])[..., 0]
        maps = np.asarray(np.clip(maps + change, -0.45, 0.45), np.float32)
    return maps


def _correlation(one: Floats, other: Floats, maps: Floats) -> Floats:
    """The correlation of what both show without broad light and shadow; -1 where a map isn't a burst's."""
    seen, shared = _sampled(other - _blurred(other, _BROAD), maps)
    values, spread = _standard(seen, shared)
    target, target_spread = _standard((one - _blurred(one, _BROAD)).reshape(len(one), -1), shared)
    found = (values * target).sum(1) / (spread * target_spread)[:, 0] / np.maximum(shared.sum(1), 1)
    scale, shear, shift = (np.abs(maps[:, part]).max(1) for part in ([0, 4], [1, 3], [2, 5]))
    plausible = (scale < _LARGEST[0]) & (shear < _LARGEST[1]) & (shift < _LARGEST[2])
    return np.where(plausible & (shared.mean(1) >= _SHARED), found, -1).astype(np.float32)


def _standard(values: Floats, shared: Floats) -> tuple[Floats, Floats]:
    """Values (P, N) less their mean where `shared` is 1, 0 elsewhere; and their standard deviation (P, 1)."""
    count = np.maximum(shared.sum(1, keepdims=True), 1)
    centred = (values - (values * shared).sum(1, keepdims=True) / count) * shared
    return centred, np.sqrt((centred**2).sum(1, keepdims=True) / count) + 1e-6


def _grid() -> tuple[Floats, Floats]:
    """Height and width of each pixel (N,) from the centre, in half sides."""
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    height, width = np.meshgrid(axis, axis, indexing="ij")
    return height.ravel(), width.ravel()


_GRID: Final = _grid()


def _sampled(sketches: Floats, maps: Floats) -> tuple[Floats, Floats]:
    """Sketches (P, SIDE, SIDE) seen through affine maps (P, 6): bilinear (P, N), and 1 where inside, else 0."""
    height, width = _GRID
    half = (SIDE - 1) / 2
    x = ((1 + maps[:, :1]) * width + maps[:, 1:2] * height + maps[:, 2:3] + 1) * half
    y = (maps[:, 3:4] * width + (1 + maps[:, 4:5]) * height + maps[:, 5:6] + 1) * half
    inside = (x >= -1e-3) & (x <= SIDE - 1 + 1e-3) & (y >= -1e-3) & (y <= SIDE - 1 + 1e-3)
    x, y = np.clip(x, 0, SIDE - 1.001), np.clip(y, 0, SIDE - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    right, below = (x - left).astype(np.float32), (y - top).astype(np.float32)
    flat = sketches.reshape(-1)
    corner = np.arange(len(sketches), dtype=np.int32)[:, None] * (SIDE * SIDE) + top * SIDE + left
    upper = flat[corner] * (1 - right) + flat[corner + 1] * right
    lower = flat[corner + SIDE] * (1 - right) + flat[corner + SIDE + 1] * right
    return upper * (1 - below) + lower * below, inside.astype(np.float32)


def _blurred(sketches: Floats, sigma: float) -> Floats:
    lines = _blur_lines(sigma)
    return np.asarray(lines @ sketches @ lines.T, np.float32)


@cache
def _blur_lines(sigma: float) -> Floats:
    """The matrix (SIDE, SIDE) that blurs along an axis; beyond its border a sketch goes on as it ends."""
    reach = round(4 * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    lines = np.zeros((SIDE, SIDE))
    for row in range(SIDE):
        np.add.at(lines[row], np.clip(np.arange(row - reach, row + reach + 1), 0, SIDE - 1), weights / weights.sum())
    return lines.astype(np.float32)
