"""`wms data import`: takes photos and labels from the export of a labelling tool into images/ and masks/."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from wms.command import PAGE, Command, any_path, folder, new_folder, own_file
from wms.data.importing.formats import NAMES, recognised
from wms.data.importing.photos import Photos
from wms.data.importing.plan import Plan, make_plan
from wms.data.importing.records import Labelled
from wms.data.importing.report import values_of, write_report
from wms.data.importing.source import Tree, is_outside, opened
from wms.data.importing.write import missing, write
from wms.data.qa.names import shown
from wms.errors import DataNotFoundError, ExportUnsafeError, ImportIncompleteError, UsageError
from wms.paths import from_root
from wms.tables import plain_console
from wms.text import counted

_TARGET: Final = Path("WMS/data/training")
_REPORT: Final = rb'{\s*"source": "[^\n]*",\s*"format": "\w'  # how an earlier JSON report begins
_NAMED: Final = 20  # unlabelled photos and notes that the terminal names; the report has all


def run(options: argparse.Namespace) -> int:
    """Import an export; returns 0 if every labelled photo was imported.

    Raises ImportIncompleteError after the import of the others if some weren't, and before anything is written the
    errors of `wms.data.importing`: UsageError and DataNotFoundError for a wrong SOURCE, Export...Error, NameTakenError.
    """
    if not options.source.exists():
        raise UsageError(f"There is no {shown(str(options.source))}; name the folder or the .zip of an export.")
    with contextlib.ExitStack() as stack:
        tree = stack.enter_context(opened(options.source))
        form, files = recognised(tree, options.format)
        items = list(form.read(tree, files))
        if options.images is None:
            _refuse_paths(tree, items)
            photos = Photos(tree, form.masks(tree))
        else:
            photos = Photos(stack.enter_context(opened(options.images)))
        plan = make_plan(items, photos, options.wanted)
        lacking = missing(plan.planned, options.to)
        if not options.dry_run:
            write(lacking, photos, options.to)
        facts = {
            "source": shown(tree.where),
            "format": form.name,
            "to": shown(str(options.to)),
            "dry_run": options.dry_run,
            "passed_over": [shown(name) for name in tree.passed_over],
        }
        report = values_of(plan, frozenset(one.name for one, *_ in lacking), facts)
        if options.report:
            write_report(options.report, report, plan)
    _print(report)
    return _result(plan, report)


def _refuse_paths(tree: Tree, items: Sequence[Labelled]) -> None:
    """Names are only looked up among the export's files, but one that leads elsewhere isn't a tool's."""
    for item in items:
        if is_outside(item.photo):
            raise ExportUnsafeError(
                f"{tree.named(item.origin)} names the photo {shown(item.photo)}, which isn't inside of the export; "
                "if that is no mistake, name the photos' folder by `--images DIR`, where only the last part counts."
            )


def _result(plan: Plan, report: dict[str, Any]) -> int:
    if plan.skipped:
        wasnt = "wasn't" if len(plan.skipped) == 1 else "weren't"
        raise ImportIncompleteError(
            f"{counted(len(plan.skipped), 'labelled photo')} of {report['source']} {wasnt} imported; "
            "mend what is listed above in the labelling tool, export again, and run the same command."
        )
    if not plan.planned:
        raise DataNotFoundError(
            f"{report['source']} holds no label; {counted(len(plan.unlabelled), 'photo')} without one."
        )
    return 0


def _print(report: dict[str, Any]) -> None:
    console = plain_console(soft_wrap=True)
    imported, unlabelled = report["imported"], report["unlabelled"]
    noted = [one for one in imported if one["warnings"]]
    for one in noted[:_NAMED]:
        console.print(f"note: {one['photo']}: {'; '.join(one['warnings'])}.")
    if len(noted) > _NAMED:
        console.print(f"note: {counted(len(noted) - _NAMED, 'more photo')} with notes; `--report FILE` lists them.")
    if report["passed_over"]:
        console.print(f"note: links and special files aren't read: {_some(report['passed_over'])}.")
    if unlabelled:
        console.print(f"{counted(len(unlabelled), 'photo')} without such a label, not imported: {_some(unlabelled)}.")
    for one in report["not_imported"]:
        console.print(f"not imported: {one['reason']} (label in {one['from']})")
    new = sum(one["is_new"] for one in imported)
    done = "Would import" if report["dry_run"] else "Imported"
    label = f" of class {report['class']}" if report["class"] else ""
    console.print(
        f"{report['format']}{label}: {counted(len(imported), 'labelled photo')}. {done} {new} into {report['to']}; "
        f"there already: {len(imported) - new}."
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the import."""
    parser.add_argument("source", metavar="SOURCE", type=any_path, help="the export: a folder or a .zip")
    text = f"the folder that gets images/ and masks/ (default: {_TARGET})"
    parser.add_argument("--to", type=new_folder, metavar="DIR", default=from_root(_TARGET), help=text)
    text = "the export's format (default: found out from its files)"
    parser.add_argument("--format", choices=NAMES, help=text)
    text = "the class of the reading strip, if the export has several"
    parser.add_argument("--class", "--label", dest="wanted", metavar="NAME", help=text)
    parser.add_argument("--images", type=folder, metavar="DIR", help="the photos' folder, if the export lacks them")
    text = "write a report: .json, else a page that shows the masks"
    parser.add_argument("--report", type=own_file(_REPORT, PAGE + b"Import, photos: "), metavar="FILE", help=text)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be imported")


COMMAND: Final = Command(
    "Import photos and labels that a labelling tool exported.",
    declare,
    run,
    "Exit codes: 0 all labelled photos imported, 56 some weren't, 51 to 55 nothing was; see docs/data-import.md.",
)
