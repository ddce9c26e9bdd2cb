"""Reasons why a request gets no mask: a short reason for programs, its HTTP status, and a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wms.data.guard import RECIPE_ADVICE
from wms.errors import ImageTooLargeError, NotAnImageError, TruncatedImageError, WmsError

REASONS: Final[Mapping[str, int]] = {
    "no_file": 400,
    "bad_form": 400,
    "disconnected": 400,
    "not_found": 404,
    "no_card": 404,
    "wrong_method": 405,
    "slow": 408,
    "too_large": 413,
    "too_many_pixels": 413,
    "not_an_image": 415,
    "bad_request": 422,
    "damaged": 422,
    "empty": 422,
    "internal": 500,
    "busy": 503,
    "no_model": 503,
    "no_space": 503,
}
"""Every reason and its status; the reasons are also the values of a metric's label, so the list is closed."""

_OF_PHOTOS: Final[Mapping[type[WmsError], str]] = {
    TruncatedImageError: "damaged",
    NotAnImageError: "not_an_image",
    ImageTooLargeError: "too_many_pixels",
}


class Refusal(Exception):
    """A refused request. A refusal ends a request, never the process, so its class has no exit code."""

    def __init__(self, reason: str, text: str, headers: Mapping[str, str] | None = None) -> None:
        """`reason` is a key of REASONS, `text` a whole sentence, `headers` join the answer's."""
        super().__init__(text)
        self.reason, self.text, self.status = reason, text, REASONS[reason]
        self.headers = dict(headers or {})


def refusal_of(error: WmsError) -> Refusal:
    """The refusal for a photo that couldn't be decoded, with the error's own sentence where it helps a client."""
    return Refusal(_OF_PHOTOS.get(type(error), "internal"), str(error).replace(RECIPE_ADVICE, ""))
