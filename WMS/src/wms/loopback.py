"""Addresses of this machine, which must bypass every proxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

_NAMES: Final = ("127.0.0.1", "localhost")


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine by a loopback name; false for a text that is no URL."""
    try:
        return urlsplit(url).hostname in (*_NAMES, "::1")
    except ValueError:
        return False


def scheme_of(url: str) -> str:
    """The scheme of a URL in lower case; empty for a text that is no URL.

    >>> scheme_of("HTTP://localhost"), scheme_of("http://[")
    ('http', '')
    """
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def past_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY in both spellings: the value in `environ` with the loopback names added.

    >>> past_proxies({"NO_PROXY": "example.org"})["no_proxy"]
    'example.org,127.0.0.1,localhost'
    """
    known = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    names = [name.strip() for name in known.split(",") if name.strip()]
    text = ",".join([*names, *(name for name in _NAMES if name not in names)])
    return {"NO_PROXY": text, "no_proxy": text}
