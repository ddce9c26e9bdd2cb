"""`make settings`: writes the documents' table of environment variables, and .env.example, from their types."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Final, get_args

from wms.errors import run_main
from wms.files import write_atomic
from wms.paths import ROOT
from wms_ops.base.settings import GROUPS

PAGE: Final = Path("docs") / "settings.md"
EXAMPLE: Final = Path(".env.example")
_TYPES: Final = {str: "text", float: "number", int: "whole number", bool: "yes or no"}
_HEAD: Final = """# Variables of the environment

Made by `make settings` from `WMS/src/wms/settings.py` and `devops/src/wms_ops/base/settings.py`; change them there. All
are optional. A variable that is unset or empty has its default; a wrong value ends the command that needs it with exit
code 2 and a sentence. [`.env.example`](../.env.example) has the same as a file to copy: `set -a; source .env; set +a`.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write docs/settings.md and .env.example below `--folder`; returns 0. Raises DiskFullError or UnwritableError."""
    parser = argparse.ArgumentParser(prog="python -m wms_ops.commands.settings", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT, help="the repository's root (default: this one)")
    folder: Path = parser.parse_args(argv).folder
    write_atomic(folder / PAGE, page())
    write_atomic(folder / EXAMPLE, example())
    print(f"Wrote {PAGE} and {EXAMPLE}.")
    return 0


def page() -> str:
    """The Markdown page: a table for each group of variables."""
    parts = [_HEAD]
    for group in GROUPS:
        rows = "".join(f"| {' | '.join(row)} |\n" for row in _rows(group))
        parts.append(
            f"\n## {_title(group)}\n| variable | type | default | example | meaning |\n|---|---|---|---|---|\n"
        )
        parts.append(rows)
    return "".join(parts)


def example() -> str:
    """The text of .env.example: every variable, commented out, with its example or default."""
    lines = [
        "# Copy this to .env, which Git ignores, and take away the # of what you set; then: set -a; source .env; set +a"
    ]
    for group in GROUPS:
        lines += ["", f"# {_title(group)}"]
        for name, field in group.model_fields.items():
            value = _about(field)["example"] or ("" if field.default is None else field.default)
            lines += [f"# {field.description}.", f"#{name.upper()}={value}"]
    return "\n".join(lines) + "\n"


def _rows(group: Any) -> Iterator[tuple[str, ...]]:
    for name, field in group.model_fields.items():
        kinds = get_args(field.annotation) if isinstance(field.annotation, UnionType) else (field.annotation,)
        default = "" if field.default in ("", None) else f"`{field.default}`"
        given = _about(field)["example"]
        yield f"`{name.upper()}`", _TYPES[kinds[0]], default, f"`{given}`" if given else "", field.description


def _about(field: Any) -> dict[str, str]:
    about: dict[str, str] = field.json_schema_extra
    return about


def _title(group: Any) -> str:
    return str(group.__doc__).strip().splitlines()[0].rstrip(".")


if __name__ == "__main__":
    sys.exit(run_main(main))
