"""`install.py`: installs groups of packages into .venv, beside those that are installed already."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from wms.command import Parser, new_folder
from wms.errors import DiskFullError, run_main
from wms.files import exclusive_lock
from wms.install import wheelhouse
from wms.install.environment import Environment
from wms.install.groups import chosen, digest
from wms.libraries import CORE, MEGABYTES
from wms.paths import ROOT

_TEXT: Final = """Install this project into .venv: core checks photos, marks strips and pushes; train trains; serve
serves a model; cloud runs the loop, here or at AWS; dev has tests and linters. What is installed already stays."""


def main(argv: Sequence[str] | None = None) -> int:
    """Install the groups that the arguments name; returns the exit code. A failure prints one sentence."""
    return run_main(install, argv)


def install(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Install, or make a wheelhouse. Raises UsageError, InstallError, DiskFullError or UnwritableError."""
    options = _parser().parse_args(argv)
    wanted = chosen(options.groups)
    # Typed settings need pydantic, which this command brings; `wms.settings` declares the variable for the documents.
    offline = os.environ.get("WMS_OFFLINE", "").strip()
    environment = Environment(root, Path(offline).resolve() if offline else None)
    with exclusive_lock(root / ".cache" / "install.lock", waiting=lambda: print("Another installation is at it ...")):
        if options.wheelhouse:
            folder = options.wheelhouse.resolve()
            wheelhouse.make(environment, wanted, digest(root, wanted), folder)
        else:
            _bring(environment, wanted, quiet=options.quiet)
    return 0


def _bring(environment: Environment, wanted: Collection[str], *, quiet: bool) -> None:
    begin = time.monotonic()
    before = set(environment.record().get("groups", ()))
    groups = before | set(wanted)
    stamp = digest(environment.root, groups)
    if environment.is_ready(stamp):
        if not quiet:
            print(f"{environment.folder} has {_listed(groups)} already.")
        return
    _need_room(environment, groups, before)
    if environment.offline:
        wheelhouse.check(environment.offline, groups, stamp)
    print(f"Installing {_listed(groups)} into {environment.folder} ...", flush=True)
    environment.make()
    environment.fill(groups, stamp)
    size, seconds = _megabytes(environment.folder), time.monotonic() - begin
    print(f"Installed {_listed(groups)} into {environment.folder}: {size:,.0f} MB in {seconds:.0f} s.")


def _need_room(environment: Environment, groups: Collection[str], before: Collection[str]) -> None:
    """Raise DiskFullError if the groups won't fit beside those before; what a cut-off run brought counts as there."""
    folder, new = environment.folder, set(groups) - set(before)
    # A tenth is for what a size on another system may differ by.
    needed = 1.1 * sum(MEGABYTES[group] for group in new)
    if environment.is_unfinished():
        needed -= max(0, _megabytes(folder) - sum(MEGABYTES[group] for group in before))
    free = shutil.disk_usage(folder.parent).free / 1e6
    if free < needed:
        raise DiskFullError(
            f"{_listed(new)} need {needed:,.0f} MB more, and {free:,.0f} MB are free where {folder} lies; free some "
            f"space, then run this again."
        )


def _megabytes(folder: Path) -> float:
    """The disk space below a folder, as `du` counts; a file with several names in it counts once."""
    found = {}
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            told = os.lstat(Path(place, name))
            blocks = getattr(told, "st_blocks", None)  # Windows has none
            found[told.st_dev, told.st_ino, place if not told.st_ino else ""] = (
                told.st_size if blocks is None else blocks * 512
            )
    return sum(found.values()) / 1e6


def _listed(groups: Collection[str]) -> str:
    return " ".join(group for group in MEGABYTES if group in groups)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=f"{Path(sys.executable).name} infrastructure/bootstrap/install.py", description=_TEXT)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(MEGABYTES)} or all (default: {CORE})")
    parser.add_argument("--quiet", action="store_true", help="print nothing if all is installed already")
    parser.add_argument("--wheelhouse", metavar="DIR", type=new_folder, help="only fetch the files, into DIR")
    return parser
