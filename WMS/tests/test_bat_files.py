"""The .bat files for Windows, read as cmd.exe reads them: they can't run on the machines of the tests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path, PureWindowsPath

import pytest
from servers import require_tool

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "WMS" / "scripts"
RUNNER = SCRIPTS / "run_python.bat"
INSTALLER = SCRIPTS / "install.bat"  # for a machine that has no .venv yet, with tests of its own
BATS = sorted(SCRIPTS.glob("*.bat"))
TWINS = [path for path in BATS if path not in (RUNNER, INSTALLER)]
HERE = "%~dp0"  # the folder of the .bat file, with a backslash at its end
UNIX = r"(?i)\b(rm|cp|mv|ls|cat|grep|sed|source|export|bash|sh|true|/dev/null|\.venv/bin)\b"


def lines_of(path: Path) -> list[str]:
    """The lines that cmd.exe runs; remarks are none."""
    text = path.read_bytes().decode("ascii")  # cmd.exe reads all else in the code page of the console
    return [line for line in text.split("\r\n") if line and not line.startswith("rem ")]


def in_place(path: Path, written: str) -> Path:
    """The file that a name with %~dp0 or %~dpn0 means, for a .bat file at `path`."""
    written = written.replace("%~dpn0", f"{HERE}{path.stem}")
    assert written.startswith(HERE)
    return path.parent.joinpath(*PureWindowsPath(written.removeprefix(HERE)).parts).resolve()


def test_every_script_that_users_start_has_its_twin() -> None:
    assert {path.stem for path in TWINS} == {path.stem for path in SCRIPTS.glob("*.py")} - {INSTALLER.stem}
    everywhere = [path for folder in ("WMS", "devops", "hooks") for path in (ROOT / folder).rglob("*.bat")]
    assert set(BATS) == set(everywhere), "one that lies elsewhere isn't checked here"


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.name)
def test_it_starts_the_script_beside_it_and_hands_all_on(path: Path) -> None:
    echo, local, name, run = lines_of(path)
    assert echo == "@echo off"
    # Without that name a variable of the window changes, and an exclamation mark in an argument gets lost.
    assert local == "setlocal DisableDelayedExpansion"
    script = re.fullmatch(r'set "SCRIPT=(%~dp[^"]+)"', name)
    assert script, "in quotes, because folders have spaces and ampersands"
    assert in_place(path, script[1]) == path.with_suffix(".py")
    assert path.with_suffix(".py").is_file()
    # As the last line and without `call`, which would read %, ^ and ! of an argument a second time: this file ends with
    # the code of the other. And %* is bare, which keeps the user's quotes.
    started = re.fullmatch(r'"([^"]+)" %\*', run)
    assert started and in_place(path, started[1]) == RUNNER


def test_the_runner_takes_the_python_of_the_environment_if_there_is_one() -> None:
    echo, local, plain, chosen, call, code = lines_of(RUNNER)[:6]
    assert (echo, local, plain) == ("@echo off", "setlocal DisableDelayedExpansion", 'set "PYTHON=python"')
    found = re.fullmatch(r'if exist "([^"]+)" set "PYTHON=([^"]+)"', chosen)
    assert found, "no block in parentheses: a folder such as Program Files (x86) would end it"
    assert found[1] == found[2]
    assert in_place(RUNNER, found[1]) == (ROOT / ".venv" / "Scripts" / "python.exe").resolve()
    assert call == '"%PYTHON%" "%SCRIPT%" %*'
    assert code == 'set "RESULT=%ERRORLEVEL%"', "right after the call: any command between would set another code"


def test_the_runner_waits_only_after_a_double_click() -> None:
    """cmd.exe's own line ends in `" "` after a double click; the code is Python's on every way out."""
    after = lines_of(RUNNER)[6:]
    assert after[0].startswith("if %RESULT% equ 9009 echo error: no Python was found"), "cmd.exe's code for no program"
    assert after[1:4] == [
        "setlocal EnableDelayedExpansion",  # the line may hold & and ), which %CMDCMDLINE% would run
        'set "LINE=!CMDCMDLINE:"=*!"',
        'if not "!LINE:~-3!"=="* *" exit /b %RESULT%',
    ]
    assert after[4:6] == [f"if defined {name} exit /b %RESULT%" for name in ("WMS_NO_PAUSE", "CI")]
    assert after[6].endswith('timeout.exe" /t 0 >nul 2>&1 && pause'), "not Git's own timeout on PATH"
    assert after[7:] == ["exit /b %RESULT%"]


@pytest.mark.parametrize("path", BATS, ids=lambda path: path.name)
def test_no_line_needs_unix(path: Path) -> None:
    assert not [line for line in lines_of(path) if re.search(UNIX, line)]


@pytest.mark.parametrize("path", [*TWINS, RUNNER], ids=lambda path: path.name)
def test_each_name_with_a_variable_stands_in_quotes(path: Path) -> None:
    # Not in install.bat, whose Python may be two words: py -3.11.
    for line in lines_of(path):
        bare = re.sub(r'"[^"]*"', "", line)
        assert not re.search(r"%~dp|%PYTHON%|%SCRIPT%|%SystemRoot%", bare), line


@pytest.mark.parametrize("path", BATS, ids=lambda path: path.name)
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
