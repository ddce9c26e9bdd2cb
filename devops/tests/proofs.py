"""Proofs with more cases than a test run has time for: the whole by `make prove-NAME`, a slice in each test run.

A case is a seed. A part of a proof makes the case of a seed, tries it, and returns the outcome in a few words; a fault
is any exception. A slice is another one for each commit, so that a week of commits tries most of the cases.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track
from slices import numbers_of

from wms.tables import Column, make_table

Item = TypeVar("Item")
Try = Callable[[int, Path], str]
"""Tries the case of a seed in an empty folder; returns the outcome, raises for a fault."""

_COLUMNS = (
    Column("part"),
    Column("cases", justify="right"),
    Column("outcomes", wraps=True),
    Column("faults", justify="right"),
    Column("seconds", justify="right"),
)


@dataclass(frozen=True)
class Part:
    """A part of a proof: `cases` seeds in all, of which a test run tries `slice_size`.

    `around` starts what all cases share, such as a server, before the worker processes. With `workers` of 1 all cases
    are tried in this process.
    """

    name: str
    cases: int
    slice_size: int
    try_case: Try
    workers: int = 2
    around: Callable[[], AbstractContextManager[None]] = nullcontext


@dataclass
class Result:
    """The outcomes of a part, and each fault by its seed."""

    part: Part
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def cells(self) -> list[str]:
        """A row of the table."""
        told = ", ".join(f"{outcome}: {count}" for outcome, count in self.outcomes.most_common())
        cases = sum(self.outcomes.values()) + len(self.faults)
        return [self.part.name, str(cases), told, str(len(self.faults)), f"{self.seconds:.0f}"]


def slice_of(part: Part, commit: str | None = None) -> list[int]:
    """Return the seeds for a commit (default: the checked-out one), spread over all cases."""
    return numbers_of(part.name, part.cases, part.slice_size, commit)


def run_part(part: Part, seeds: Sequence[int]) -> Result:
    """Try the cases of `seeds`; a fault doesn't stop the others."""
    result = Result(part)
    started = time.monotonic()
    with part.around(), _mapped(part) as mapped:
        for seed, outcome, fault in mapped(seeds):
            if fault:
                result.faults[seed] = fault
            else:
                result.outcomes[outcome] += 1
    result.seconds = time.monotonic() - started
    return result


def prove(parts: Sequence[Part], seeds: Sequence[int] | None = None) -> int:
    """Try all cases of the parts, or those of `seeds`, and print the table; returns 1 if there was a fault."""
    console = Console(soft_wrap=True, highlight=False)
    results = [run_part(part, range(part.cases) if seeds is None else seeds) for part in parts]
    console.print(make_table(_COLUMNS, [result.cells for result in results]))
    for result in results:
        for seed, fault in sorted(result.faults.items()):
            console.print(f"fault in {result.part.name}, --parts {result.part.name} --seeds {seed}:\n{fault}")
    return 1 if any(result.faults for result in results) else 0


Mapped = Callable[[Sequence[int]], Iterator[tuple[int, str, str]]]


@contextmanager
def _mapped(part: Part) -> Iterator[Mapped]:
    def one_process(seeds: Sequence[int]) -> Iterator[tuple[int, str, str]]:
        for seed in _shown(seeds, part.name, len(seeds)):
            yield _tried(part.try_case, seed)

    if part.workers == 1:
        yield one_process
        return
    with ProcessPoolExecutor(part.workers) as pool:

        def processes(seeds: Sequence[int]) -> Iterator[tuple[int, str, str]]:
            done = pool.map(_tried, [part.try_case] * len(seeds), seeds, chunksize=4)
            yield from _shown(done, part.name, len(seeds))

        yield processes


def _shown(items: Iterable[Item], name: str, total: int) -> Iterator[Item]:
    """Show progress and an estimate on a terminal."""
    console = Console(stderr=True)
    yield from track(items, name, total=total, console=console, transient=True, disable=not console.is_terminal)


def _tried(try_case: Try, seed: int) -> tuple[int, str, str]:
    """Seed, outcome and fault of a case; the fault is the traceback."""
    import traceback

    with tempfile.TemporaryDirectory(prefix="wms-proof-") as folder:
        try:
            return seed, try_case(seed, Path(folder)), ""
        except Exception:  # whatever a case raises is what is looked for
            return seed, "", traceback.format_exc(limit=-6)
