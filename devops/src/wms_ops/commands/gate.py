"""`wms gate`: decides whether a run's model may replace the Production model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from wms.command import PAGE, Command, any_path, new_folder, own_file
from wms.config import RunConfig, load_config
from wms.errors import CannotDecideError, NotImprovedError, UsageError, WmsError
from wms.files import remove, write_atomic
from wms.names import harmless
from wms.paths import ROOT
from wms.registry.ledger import FOLDER
from wms.registry.mlflow_store import ModelRegistry
from wms_ops.base.console import counting
from wms_ops.gate.decide import decide
from wms_ops.gate.page import render
from wms_ops.gate.report import markdown, stopped, terminal


def run(arguments: argparse.Namespace) -> int:
    """Compare a run with the Production model and keep the verdict in the run; returns 0 if it may be promoted.

    Raises NotImprovedError, CannotDecideError, LedgerError, RegistryUnreachableError, RegistryError and, for mistakes
    in the arguments, UsageError, ConfigError, ModelNotFoundError.
    """
    if arguments.report and arguments.html and arguments.report.resolve() == arguments.html.resolve():
        raise UsageError(f"--report and --html both name {arguments.report}; give each a file of its own.")
    config = load_config(arguments.config).with_data(arguments.data, arguments.splits)
    try:
        return _run(arguments, config)
    except WmsError as error:
        if arguments.report and not isinstance(error, NotImprovedError):
            write_atomic(arguments.report, stopped(error))
        raise


def _run(arguments: argparse.Namespace, config: RunConfig) -> int:
    registry = ModelRegistry.from_environment()
    for page in (arguments.report, arguments.html):
        if page:
            remove(page)  # what it says of an older verdict must not outlast that
    try:
        with counting("Scoring test images") as on_progress:
            report, gathered = decide(
                registry,
                arguments.run,
                config,
                ledger=arguments.ledger,
                source=f"{_shown(arguments.config)} on this machine",
                on_progress=on_progress,
            )
    except CannotDecideError as error:
        if config.gate.mode != "dry-run":
            raise
        print(harmless(f"dry run: the gate would refuse with {error.exit_code}. {error}"), file=sys.stderr)
        if arguments.report:
            write_atomic(arguments.report, stopped(error))
        return 0
    if arguments.report:
        write_atomic(arguments.report, markdown(report))
    if arguments.html:
        write_atomic(arguments.html, render(report, gathered, config))
    if arguments.json:
        print(report.model_dump_json(indent=2))
    else:
        print(terminal(report))
    if not report.passes:
        raise NotImprovedError(f"{report.summary} {report.verdict.held_back or report.verdict.reasons[0]}")
    return 0


def _shown(path: Path) -> str:
    """A recipe's path: from the repository's root where the recipe lies below."""
    whole = path.resolve()
    return whole.relative_to(ROOT).as_posix() if whole.is_relative_to(ROOT) else str(path)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the gate."""
    parser.add_argument(
        "--run", required=True, metavar="RUN", help="the challenger: a run's id, or its name run_2026..."
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON, and nothing else")
    parser.add_argument(
        "--report", type=own_file(b"## Quality gate: "), metavar="FILE", help="write the report as Markdown"
    )
    parser.add_argument(
        "--html",
        type=own_file(PAGE + b"Quality gate: "),
        metavar="FILE",
        help="write a page with pictures of what changed most",
    )
    parser.add_argument(
        "--config",
        type=any_path,
        default=ROOT / "WMS/configs/train.yaml",
        help="recipe with the gate's settings (default %(default)s)",
    )
    parser.add_argument("--data", type=any_path, metavar="DIR", help="folder with images/ and masks/, not the recipe's")
    parser.add_argument("--splits", type=any_path, metavar="FILE", help="record of the splits, not the recipe's")
    parser.add_argument("--ledger", type=new_folder, default=FOLDER, metavar="DIR", help="where the ledger lies")


COMMAND: Final = Command(
    "Compare a run's model with the Production model on the same test images, both scored now.",
    declare,
    run,
    "Exit codes: 0 improved, 90 not improved, 91 can't decide, 92 no answer of the registry, 94 nobody "
    "can say what is Production; docs/gate.md.",
)
