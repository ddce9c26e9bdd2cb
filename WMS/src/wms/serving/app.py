"""The routes: each route checks, calls a single function and maps its refusal to a response."""

from __future__ import annotations

from typing import Any, Final, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from wms.data.kinds import SUFFIXES
from wms.serving.access_log import AccessLog
from wms.serving.answers import (
    Failure,
    Health,
    Mask,
    Unhealthy,
    VersionAnswer,
    as_json,
    as_png,
    package_version,
    version_of,
)
from wms.serving.model import NoModel
from wms.serving.refusals import Refusal
from wms.serving.service import Service
from wms.serving.upload import FIELD

# By its endings: an iPhone then sends its HEIC photos as JPEG, which it doesn't for image/*.
_ACCEPT: Final = ",".join(sorted(SUFFIXES))
_PAGE: Final = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Water meter segmentation</title>
<h1>Water meter segmentation</h1>
<p>Send a photo of a water meter; the answer is the mask of its reading strip.</p>
<form action="predict" method="post" enctype="multipart/form-data">
<input type="file" name="{FIELD}" accept="{_ACCEPT}" required> <button>Find the strip</button>
</form>
<p><a href="card">Model card</a>, <a href="version">version</a>, <a href="health">health</a>,
<a href="metrics">metrics</a>, <a href="openapi.json">description of the API</a>.</p>
"""

# The card's own policy once more, where no file can change it: nothing is loaded, no script runs.
_ALONE: Final = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_PHOTO: Final = {"type": "object", "required": [FIELD], "properties": {FIELD: {"type": "string", "format": "binary"}}}
_UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _PHOTO}}}
}
_REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Failure} for status in (400, 408, 413, 415, 422, 503)
}
_CARD: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/html": {}}, "description": "The card."},
    **{status: {"model": Failure} for status in (404, 503)},
}
_MASK: Final = {"model": Mask, "content": {"image/png": {}}, "description": "The mask."}


def create_app(service: Service) -> FastAPI:
    """The application that serves `service`; a process may hold several applications."""
    # A redirect would follow the Host header, which a client writes, and the usual pages about an API load scripts.
    app = FastAPI(
        title="Water meter segmentation",
        version=package_version(),
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    _add_pages(app, service)
    _add_prediction(app, service)
    _add_refusals(app, service)
    app.add_middleware(_HeadAsGet)
    paths = {str(getattr(route, "path", "")) for route in app.routes}
    app.add_middleware(AccessLog, paths=paths, version=service.metrics.version)
    return app


class _HeadAsGet:
    """ASGI middleware: answers HEAD as GET, which FastAPI's routes don't; the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope, receive, send)


def _add_pages(app: FastAPI, service: Service) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(_PAGE, headers=_ALONE)

    @app.get("/health", response_model=Health, responses={503: {"model": Unhealthy}})
    async def health() -> Response:
        """Whether the service can predict: 200, or 503 with the reason."""
        model = service.model
        if isinstance(model, NoModel):
            return JSONResponse(Unhealthy(reason=service.why).model_dump(), status_code=503)
        return JSONResponse(Health(version=model.version, weights_sha256=model.entry.weights_sha256).model_dump())

    @app.get("/version", responses={503: {"model": Failure}})
    async def version() -> VersionAnswer:
        """The served model and its origin."""
        return version_of(service.require_model(), service)

    @app.get("/card", response_class=Response, responses=_CARD)
    async def card() -> HTMLResponse:
        """The model card: use, data, labels, scores, limits, worst photos, parent and cost."""
        return HTMLResponse(service.require_card(), headers=_ALONE)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Counts and times for Prometheus."""
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _add_prediction(app: FastAPI, service: Service) -> None:
    # The photo isn't a parameter: FastAPI would receive all of it before anybody could refuse it.
    @app.post("/predict", openapi_extra=_UPLOAD, response_model=None, responses={**_REFUSED, 200: _MASK})
    async def predict(request: Request, format: Literal["png", "json"] = "png") -> Response | Mask:
        """The mask of a photo's reading strip, in the upright photo's own size: a PNG, or JSON with the PNG inside."""
        prediction = await service.predict(request)
        return as_png(prediction) if format == "png" else as_json(prediction)


def _add_refusals(app: FastAPI, service: Service) -> None:
    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> Response:
        return _failure(refusal)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]  # only /predict takes a parameter
        service.metrics.failed("bad_request")
        return _failure(Refusal("bad_request", f"{first['loc'][-1]}: {first['msg']}."))

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "").replace("GET", "GET, HEAD")
            text = f"{request.method} isn't what this page is asked by; it takes {allowed}."
            return _failure(Refusal("wrong_method", text, {"Allow": allowed}))
        return _failure(Refusal("not_found", "Nothing is here; GET / lists the pages."))

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        return _failure(Refusal("internal", "The service made a mistake; its log says which."))


def _failure(refusal: Refusal) -> Response:
    content = Failure(error=refusal.text, reason=refusal.reason).model_dump()
    return JSONResponse(content, status_code=refusal.status, headers=refusal.headers)
