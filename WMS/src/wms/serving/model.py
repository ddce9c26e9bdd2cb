"""The model that this process serves: loaded, confirmed by the ledger of promotions, and tried once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from wms.data.images import decode_image
from wms.errors import LineageError, ModelDamagedError, WmsError
from wms.inference.predictor import ONNX, Predictor
from wms.pictures import encoded
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.lineage import MODEL_CARD_PAGE
from wms.registry.shipped import require_anchor
from wms.regular import read_regular

_WARM_UP_SIDES: Final = (320, 240)
_LARGEST_CARD: Final = 8 * 2**20  # bytes; 0.5 MiB with pictures


@dataclass(frozen=True)
class ServedModel:
    """A model that may be served, and the ledger's newest entry about it.

    `is_production` says whether the ledger's newest entry names this version, as of the start.
    """

    predictor: Predictor
    entry: LedgerEntry
    is_production: bool
    card: bytes | None = None
    """The model's card as an HTML page; None without a card of these very weights."""

    @property
    def version(self) -> int:
        """The model's number in the registry."""
        return self.entry.to_version


@dataclass(frozen=True)
class NoModel:
    """The absence of a servable model; `why` is a sentence."""

    why: str


def load_model(folder: Path, ledger: Path, *, threads: int | None = None) -> ServedModel | NoModel:
    """Load the model in `folder` if complete, promoted according to the ledger in `ledger`, and able to predict.

    `threads` limits ONNX Runtime for a prediction. Any failure gives a NoModel with the reason, so that the process can
    run and report the reason. Raises ValueError for fewer than 1 thread.
    """
    try:
        entries = Ledger(ledger).entries()

        def admit(onnx_sha256: str, card: Mapping[str, Any]) -> None:
            require_known(card.get("weights_sha256"), onnx_sha256, entries, ledger)

        predictor = Predictor(folder, threads=threads, admit=admit)
        entry = confirm(predictor.weights_sha256, predictor.onnx_sha256, entries, ledger)
        require_anchor(folder, ledger, entries, entry)
        warm_up(predictor)
    except WmsError as error:
        return NoModel(str(error))
    card = read_model_card(folder, entry)
    return ServedModel(predictor, entry, entries[-1].to_version == entry.to_version, card)


def read_model_card(folder: Path, entry: LedgerEntry) -> bytes | None:
    """Read the model card's page in `folder`; None if absent, unreadable, too large, or of other weights."""
    try:
        content = read_regular(folder / MODEL_CARD_PAGE)
    except OSError:
        return None
    return content if entry.weights_sha256.encode() in content and len(content) <= _LARGEST_CARD else None


def confirm(weights_sha256: str, onnx_sha256: str, entries: Sequence[LedgerEntry], ledger: Path) -> LedgerEntry:
    """Find the ledger's newest entry about exactly these files.

    Raises LineageError without such an entry; `ledger` is the folder's name in the sentence.
    """
    same = [entry for entry in entries if entry.weights_sha256 == weights_sha256]
    for entry in reversed(same):
        if entry.onnx_sha256 == onnx_sha256:
            return entry
    if same:
        raise LineageError(
            f"{ONNX} has the SHA-256 {onnx_sha256[:12]}..., but version {same[-1].to_version} was promoted with "
            f"{same[-1].onnx_sha256[:12]}..., says the ledger in {ledger}; bring the promoted files back with "
            "`wms sync --force`."
        )
    raise LineageError(
        f"The ledger in {ledger} has no entry about the weights {weights_sha256[:12]}... among its {len(entries)}; "
        "promote this model first, or bring the promoted one with `wms sync`."
    )


def require_known(weights_sha256: str | None, onnx_sha256: str, entries: Sequence[LedgerEntry], ledger: Path) -> None:
    """Raise LineageError, as `confirm` does, for an ONNX file that no entry names; without a card the weights are None.

    Nothing of a file that nobody promoted is parsed.
    """
    if weights_sha256 is not None:
        confirm(weights_sha256, onnx_sha256, entries, ledger)
    elif all(entry.onnx_sha256 != onnx_sha256 for entry in entries):
        raise LineageError(
            f"The ledger in {ledger} has no entry about an {ONNX} with the SHA-256 {onnx_sha256[:12]}... among its "
            f"{len(entries)}; promote this model first, or bring the promoted one with `wms sync`."
        )


def warm_up(predictor: Predictor) -> None:
    """Predict a generated photo, so that the first real photo isn't slower and a broken model is found now.

    Raises ModelDamagedError if the prediction fails or contains NaN.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (*_WARM_UP_SIDES, 3), dtype=np.uint8)
    try:
        found = predictor.probabilities(decode_image(encoded(Image.fromarray(pixels)), "the first photo"))
    except Exception as error:  # ONNX Runtime's own classes have no common base
        raise ModelDamagedError(f"{predictor.path} fails at its first prediction ({_brief(error)}).") from error
    if not np.isfinite(found).all():
        raise ModelDamagedError(f"{predictor.path} computes no numbers (NaN); train and promote a model again.")


def now() -> str:
    """The time as UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
