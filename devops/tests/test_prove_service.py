"""A slice of `make prove-service`, another one for each commit."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from entrance_table import WORKS, Row
from proofs import Part, run_part, slice_of
from prove_service import PARTS, WATCHED
from watched import watch

# Memory is test_serving_memory.py's business: its own part exports a network of full size. The whole loop is watched by
# `make prove-service` alone.
SLICED = [part for part in PARTS if part.name not in ("memory", "quiet")]


@pytest.mark.parametrize("part", SLICED, ids=lambda part: part.name)
def test_a_slice_has_no_fault(part: Part, entrance: Row) -> None:
    result = run_part(replace(part, workers=1), slice_of(part))
    assert not result.faults, "\n".join(result.faults.values())
    _, cases, outcomes, _, _ = result.cells
    entrance("attacks", f"{part.name}: {cases} of {part.cases} cases", outcomes, WORKS)


def test_commands_call_nobody(entrance: Row) -> None:
    part = next(part for part in PARTS if part.name == "quiet")
    result = run_part(part, [list(WATCHED).index(name) for name in ("predict", "serve")])
    assert not result.faults, "\n".join(result.faults.values())
    entrance("attacks", "wms predict and wms serve under strace, on loopback alone", result.cells[2], WORKS)


def test_a_call_for_a_name_or_beyond_loopback_is_seen(tmp_path: Path) -> None:
    ask = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('198.51.100.7', 9))"
    look = "import socket; socket.getaddrinfo('collector.example', 443)"
    for number, code in enumerate((ask, look)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert watch([sys.executable, "-c", f"try:\n    {code}\nexcept OSError: pass"], folder).outside, code
    careless = (
        "import os; open(os.path.join(os.environ['TMPDIR'], 'queue.db'), 'w'); open(os.path.expanduser('~/id'), 'w')"
    )
    (tmp_path / "files").mkdir()
    seen = watch([sys.executable, "-c", careless], tmp_path / "files")
    assert [Path(path).name for path in seen.careless] == ["queue.db"] and seen.in_home == ("id",)


def test_what_the_runtime_does_unless_it_is_told_is_seen(tmp_path: Path) -> None:
    seen = watch([sys.executable, "-c", "import onnxruntime"], tmp_path)
    assert [path for path in seen.in_home if path.endswith("onnxruntime.db")]
    assert [Path(path).name for path in seen.careless] == [".ses"]
