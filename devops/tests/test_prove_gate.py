"""A slice of `make prove-gate`, another one for each commit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from proofs import Part, run_part, slice_of
from prove_gate import HEADS, PARTS


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_slice_keeps_the_promises(part: Part, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_part(replace(part, workers=1), slice_of(part))
    with capsys.disabled():
        print("", HEADS[part.name], *result.outcomes, sep="\n")
    assert not result.faults, "\n".join(result.faults.values())
    columns = HEADS[part.name].splitlines()[0].count("|")
    assert result.outcomes
    assert all(row.count("|") == columns for rows in result.outcomes for row in rows.splitlines())
