"""The ways in which a decoded photo becomes a network's input, by the name on the card of a model.

A network knows only the preparation of its training photos. So a version never changes and is never taken away: an old
model is scored, tried and served by the version on its own card. Another preparation is another entry of VERSIONS.
PREPROCESSING then names that entry, and `wms.data.cache` and `wms.training.evaluation` prepare the photos of a training
in the same way. Decoding is the same for all versions: they begin at the upright RGB photo of `wms.data.images`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wms.data.images import resize_image, to_input
from wms.errors import ModelDamagedError

Photo = NDArray[np.uint8]
Floats = NDArray[np.float32]
Window = tuple[float, float, float, float]


def _whole(logits: Floats, _height: float, _width: float) -> Floats:
    return logits


@dataclass(frozen=True)
class Preprocessing:
    """A version: three pure functions.

    `shrink` makes the picture that second looks cut their windows from: (H, W, 3) uint8 RGB and a side in pixels ->
    (h, w, 3) uint8. `to_input` makes the network's input of a photo or of a window (left, top, right, bottom in
    pixels): (H, W, 3) uint8 and the side S in pixels -> (1, 3, S, S) float32. `restore` undoes the geometry of
    `to_input`: logits (S, S), and height and width in pixels of what `to_input` was given -> logits that cover exactly
    that, from edge to edge, which a version with a margin cuts out.
    """

    shrink: Callable[[Photo, int], Photo]
    to_input: Callable[[Photo, int, Window | None], Floats]
    restore: Callable[[Floats, float, float], Floats] = _whole


FIRST_PREPROCESSING: Final = "exif-rgb-bilinear-1"
"""The version of a card that names none."""
PREPROCESSING: Final = FIRST_PREPROCESSING
"""The version of the models that this code trains."""

VERSIONS: Final[dict[str, Preprocessing]] = {
    FIRST_PREPROCESSING: Preprocessing(resize_image, lambda photo, size, window: to_input(photo, size, window=window)),
}


def preprocessing_of(name: str, model: str) -> Preprocessing:
    """The version with this name. Raises ModelDamagedError, naming the file `model`, for a name of newer code."""
    if name not in VERSIONS:
        raise ModelDamagedError(
            f"{model} prepares photos by {name}, which is newer than this version (it knows {', '.join(VERSIONS)}); "
            "update this clone with `git pull` and `wms upgrade`."
        )
    return VERSIONS[name]
