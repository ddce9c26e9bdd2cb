"""A question to the person at the terminal."""

from __future__ import annotations

import sys

from wms.errors import UsageError
from wms.interrupt import hear_ctrl_c


def ask(question: str, instead: str) -> str:
    """The answer, without white space around it; empty for Ctrl-D, or for bytes that are no text.

    Raises UsageError where there is no terminal, with `instead`, what to do there; KeyboardInterrupt for Ctrl-C.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"There is no terminal to ask on; {instead}.")
    hear_ctrl_c()
    try:
        return input(question).strip()
    except (EOFError, UnicodeDecodeError):
        print()
        return ""
    except KeyboardInterrupt:
        print()  # what is said next begins on a line of its own
        raise


def agrees(question: str, instead: str) -> bool:
    """Whether the answer to `question` is yes; a command ends with DECLINED where it isn't. Raises as `ask` does."""
    return ask(f"{question} [y/N] ", instead).lower() in ("y", "yes")
