"""The response models of the routes; the API page is made from them."""

from __future__ import annotations

import base64
import importlib.metadata
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from wms.registry.types import Means
from wms.serving.model import ServedModel
from wms.serving.service import Prediction, Service

_PACKAGE: Final = "water-meter-segmentation"


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Health(_Answer):
    """A service that predicts."""

    status: Literal["healthy"] = "healthy"
    version: int
    weights_sha256: str


class Unhealthy(_Answer):
    """A service that can't predict, and the reason."""

    status: Literal["unhealthy"] = "unhealthy"
    reason: str = Field(description="A sentence.")


class Failure(_Answer):
    """A request that was refused."""

    error: str = Field(description="A sentence.")
    reason: str = Field(description="One word, from a fixed list.")


class VersionAnswer(_Answer):
    """The served model, from the ledger's newest entry about the model. Times are UTC, ISO 8601."""

    version: int
    run_id: str
    weights_sha256: str
    onnx_sha256: str
    data_version: str
    git_commit: str
    config_hash: str
    trained_at: str | None
    promoted_at: str
    metrics: Means = Field(description="Means over the test images.")
    is_production: bool = Field(description="Whether the ledger's newest entry was this version at the start.")
    has_card: bool = Field(description="Whether GET /card has the model's card.")
    service: str = Field(description="Version of the package.")
    started_at: str


class Mask(_Answer):
    """A mask as JSON."""

    version: int
    width: int = Field(description="Of the upright photo, in pixels, as height.")
    height: int
    strip_share: float = Field(description="The strip's part of all pixels, 0 to 1.")
    box: list[int] | None = Field(
        min_length=4, max_length=4, description="Left, top, right, bottom in pixels, the latter two exclusive."
    )
    milliseconds: float
    mask_png_base64: str


def version_of(model: ServedModel, service: Service) -> VersionAnswer:
    """The response of `GET /version`."""
    entry = model.entry
    return VersionAnswer(
        **entry.model_dump(include=set(VersionAnswer.model_fields) - {"trained_at", "metrics"}),
        version=entry.to_version,
        trained_at=entry.trained_at or None,
        promoted_at=entry.at,
        metrics=entry.metrics,
        is_production=model.is_production,
        has_card=model.card is not None,
        service=package_version(),
        started_at=service.started_at,
    )


def as_png(prediction: Prediction) -> Response:
    """The mask as a picture; further facts stand in the headers."""
    headers = {
        "X-Model-Version": str(prediction.model.version),
        "X-Weights-SHA256": prediction.model.entry.weights_sha256,
        "X-Strip-Share": f"{prediction.marked.share:.6f}",
        "X-Predict-Milliseconds": f"{prediction.seconds * 1000:.1f}",
    }
    return Response(prediction.marked.png, media_type="image/png", headers=headers)


def as_json(prediction: Prediction) -> Mask:
    """The mask and further facts as JSON."""
    marked = prediction.marked
    return Mask(
        version=prediction.model.version,
        width=marked.width,
        height=marked.height,
        strip_share=round(marked.share, 6),
        box=None if marked.box is None else list(marked.box),
        milliseconds=round(prediction.seconds * 1000, 1),
        mask_png_base64=base64.b64encode(marked.png).decode("ascii"),
    )


def package_version() -> str:
    """The installed package's version; "unknown" if the code runs without being installed."""
    try:
        return importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
