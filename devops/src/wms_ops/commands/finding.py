"""A finding of `wms doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wms.names import tell


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


_WORDS: Final = {State.FINE: "fine", State.MISSING: "MISSING", State.OPTIONAL: "optional"}


def show(findings: Iterable[Finding]) -> None:
    """Print findings, each with what mends it."""
    for one in findings:
        tell(f"{one.name:13} {_WORDS[one.state]:9} {one.text}")
        if one.mend:
            tell(f"{'':23} -> {one.mend}")
