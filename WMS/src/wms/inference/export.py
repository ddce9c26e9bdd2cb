"""Writes a trained network as the three files that prediction and serving need.

production.pth is the plain state_dict, production.onnx is run by the predictor, production.json (the card)
says which bytes belong together and where they come from. `wms versions export FOLDER` makes the
other two from production.pth.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wms.data.preprocessing import FIRST_PREPROCESSING, PREPROCESSING, preprocessing_of
from wms.errors import ModelDamagedError, ModelNotFoundError, from_os_error, refuse_special
from wms.files import sha256_bytes, sha256_file, write_atomic
from wms.inference.predictor import (
    CARD,
    FIRST_STRIDE,
    ONNX,
    WEIGHTS,
    open_session,
    read_card,
)
from wms.json_text import to_json
from wms.metrics import THRESHOLD
from wms.models import Architecture, model_of, recognise
from wms.start import run_renamed

OPSET: Final = 17
TOLERANCE: Final = 1e-4
"""Largest accepted difference between a logit of torch and of ONNX Runtime."""

DEFAULT_INPUT_SIZE: Final = 256


@dataclass(frozen=True)
class ExportedModel:
    """An export's paths, the SHA-256 of its parts, and its largest difference from torch in logits."""

    weights: Path
    onnx: Path
    card: Path
    weights_sha256: str
    onnx_sha256: str
    max_difference: float


def export_model(
    state_dict: Mapping[str, Tensor],
    folder: Path,
    *,
    model: Architecture,
    input_size: int,
    threshold: float,
    mirror: bool,
    about: Mapping[str, object],
    preprocessing: str = PREPROCESSING,
    second_look: float = 0.0,
    detail: int = 0,
    one_strip: bool = False,
) -> ExportedModel:
    """Verify a network's ONNX form against torch, then write production.pth, .onnx and .json into `folder`.

    `input_size` is the side in pixels that photos are resized to, `threshold` the probability above which
    a pixel is strip, `mirror` whether predictions average over mirrored views; `about` joins the card unchanged.
    `preprocessing` names the preparation of the training photos. With `second_look` predictions look
    again at a window, of whose side the strip takes that share, cut from the photo at `detail` pixels.
    With `one_strip` only the area with the most probability is strip.
    The files are moved into place with the card last: a kill leaves the old files, or files whose hashes differ from
    their card. Equal weights and settings give equal bytes. torch's random state stays untouched.

    Raises ModelDamagedError for weights that don't fit `model` or whose ONNX form computes something else,
    ValueError for settings out of range, DiskFullError or UnwritableError.
    """
    network = _build(state_dict, model)
    preprocessing_of(preprocessing, str(folder / CARD))
    if input_size < model.stride or input_size % model.stride or not 0 < threshold < 1:
        raise ValueError(f"input_size {input_size} or threshold {threshold} is out of range")
    if not 0 <= second_look < 1 or (second_look and detail < 1):
        raise ValueError(f"second_look {second_look} or detail {detail} is out of range")
    weights = _weights_bytes(network)
    weights_sha256 = sha256_bytes(weights)
    settings: dict[str, object] = {"input_size": input_size, "threshold": threshold, "mirror": mirror}
    if second_look:  # a model without one is written as it always was
        settings |= {"second_look": second_look, "detail": detail}
    if one_strip:
        settings["one_strip"] = True
    if preprocessing != FIRST_PREPROCESSING:
        settings["preprocessing"] = preprocessing
    if model.stride != FIRST_STRIDE:
        settings["stride"] = model.stride
    graph = _onnx_bytes(network, model.stride, {"weights_sha256": weights_sha256, **settings})
    onnx_sha256 = sha256_bytes(graph)
    difference = _verify(network, graph, input_size, model.stride)
    facts = {
        **settings,
        "preprocessing": preprocessing,
        "weights_sha256": weights_sha256,
        "onnx_sha256": onnx_sha256,
        **model.model_dump(mode="json"),
        "parameters": model.parameters,
    }
    if taken := sorted(facts.keys() & about.keys()):
        raise ValueError(f"about must not hold {', '.join(taken)}: the export itself writes them")
    card = to_json({**about, **facts}, indent=2, sort_keys=True, ensure_ascii=False)
    _place(folder, {WEIGHTS: weights, ONNX: graph, CARD: f"{card}\n".encode()})
    return ExportedModel(folder / WEIGHTS, folder / ONNX, folder / CARD, weights_sha256, onnx_sha256, difference)


def export_again(folder: Path) -> ExportedModel:
    """Export `folder`/production.pth again, with the settings of its card, or the defaults without a card.

    Raises ModelNotFoundError, ModelDamagedError for weights that can't be read or differ from the card's, and the
    errors of `export_model`.
    """
    path = folder / WEIGHTS
    state = _read_weights(path)
    card = read_card(path.with_suffix(".json"))
    if card and card.get("weights_sha256") != sha256_file(path):
        raise ModelDamagedError(
            f"{path} isn't the file that {CARD} beside it describes; "
            f"restore it, or delete {CARD} to export it with default settings."
        )
    model = _model_of(card, state, path)
    written = ("weights_sha256", "onnx_sha256", "parameters", "stride", *type(model).model_fields)
    about = {key: value for key, value in card.items() if key not in written}
    return export_model(
        state,
        path.parent,
        model=model,
        input_size=int(about.pop("input_size", DEFAULT_INPUT_SIZE)),
        threshold=float(about.pop("threshold", THRESHOLD)),
        mirror=bool(about.pop("mirror", False)),
        preprocessing=str(about.pop("preprocessing", FIRST_PREPROCESSING if card else PREPROCESSING)),
        second_look=float(about.pop("second_look", 0)),
        detail=int(about.pop("detail", 0)),
        one_strip=bool(about.pop("one_strip", False)),
        about=about,
    )


