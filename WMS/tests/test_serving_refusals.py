"""Bad input: each kind has its status, its word and its sentence, and is counted; nobody's mistake is a traceback."""

from __future__ import annotations

import asyncio
import re
import struct
import tempfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from entrance_table import READ, REFUSED, Row
from fastapi import FastAPI
from fuzz_exif import mutated_photo
from hard_photos import HEIC, many_scans, stored, thin
from serving_workshop import app_of, ask, photo, predict

from wms.serving.app import create_app
from wms.serving.service import Service

pytest_plugins = ["serving_fixtures"]


def bomb() -> bytes:
    """A PNG of a kilobyte that announces 3.6 gigapixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(1000)))]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


BAD_PHOTOS = {
    "empty": (b"", 422, "empty"),
    "text": (b"Dear diary,\n" * 9, 415, "not_an_image"),
    "a format that isn't read": (photo("PPM"), 415, "not_an_image"),
    "HEIC": (HEIC, 415, "not_an_image"),
    "a JPEG of many scans": (many_scans(), 413, "too_many_pixels"),
    "a side that is too long": (thin(), 413, "too_many_pixels"),
    "half a JPEG": (photo()[:900], 422, "damaged"),
    "a stump of a PNG": (photo("PNG")[:20], 422, "damaged"),
    "a bomb": (bomb(), 413, "too_many_pixels"),
}


@pytest.mark.parametrize("name", BAD_PHOTOS)
def test_a_bad_photo_is_refused_in_a_sentence(promoted: Path, entrance: Row, name: str) -> None:
    content, status, reason = BAD_PHOTOS[name]
    app = app_of(promoted)
    answer = predict(app, content)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert set(answer.json()) == {"error", "reason"}
    assert re.fullmatch(r"The photo .*\.", answer.json()["error"])
    entrance("photos", f"POST /predict with {name}", f"{status} {reason}", REFUSED)
    counted = ask(app, "GET", "/metrics").text
    assert 'wms_predictions_total{status="error",version="3"} 1.0' in counted
    assert f'wms_predict_errors_total{{reason="{reason}",version="3"}} 1.0' in counted


@pytest.mark.parametrize("kind", ["AVIF", "GIF", "TIFF", "WEBP"])
def test_other_formats_and_odd_metadata_are_served(promoted: Path, entrance: Row, kind: str) -> None:
    app = app_of(promoted)
    assert predict(app, stored(kind)).status_code == 200
    odd = [mutated_photo(seed) for seed in range(40)]
    assert {predict(app, photo.content).status_code for photo in odd if photo.kind == kind} <= {200}
    entrance("photos", f"POST /predict with {kind}, also with odd metadata", "200 and a mask", READ)


def test_pixels_are_limited_too(promoted: Path) -> None:
    answer = predict(app_of(promoted, megapixels=0.01), photo())
    assert answer.status_code == 413
    assert answer.json()["error"] == (
        "The photo announces 130 x 90 pixels, more than the 0.01 megapixels allowed; scale it down."
    )


PART = b'--b\r\nContent-Disposition: form-data; name="file'
FORM = {"content-type": "multipart/form-data; boundary=b"}


def form(content: bytes) -> dict[str, Any]:
    return {"content": content, "headers": FORM}


BAD_FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "no body": ({}, "no_file"),
    "JSON": ({"json": {"file": "x"}}, "no_file"),
    "another field": ({"files": {"photo": ("a.jpg", photo())}}, "no_file"),
    "a field instead of a file": (
        form(b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--'),
        "no_file",
    ),
    "no boundary": ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "bad_form"),
    "two files": ({"files": [("file", ("a.jpg", photo())), ("file", ("b.jpg", photo()))]}, "bad_form"),
    "no form inside": (form(b"Dear diary"), "bad_form"),
    "cut off": (form(PART + b'"; filename="a"\r\n\r\nx'), "no_file"),
    "a header without a name": (form(b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--"), "bad_form"),
    "many fields": ({"files": {f"f{i}": (None, b"1") for i in range(99)}}, "bad_form"),
    "a large field": ({"files": {"text": (None, b"1" * 99_999)}}, "bad_form"),
}


@pytest.mark.parametrize("name", BAD_FORMS)
def test_a_bad_form_is_refused_in_a_sentence(app: FastAPI, name: str) -> None:
    request, reason = BAD_FORMS[name]
    answer = ask(app, "POST", "/predict", **request)
    assert (answer.status_code, answer.json()["reason"]) == (400, reason)
    assert "curl -F file=@" in answer.json()["error"]


async def never() -> AsyncIterator[bytes]:
    """A body that nobody may read."""
    raise AssertionError("the body was read")
    yield b""


def test_the_size_of_a_photo_is_limited_to_the_byte(promoted: Path) -> None:
    content = photo("BMP")
    assert predict(app_of(promoted, upload_bytes=len(content)), content).status_code == 200
    answer = predict(app_of(promoted, upload_bytes=len(content) - 1), content)
    assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")


def test_an_announced_size_is_refused_unread(promoted: Path) -> None:
    headers = {**FORM, "content-length": "999999999"}
    answer = ask(app_of(promoted), "POST", "/predict", content=never(), headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")


@pytest.mark.parametrize("limit", ["upload_seconds", "late_seconds"])
def test_a_stalled_upload_is_given_up(promoted: Path, limit: str) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield PART + b'"; filename="a.jpg"\r\n\r\n'
        await asyncio.Event().wait()

    app = app_of(promoted, **{limit: 0.1})
    answer = ask(app, "POST", "/predict", content=stalling(), headers=FORM)
    assert (answer.status_code, answer.json()["reason"]) == (408, "slow")
    assert answer.headers["connection"] == "close"


def test_a_full_disk_is_said(app: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    answer = predict(app, photo("BMP", size=(800, 800)))  # 1.9 MB, more than is kept in memory
    assert (answer.status_code, answer.json()["reason"]) == (503, "no_space")


def test_a_mistake_of_the_service_is_no_traceback_to_the_client(promoted: Path) -> None:
    service = Service.load(promoted, promoted, threads=1)
    service.require_model().predictor.threshold = "high"  # type: ignore[assignment]
    app = create_app(service)
    answer = predict(app, photo())
    assert (answer.status_code, answer.json()["reason"]) == (500, "internal")
    assert 'wms_predict_errors_total{reason="internal",version="3"} 1.0' in ask(app, "GET", "/metrics").text


@pytest.mark.parametrize(
    ("method", "path", "status", "reason", "allow"),
    [
        ("GET", "/nothing", 404, "not_found", None),
        ("GET", "/predict", 405, "wrong_method", "POST"),
        ("OPTIONS", "/predict", 405, "wrong_method", "POST"),
        *((method, "/health", 405, "wrong_method", "GET, HEAD") for method in ("DELETE", "OPTIONS", "PUT", "TRACE")),
        ("POST", "/", 405, "wrong_method", "GET, HEAD"),
        ("POST", "/predict?format=bmp", 422, "bad_request", None),
    ],
)
def test_other_requests_are_refused_in_the_same_form(  # noqa: PLR0917 (a row of the table above)
    app: FastAPI, method: str, path: str, status: int, reason: str, allow: str | None, entrance: Row
) -> None:
    answer = ask(app, method, path)
    assert (answer.status_code, answer.json()["reason"], answer.headers.get("allow")) == (status, reason, allow)
    assert allow is None or allow in answer.json()["error"]
    entrance("the rest", f"{method} {path}", f"{status}: {answer.json()['error']}", REFUSED)


def test_requests_beyond_the_line_are_refused(promoted: Path) -> None:
    async def all_at_once(app: FastAPI) -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            calls = [client.post("/predict", files={"file": ("a.jpg", photo())}) for _ in range(9)]
            return await asyncio.gather(*calls)

    app = app_of(promoted, at_once=1, waiting=2)
    answers = asyncio.run(all_at_once(app))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.json()["reason"] for answer in refused} == {"busy"}
    assert {answer.headers["retry-after"] for answer in refused} == {"2"}
    assert sum(answer.status_code == 200 for answer in answers) == 9 - len(refused) >= 3
    assert predict(app, photo()).status_code == 200  # there is room again


def test_a_photo_for_which_there_is_no_room_is_not_even_read(promoted: Path) -> None:
    app = app_of(promoted, at_once=1, waiting=-1)  # a line that is full when it's empty
    answer = ask(app, "POST", "/predict", content=never(), headers=FORM)
    assert (answer.status_code, answer.json()["reason"]) == (503, "busy")
