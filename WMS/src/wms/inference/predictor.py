"""Finds the reading strip on a photo with ONNX Runtime; starts without torch.

Shared by `wms predict` and the service, so that both give the same mask for the same photo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from wms.data.images import as_array
from wms.data.masks import black_white
from wms.data.preprocessing import FIRST_PREPROCESSING, Photo, Window, preprocessing_of
from wms.errors import ModelDamagedError, ModelNotFoundError
from wms.files import parse_json, sha256_bytes, sha256_file
from wms.formats import refuse_newer
from wms.inference.onnx_file import require_self_contained
from wms.inference.runtime import onnxruntime
from wms.inference.second_look import Floats, Looked, Mask, find_box, one_strip, sigmoid
from wms.metrics import is_strip
from wms.pictures import encoded
from wms.regular import read_regular

WEIGHTS: Final = "production.pth"
ONNX: Final = "production.onnx"
CARD: Final = "production.json"
PREDICTED: Final = "wms predict"
"""The title in the file of each predicted mask."""

FIRST_STRIDE: Final = 16
"""The stride of a model that names none: only models with another stride name theirs."""

_TRAIN: Final = "run `wms train` or `make demo` to train one, then name its folder with --model"
_RESTORE: Final = "restore the folder's files together, or run `wms train` again"

_SETTINGS: Final = frozenset(
    f"wms.{name}"
    for name in (
        "weights_sha256", "input_size", "threshold", "mirror", "second_look", "detail", "one_strip", "stride",
        "preprocessing",
    )
)  # fmt: skip
"""A model's own record of its settings. Each means for ever what it means today; another way to look gets a new one."""

_TRUTHS: Final = {"true": True, "false": False}

# Each view undoes itself. Batches are (N, C, H, W): mirrored along width, along height, then transposed.
_VIEWS: Final[tuple[Callable[[Floats], Floats], ...]] = (
    lambda x: x,
    lambda x: x[..., ::-1],
    lambda x: x[..., ::-1, :],
    lambda x: x.swapaxes(-1, -2),
)


