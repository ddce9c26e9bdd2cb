"""Receives the photo of a request, and stops receiving at the size limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from wms.serving.arrivals import Arrival, Arrivals
from wms.serving.limits import RequestLimits
from wms.serving.refusals import Refusal

FIELD: Final = "file"
Result = TypeVar("Result")
_MOST_FIELDS: Final = 8
_FRAME_BYTES: Final = 16 * 1024
"""Allowance for a form's other parts: boundaries, headers, small fields."""

_HOW: Final = f"send it as the multipart form field `{FIELD}`, such as `curl -F {FIELD}=@meter.jpg ADDRESS/predict`"


@asynccontextmanager
async def received(request: Request, limits: RequestLimits, arrivals: Arrivals) -> AsyncIterator[UploadFile]:
    """Receive the request's photo, as a file that is on disk beyond 1 MiB and deleted after the `async with`.

    Raises Refusal: "busy", "no_file", "bad_form", "empty", "too_large", "slow", "disconnected", "no_space".
    """
    try:
        async with arrivals.one() as arrival:
            form = await _form(request, limits, arrival)
    except TimeoutError as error:
        text = (
            f"The photo came too slowly: it may take {limits.upload_seconds:g} seconds and needs "
            f"{limits.upload_pace / 1024:g} KiB a second, after {limits.late_seconds:g} seconds or as soon as other "
            "photos wait for the place; send a smaller one, or try again later."
        )
        raise Refusal("slow", text, {"Connection": "close"}) from error
    try:
        yield _photo(form, limits.upload_bytes)
    finally:
        await form.close()


async def _form(request: Request, limits: RequestLimits, arrival: Arrival) -> FormData:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refusal("no_file", f"The request holds no photo; {_HOW}.")
    announced = request.headers.get("content-length", "")
    # Refuses before a byte of the photo is read.
    if announced.isdecimal() and int(announced) > limits.upload_bytes + _FRAME_BYTES:
        raise _too_large(limits.upload_bytes)
    # Content-Length may be absent or wrong, so the stream is counted as well.
    parser = MultiPartParser(
        request.headers,
        _within_limits(request.stream(), limits, arrival),
        max_files=1,
        max_fields=_MOST_FIELDS,
        max_part_size=_FRAME_BYTES,
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise Refusal("bad_form", f"The form can't be read ({error.message.rstrip('.')}); {_HOW}.") from error
    except ClientDisconnect as error:
        raise _left("before the photo had arrived") from error
    except OSError as error:  # also from the temporary file
        text = f"The service can't keep the photo while it works on it ({error.strerror}); try again later."
        raise Refusal("no_space", text) from error


async def _within_limits(
    stream: AsyncGenerator[bytes, None], limits: RequestLimits, arrival: Arrival
) -> AsyncGenerator[bytes, None]:
    seen = 0
    async for chunk in stream:
        arrival.came(len(chunk))
        seen += len(chunk)
        if seen > limits.upload_bytes + _FRAME_BYTES:
            raise _too_large(limits.upload_bytes)
        yield chunk


async def unless_left(request: Request, job: Coroutine[Any, Any, Result]) -> Result:
    """The result of a job for a client whose photo has arrived; the job is cancelled if the client leaves.

    Raises Refusal "disconnected".
    """
    working, leaving = asyncio.ensure_future(job), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise _left("before the mask was made")
        return working.result()
    finally:
        for one in (working, leaving):
            one.cancel()
        await asyncio.wait({working, leaving})


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _left(when: str) -> Refusal:
    return Refusal("disconnected", f"The connection broke {when}.")


def _photo(form: FormData, upload_bytes: int) -> UploadFile:
    photo = form.get(FIELD)
    if not isinstance(photo, UploadFile):
        raise Refusal("no_file", f"The form holds no photo; {_HOW}.")
    if not photo.size:
        raise Refusal("empty", "The photo is empty (0 bytes); copy it again from the camera.")
    if photo.size > upload_bytes:
        raise _too_large(upload_bytes)
    return photo


def _too_large(upload_bytes: int) -> Refusal:
    return Refusal("too_large", f"The photo is larger than {upload_bytes / 2**20:g} MiB; send a smaller one.")
