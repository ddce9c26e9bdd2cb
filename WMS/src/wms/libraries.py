"""The groups of libraries that a user can install, and the group that brings a library which a command misses."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from wms.paths import ROOT

CORE: Final = "core"
MEGABYTES: Final = {"core": 590, "heic": 5, "serve": 20, "dev": 300, "cloud": 700, "train": 5280}
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
    "pi_heif": "pi-heif-decoder",
    "PIL": "pillow",
    "psycopg2": "",
    "pywt": "pywavelets",
    "yaml": "pyyaml",
}
"""The packages of modules with other names."""


def lock_of(group: str) -> Path:
    """A group's lock, relative to the repository's root; it holds core's packages, too."""
    return LOCKS / f"{group}.txt"


def absent(group: str, root: Path = ROOT) -> list[str]:
    """The direct packages of a group that this Python lacks, as pyproject.toml names them; none is imported."""
    import tomllib  # here: a Python that is too old for this module gets a sentence

    told = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines: list[str] = told["dependencies"] if group == CORE else told["optional-dependencies"][group]
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines]
    return [name for name in names if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version(name))
    return False


def lacking(error: ModuleNotFoundError) -> str | None:
    """The sentence for a missing library, with the command that installs it; None for a module of this project.

    Users install groups of libraries, so a command may find out anywhere that it needs another group.
    """
    missing = (error.name or "").partition(".")[0]
    if missing in ("", "wms", "wms_ops"):
        return None
    users = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    group = group_of(missing, users, ROOT)
    named = f", of the group {group}," if group else ","
    return f"{sys.executable} lacks {missing}{named} which this command needs; {install_advice(group or CORE)}"


def install_advice(group: str = CORE) -> str:
    """The end of a sentence: the commands that install a group of libraries into this clone."""
    if sys.platform == "win32":
        return f"run `WMS\\scripts\\install.bat {group}` in {ROOT}, then `.venv\\Scripts\\activate`, and this again."
    words = "make install" if group == CORE else f"make install FOR={group}"
    return f"run `{words}` in {ROOT}, then `source .venv/bin/activate`, and this again."


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