def _build(state_dict: Mapping[str, Tensor], model: Architecture) -> nn.Module:
    """Build the network with a copy of these weights on the CPU: contiguous, float32 (counters stay integers)."""
    plain = {
        key: value.detach().to("cpu", torch.float32 if value.is_floating_point() else value.dtype)
        for key, value in state_dict.items()
    }
    # On "meta" nothing is initialised, so an export between two epochs draws no random number.
    with torch.device("meta"):
        network = model.build()
    try:
        # A clone also drops the rest of a storage that a tensor is only a view of.
        contiguous = {key: value.clone(memory_format=torch.contiguous_format) for key, value in plain.items()}
        network.load_state_dict(contiguous, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelDamagedError(
            f"The weights don't fit a {model.described} ({reason}); export them with the settings they were trained "
            "with."
        ) from error
    return network.eval()


def _weights_bytes(network: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(network.state_dict()), buffer)
    return buffer.getvalue()


def _onnx_bytes(network: nn.Module, stride: int, metadata: Mapping[str, object]) -> bytes:
    axes = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
        # The exporter that replaces this one needs onnxscript, a dependency without another use here.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, 4 * stride, 4 * stride),),
            str(Path(scratch) / ONNX),
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": axes, "logits": axes},
            opset_version=OPSET,
            dynamo=False,
        )
        graph = onnx.load(str(Path(scratch) / ONNX))
    values = {key: value if isinstance(value, str) else to_json(value) for key, value in metadata.items()}
    onnx.helper.set_model_props(graph, {f"wms.{key}": value for key, value in values.items()})
    content: bytes = graph.SerializeToString(deterministic=True)
    return content


def _verify(network: nn.Module, graph: bytes, input_size: int, stride: int) -> float:
    """The largest difference in logits between both forms; raises ModelDamagedError if too large or NaN.

    float32 rounds in proportion, so a probe whose logits exceed 1 is measured by its largest logit: noise and
    checkerboards, which no photo resembles, can drive a badly trained network far out.
    """
    session = open_session(graph, "The exported model")
    differences, shares = [0.0], [0.0]
    for batch in _probes(input_size, 4 * stride):
        with torch.no_grad():
            expected = network(torch.from_numpy(batch)).numpy()
        found = session.run(["logits"], {"image": batch})[0]
        differences.append(float(np.abs(found - expected).max()))
        shares.append(differences[-1] / max(1.0, float(np.abs(expected).max())))
    worst, share = float(np.max(differences)), float(np.max(shares))  # unlike max(), NaN wins here
    if not share <= TOLERANCE:
        raise ModelDamagedError(
            f"The exported model's logits differ from torch's by {worst:.1e}, {share:.1e} of the largest logit, more "
            f"than {TOLERANCE:.0e}; nothing was written. Look for NaN or very large weights, then train again."
        )
    return worst


def _probes(size: int, other: int) -> Iterator[NDArray[np.float32]]:
    """Test inputs (N, 3, H, W): noise, black, white, a ramp and a checkerboard, then two of another size."""
    noise = np.random.default_rng(0)
    row = np.arange(size)
    ramp = np.broadcast_to(row / size, (1, 3, size, size))
    board = np.broadcast_to((row[:, None] // 8 + row // 8) % 2, (1, 3, size, size))
    for flat in (noise.random((1, 3, size, size)), np.zeros_like(ramp), np.ones_like(ramp), ramp, board):
        yield np.ascontiguousarray(flat, dtype=np.float32)
    # Another size and a batch of two: the graph's axes must be dynamic.
    yield noise.random((2, 3, other, other + other // 2), dtype=np.float32)


def _place(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write all files under temporary names, then rename them in this order."""
    for name in contents:
        refuse_special(folder / name)
    mark = uuid.uuid4().hex
    staged = {folder / name: folder / f".{mark}.{name}" for name in contents}
    try:
        for temporary, content in zip(staged.values(), contents.values(), strict=True):
            write_atomic(temporary, content)
        for path, temporary in staged.items():
            try:
                temporary.replace(path)
            except OSError as error:
                raise from_os_error(error, path) from error
    finally:
        for temporary in staged.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelNotFoundError(f"No weights at {path}: run `wms train` or `make demo` to train a model.")
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, zipfile and pickle each have their own class for "not my format"
        raise ModelDamagedError(f"{path} can't be read as weights; restore it or train again.") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelDamagedError(f"{path} isn't a plain state_dict; restore it or train again.")
    return state


def _model_of(card: Mapping[str, Any], state: Mapping[str, Tensor], path: Path) -> Architecture:
    """The architecture named by the card or, without a card, recognised by the weights."""
    try:
        found = model_of(card) if card else recognise({key: tuple(value.shape) for key, value in state.items()})
    except ValueError as error:
        raise ModelDamagedError(f"{CARD} beside {path} describes no network that is known here ({error}).") from error
    if found is None:
        raise ModelDamagedError(f"{path} holds the weights of no known network; restore it or train again.")
    return found


if __name__ == "__main__":
    sys.exit(run_renamed("wms.inference.export", "versions", "export"))
