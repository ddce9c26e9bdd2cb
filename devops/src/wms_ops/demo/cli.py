"""The command line of `make demo` and `make demo-real`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from wms.command import new_folder
from wms.config import load_config
from wms.errors import DataNotFoundError
from wms.files import sha256_text, write_atomic
from wms.paths import ROOT
from wms.settings import RealDataSettings
from wms.tables import plain_console
from wms_ops.base.signals import stoppable, unstoppable
from wms_ops.cost.estimate import cost_of_run, dollars
from wms_ops.demo import acts
from wms_ops.demo.folder import DemoFolder, build, check_disk, clear, recipe_name
from wms_ops.demo.memory import MemoryWatch
from wms_ops.demo.photos import DrawnPhotos, PhotoSource, RealPhotos
from wms_ops.git.command import Git, require_git
from wms_ops.loop.console import ConsoleTeller, summary, verdict
from wms_ops.loop.contexts import local_cloud
from wms_ops.loop.driver import one_at_a_time
from wms_ops.pulls.local_pulls import LocalPulls
from wms_ops.report.story import Act, Story
from wms_ops.report.timeline import render_story
from wms_ops.runs.record import RunOutcome, RunRecord

RECIPE = "WMS/configs/demo.yaml"
EXPECTED = [RunOutcome.MERGED, RunOutcome.MERGED, RunOutcome.BLOCKED]
"""The outcomes of the three pushes."""

FEWEST = 10
"""Pairs of a push: fewer can't be split into training, validation and test."""


def main(argv: Sequence[str] | None = None) -> int:
    """Play the whole loop; returns 0 if every push had its expected outcome. Raises WmsError."""
    parser = argparse.ArgumentParser(prog="make demo", description="The whole loop on this machine, in a few minutes.")
    parser.add_argument("--folder", type=new_folder, default=ROOT / "demo", help="where everything goes (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave MLflow and the service running at the end")
    parser.add_argument("--real", action="store_true", help="with the photos that WMS_REAL_DATA names")
    counts = ",".join(map(str, DrawnPhotos.counts))
    parser.add_argument(
        "--photos", type=_counts, metavar="A,B,C", help=f"photos drawn for each push (default {counts})"
    )
    parser.add_argument("--recipe", default=RECIPE, help="what is trained (default %(default)s)")
    arguments = parser.parse_args(argv)
    photos: PhotoSource = _real() if arguments.real else DrawnPhotos(arguments.photos or DrawnPhotos.counts)
    require_git()
    folder: Path = arguments.folder.absolute()
    check_disk(folder)
    with one_at_a_time(lock_folder(folder)):
        recipe, elsewhere = _recipe(arguments.recipe)
        clear(folder)
        return _play(build(folder, elsewhere), photos, recipe, keep=arguments.keep)


def _recipe(given: str) -> tuple[str, Path | None]:
    """The recipe's path in the demo's clone, and its file unless it is the project's own. Raises ConfigError."""
    path = (ROOT / given).resolve()
    if path.is_file() and path.is_relative_to(ROOT.resolve()):
        return path.relative_to(ROOT.resolve()).as_posix(), None
    load_config(Path(given))
    return recipe_name(Path(given)), Path(given)


def lock_folder(folder: Path) -> Path:
    """The folder of the lock for a demo in `folder`: outside of `folder`, which is emptied, and not beside it."""
    return ROOT / ".cache" / f"demo-{sha256_text(str(folder))[:12]}"


def _counts(text: str) -> tuple[int, int, int]:
    """Parse three numbers of photos. Raises ArgumentTypeError."""
    parts = [int(part) if part.strip().isdigit() else 0 for part in text.split(",")]
    if len(parts) != 3 or min(parts) < FEWEST:
        raise argparse.ArgumentTypeError(f"{text!r} isn't three numbers from {FEWEST} on, such as 40,50,60")
    return parts[0], parts[1], parts[2]


def _real() -> PhotoSource:
    root = RealDataSettings.read().wms_real_data
    if not root:
        raise DataNotFoundError(
            "Set WMS_REAL_DATA to a folder with base/ and new/, each with images/ and masks/; then run this again."
        )
    return RealPhotos(Path(root))


