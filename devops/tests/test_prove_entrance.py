"""A slice of `make prove-entrance`, another one for each commit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from entrance_table import WORKS, Row
from proofs import Part, run_part, slice_of
from prove_entrance import PARTS


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_slice_has_no_fault(part: Part, entrance: Row) -> None:
    result = run_part(replace(part, workers=1), slice_of(part))
    assert not result.faults, "\n".join(result.faults.values())
    _, cases, outcomes, _, _ = result.cells
    entrance("fuzz", f"{part.name}: {cases} of {part.cases} cases", outcomes, WORKS)


def test_slices_differ_by_commit_and_reach_every_case() -> None:
    part = Part("some", 40, 10, lambda seed, folder: "")
    slices = [slice_of(part, f"commit {number}") for number in range(40)]
    assert all(len(one) == 10 and set(one) <= set(range(40)) for one in slices)
    assert set().union(*slices) == set(range(40))


def test_a_fault_is_told_by_its_seed() -> None:
    def odd(seed, folder):
        if seed % 2:
            raise ValueError("odd")
        return "even"

    result = run_part(Part("some", 4, 4, odd, workers=1), range(4))
    assert result.outcomes == {"even": 2} and set(result.faults) == {1, 3} and "odd" in result.faults[3]
