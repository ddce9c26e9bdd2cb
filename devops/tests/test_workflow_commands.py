"""Texts of others in the log of a GitHub workflow: a line of them that reads as a command of GitHub's is only shown.

`obeyed` reads a log as GitHub's runner does: lines end at CR or LF, blanks before `::` are dropped, `##[` counts
anywhere in a line.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from wms.pipes import HarmlessStream, open_streams, print_command
from wms.tables import plain_console
from wms_ops.base.outputs import annotate, mask
from wms_ops.hook import act
from wms_ops.loop.console import ConsoleTeller

COMMANDS = ("::set-env name=PATH::/evil", "::add-mask::a", "::stop-commands::x", "##[add-mask]a", "##[error]Forged")
BEFORE = ("", "\n", "\r", "\r\n", "\n \t", "\n\u2003", "\u2028", "\u2029", "\u0085", "\v", "\f", "\n\ufeff", "\n\0")


def obeyed(log: str) -> list[str]:
    """The commands that GitHub's runner would carry out."""
    lines = re.split(r"\r\n|\r|\n|[\v\f\x1c-\x1e\x85\u2028\u2029]", log)
    bare = [re.sub(r"^[\s\x00\u200b\ufeff]+", "", line) for line in lines]
    return [line for line in bare if line.startswith("::") or "##[" in line]


def log_of_a_step(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a step prints from now on, as this program sets its streams up at its start."""
    shown = io.StringIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, shown)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    open_streams()
    open_streams()  # a command that runs another one in its process
    return shown


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.attack(
    "a contributor of data",
    "a name or output that GitHub takes for a command",
    "a backslash before it",
)
def test_a_photo_a_run_or_a_line_of_training_is_no_command(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    log = log_of_a_step(monkeypatch)
    for start in BEFORE:
        print(f"Photo {start}{command}")
        print(f"{start}{command}", file=sys.stderr)
        print("epoch 3", "\n", command, sep="")
        act._say(f"warning: {start}{command}.jpg")
    assert obeyed(log.getvalue()) == []
    assert log.getvalue().count(command[3:]) == 4 * len(BEFORE), "all of it is shown"


def test_a_command_in_pieces_is_none_either(monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of_a_step(monkeypatch)
    for pieces in ((":", ":add-mask::a\n"), (" ", "\t", "::add-mask::a\n"), ("#", "#", "[error]a\n"), ("\r", "::x\n")):
        for piece in pieces:
            sys.stdout.write(piece)
        sys.stdout.writelines(pieces)
    assert obeyed(log.getvalue()) == []


def test_what_is_no_command_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of_a_step(monkeypatch)
    texts = "a::b\nsee wms::data\n# Title\n## [link](x)\n - [x] done\n100 %::x\n"
    print(texts, end="")
    assert log.getvalue() == texts


def test_this_programs_own_commands_are_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of_a_step(monkeypatch)
    print("no end of line", end="")
    annotate("error", "Photo \r\n::add-mask::a is damaged.", file="a:b,c\n::x")
    mask("a secret")
    print_command("::notice::Done.")
    assert obeyed(log.getvalue()) == [
        "::error file=a%3Ab%2Cc%0A%3A%3Ax::Photo %0D%0A::add-mask::a is damaged.",
        "::add-mask::a secret",
        "::notice::Done.",
    ]


@pytest.mark.parametrize("is_terminal", [True, False], ids=["a runner with a terminal", "a log"])
def test_a_password_is_masked_while_progress_is_shown(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    """rich puts a stream of its own before this one as long as it draws."""
    log = log_of_a_step(monkeypatch)
    console = plain_console(force_terminal=is_terminal)
    with console.status("4/12 up"):
        mask("hunter2")
        print("::set-env name=PATH::/evil")
    assert "::add-mask::hunter2" in [line.rpartition("\r")[2] for line in log.getvalue().splitlines()]
    assert [line for line in obeyed(log.getvalue()) if "add-mask" not in line] == []


def test_a_step_of_the_loop_draws_nothing_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of_a_step(monkeypatch)
    monkeypatch.setenv("FORCE_COLOR", "1")  # by which a person has tools take a log for a terminal
    teller = ConsoleTeller()
    teller.begins("up", 4)
    mask("hunter2")
    teller.line("It starts.")
    teller.line("Refused:\n  a.png is no picture.\n::error::Forged")
    shown = "      It starts.\n      Refused: a.png is no picture. ::error::Forged\n"
    assert log.getvalue() == f" 4/12 up ...\n::add-mask::hunter2\n{shown}"
    assert obeyed(log.getvalue()) == ["::add-mask::hunter2"]


def test_elsewhere_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    before = sys.stdout
    open_streams()
    assert sys.stdout is before and not isinstance(before, HarmlessStream)


def test_a_real_command_names_a_hostile_folder(tmp_path: Path) -> None:
    """A whole process, whose error holds the name."""
    name = tmp_path / "a\n::add-mask::x\r##[error]y"
    command = [sys.executable, "-m", "wms_ops", "data", "check", str(name)]
    environ = {"PATH": "/usr/bin:/bin", "GITHUB_ACTIONS": "true", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, env=environ, capture_output=True, timeout=120, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 2 and "add-mask::x" in said
    assert obeyed(said) == []
