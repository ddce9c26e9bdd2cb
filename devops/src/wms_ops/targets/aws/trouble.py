"""Maps Terraform's output to this project's errors."""

from __future__ import annotations

import re
from typing import Final

from wms.errors import WmsError
from wms_ops.base.errors import CloudError
from wms_ops.storage.codes import Kind, kind_of_code
from wms_ops.storage.trouble import Refusal, from_code, of_kind, short


def explain(text: str, what: str = "run Terraform") -> WmsError:
    """The error that Terraform's output means: its `Error: ...` with AWS's code inside, or the lack of an answer.

    CloudError with the first error's words for an unknown error. The text may hold colours and frames.
    """
    plain = _plain(text)
    found = [(match["code"], short(match["message"])) for match in _API_ERROR.finditer(plain)]
    # Of several errors, the one that explains the others: nothing works with credentials that have expired.
    found.sort(key=lambda one: _RANK.index(kind_of_code(one[0])) if kind_of_code(one[0]) in _RANK else len(_RANK))
    if found:
        return from_code(Refusal(what, *found[0]))
    for pattern, kind in _BY_WORDS:
        if match := pattern.search(plain):
            return of_kind(kind, Refusal(what, "", short(match.group())))
    first = re.search(r"Error: ([^\n]+)", plain)
    return CloudError(f"Can't {what}: {short(first[1] if first else plain) or 'it says nothing'}; then run it again.")


def _plain(text: str) -> str:
    """The text with a line per paragraph, without colours and the frame that Terraform draws around an error."""
    bare = re.sub(r"(?m)^[│╷╵ \t]+", "", re.sub(r"\x1b\[[0-9;]*m", "", text))
    return "\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", bare))


_RANK: Final = (Kind.EXPIRED, Kind.UNKNOWN_KEY, Kind.WRONG_SECRET, Kind.SKEWED, Kind.NOT_ALLOWED)
_API_ERROR: Final = re.compile(r"(?:api error |\()(?P<code>[A-Z][\w.]*)\)?: (?P<message>[^\n]*)")
_BY_WORDS: Final[tuple[tuple[re.Pattern[str], Kind], ...]] = (
    (re.compile(r"security token included in the request is expired|[Tt]oken has expired|ExpiredToken"), Kind.EXPIRED),
    (
        re.compile(r"No valid credential sources? found|failed to refresh cached credentials|get credentials"),
        Kind.MISSING,
    ),
    (re.compile(r"(?i)invalid aws region: ?\S+"), Kind.WRONG_ADDRESS),
    (re.compile(r'S3 bucket "[^"]+" does not exist|NoSuchBucket'), Kind.NO_BUCKET),
    (
        re.compile(r"(?:request send failed|dial tcp|no such host|i/o timeout|connection (?:refused|reset))[^\n]*"),
        Kind.UNREACHABLE,
    ),
)
