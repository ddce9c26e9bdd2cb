"""Questions to the user at the terminal."""

from __future__ import annotations

import sys

from wms.errors import UsageError
from wms.interrupt import hear_ctrl_c


def on_terminal() -> bool:
    """Return whether the input is a terminal, on which a user can answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str, instead: str) -> str:
    """Return the answer without surrounding white space; empty for Ctrl-D and for bytes that aren't text.

    Raises UsageError with `instead`, the advice for a process without a terminal; KeyboardInterrupt for Ctrl-C.
    """
    if not on_terminal():
        raise UsageError(f"There is no terminal to ask on; {instead}.")
    hear_ctrl_c()
    try:
        return input(question).strip()
    except (EOFError, UnicodeDecodeError):
        print()
        return ""
    except KeyboardInterrupt:
        print()  # the next output begins on a new line
        raise


def agrees(question: str, instead: str) -> bool:
    """Return whether the answer to `question` is yes; after "no" a command ends with DECLINED. Raises as `ask` does."""
    return ask(f"{question} [y/N] ", instead).lower() in ("y", "yes")
