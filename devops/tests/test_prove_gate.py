"""A slice of `make prove-gate`, another one for each commit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from proofs import Part, run_part, slice_of
from prove_gate import HEADS, PARTS, main


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_slice_keeps_the_promises(part: Part, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_part(replace(part, workers=1), slice_of(part))
    with capsys.disabled():
        print("", HEADS[part.name], *result.outcomes, sep="\n")
    assert not result.faults, "\n".join(result.faults.values())
    columns = HEADS[part.name].splitlines()[0].count("|")
    assert result.outcomes
    assert all(row.count("|") == columns for rows in result.outcomes for row in rows.splitlines())


def test_two_runs_scores_give_the_same_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for name, gain in (("before", 0.0), ("now", 0.02)):
        rows = [{"stem": f"meter_{n}", "dice": 0.8 + gain * (n % 3) - 0.25 * (n == 5) * (gain > 0)} for n in range(12)]
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps([*rows, {"stem": name, "dice": 0.1}]))
    assert main(["--scores", *map(str, files)]) == 0
    rows = capsys.readouterr().out.splitlines()
    # One photo in twelve loses over 0.2: 1 - (11/12)^12 of the draws hold the photo.
    assert rows[2].startswith("| 12 | -0.0008 |") and rows[2].endswith(
        ("| 0.64 | 0.64 | 0.00 |", "| 0.65 | 0.65 | 0.00 |")
    )
    assert sum(row.startswith("| none is better") for row in rows) == 6
