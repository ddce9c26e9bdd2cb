"""How a script starts: by any Python, also one that lacks what this project needs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from wms.errors import UsageError, run_main
from wms.paths import ROOT

OLDEST = (3, 11)
"""The oldest Python that this project works with."""


def run_script(entry: str, argv: Sequence[str] | None = None) -> int:
    """`run_main` for the entry point "module:function"; returns its exit code.

    It's imported here, so that a missing library becomes a sentence and exit code 2, not a traceback.
    """

    def start(argv: Sequence[str] | None) -> int:
        module, _, name = entry.partition(":")
        if sys.version_info < OLDEST:
            raise UsageError(f"Python {sys.version.split()[0]} is too old; {_advice()}")
        try:
            main = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing in ("", "wms", "wms_ops"):
                raise
            raise UsageError(f"{sys.executable} lacks {missing}, which this command needs; {_advice()}") from error
        code: int = main(argv)
        return code

    return run_main(start, argv)


def _advice() -> str:
    return f"run `make install` in {ROOT}, then `source .venv/bin/activate`, and this again."
