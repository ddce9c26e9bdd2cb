"""Maps Terraform's output to this project's errors."""

from __future__ import annotations

import re
from typing import Final

from wms.errors import DiskFullError, WmsError
from wms_ops.base.errors import BusyError, CloudError, StoreUnreachableError
from wms_ops.storage.codes import Kind, kind_of_code
from wms_ops.storage.trouble import Refusal, from_code, of_kind, short


def explain(text: str, what: str = "run Terraform") -> WmsError:
    """The error that Terraform's output means: its `Error: ...` with AWS's code inside, or the lack of an answer.

    BusyError for a state that another Terraform has locked, DiskFullError, CloudError with the first error's words for
    an unknown error. The text may hold colours and frames.
    """
    plain = _plain(text)
    if own := _of_this_machine(plain, what):
        return own
    found = [(match["code"], short(match["message"]) or "no reason given") for match in _API_ERROR.finditer(plain)]
    # Of several errors, the one that explains the others: nothing works with credentials that have expired.
    found.sort(key=lambda one: _RANK.index(kind_of_code(one[0])) if kind_of_code(one[0]) in _RANK else len(_RANK))
    if found:
        return from_code(Refusal(what, *found[0]))
    for pattern, kind in _BY_WORDS:
        if match := pattern.search(plain):
            return of_kind(kind, Refusal(what, "", short(match.group())))
    first = re.search(r"Error: ([^\n]+)", plain)
    said = short(first[1] if first else plain) or "it says nothing"
    return CloudError(f"Can't {what}: {said}; correct that, then run it again.")


def _of_this_machine(plain: str, what: str) -> WmsError | None:
    """The error without AWS's part in it: a lock, a full disk, a provider that can't be fetched."""
    if "Error acquiring the state lock" in plain and (lock := _LOCK.search(plain)):
        doing = lock["operation"].removeprefix("OperationType").lower()
        return BusyError(
            f"Can't {what}: {lock['who'] or 'another Terraform'} holds the lock of the state {lock['path']} for "
            f"{doing or 'something'} since {lock['created'][:19]} UTC; run it again when that command has ended, or "
            f"run devops/scripts/stop-cloud.sh, which breaks the lock if its holder is gone."
        )
    if "no space left on device" in plain:
        return DiskFullError(f"Can't {what}: no space is left on this machine's disk; free some, then run it again.")
    if (fetch := _PROVIDER.search(plain)) is None:
        return None
    reason = short(_NETWORK_PART.split(plain[fetch.end() :].strip().partition("\n")[0])[-1])
    if _OTHER_PACKAGE.search(plain):
        return CloudError(
            f"Can't {what}: the provider's package isn't one of those that .terraform.lock.hcl names ({reason}); "
            "restore that file from Git, take the provider from Terraform's registry, then run it again."
        )
    return StoreUnreachableError(
        f"Can't {what}: Terraform's registry doesn't answer ({reason}); check the network and "
        "HTTPS_PROXY, or name a mirror in TF_CLI_CONFIG_FILE, then run it again."
    )


def _plain(text: str) -> str:
    """The text with a line per paragraph, without colours and the frame that Terraform draws around an error."""
    bare = re.sub(r"(?m)^[│╷╵ \t]+", "", re.sub(r"\x1b\[[0-9;]*m", "", text))
    return "\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", bare))


_LOCK: Final = re.compile(
    r"Lock Info: .*?Path: (?P<path>\S*).*? Operation: (?P<operation>\S*) Who: (?P<who>.*?) Version: .*?"
    r"Created: (?P<created>[^\n]*)"
)
_PROVIDER: Final = re.compile(
    r"Error: (?:Failed to (?:query available provider packages|install provider)|Invalid provider registry host"
    r"|Provider dependency changes detected)"
)
_OTHER_PACKAGE: Final = re.compile(
    r"doesn't match any of the checksums|checksum list has unexpected|invalid signature"
    r"|the lock file is read-only"
)
_NETWORK_PART: Final = re.compile(r"please try again later: |discovery document: |packages?: (?=Get)|hashicorp/aws: ")
_RANK: Final = (Kind.EXPIRED, Kind.UNKNOWN_KEY, Kind.WRONG_SECRET, Kind.SKEWED, Kind.UNVERIFIED, Kind.NOT_ALLOWED)
# The SDK writes "api error CODE" only before codes it has no class for, as ECR's.
_API_ERROR: Final = re.compile(r"(?:api error |\(|ID: \S*, (?!HostID:))(?P<code>[A-Z][\w.]*)\)?: ?(?P<message>[^\n]*)")
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
