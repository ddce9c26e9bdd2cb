"""GitHub's CODEOWNERS: whose review a change of the files needs that run beside keys, or say what is Production."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from wms.errors import UsageError
from wms_ops.setup.files import Change, read_text

PATH: Final = ".github/CODEOWNERS"
OWNED: Final = (
    "/.github/",
    "/.ci/",
    "/.dvc/config",
    "/Makefile",
    "/SECURITY.md",
    "/WMS/models/",
    "/devops/",
    "/hooks/",
    "/infrastructure/",
    "/model-metadata.json",
    "/pyproject.toml",
    "/requirements.txt",
    "/wms.toml",
)
"""What runs with the account's keys or decides over such code; and the record of what is Production."""

_OWNER: Final = re.compile(r"@[A-Za-z0-9][A-Za-z0-9-]*(?:/[A-Za-z0-9_.-]+)?|[^@\s]+@[^@\s]+\.[^@\s]+")
_HEAD: Final = """\
# Whose review GitHub asks for when these files change; a rule of main makes the review a condition
# (docs/BRANCH_PROTECTION.md). `wms init --owner @ORGANISATION/TEAM` writes the owner behind each path.
"""


def codeowners(owners: Sequence[str] = ()) -> str:
    """Return the text of CODEOWNERS, whose paths have these owners, or none yet. Raises UsageError for other texts.

    >>> codeowners(["@acme/meters"]).splitlines()[-1]
    '/wms.toml @acme/meters'
    """
    for owner in owners:
        if not _OWNER.fullmatch(owner):
            raise UsageError(f"{owner!r} can't own files at GitHub: give @USER, @ORGANISATION/TEAM or an address.")
    return _HEAD + "".join(f"{' '.join((path, *owners))}\n" for path in OWNED)


def owner_changes(root: Path, owners: Sequence[str]) -> Iterator[Change]:
    """Yield the file with these owners, if they differ; without owners the file stays. Raises UsageError."""
    text = codeowners(owners)
    if owners and text != read_text(root / PATH):
        yield Change(PATH, text, f"{', '.join(owners)} as the owner of workflows, infrastructure, hooks and records")
