"""Slices: the part of long matrices and scenarios that a test run takes, another one for each commit.

A case of a matrix is left out by `of_this_commit`, a test by `@pytest.mark.slice(name, of, number)`: it belongs to part
`number` of `of`, and a commit takes one part. Without a number, a file's tests of that name are dealt to the parts in
turn; a run whose arguments name the file takes all of them. `make prove-matrices` takes everything. A run's end says
what it left.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from isolation import session_folder

from wms.files import parse_json
from wms.json_text import to_json
from wms.settings import CheckSettings

Item = TypeVar("Item")
ROOT: Final = Path(__file__).resolve().parents[2]
_SLICED: Final = pytest.StashKey[bool]()


def numbers_of(name: str, total: int, size: int, commit: str | None = None) -> list[int]:
    """Return `size` numbers below `total` for a commit (default: the checked-out one), spread over all of them."""
    commit = commit or _head()
    start = int.from_bytes(hashlib.sha256(f"{name} {commit.strip()}".encode()).digest()[:8])
    step = max(1, total // size)
    return sorted({(start + number * step) % total for number in range(min(size, total))})


@cache
def _head() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def of_this_commit(name: str, cases: Sequence[Item], size: int) -> list[Item]:
    """Return `size` of the cases, others for each commit: for a matrix that has no proof of its own."""
    if CheckSettings.read().wms_whole_matrices:
        return list(cases)
    numbers = numbers_of(name, len(cases), size)
    _note(name, [str(case) for number, case in enumerate(cases) if number not in numbers])
    return [cases[number] for number in numbers]


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take the tests of other commits' slices out of `items`, unless the command names their file."""
    if CheckSettings.read().wms_whole_matrices or config.stash.get(_SLICED, False):
        return
    config.stash[_SLICED] = True  # both halves' conftest.py call this
    named = {(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args}
    dealt = Counter[tuple[Path, str]]()
    left: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if mark := item.get_closest_marker("slice"):
            name, of, number = _part(*mark.args, **mark.kwargs)
            if number is None:
                number = dealt[item.path, name] % of
                dealt[item.path, name] += 1
            if [number] != numbers_of(name, of, 1) and item.path not in named:
                left[name].append(item)
    for name, some in left.items():
        attacks = [list(mark.args) for item in some if (mark := item.get_closest_marker("attack"))]
        _note(name, [item.nodeid for item in some], attacks)
    gone = {item for some in left.values() for item in some}
    items[:] = [item for item in items if item not in gone]
    config.hook.pytest_deselected(items=list(gone))


def _part(name: str, of: int, number: int | None = None) -> tuple[str, int, int | None]:
    return name, of, number


def _note(name: str, left: Sequence[str], attacks: Sequence[list[Any]] = ()) -> None:
    """Note what this run leaves, for the process that tells it: all processes collect the same."""
    session = session_folder()
    if session is not None and left:
        folder = session / "left"
        folder.mkdir(exist_ok=True)
        path = folder / hashlib.sha256(name.encode()).hexdigest()[:16]
        path.write_text(to_json({"left": list(left), "attacks": list(attacks)}), encoding="utf-8")


def _notes() -> list[dict[str, Any]]:
    session = session_folder()
    paths = sorted((session / "left").glob("*")) if session is not None else []
    return [parse_json(path.read_bytes()) for path in paths]


def left_attacks() -> list[list[str]]:
    """The arguments of `attack` of the tests that this run left."""
    return [attack for note in _notes() for attack in note["attacks"]]


def left_in_words() -> str:
    """What this run left, as a sentence; empty if it left nothing."""
    counts = [len(note["left"]) for note in _notes()]
    if not counts:
        return ""
    return f"{sum(counts)} cases of {len(counts)} slices were left to other commits; `make prove-matrices` tries all."
