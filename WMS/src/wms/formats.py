"""Reads the format number in plain JSON values, which tells the code version that wrote them; needs no pydantic.

`wms.records` says how records outlive the code; this module serves append-only files and cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from wms.errors import WmsError
from wms.json_text import to_json

Line = TypeVar("Line")


def no_format(values: object, field: str = "format") -> str | None:
    """The words about values whose `field` holds no format number, such as 2.0, "2", true or null; None for others.

    Values without the field are of format 1.
    """
    found = values.get(field, 1) if isinstance(values, Mapping) else 1
    if type(found) is int and found >= 1:  # not isinstance: a bool is an int, too
        return None
    return f"{field} is {to_json(found)}, but a whole number from 1 on is needed"


def newer(values: object, field: str = "format", newest: int = 1) -> str | None:
    """The end of a sentence about values whose number in `field` is above `newest`; None for others.

    Values without a number are of format 1; `no_format` tells of other values than numbers.
    """
    found = values.get(field, 1) if isinstance(values, Mapping) else 1
    if type(found) is not int or found <= newest:
        return None
    return f"was written by a newer version ({field} {found}, this one reads up to {newest}); update this clone"


def refuse_newer(values: object, where: str, error: type[WmsError], newest: int = 1) -> None:
    """Raise `error`, naming `where`, for values of a newer format than `newest`, or whose format is no number."""
    if fault := no_format(values):
        raise error(f"{where} is damaged: {fault}; restore it.")
    if fault := newer(values, newest=newest):
        raise error(f"{where} {fault}.")


def from_fields(kind: type[Line], values: Any, where: str, error: type[WmsError]) -> Line:
    """A dataclass from a line of an append-only file; fields that this version doesn't know are ignored.

    Raises `error` for a newer format, TypeError for a missing field or values that are no mapping.
    """
    refuse_newer(values, where, error)
    return kind(**{one.name: values[one.name] for one in fields(kind) if one.name in values})  # type: ignore[arg-type]
