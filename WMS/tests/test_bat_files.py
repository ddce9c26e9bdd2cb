"""The .bat files for Windows, read as cmd.exe reads them: they can't run on the machines of the tests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path, PureWindowsPath

import pytest
from servers import require_tool

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "WMS" / "scripts"
INSTALL = SCRIPTS / "install.bat"  # test_install.py reads it
TWINS = sorted(set(SCRIPTS.glob("*.bat")) - {INSTALL})
HERE = "%~dp0"  # the folder of the .bat file, with a backslash at its end


def lines_of(path: Path) -> list[str]:
    """The lines that cmd.exe runs; remarks are none."""
    text = path.read_bytes().decode("ascii")  # cmd.exe reads all else in the code page of the console
    return [line for line in text.split("\r\n") if line and not line.startswith("rem ")]


def in_place(path: Path, written: str) -> Path:
    """The file that a name with %~dp0 means, for a .bat file at `path`."""
    assert written.startswith(HERE)
    return path.parent.joinpath(*PureWindowsPath(written.removeprefix(HERE)).parts).resolve()


def test_every_script_that_users_start_has_its_twin() -> None:
    assert {path.stem for path in TWINS} == {path.stem for path in SCRIPTS.glob("*.py")}
    everywhere = [path for folder in ("WMS", "devops", "hooks") for path in (ROOT / folder).rglob("*.bat")]
    assert {*TWINS, INSTALL} == set(everywhere), "one that lies elsewhere isn't checked here"


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.name)
def test_it_starts_the_script_beside_it_and_hands_all_on(path: Path) -> None:
    first, *middle, call, last = lines_of(path)
    assert first == "@echo off"
    started = re.fullmatch(r'"%PYTHON%" "(%~dp0[^"]+\.py)" %\*', call)
    assert started, "the script in quotes, because folders have spaces, and %* bare, which keeps the user's quotes"
    assert in_place(path, started[1]) == path.with_suffix(".py")
    assert path.with_suffix(".py").is_file()
    assert last == "exit /b %ERRORLEVEL%", "right after the call: any command between would set another code"
    # Without that name a variable of the window changes, and an exclamation mark in an argument gets lost.
    assert middle[0] == "setlocal DisableDelayedExpansion"


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.name)
def test_it_takes_the_python_of_the_environment_if_there_is_one(path: Path) -> None:
    plain, chosen = lines_of(path)[2:-2]
    assert plain == 'set "PYTHON=python"'
    found = re.fullmatch(r'if exist "([^"]+)" set "PYTHON=([^"]+)"', chosen)
    assert found, "no block in parentheses: a folder such as Program Files (x86) would end it"
    assert found[1] == found[2]
    assert in_place(path, found[1]) == (ROOT / ".venv" / "Scripts" / "python.exe").resolve()


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.name)
def test_its_lines_end_as_windows_wants_them_in_every_clone(path: Path) -> None:
    content = path.read_bytes()
    assert content.endswith(b"\r\n")
    assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r")
    if not (ROOT / ".git").exists():
        pytest.skip("this isn't a clone")
    require_tool("git")
    command = ["git", "-C", str(ROOT), "check-attr", "text", "eol", "--", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.findall(r": (\w+): (\w+)$", said, re.MULTILINE) == [("text", "set"), ("eol", "crlf")]
