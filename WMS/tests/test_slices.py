"""Slices: every commit takes a part of what is long, all commits together take everything, and a run says so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from slices import ROOT, numbers_of, of_this_commit

MARKED = re.compile(r'mark\.slice\("([^"]+)", of=(\d+)(?:, number=(\d+))?\)')
TESTS = """
import pytest

@pytest.mark.slice("some", of=2)
@pytest.mark.parametrize("case", range(4))
@pytest.mark.attack("somebody", "a way", "a wall")
def test_some(case): pass

@pytest.mark.slice("lives", of=2, number=0)
def test_one_life(): pass

@pytest.mark.slice("lives", of=2, number=1)
def test_another_life(): pass

def test_always(): pass
"""
CONFTEST = """
from entrance_table import pytest_terminal_summary
from order import pytest_collection_modifyitems

def pytest_configure(config):
    for name in ("slice", "attack"):
        config.addinivalue_line("markers", name)
"""


def run(folder: Path, *arguments: str, **more: str) -> str:
    """A test run of its own in the folder; returns what it said."""
    (folder / "tests").mkdir()
    (folder / "session").mkdir()
    (folder / "tests/test_some.py").write_text(TESTS)
    (folder / "conftest.py").write_text(CONFTEST)
    environ = {name: value for name, value in os.environ.items() if name != "WMS_WHOLE_MATRICES"}
    environ |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "WMS_TEST_SESSION": str(folder / "session")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, env=environ | more, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_run_takes_a_part_and_says_what_it_leaves(tmp_path: Path) -> None:
    said = run(tmp_path, "tests")
    assert "4 passed, 3 deselected" in said, "two of four cases, one of two lives, and what every run takes"
    assert "3 cases of 2 slices were left to other commits; `make prove-matrices` tries all." in said
    assert "another commit's" not in said, "the attack was tried in this run, too"


def test_the_table_of_attacks_names_those_of_other_commits(tmp_path: Path) -> None:
    said = run(tmp_path, "tests", "-k", "always")
    assert "1 passed" in said and "another commit's" in said


@pytest.mark.parametrize(("argument", "whole"), [("tests", "1"), ("tests/test_some.py", "")])
def test_the_whole_is_run_by_a_variable_and_where_the_file_is_named(tmp_path: Path, argument: str, whole: str) -> None:
    said = run(tmp_path, argument, WMS_WHOLE_MATRICES=whole)
    assert "7 passed" in said and "deselected" not in said and "left to other commits" not in said


def test_commits_take_different_parts_and_together_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WMS_WHOLE_MATRICES", "WMS_TEST_SESSION"):  # what this test leaves out is no test run's
        monkeypatch.delenv(name, raising=False)
    parts = [numbers_of("some", 7, 2, f"commit {number}") for number in range(60)]
    assert all(len(part) == 2 for part in parts)
    assert {number for part in parts for number in part} == set(range(7))
    assert len(of_this_commit("a test of slices", "abcdefg", 2)) == 2
    monkeypatch.setenv("WMS_WHOLE_MATRICES", "1")
    assert of_this_commit("a test of slices", "abc", 1) == ["a", "b", "c"]


def test_every_part_of_a_numbered_slice_has_a_test() -> None:
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for folder in ("WMS/tests", "devops/tests"):
        for path in (ROOT / folder).glob("test_*.py"):
            if path.name != Path(__file__).name:
                for name, of, number in MARKED.findall(path.read_text(encoding="utf-8")):
                    found[name, int(of)].add(number)
    assert len(found) > 20
    numbered = {key: numbers for key, numbers in found.items() if numbers != {""}}
    assert {key: numbers for key, numbers in numbered.items() if numbers != set(map(str, range(key[1])))} == {}
