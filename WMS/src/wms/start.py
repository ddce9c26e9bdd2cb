"""How a command starts: under any Python, even without this project's dependencies, and under its former names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any, Final

from wms.errors import UsageError, run_main
from wms.libraries import install_advice
from wms.paths import ROOT

OLDEST = (3, 11)
"""The oldest Python that this project works with."""

_WMS: Final = "wms_ops.commands.main:main"


def run_wms(*words: str, argv: Sequence[str] | None = None) -> int:
    """Run `wms WORDS ARGUMENTS`, for a script whose name stays; returns the exit code.

    `argv` are the arguments, those of the process if None.
    """
    beside = ROOT / "devops" / "src"
    if beside.is_dir() and str(beside) not in sys.path:  # this clone's, not another clone's install
        sys.path.insert(0, str(beside))
    return run_script(_WMS, [*words, *(sys.argv[1:] if argv is None else argv)])


def run_renamed(old: str, *words: str, argv: Sequence[str] | None = None) -> int:
    """`run_wms` for a name that the next release drops, after a warning on standard error."""
    print(f"`python -m {old}` is `{' '.join(('wms', *words))}` now; the old name goes next.", file=sys.stderr)
    return run_wms(*words, argv=argv)


def run_script(entry: str, argv: Sequence[str] | None = None) -> int:
    """`run_main` for the entry point "module:function"; returns its exit code."""

    def start(argv: Sequence[str] | None) -> int:
        if sys.version_info < OLDEST:
            raise UsageError(f"Python {sys.version.split()[0]} is too old; {install_advice()}")
        code: int = load(entry)(argv)
        return code

    return run_main(start, argv)


def load(entry: str) -> Any:
    """Import and return the object at "module:name"."""
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)