def _play(demo_folder: DemoFolder, photos: PhotoSource, recipe: str, *, keep: bool) -> int:
    console = plain_console(soft_wrap=True)
    teller = ConsoleTeller(console)
    cloud = local_cloud(demo_folder.loop, teller.line)

    def show(line: str) -> None:
        console.print(f"    {line}", style="dim")

    started = time.monotonic()
    told: list[Act] = []
    with stoppable(), MemoryWatch(cloud.processes) as memory:
        try:
            cloud.storage_up()
            shell = demo_folder.shell(show)
            cast = acts.Cast(demo_folder, cloud, photos, recipe, shell, teller, show)
            shell("devops/scripts/install-git-hooks.sh")
            records = _story(cast, told, console)
        finally:
            seconds = time.monotonic() - started
            if not keep:
                with unstoppable(show):
                    cloud.close()
    LocalPulls(Git(demo_folder.clone), demo_folder.url).export(demo_folder.folder / "pull-requests")
    page = _tell(demo_folder, photos, told, seconds, memory.peak)
    _print(console, records, seconds, memory.peak, page)
    if keep:
        _addresses(console, demo_folder)
    outcomes = [record.outcome for record in records]
    if outcomes == EXPECTED:
        return 0
    how = f"{', '.join(outcomes)} instead of {', '.join(EXPECTED)}"
    console.print(f"This isn't how the demo should end: {how}. The page says why.")
    return 1


def _story(cast: acts.Cast, told: list[Act], console: Console) -> list[RunRecord]:
    records = []
    pushes = (
        ("The first photos", "first", cast.photos.first, _FIRST),
        ("More photos", "more", cast.photos.more, _MORE),
        ("Bad masks", "bad", cast.photos.bad, _BAD),
    )
    for number, (title, prefix, draw, text) in enumerate(pushes):
        console.rule(title, align="left")
        act, record = acts.photos_arrive(cast, title, text, prefix, draw)
        told.append(act)
        records.append(record)
        if number == 1:
            console.rule("The model is on the laptop", align="left")
            told.append(acts.everybody_has_it(cast))
    console.rule("A rollback, and back", align="left")
    told.append(acts.there_and_back(cast))
    return records


_FIRST = (
    "Ada commits photos and masks and types `git push`. The hook checks them, merges them into the data set in S3, "
    "pushes a branch of pointers and stops the push to main. There is no Production model yet, so the first one passes."
)
_MORE = (
    "More photos with good masks. The new model and the one in Production are scored now, on the same test images; "
    "Dice and IoU must both improve."
)
_BAD = (
    "These photos have the masks of other photos, as it happens when a folder is sorted wrongly. Each file is sound, "
    "so the check lets them pass; the gate doesn't. Main and Production stay as they are."
)


def _tell(demo_folder: DemoFolder, photos: PhotoSource, told: list[Act], seconds: float, peak: int) -> Path:
    story = Story(
        title="From a pushed photo to a served model",
        intro=f"What `make demo` did on this machine, with {photos.name}: real pushes, real servers, no account.",
        acts=tuple(told),
        facts=(("Time in all", f"{seconds / 60:.1f} minutes"), ("Peak memory of all processes", _gib(peak))),
        links=(("All pull requests", "pull-requests/README.md"),),
    )
    write_atomic(demo_folder.page, render_story(story))
    return demo_folder.page


def _print(console: Console, records: list[RunRecord], seconds: float, peak: int, page: Path) -> None:
    console.rule("What happened", align="left")
    for record in records:
        console.print(summary(record))
        console.print(verdict(record))
    costs = [cost.total for record in records if (cost := cost_of_run(record)) is not None]
    console.print(f"{seconds / 60:.1f} minutes in all, at most {_gib(peak)} of memory.")
    console.print(f"The same {len(costs)} runs on an instance in the cloud: about {dollars(sum(costs))}.")
    console.print(f"The whole story, with pictures: {page}")


def _addresses(console: Console, demo_folder: DemoFolder) -> None:
    found = local_cloud(demo_folder.loop).endpoints()
    if found is not None:
        console.print(f"MLflow:  {found.mlflow}\nService: {found.service or 'none'}")
    stop = f"wms cloud down --all --target local --folder {demo_folder.loop / 'cloud'}"
    console.print(f"They run until you stop them: .venv/bin/{stop}")


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
