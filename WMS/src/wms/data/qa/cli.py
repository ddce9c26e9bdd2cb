"""`wms data check`: checks a folder of photos and masks and prints the problems."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from wms.command import PAGE, Command, any_path, own_file, whole
from wms.config import DataConfig, own_data_settings
from wms.data.mask_values import colour_text, number_text
from wms.data.qa.facts import FolderFacts
from wms.data.qa.fix import apply_fixes, masks_without, plan_fixes, recover
from wms.data.qa.html import by_check, render_html
from wms.data.qa.names import shown
from wms.data.qa.problems import Problem
from wms.data.qa.validate import CACHE_FOLDER, Checked, check
from wms.errors import DataQualityError, UsageError
from wms.files import write_atomic
from wms.json_text import to_json
from wms.paths import from_root
from wms.tables import Column, make_table, plain_console

_REPORT: Final = rb'{\s*"status": "(PASS|FAIL)",\s*"folder": '  # how an earlier --output begins
_NAMED: Final = 3  # files of one check that the table names, and sentences below it
_FIXES_SHOWN: Final = 20
_CLASSES_NAMED: Final = 12  # in a sentence
_COLUMNS: Final = (Column("check"), Column("severity"), Column("count"), Column("files", wraps=True))


def run(options: argparse.Namespace) -> int:
    """Check a data set and print the problems; returns 0 if the set passes.

    Raises DataQualityError if the set fails (after printing and writing the reports), UsageError for a wrong DIR,
    SplitError for a damaged split record, DiskFullError or UnwritableError.
    """
    folder: Path = options.folder
    if not folder.is_dir():
        raise UsageError(f"There is no folder {shown(str(folder))}; name the one that holds images/ and masks/.")
    wanted = options.strip_class or options.colour or ""
    if wanted and not options.fix:
        raise UsageError("--class and --colour say what --fix writes; give --fix, too.")
    console = plain_console(soft_wrap=not Console().is_terminal)
    settings = own_data_settings()
    more = {"only_new": options.only_new, "workers": options.workers, "config": settings}
    look = partial(check, folder, splits_file=options.splits, cache_folder=options.cache, **more)
    fixes: list[dict[str, Any]] | None = None
    if options.fix:
        fixes = _fix(folder, look, wanted, settings)
        _print_fixes(console, fixes)
    with _progress() as on_progress:
        checked = look(on_progress=on_progress)
    document = checked.report if fixes is None else {**checked.report, "fixes": fixes}
    if options.output:
        write_atomic(options.output, to_json(document, indent=2) + "\n")
    if options.html:
        write_atomic(options.html, render_html(folder, checked, settings))
    _print(console, checked)
    if document["status"] != "PASS":
        raise DataQualityError(
            f"{shown(str(folder))} doesn't pass the data check; correct what is listed above and run it again."
        )
    return 0


def summary(report: dict[str, Any]) -> str:
    """The report in a line: "PASS: 360 images, 360 masks, 360 valid pairs, 0 errors, 3 warnings."."""
    counts = {"image": report["image_count"], "mask": report["mask_count"], "valid pair": report["valid_pairs"]}
    counts |= {"error": len(report["errors"]), "warning": len(report["warnings"])}
    texts = (f"{number} {what}" if number == 1 else f"{number} {what}s" for what, number in counts.items())
    return f"{report['status']}: {', '.join(texts)}."


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the check."""
    parser.add_argument("folder", metavar="DIR", type=any_path, help="the folder that holds images/ and masks/")
    parser.add_argument("--output", type=own_file(_REPORT), metavar="FILE", help="write the report as JSON")
    parser.add_argument(
        "--html",
        type=own_file(PAGE + b"Data check: "),
        metavar="FILE",
        help="write a page with thumbnails of each problem",
    )
    parser.add_argument(
        "--fix", action="store_true", help="write binary PNG masks and upright images; originals are kept"
    )
    named = parser.add_mutually_exclusive_group()
    text = "the value or palette index that is the strip, where masks hold several; with --fix"
    named.add_argument("--class", dest="strip_class", type=_number, metavar="N", help=text)
    text = "the colour that is the strip, where masks hold several; with --fix"
    named.add_argument("--colour", type=_colour, metavar="R,G,B", help=text)
    parser.add_argument("--only-new", action="store_true", help="no warnings about pairs that passed before")
    splits, cache = from_root(DataConfig().splits_file), from_root(CACHE_FOLDER)
    text = "record of the splits (default: the repository's)"
    parser.add_argument("--splits", type=any_path, metavar="FILE", default=splits, help=text)
    text = f"where facts about files are kept (default: {CACHE_FOLDER})"
    parser.add_argument("--cache", type=any_path, metavar="DIR", default=cache, help=text)
    parser.add_argument("--workers", type=whole(1, 1024), metavar="N", help="reading processes (default: one a core)")


