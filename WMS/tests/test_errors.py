"""One exit code per kind of failure, and one place that maps them."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from wms import errors
from wms.errors import (
    BROKEN_PIPE,
    DECLINED,
    INTERRUPTED,
    UNHEALTHY,
    ConfigError,
    DiskFullError,
    UnwritableError,
    WmsError,
    from_os_error,
    run_main,
)
from wms_ops.base import errors as ops_errors


def all_classes(base: type[WmsError] = WmsError) -> Iterator[type[WmsError]]:
    """`base` and its subclasses in both libraries."""
    yield base
    for below in base.__subclasses__():
        if below.__module__ in (errors.__name__, ops_errors.__name__):
            yield from all_classes(below)


CLASSES = list(all_classes())


def run_raising(error: BaseException) -> int:
    def main(_: Sequence[str] | None) -> int:
        raise error

    return run_main(main, [])


def test_exit_codes_are_unique_and_possible() -> None:
    codes = Counter(kind.exit_code for kind in CLASSES)
    assert len(CLASSES) > 20
    assert codes.most_common(1)[0][1] == 1
    assert DECLINED not in codes and UNHEALTHY not in codes
    # 0 is success; shells take 126 and above for themselves.
    assert all(0 < code < 126 for code in codes)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_class_becomes_its_exit_code(kind: type[WmsError], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_raising(kind("What is wrong; what to do.")) == kind.exit_code
    assert capsys.readouterr().err == "error: What is wrong; what to do.\n"
    assert kind.__doc__


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_without_traceback(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_raising(OSError(code, "full", "model.pt")) == DiskFullError.exit_code == 30
    text = capsys.readouterr().err
    assert "model.pt" in text
    assert "Traceback" not in text


def test_an_error_that_nobody_foresaw_keeps_its_traceback() -> None:
    with pytest.raises(PermissionError):
        run_raising(PermissionError(errno.EACCES, "denied", "x"))
    with pytest.raises(ZeroDivisionError):
        run_raising(ZeroDivisionError())


def test_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_raising(KeyboardInterrupt()) == INTERRUPTED == 130
    assert "Traceback" not in capsys.readouterr().err


PRINTING = {
    "print": "print('x' * 100_000); return 0",
    "a short print": "print('x'); return 0",
    "argparse": "argparse.ArgumentParser().parse_args(['--help'])",
    "a command's parser": "Command('x', nothing, lambda _: 0)(['--help'])",
    "rich": "Console().print('x'); return 0",
}


# Unbuffered, argparse itself goes on as if it had printed.
PIPES = [(name, unbuffered) for name in PRINTING for unbuffered in ("", "1") if (name, unbuffered) != ("argparse", "1")]


@pytest.mark.parametrize(("printing", "unbuffered"), PIPES)
def test_a_reader_that_went_away_ends_the_program_quietly(printing: str, unbuffered: str) -> None:
    code = (
        "import argparse, sys\nfrom rich.console import Console\nfrom wms.command import Command, nothing\n"
        f"from wms.errors import run_main\ndef main(_):\n    {PRINTING[printing]}\nsys.exit(run_main(main))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    environ = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-c", code]
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            command, stdout=closed, stderr=subprocess.PIPE, env=environ, text=True, timeout=120, check=False
        )
    assert (done.returncode, done.stderr) == (BROKEN_PIPE, "")


def test_a_broken_pipe_that_is_not_the_outputs_keeps_its_traceback() -> None:
    with pytest.raises(BrokenPipeError):
        run_raising(BrokenPipeError(errno.EPIPE, "of a server"))


def test_a_failure_counts_more_than_a_reader_that_went_away() -> None:
    code = (
        "import sys\nfrom wms.errors import ConfigError, run_main\n"
        "def main(_):\n    print('x')\n    raise ConfigError('No.')\nsys.exit(run_main(main))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    environ = {**os.environ, "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-c", code]
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            command, stdout=closed, stderr=subprocess.PIPE, env=environ, text=True, timeout=120, check=False
        )
    assert (done.returncode, done.stderr) == (ConfigError.exit_code, "error: No.\n")


@pytest.mark.parametrize("code", [0, 7])
def test_the_result_and_the_arguments_pass_through(code: int) -> None:
    seen: list[Sequence[str] | None] = []

    def main(argv: Sequence[str] | None) -> int:
        seen.append(argv)
        return code

    assert run_main(main, ["--x"]) == code
    assert seen == [["--x"]]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(errno.ENOSPC, "full"), DiskFullError, "No space left"),
        (PermissionError(errno.EACCES, "Permission denied"), UnwritableError, "Permission denied"),
        (OSError(), UnwritableError, "OSError"),
    ],
)
def test_from_os_error(error: OSError, kind: type[WmsError], words: str) -> None:
    mapped = from_os_error(error, "some/folder")
    assert type(mapped) is kind
    assert words in str(mapped)
    assert "some/folder" in str(mapped)


def test_every_exit_code_is_documented() -> None:
    table = (Path(__file__).resolve().parents[2] / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert {cls.exit_code for cls in CLASSES} | {DECLINED, UNHEALTHY, INTERRUPTED, BROKEN_PIPE} == documented


@pytest.mark.skipif(sys.platform == "win32", reason="its shell can't close a stream")
@pytest.mark.parametrize("code", [0, 10])
@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_closed_stream_changes_no_exit_code(closing: str, code: int) -> None:
    ending = "return 0" if code == 0 else "raise ConfigError('No.')"
    program = (
        "import sys\nfrom wms.errors import ConfigError, run_main\n"
        f"def main(_):\n    print('x')\n    print('x', file=sys.stderr)\n    {ending}\nsys.exit(run_main(main))"
    )
    command = ["sh", "-c", f'"$0" -c "$1" {closing}', sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_a_stream_without_a_letter_gets_an_escape() -> None:
    code = (
        "import sys\nfrom wms.errors import run_main\nfrom wms.tables import Column, print_table\n"
        "def main(_):\n    print('\\xfc\\udcff')\n    print_table([Column('\\xfc')], [['\\xfc']])\n    return 0\n"
        "sys.exit(run_main(main))"
    )
    for encoding in ("ascii", "utf-8"):
        environ = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environ, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.count("\xfc".encode(encoding, "backslashreplace")) == 3
