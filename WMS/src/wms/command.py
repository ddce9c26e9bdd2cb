"""A command of `wms`: the arguments that the command declares, and the function that runs with them."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from wms.names import harmless

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

Amount = TypeVar("Amount", int, float)
WIDTH: Final = 100
"""Columns of every help text."""

PAGE: Final = rb"<!doctype html>.{0,1000}?<title>"
"""The beginning of each HTML page of this project, up to the title's text: a regular expression for `own_file`."""

_HEAD_BYTES: Final = 4096


@dataclass(frozen=True)
class Command:
    """A command. `declare` adds the arguments to a parser; `run` takes the parsed options and returns an exit code.

    Modules keep their commands as constants, and `wms_ops.commands.tree` names them, so that a module is imported only
    when a user chooses its command. Calling a Command with a list of arguments parses them and runs it.
    """

    text: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    epilog: str = ""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Parse the arguments (those of the process if None) and run; raises the errors of `run`."""
        return self.run(self.parser().parse_args(argv))

    def parser(self, prog: str | None = None, example: str = "") -> argparse.ArgumentParser:
        """The command's parser; `example` is a whole command line that the help ends with."""
        last = f"example:\n  {example}" if example else ""
        parser = Parser(
            prog=prog,
            description=textwrap.fill(self.text, WIDTH),
            epilog="\n\n".join(filter(None, (textwrap.fill(self.epilog, WIDTH), last))) or None,
            formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=WIDTH),
        )
        self.declare(parser)
        return parser


class Parser(argparse.ArgumentParser):
    """A parser that answers a mistake with a sentence, the nearest valid option and the command for help."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        hint = ""
        if found := re.match(r"unrecognized arguments: (--[\w-]+)", message):
            hint = nearest(found[1], [name for name in self._option_string_actions if name.startswith("--")])
        self.exit(2, f"error: {message}{hint}; see `{self.prog} --help`.\n")

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """Print the help; argparse would go on silently after a closed pipe."""
        (file or sys.stderr).write(message)


def any_path(text: str) -> Path:
    """The type of an argument that names a file or a folder, which may not exist."""
    path = Path(text)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except OSError as error:  # a name that is too long, or a folder that the user may not look into
        raise argparse.ArgumentTypeError(f"{text[:80]}: {error.strerror}") from None
    return path


def folder(text: str) -> Path:
    """The type of an argument that names a folder to read."""
    if not (path := new_folder(text)).exists():
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return path


def new_folder(text: str) -> Path:
    """The type of an argument that names a folder to write, which may not exist yet."""
    path = any_path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} isn't a folder")
    return path


def new_file(text: str) -> Path:
    """The type of an argument that names a file to write, in a folder that exists."""
    if not (path := any_path(text)).name:
        raise argparse.ArgumentTypeError(f"{text!r} names no file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def recorded(text: str) -> str:
    """The type of an argument that goes on record, where every reader sees all of it."""
    if harmless(text, keep="") != text:
        raise argparse.ArgumentTypeError("the text holds a line end or a character that can't be seen; leave it out")
    return text


def own_file(*marks: bytes, named: str = "", kind: Callable[[str], Path] = new_file) -> Callable[[str], Path]:
    """The type of an argument that names a file to write: a new or empty file, or an earlier one of the same command.

    The beginning of an earlier one matches one of `marks`, regular expressions; a file of the name `named` needs none.
    `kind` is the type without this rule.
    """
    known = re.compile(b"|".join(marks), re.DOTALL)

    def parse(text: str) -> Path:
        path = kind(text)
        try:
            may_replace = path.name == named or is_own(path, known)
        except OSError as error:
            raise argparse.ArgumentTypeError(f"{harmless(text)}: {error.strerror}") from None
        if not may_replace:
            raise argparse.ArgumentTypeError(
                f"{harmless(text)} is there already and isn't an earlier result of this command, so nothing was "
                "changed: name another file"
            )
        return path

    return parse


def is_own(path: Path, known: re.Pattern[bytes]) -> bool:
    """Whether a file may be replaced: it is absent or empty, or its beginning matches. Raises OSError."""
    if not path.is_file():
        return True
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    return not head or known.match(head) is not None


def whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """The type of an argument that is a whole number from `least` to `most`."""
    return _within(int, least, most, f"a whole number from {least} to {most}")


def number(least: float, most: float) -> Callable[[str], float]:
    """The type of an argument that is a number from `least` to `most`."""
    return _within(float, least, most, f"a number from {least:g} to {most:g}")


def _within(kind: Callable[[str], Amount], least: Amount, most: Amount, what: str) -> Callable[[str], Amount]:
    def parse(text: str) -> Amount:
        with contextlib.suppress(ValueError):
            if least <= (value := kind(text)) <= most:
                return value
        raise argparse.ArgumentTypeError(f"{text!r} isn't {what}")

    return parse


def nearest(name: str, valid: Sequence[str]) -> str:
    """ ", did you mean ...?" with the nearest valid name; empty if no name is near."""
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def nothing(_: argparse.ArgumentParser) -> None:
    """The declaration of a command without arguments."""