def _number(text: str) -> str:
    try:
        return number_text(float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a number, as 1 is") from None


def _colour(text: str) -> str:
    parts = text.split(",")
    if len(parts) not in (3, 4) or not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a colour, as 128,0,0 is")
    return colour_text(map(int, parts))


def _fix(folder: Path, look: Callable[..., Checked], wanted: str, config: DataConfig) -> list[dict[str, Any]]:
    """Finish the fixes of a killed run, then apply all possible fixes; returns all changes.

    Raises UsageError if masks need the name of the strip's class and none has the `wanted` one.
    """
    done = recover(folder)
    with _progress() as on_progress:
        facts = look(on_progress=on_progress).facts
    if wanted:
        _tell_lacking(folder, facts, wanted)
    changes = plan_fixes(facts, config, wanted)
    return done + apply_fixes(
        folder, changes, facts, max_megapixels=config.max_megapixels, now=datetime.now().astimezone()
    )


def _tell_lacking(folder: Path, facts: FolderFacts, wanted: str) -> None:
    lacking, some_has = masks_without(facts, wanted)
    if lacking and not some_has:
        held = sorted({one.value or one.colour for mask in lacking.values() for one in mask.classes})
        more = f" and {len(held) - _CLASSES_NAMED} more" if len(held) > _CLASSES_NAMED else ""
        raise UsageError(
            f"No mask in {shown(str(folder))} has the class {wanted}; the masks hold "
            f"{'; '.join(held[:_CLASSES_NAMED])}{more}."
        )
    for file, mask in list(lacking.items())[:_FIXES_SHOWN]:
        held = [str(one) for one in mask.classes[:_CLASSES_NAMED]]
        print(f"{shown(file)} stays as it is: it has no class {wanted}, only {', '.join(held)}.")
    if len(lacking) > _FIXES_SHOWN:
        print(f"{len(lacking) - _FIXES_SHOWN} more masks have no class {wanted} and stay as they are.")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error that takes (done, total); appears only if files must be read."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Reading photos and masks", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _print_fixes(console: Console, fixes: Sequence[dict[str, Any]]) -> None:
    for fix in fixes[:_FIXES_SHOWN]:
        console.print(f"Fixed {shown(fix['file'])} -> {shown(fix['becomes'])}: {fix['what']}.")
    if len(fixes) > _FIXES_SHOWN:
        console.print(f"Fixed {len(fixes) - _FIXES_SHOWN} more.")
    if fixes:
        folders = sorted({fix["original"].partition("/")[0] for fix in fixes})
        console.print(f"The originals are kept in {', '.join(folders)}, each with its fixes.json.")
    else:
        console.print("Nothing to fix.")


def _print(console: Console, checked: Checked) -> None:
    if checked.problems:
        found = by_check(checked.problems)
        rows = [(some[0].check, some[0].severity, str(len(some)), _files(some)) for some in found]
        console.print(make_table(_COLUMNS, rows))
        for problems in found:
            for problem in problems[:_NAMED]:
                console.print(f"{problem.severity}: {problem.text}")
            if len(problems) > _NAMED:
                console.print(f"{problems[0].severity}: {len(problems) - _NAMED} more of {problems[0].check}.")
    console.print(summary(checked.report))


def _files(problems: Sequence[Problem]) -> str:
    """The first few files of a check's problems."""
    files = list(dict.fromkeys(file for problem in problems for file in problem.files))
    more = [f"and {len(files) - _NAMED} more"] if len(files) > _NAMED else []
    return "\n".join([*map(shown, files[:_NAMED]), *more])


COMMAND: Final = Command(
    "Check a folder of photos (images/) and masks (masks/).",
    declare,
    run,
    "Exit codes: 0 passed, 28 errors found, 2 wrong argument; see docs/data-qa.md.",
)
