"""A finding of `wms doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """A finding's state: `missing` stops the next step; `optional` is required only for the purpose in its text."""

    FINE = "fine"
    MISSING = "missing"
    OPTIONAL = "optional"


@dataclass(frozen=True)
class Finding:
    """A check's result; `mend` is a command or a sentence, empty if nothing is wrong."""

    name: str
    state: State
    text: str
    mend: str = ""
