"""A finding of the data check: the problem, its files and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from wms.data.qa.names import shown

Severity = Literal["error", "warning", "note"]
"""Errors fail the check; warnings are worth a look; notes tell facts that are neither."""

_NAMED = 5  # files in a sentence; the structured form lists all


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding. `message` is a sentence without the full stop; `next_step` follows after a semicolon."""

    check: str
    severity: Severity
    files: tuple[str, ...]
    message: str
    next_step: str

    @property
    def text(self) -> str:
        """The whole sentence."""
        return f"{self.message}; {self.next_step}." if self.next_step else f"{self.message}."

    def to_plain(self) -> dict[str, Any]:
        """As JSON values that any encoding can write."""
        names = [shown(name) for name in self.files]
        return {
            "check": self.check,
            "severity": self.severity,
            "file": names[0] if names else None,
            "files": names,
            "message": self.message,
            "next_step": self.next_step,
        }


def listed(files: tuple[str, ...]) -> str:
    """Some files as a phrase: "a, b and c", or "a, b, c, d, e and 7 more"."""
    names = [shown(name) for name in files[:_NAMED]]
    if len(files) > _NAMED:
        return f"{', '.join(names)} and {len(files) - _NAMED} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
