"""The service behind the routes: a model, its limits and its counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from wms.errors import WmsError
from wms.serving.arrivals import Arrivals
from wms.serving.limits import RequestLimits, RequestQueue, busy
from wms.serving.marking import Marked, mark, memory_of
from wms.serving.memory import photo_memory, taken
from wms.serving.metrics import Metrics
from wms.serving.model import NoModel, ServedModel, load_model, now
from wms.serving.refusals import Refusal, refusal_of
from wms.serving.upload import received, unless_left


@dataclass(frozen=True)
class Prediction:
    """A photo's mask, its model, and the seconds from the photo's last byte to the mask."""

    model: ServedModel
    marked: Marked
    seconds: float


class Service:
    """Serves `model`, or reports why no model is served, until the process ends."""

    def __init__(
        self,
        model: ServedModel | NoModel,
        limits: RequestLimits | None = None,
        *,
        folders: Sequence[Path] = (),
        memory: int | None = None,
    ) -> None:
        """`folders` are the places of model and ledger, of which clients learn the names alone.

        `memory` is the bytes that photos may take together; None: any.
        """
        self.model = model
        self.why = _without_paths(model.why, folders) if isinstance(model, NoModel) else ""
        self.limits = limits or RequestLimits()
        self.metrics = Metrics(model.version if isinstance(model, ServedModel) else None)
        self.started_at = now()
        self.memory = memory
        self._line = RequestQueue(self.limits.at_once, self.limits.waiting, memory)
        self._arrivals = Arrivals(self.limits)

    @classmethod
    def load(
        cls, folder: Path, ledger: Path, *, threads: int | None = None, limits: RequestLimits | None = None
    ) -> Service:
        """A service for the model in `folder`, or for the reason why that model can't be served."""
        limits, before = limits or RequestLimits(), taken()
        model = load_model(folder, ledger, threads=threads)
        memory = photo_memory(
            setting=limits.memory,
            upload_bytes=limits.upload_bytes,
            network=max(0, taken() - before),
            at_once=limits.at_once,
        )
        return cls(model, limits, folders=(folder, ledger), memory=memory)

    def require_model(self) -> ServedModel:
        """The model; raises Refusal "no_model"."""
        if isinstance(self.model, NoModel):
            raise Refusal("no_model", self.why)
        return self.model

    def require_card(self) -> bytes:
        """The model card as an HTML page; raises Refusal "no_model" or "no_card"."""
        model = self.require_model()
        if model.card is None:
            raise Refusal(
                "no_card",
                f"Version {model.version} has no model card here: it was promoted by older code, or its files came "
                "without the card. `wms restore` writes it, then `wms sync --force` brings it.",
            )
        return model.card

    async def predict(self, request: Request) -> Prediction:
        """Receive a request's photo and find the strip on it. Raises Refusal; every outcome is counted."""
        try:
            prediction = await self._predict(request)
        except Refusal as refusal:
            self.metrics.failed(refusal.reason)
            raise
        except Exception:
            self.metrics.failed("internal")
            raise
        self.metrics.done(prediction.seconds)
        return prediction

    async def _predict(self, request: Request) -> Prediction:
        model = self.require_model()
        self._line.check()  # before the photo is received, which would be for nothing
        async with received(request, self.limits, self._arrivals) as photo:
            started = time.perf_counter()

            def content() -> bytes:
                # Read when it's needed, so that only as many photos as are predicted at once lie in memory.
                photo.file.seek(0)
                return photo.file.read()

            def weigh() -> int:
                return memory_of(content(), max_megapixels=self.limits.megapixels)

            def work() -> Marked:
                return mark(model.predictor, content(), max_megapixels=self.limits.megapixels)

            try:
                marked = await unless_left(request, self._line.run(work, weigh))
            except WmsError as error:
                raise refusal_of(error) from error
            except MemoryError as error:
                raise busy("The service has no memory left for this photo") from error
            return Prediction(model, marked, time.perf_counter() - started)


def _without_paths(text: str, folders: Sequence[Path]) -> str:
    """A sentence in which each folder is called by its name, as clients needn't know where folders lie."""
    for folder in folders:
        for place in {str(folder.absolute()), str(folder.resolve())}:
            text = text.replace(place, folder.resolve().name)
    return text
