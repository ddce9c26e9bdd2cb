"""A slice of `make prove-service`, another one for each commit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from entrance_table import WORKS, Row
from proofs import Part, run_part, slice_of
from prove_service import PARTS

# Memory is test_serving_memory.py's business: its own part exports a network of full size.
SLICED = [part for part in PARTS if part.name != "memory"]


@pytest.mark.parametrize("part", SLICED, ids=lambda part: part.name)
def test_a_slice_has_no_fault(part: Part, entrance: Row) -> None:
    result = run_part(replace(part, workers=1), slice_of(part))
    assert not result.faults, "\n".join(result.faults.values())
    _, cases, outcomes, _, _ = result.cells
    entrance("attacks", f"{part.name}: {cases} of {part.cases} cases", outcomes, WORKS)