class Predictor:
    """A loaded model. Threads may share a predictor: ONNX Runtime's sessions allow that and nothing else changes.

    `input_size` (pixels), `threshold` (probability), `mirror`, `second_look` (share of the window that the strip
    takes, 0 without a second look), `detail` (pixels, the side of the photo that the window is cut from), `one_strip`
    (whether a single area is strip), `stride` (pixels), `preprocessing` (a name of `wms.data.preprocessing`),
    `weights_sha256` and `onnx_sha256` describe the model, which is run as its files say, whatever the newest models do;
    `card` is the content of production.json, empty without a card.

    >>> predictor = Predictor(Path("WMS/models"))  # doctest: +SKIP
    >>> predictor.predict(read_image(Path("meter.jpg"))).shape  # doctest: +SKIP
    (1200, 1600)
    """

    def __init__(
        self,
        folder_or_onnx: Path,
        *,
        threads: int | None = None,
        admit: Callable[[str, Mapping[str, Any]], object] = lambda *_: None,
    ) -> None:
        """Load production.onnx of a folder, or the .onnx file itself, which needs no other file.

        `threads` limits ONNX Runtime's threads for a prediction; None leaves the choice to ONNX Runtime. `admit` gets
        the SHA-256 of the .onnx file and the card before a byte of the file is parsed, and may raise. A card or weights
        of the same name beside the model must match the model. Raises ModelNotFoundError, ModelDamagedError, and
        ValueError for fewer than 1 thread.
        """
        path = folder_or_onnx
        if path.is_dir() or path.suffix != ".onnx":
            path = path / ONNX
        content = _read_model(path)
        self.path = path
        self.onnx_sha256 = sha256_bytes(content)
        self.card = read_card(path.with_suffix(".json"))
        if self.card and self.card.get("onnx_sha256") != self.onnx_sha256:
            raise ModelDamagedError(f"{path} isn't the file that {CARD} beside it describes; {_RESTORE}.")
        admit(self.onnx_sha256, self.card)
        self._session = open_session(content, str(path), threads=threads)
        metadata = self._session.get_modelmeta().custom_metadata_map
        _refuse_unknown(metadata, path)
        try:
            self.input_size = int(metadata["wms.input_size"])
            self.threshold = float(metadata["wms.threshold"])
            self.mirror = _TRUTHS[metadata["wms.mirror"]]
            # Only a model that was made for them names these: `second_look` is the share of a window's side.
            self.one_strip = _TRUTHS[metadata.get("wms.one_strip", "false")]
            self.second_look = float(metadata.get("wms.second_look", 0))
            self.detail = int(metadata["wms.detail"]) if self.second_look else 0
            self.stride = int(metadata.get("wms.stride", FIRST_STRIDE))
            self.weights_sha256 = str(metadata["wms.weights_sha256"])
        except (KeyError, ValueError) as error:
            raise ModelDamagedError(
                f"{path} has no valid record of its own settings ({error}); export it with "
                f"`wms versions export {path.parent}`."
            ) from error
        self.preprocessing = _preprocessing(metadata, self.card, path)
        self._prepared = preprocessing_of(self.preprocessing, str(path))
        _check_weights(path.with_suffix(".pth"), self.weights_sha256, self.card)

    def logits(self, batch: Floats) -> Floats:
        """Raw output for (N, 3, H, W) float32 RGB in 0..1, H and W multiples of `stride`: (N, 1, H, W) float32.

        Raises ValueError for another shape or dtype.
        """
        if batch.ndim != 4 or batch.shape[1] != 3 or batch.dtype != np.float32:
            raise ValueError(f"expected (N, 3, H, W) float32, but got {batch.shape} {batch.dtype}")
        if batch.shape[2] % self.stride or batch.shape[3] % self.stride:
            raise ValueError(f"height {batch.shape[2]} and width {batch.shape[3]} must be multiples of {self.stride}")
        found: Floats = self._session.run(["logits"], {"image": batch})[0]
        return found

    def look(self, image: NDArray[np.uint8]) -> Looked:
        """The network's logits for a photo (H, W, 3) uint8 RGB, averaged over the views, not yet enlarged."""
        first = self._seen(image)
        if not self.second_look:
            return Looked(first)
        box = find_box(first, threshold=self.threshold, fill=self.second_look)
        if box is None:
            return Looked(first)
        detail = self._prepared.shrink(image, self.detail)
        return Looked(first, box, self._seen(detail, box.pixels(detail)))

    def probabilities(self, image: NDArray[np.uint8]) -> Floats:
        """Each pixel's probability of being strip: (H, W, 3) uint8 RGB -> (H, W) float32 in 0..1."""
        looked = self.look(image)
        # Logits, not probabilities, are enlarged: they are smooth across the strip's edge.
        height, width = image.shape[:2]
        values = as_array(Image.fromarray(looked.first).resize((width, height), Image.Resampling.BILINEAR))
        looked.together(values, out=values)
        return sigmoid(values, out=values)

    def predict(self, image: NDArray[np.uint8], threshold: float | None = None) -> Mask:
        """The strip: (H, W, 3) uint8 RGB -> (H, W) bool, above `threshold` (None: the model's)."""
        probabilities = self.probabilities(image)
        return self.strip(probabilities, threshold)

    def strip(self, probabilities: Floats, threshold: float | None = None) -> Mask:
        """The strip's pixels (H, W) above a threshold, all or a single area by the model's rule: (H, W) bool."""
        found: Mask = is_strip(probabilities, self.threshold if threshold is None else threshold)
        return one_strip(found, probabilities) if self.one_strip else found

    def _seen(self, picture: Photo, window: Window | None = None) -> Floats:
        """The mean logits that cover a picture (H, W, 3) uint8, or a window of it: (S, S) float32."""
        left, top, right, bottom = window or (0.0, 0.0, float(picture.shape[1]), float(picture.shape[0]))
        batch = self._prepared.to_input(picture, self.input_size, window)
        return self._prepared.restore(self._mean(batch), bottom - top, right - left)

    def _mean(self, batch: Floats) -> Floats:
        """Logits averaged over the views: (1, 3, S, S) -> (S, S) float32."""
        views = _VIEWS if self.mirror else _VIEWS[:1]
        stack = self.logits(np.concatenate([view(batch) for view in views]))
        undone = [view(stack[i : i + 1]) for i, view in enumerate(views)]
        mean: Floats = np.concatenate(undone).mean(axis=0, dtype=np.float32)[0]
        return mean


