"""The demo's acts; each function plays an act and returns its description for the page."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wms.files import parse_json
from wms.inference.contact_sheet import contact_sheet
from wms.project import project
from wms.registry.ledger import CURRENT
from wms_ops.base.layout import DATA_BRANCHES, INBOX, MODELS, main_branch
from wms_ops.dataset.review import LEDGER
from wms_ops.demo.folder import DemoFolder
from wms_ops.demo.photos import PhotoSource, put_into
from wms_ops.demo.shell import Shell
from wms_ops.git.command import Git
from wms_ops.loop.console import ConsoleTeller
from wms_ops.loop.contexts import context_factory, run_store
from wms_ops.loop.driver import run_loop
from wms_ops.machine.types import ModelRelease
from wms_ops.report.figures import DESCRIPTIONS
from wms_ops.report.story import Act, StoryPicture
from wms_ops.runs.record import RunOutcome, RunRecord
from wms_ops.targets.local import LocalCloud


@dataclass(frozen=True)
class Cast:
    """The objects shared by all acts; `show` gets each line for the terminal."""

    demo_folder: DemoFolder
    cloud: LocalCloud
    photos: PhotoSource
    recipe: str
    shell: Shell
    teller: ConsoleTeller
    show: Callable[[str], None]


@dataclass
class _Clock:
    """Measures an act from its beginning to its end."""

    started: datetime
    clock: float

    @classmethod
    def start(cls) -> _Clock:
        return cls(datetime.now(UTC), time.monotonic())

    def act(self, title: str, text: str, **more: Any) -> Act:
        at = self.started.isoformat(timespec="milliseconds")
        return Act(title=title, text=text, started_at=at, seconds=time.monotonic() - self.clock, **more)


def photos_arrive(cast: Cast, title: str, text: str, prefix: str, draw: Callable[[Path], int]) -> tuple[Act, RunRecord]:
    """Commit photos and push, as a labeller would; the loop trains, decides, and merges or blocks."""
    time_of = _Clock.start()
    demo_folder, shell = cast.demo_folder, cast.shell
    made = demo_folder.photos / prefix
    count = draw(made)
    put_into(demo_folder.clone / INBOX, made, prefix)
    shell("git", "add", INBOX)
    shell("git", "commit", "--quiet", "-m", f"{count} photos: {prefix}")
    before = set(_data_branches(demo_folder))
    # The hook stops the push to main on purpose, so git ends with 1.
    shell("git", "push", project().remote, main_branch(), expect=1, event="git push")
    branch = next(iter(set(_data_branches(demo_folder)) - before))
    _wms(shell, "data", "take-back")
    make = context_factory(demo_folder.loop, demo_folder.url, cast.cloud, recipe=cast.recipe, show=cast.teller.line)
    record = run_loop(make, run_store(demo_folder.loop), branch, cast.teller)
    if record.outcome is RunOutcome.MERGED:
        shell("git", "pull", "--quiet", "--ff-only")
    folder = run_store(demo_folder.loop).path(record.id)
    pictures = tuple(
        StoryPicture(name=path.name, content=path.read_bytes(), caption=DESCRIPTIONS.get(path.name, path.stem))
        for path in sorted((folder / "pictures").glob("*.png"))
    )
    output, events = shell.take()
    act = time_of.act(
        title, text, record=record, events=events, pictures=pictures, links=_links(demo_folder, record), output=output
    )
    return act, record


def everybody_has_it(cast: Cast) -> Act:
    """Bring Production to the laptop by the sync script, and predict with Production without a network."""
    time_of = _Clock.start()
    demo_folder, shell = cast.demo_folder, cast.shell
    cast.photos.unseen(demo_folder.photos / "unseen")
    _wms(shell, "sync", "--from", "s3", event="sync")
    _wms(shell, "versions", "scores", event="metrics")
    masks = demo_folder.folder / "masks"
    arguments = ["--input", str(demo_folder.photos / "unseen" / "images"), "--output", str(masks), "--overlay"]
    _wms(shell, "predict", *arguments, event="predict")
    sheet = contact_sheet(sorted(masks.glob("*_overlay.jpg")), demo_folder.folder / "unseen.png")
    output, events = shell.take()
    caption = "Strips that Production finds on photos that no model was trained on."
    return time_of.act(
        "The model is on the laptop",
        "One command brings Production from the store, checked against the ledger; no instance is started for it. "
        "The next one marks the strip on new photos, without any network.",
        pictures=(StoryPicture(name=sheet.name, content=sheet.read_bytes(), caption=caption),),
        links=(("The masks", _relative(demo_folder, masks)),),
        events=events,
        output=output,
    )


def there_and_back(cast: Cast) -> Act:
    """Roll Production back to the version before, then forward again; both versions are served."""
    time_of = _Clock.start()
    demo_folder, shell, cloud = cast.demo_folder, cast.shell, cast.cloud
    endpoints = cloud.up()
    cloud.wait()
    named = dict(shell.environ)
    newest = _current(demo_folder)
    own = Shell(demo_folder.clone, {**named, "MLFLOW_TRACKING_URI": endpoints.mlflow}, cast.show)
    _wms(own, "rollback", "--yes", "--reason", "the demo tries it", event="roll back")
    back = _serve(cast, own)
    version = ("--version", str(newest))
    _wms(own, "rollback", "--yes", *version, "--reason", "and back again", event="return")
    forward = _serve(cast, own)
    own("git", "add", *LEDGER)
    own("git", "commit", "--quiet", "-m", f"Roll back to version {back} and return to version {forward}")
    own("git", "push", "--quiet", project().remote, main_branch())
    _wms(own, "lineage", event="lineage")
    output, events = own.take()
    return time_of.act(
        "A rollback, and back",
        f"One command makes version {back} Production again, and the service serves it; another one returns to version "
        f"{forward}. Both stand in the ledger, hash-chained to all promotions before.",
        events=events,
        output=output,
    )


def _wms(shell: Shell, *words: str, event: str = "") -> None:
    """Run `wms WORDS` by the module's name, since the demo's clone needs no installation."""
    shell("python", "-m", "wms_ops", *words, shown=shlex.join(["wms", *words]), event=event)


def _serve(cast: Cast, shell: Shell) -> int:
    """Deploy the present Production, and ask the service for the version it serves."""
    _wms(shell, "sync", "--from", "s3")
    models = cast.demo_folder.clone / MODELS
    entry = parse_json((models / CURRENT).read_bytes())
    release = ModelRelease(entry["to_version"], entry["weights_sha256"], models, models)
    service = cast.cloud.deploy(release)
    asked = f"curl {service}/version"
    said = shell(sys.executable, "-c", _ASK, f"{service}/version", shown=asked, event=f"serve {release.version}")
    return int(parse_json(said)["version"])


_ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=30).read().decode())"


def _current(demo_folder: DemoFolder) -> int:
    return int(parse_json((demo_folder.clone / MODELS / CURRENT).read_bytes())["to_version"])


def _data_branches(demo_folder: DemoFolder) -> list[str]:
    pattern = f"refs/heads/{DATA_BRANCHES}"
    return Git.bare(demo_folder.origin)("for-each-ref", "--format=%(refname:lstrip=2)", pattern).split()


def _links(demo_folder: DemoFolder, record: RunRecord) -> tuple[tuple[str, str], ...]:
    values, folder = record.outputs, run_store(demo_folder.loop).path(record.id)
    found = []
    if "pull" in values:
        number = int(values["pull"])
        found.append((f"Pull request {number}", f"pull-requests/{number:04d}/README.md"))
    for label, path in (
        ("The gate's page", folder / "gate.html"),
        ("Training's report", _training_report(demo_folder, values)),
    ):
        if path is not None and path.is_file():
            found.append((label, _relative(demo_folder, path)))
    return tuple(found)


def _training_report(demo_folder: DemoFolder, values: dict[str, str]) -> Path | None:
    if "run" not in values:
        return None
    return demo_folder.loop / "workspace" / "runs" / values["run"] / "artifacts" / "report.html"


def _relative(demo_folder: DemoFolder, path: Path) -> str:
    return path.relative_to(demo_folder.folder).as_posix()
