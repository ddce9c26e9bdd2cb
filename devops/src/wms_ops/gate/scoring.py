"""The scoring of models on photos by ONNX Runtime, with the arithmetic of wms.training.evaluation but without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wms.config import DataConfig
from wms.data.masks import MASK_THRESHOLD, resize_mask
from wms.data.pairs import Pair, read_pair
from wms.data.versions import DataItem
from wms.errors import WmsError
from wms.inference.predictor import Predictor
from wms.inference.second_look import sigmoid
from wms.metrics import measure
from wms.registry.gate import refusal
from wms.registry.gate_types import MetricPair, ScoredImage

Mask = NDArray[np.bool_]
_AHEAD: Final = 2  # photos decoded while others are scored


def enlarge(logits: NDArray[np.float32], grid: int) -> NDArray[np.float32]:
    """Resize (S, S) to (grid, grid) float32 bilinearly, as torch's interpolate with align_corners=False."""
    return _along_rows(_along_rows(logits, grid).T, grid).T


def predicted_mask(predictor: Predictor, photo: NDArray[np.uint8], grid: int) -> Mask:
    """Return a model's mask of a photo (H, W, 3): (grid, grid) bool. Raises CannotDecideError for NaN."""
    looked = predictor.look(photo)
    if not all(np.isfinite(logits).all() for logits in (looked.first, looked.second) if logits is not None):
        raise refusal(
            f"{predictor.path.parent.name} computes values that aren't numbers (NaN); train that model again."
        )
    values = looked.together(enlarge(looked.first, grid))
    return predictor.strip(sigmoid(values))


def true_mask(mask: NDArray[np.uint8], grid: int) -> Mask:
    """Return a mask (H, W) of 0 and 255 on the grid: (grid, grid) bool."""
    return resize_mask(mask, grid) > MASK_THRESHOLD


def score_images(
    files: Mapping[DataItem, Pair],
    challenger: Predictor,
    champion: Predictor | None,
    *,
    data: DataConfig,
    grid: int,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[ScoredImage, ...]:
    """Score both models on every test pair; each photo is decoded once.

    `on_progress` gets (done, total). Raises CannotDecideError for an undecodable photo, and for NaN.
    """
    items = list(files)
    found: list[ScoredImage] = []
    # One thread decodes the next photos while these are scored; at most _AHEAD of them wait in memory.
    with ThreadPoolExecutor(1) as reader:
        waiting = [reader.submit(_read, files[item], data) for item in items[:_AHEAD]]
        for index, item in enumerate(items):
            photo, mask = waiting.pop(0).result()
            waiting += [
                reader.submit(_read, files[later], data) for later in items[index + _AHEAD : index + _AHEAD + 1]
            ]
            found.append(_scored(item, photo, mask, challenger=challenger, champion=champion, grid=grid))
            on_progress(index + 1, len(items))
    return tuple(found)


def _scored(
    item: DataItem,
    photo: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    *,
    challenger: Predictor,
    champion: Predictor | None,
    grid: int,
) -> ScoredImage:
    truth = true_mask(mask, grid)

    def score(predictor: Predictor) -> MetricPair:
        marked = predicted_mask(predictor, photo, grid)
        return MetricPair({name: float(value) for name, value in measure(marked, truth).items()}, float(marked.mean()))

    height, width = mask.shape
    return ScoredImage(
        stem=item.stem,
        image_sha256=item.image_sha256,
        width=width,
        height=height,
        coverage=float(truth.mean()),
        challenger=score(challenger),
        champion=score(champion) if champion else None,
    )


def _read(pair: Pair, data: DataConfig) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    try:
        return read_pair(pair, data)
    except WmsError as error:
        raise refusal(f"a test image can't be read. {error}") from error


def _along_rows(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Resize the first axis: each output pixel's centre, clamped to the input's, lies between two input neighbours."""
    count = len(values)
    centres = np.maximum((np.arange(size, dtype=np.float32) + 0.5) * np.float32(count / size) - 0.5, 0)
    below = np.minimum(centres.astype(np.int64), count - 1)
    above = np.minimum(below + 1, count - 1)
    share = (centres - below).astype(np.float32)[:, None]
    return np.asarray(values[below] * (1 - share) + values[above] * share, dtype=np.float32)
