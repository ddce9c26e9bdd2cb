"""A failed pip or uv in one sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from wms.errors import DiskFullError, InstallError, WmsError

_AGAIN: Final = "then run this again: it goes on where it stopped"
_HASH: Final = re.compile(r"hash mismatch|do not match the hashes", re.IGNORECASE)
_DISK: Final = re.compile(r"no space left|not enough space|os error (28|112|122)|disk quota", re.IGNORECASE)
_LACKS: Final = re.compile(
    r"no matching distribution|not found in the provided|no-index|no wheels|network connectivity is disabled",
    re.IGNORECASE,
)
_NETWORK: Final = re.compile(
    r"failed to (fetch|download)|error sending request|connect error|could not connect|could not fetch url"
    r"|connection (refused|reset|broken)|newconnectionerror|dns error|name resolution|timed? ?out"
    r"|network is unreachable",
    re.IGNORECASE,
)
_RETRY: Final = "Retrying (Retry("
"""The start of pip's word on a broken connection: it goes on with Python's names of objects, and the cause in them."""
_CAUSE: Final = re.compile(
    r"(?<=\d\] )\w[^'\"()]+|(?:read|connection to \S+) timed out"
    r"|(?:certificate verify|tunnel connection) failed[^'\"(]*|connection reset by peer|remote end closed[^'\"]*",
    re.IGNORECASE,
)


def sentence(said: Sequence[str], offline: str) -> WmsError:
    """The error for the lines that the tool printed; `offline` names the wheelhouse, empty if there is a network."""
    if cause := _line(said, _HASH):
        return InstallError(
            f"A package that was fetched isn't the one that the lock names ({cause}); nothing of it was installed. "
            f"Look at {offline or 'the index of packages that pip and uv are set to'}, {_AGAIN}."
        )
    if cause := _line(said, _DISK):
        return DiskFullError(f"The disk filled up during the installation ({cause}); free some space, {_AGAIN}.")
    cause = _line(said, _NETWORK) or _line(said, _LACKS)
    if offline and cause:
        return InstallError(
            f"The wheelhouse {offline} lacks a package, or holds a damaged one ({cause}); make it again by "
            f"`make wheelhouse`."
        )
    if cause:
        return InstallError(
            f"The index of packages can't be reached ({cause}); look at the network, {_AGAIN}. Without a network, "
            f"WMS_OFFLINE names a wheelhouse: docs/SETUP.md."
        )
    cause = _line(said, re.compile(r"\w")) or "it said nothing"
    return InstallError(f"The packages can't be installed ({cause}); mend that, {_AGAIN}.")


def _line(said: Sequence[str], rule: re.Pattern[str]) -> str:
    """The last line that fits the rule, without the ornaments of pip and uv; empty if none does."""
    found = next((line for line in reversed(said) if rule.search(line)), "")
    if _RETRY in found:
        causes = _CAUSE.findall(found)
        return str(causes[-1]).strip() if causes else "the connection broke"
    return re.sub(r"^(error|cause|hint):\s*", "", found.strip().strip("×╰─▶├│ "), flags=re.IGNORECASE)[:300].rstrip(
        ". "
    )