def mask_file(mask: Mask) -> bytes:
    """A predicted mask (H, W) bool as a PNG file's bytes: mode L, 255 on the strip, else 0; its title is PREDICTED."""
    title = PngInfo()
    title.add_text("Title", PREDICTED)
    return encoded(Image.fromarray(black_white(mask)), "PNG", pnginfo=title)


def open_session(content: bytes, name: str, *, threads: int | None = None) -> Any:
    """Open an ONNX Runtime session on the CPU from a file's bytes; errors call the file `name`.

    Raises ModelDamagedError for bytes that aren't a model or name another file, ValueError for fewer than 1 thread.
    """
    require_self_contained(content, name)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # warnings about the host's CPUs are no user's business
    # Beside other programs a thread may wait for its core: small pieces let the others take over its work, and threads
    # that have none don't spin on cores that others need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.dynamic_block_base", "4")
    if threads is not None:
        if threads < 1:
            raise ValueError(f"{threads} threads can't predict; use 1 or more")
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes have no common base and lie in a private module
        raise ModelDamagedError(f"{name} can't be read as an ONNX model; {_RESTORE}.") from error


def read_card(path: Path) -> Mapping[str, Any]:
    """Read a card; empty without a file. Raises ModelDamagedError for content that isn't a JSON object."""
    try:
        card: Any = parse_json(read_regular(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelDamagedError(f"{path} can't be read as JSON ({error}); {_RESTORE}.") from error
    if not isinstance(card, dict) or "weights_sha256" not in card:
        raise ModelDamagedError(f"{path} doesn't describe a model; {_RESTORE}.")
    refuse_newer(card, str(path), ModelDamagedError)
    return card


def _read_model(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        if path.with_suffix(".pth").is_file() and not path.exists():
            raise ModelNotFoundError(
                f"No model at {path}, but its weights are there: run "
                f"`wms versions export {path.parent}` to export them."
            ) from error
        reason = "" if isinstance(error, FileNotFoundError) else f" that can be read ({error.strerror})"
        raise ModelNotFoundError(f"No model at {path}{reason}: {_TRAIN}.") from error


def _refuse_unknown(metadata: Mapping[str, str], path: Path) -> None:
    """Refuse a model with a setting of newer code: without it, the model would be run in another way than it asks."""
    if unknown := sorted(key for key in metadata if key.startswith("wms.") and key not in _SETTINGS):
        raise ModelDamagedError(
            f"{path} asks for {unknown[0].removeprefix('wms.')}, which is newer than this version; update this clone "
            "with `git pull` and `wms upgrade`."
        )


def _preprocessing(metadata: Mapping[str, str], card: Mapping[str, Any], path: Path) -> str:
    """The name that the card gives, or without a card the model's own record; both are the first where they say none.

    Raises ModelDamagedError where the two know different versions.
    """
    own = metadata.get("wms.preprocessing", FIRST_PREPROCESSING)
    named = str(card.get("preprocessing", FIRST_PREPROCESSING)) if card else own
    preprocessing_of(named, str(path.with_suffix(".json")))  # a name of newer code says more than that the two differ
    if named != own:
        raise ModelDamagedError(
            f"{path.with_suffix('.json')} names the preprocessing {named}, but {ONNX} was made with {own}; {_RESTORE}."
        )
    return own


def _check_weights(path: Path, sha256: str, card: Mapping[str, Any]) -> None:
    """Refuse differing weights, though prediction doesn't need them: a mismatch means that files were mixed up."""
    if card and card["weights_sha256"] != sha256:
        raise ModelDamagedError(f"{path.with_suffix('.json')} names other weights than {ONNX}; {_RESTORE}.")
    if path.is_file() and sha256_file(path) != sha256:
        raise ModelDamagedError(f"{path} holds other weights than the model beside it, or is damaged; {_RESTORE}.")
