"""The groups that a user chose, and what tells whether they are installed as the locks say."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from pathlib import Path

from wms.command import nearest
from wms.errors import UsageError
from wms.json_text import to_json
from wms.libraries import CORE, MEGABYTES, TOOLS, lock_of


def chosen(words: Iterable[str]) -> frozenset[str]:
    """The groups that a user named, core among them; `all` means every group. Raises UsageError with the nearest name.

    >>> sorted(chosen(["train"]))
    ['core', 'train']
    """
    found = {CORE}
    for word in words:
        if word == "all":
            return frozenset(MEGABYTES)
        if word not in MEGABYTES:
            known = [*MEGABYTES, "all"]
            raise UsageError(f"There is no group {word!r}{nearest(word, known)}; choose among {', '.join(known)}.")
        found.add(word)
    return frozenset(found)


def digest(root: Path, groups: Iterable[str]) -> str:
    """A hash of all that decides what .venv holds with these groups: the locks, and the project's own description."""
    with (root / "pyproject.toml").open("rb") as file:
        told = tomllib.load(file)
    own = to_json([told["project"], told["tool"]["setuptools"]])
    locks = [(root / path).read_bytes() for path in (TOOLS, *map(lock_of, sorted(groups)))]
    return hashlib.sha256(b"\0".join([own.encode(), *locks])).hexdigest()
