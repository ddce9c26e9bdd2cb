"""Reads the format number in plain JSON values, which tells the code version that wrote them; needs no pydantic.

`wms.records` says how records outlive the code; this module serves append-only files and cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from wms.errors import WmsError

Line = TypeVar("Line")


def newer(values: object, field: str = "format", newest: int = 1) -> str | None:
    """The end of a sentence about values whose number in `field` is above `newest`; None for others.

    Values without a number are of format 1.
    """
    found = values.get(field, 1) if isinstance(values, Mapping) else 1
    if not isinstance(found, int) or found <= newest:
        return None
    return f"was written by a newer version ({field} {found}, this one reads up to {newest}); update this clone"


def refuse_newer(values: object, where: str, error: type[WmsError], newest: int = 1) -> None:
    """Raise `error`, naming `where`, for values of a newer format than `newest`."""
    if fault := newer(values, newest=newest):
        raise error(f"{where} {fault}.")


def from_fields(kind: type[Line], values: Any, where: str, error: type[WmsError]) -> Line:
    """A dataclass from a line of an append-only file; fields that this version doesn't know are ignored.

    Raises `error` for a newer format, TypeError for a missing field or values that are no mapping.
    """
    refuse_newer(values, where, error)
    return kind(**{one.name: values[one.name] for one in fields(kind) if one.name in values})  # type: ignore[arg-type]
