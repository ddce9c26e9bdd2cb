"""The groups of packages that a user can install, each with its lock, and the group that brings a missing library."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from wms.command import nearest
from wms.errors import UsageError
from wms.json_text import to_json

CORE: Final = "core"
MEGABYTES: Final = {"core": 580, "serve": 20, "dev": 300, "cloud": 700, "train": 5280}
"""What a group adds to .venv, in MB, smallest first; `install.py GROUP` prints what the group took."""
LOCKS: Final = Path("infrastructure") / "requirements"
TOOLS: Final = LOCKS / "tools.txt"
"""The lock of what installs the rest."""

_HOMES: Final = (("wms.training", "train"), ("wms.inference.export", "train"), ("wms.serving", "serve"))
"""Packages of this project all of whose libraries one group brings, where several groups bring some of them."""
_DISTRIBUTIONS: Final = {
    "google": "protobuf",
    "hcl2": "python-hcl2",
    "mlflow": "mlflow-skinny",
    "multipart": "python-multipart",
    "PIL": "pillow",
    "psycopg2": "",
    "pywt": "pywavelets",
    "yaml": "pyyaml",
}
"""The packages of modules with other names."""


def lock_of(group: str) -> Path:
    """A group's lock, relative to the repository's root; it holds core's packages, too."""
    return LOCKS / f"{group}.txt"


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


def group_of(module: str, users: Iterable[str], root: Path) -> str | None:
    """The group that brings the module's package: that of the `users`, else the smallest; None if no lock has one.

    `users` are the names of this project's modules that asked for the module.
    """
    top = module.partition(".")[0]
    name = re.sub(r"[-_.]+", "-", _DISTRIBUTIONS.get(top, top)).lower()
    line = re.compile(rf"^{re.escape(name)}==", re.MULTILINE)
    holders = [group for group in MEGABYTES if _has(root / lock_of(group), line)]
    asking = tuple(users)
    for home, group in _HOMES:
        if group in holders and any(user == home or user.startswith((f"{home}.", f"{home}_")) for user in asking):
            return group
    return holders[0] if holders else None


def _has(lock: Path, line: re.Pattern[str]) -> bool:
    try:
        return line.search(lock.read_text(encoding="utf-8")) is not None
    except OSError:  # a wheel of this project comes without locks
        return False
