"""The demo's folders: an origin with this project, a person's clone, and the loop's own folder."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from wms.errors import DiskFullError, from_os_error
from wms.files import write_atomic
from wms.git import answer
from wms.paths import ROOT
from wms.project import FILE, project, project_text
from wms.registry.metadata import NOTHING_PROMOTED
from wms_ops.base.errors import CloudError
from wms_ops.base.layout import DATA_SET, DVC_CONFIG, INBOX, METADATA, main_branch
from wms_ops.dataset.review import POINTERS, RECORDS
from wms_ops.demo.shell import Shell
from wms_ops.git.command import Git
from wms_ops.loop.contexts import local_cloud
from wms_ops.targets.local import DVC_URL

PERSON = ("Ada", "ada@example.org")
NEEDED_BYTES: Final = 1_000_000_000
"""Upper bound of the demo's files, with a margin: photos, models, the servers' data."""

_MARK = ".wms-demo"
# Files that a used project has and a new project lacks.
_HISTORY = (*RECORDS, *POINTERS)
_MADE = {".git", ".venv", ".cache", "__pycache__", ".loop", "mlruns"}


class DemoFolder:
    """The layout of a demo; all of its files lie in `folder`.

    `origin` is the bare repository that stands for GitHub, at `url`; `clone` belongs to the person who labels photos;
    `loop` holds the local cloud, the loop's clone and the records of its runs; `photos` are as they come from a camera,
    before any commit; `page` reports the demo.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origin, self.clone = folder / "origin.git", folder / "clone"
        self.loop, self.photos, self.page = folder / "loop", folder / "photos", folder / "index.html"
        self.url = self.origin.resolve().as_uri()

    def environ(self, cloud: Mapping[str, str] | None = None) -> dict[str, str]:
        """The person's environment: this project's Python first, none of the user's own Git settings.

        `cloud` are the variables that lead to a cloud, by default to the local cloud.
        """
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "WMS_", "MLFLOW_"))}
        led = local_cloud(self.loop).environ() if cloud is None else cloud
        source = os.pathsep.join(str(self.clone / part) for part in ("WMS/src", "devops/src"))
        path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
        return {**kept, **led, **quiet_git(self.folder), "PATH": path, "PYTHONPATH": source}

    def shell(self, show: Callable[[str], None]) -> Shell:
        """A shell in the clone."""
        return Shell(self.clone, self.environ(), show)


def quiet_git(folder: Path) -> dict[str, str]:
    """Variables that keep a user's own Git settings (signing, templates, other hooks) out of the demo."""
    empty = folder / "gitconfig"
    empty.touch()
    return {"GIT_CONFIG_GLOBAL": str(empty), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}


def check_disk(folder: Path, needed: int = NEEDED_BYTES) -> None:
    """Raise DiskFullError if the folder's disk has less than `needed` bytes left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise from_os_error(error, folder) from error
    if free < needed:
        raise DiskFullError(
            f"{folder} has {free / 1e9:.1f} GB left, but the demo needs {needed / 1e9:.1f}; free some, or choose "
            "another place with --folder."
        )


def clear(folder: Path) -> None:
    """Remove an earlier demo from `folder`, its processes first. Raises CloudError for a folder that is no demo's."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / _MARK).is_file():
        raise CloudError(f"{folder} holds other things than a demo; choose another place with --folder.")
    demo_folder = DemoFolder(folder)
    if demo_folder.loop.exists():
        local_cloud(demo_folder.loop, lambda _: None).close()
    try:
        for path in folder.iterdir():
            if path.name == _MARK:
                continue  # last, so that a killed removal is known as a demo's
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError as error:
        raise from_os_error(error, folder) from error


def build(folder: Path, recipe: Path | None = None) -> DemoFolder:
    """Create a demo in an empty folder: origin and clone with this project as it is on the disk.

    A readable `recipe` from elsewhere becomes one of the project's, since the loop takes main's. Raises GitError.
    """
    write_atomic(folder / _MARK, "This folder belongs to `make demo`, which empties it.\n")
    demo_folder = DemoFolder(folder)
    quiet = quiet_git(folder)
    name, email = PERSON
    here, names = Git(folder, environ=quiet), project()
    here("init", "--quiet", "--bare", f"--initial-branch={main_branch()}", str(demo_folder.origin))
    here("clone", "--quiet", "--origin", names.remote, demo_folder.url, str(demo_folder.clone))
    git = Git(demo_folder.clone, environ=quiet)
    git("config", "user.name", name)
    git("config", "user.email", email)
    _copy_project(demo_folder.clone)
    if recipe is not None:
        write_atomic(demo_folder.clone / recipe_name(recipe), recipe.read_bytes())
    git("checkout", "--quiet", "-B", main_branch())
    git("add", "--all")
    git("commit", "--quiet", "-m", "Start with the project, without any photo")
    git("push", "--quiet", names.remote, main_branch())
    return demo_folder


def recipe_name(recipe: Path) -> str:
    """The path in the demo's clone of a recipe that lies elsewhere."""
    return f"WMS/configs/{recipe.name}"


def _copy_project(target: Path) -> None:
    try:
        for name in _project_files():
            if name in _HISTORY or name.startswith((f"{INBOX}/images/", f"{INBOX}/masks/")):
                continue
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
        for kind in ("images", "masks"):
            write_atomic(target / INBOX / kind / ".gitkeep", "")
        (target / DATA_SET).mkdir(parents=True, exist_ok=True)
        write_atomic(target / METADATA, NOTHING_PROMOTED)
    except OSError as error:
        raise from_os_error(error, target) from error
    # A project that is in use names its own bucket, in both places.
    write_atomic(target / FILE, project_text(replace(project(), bucket=DVC_URL)))
    core = "[core]\n    remote = storage\n    analytics = false\n    check_update = false\n"
    config = f"{core}['remote \"storage\"']\n    url = {DVC_URL}\n"
    write_atomic(target / DVC_CONFIG, config)


def _project_files() -> Iterator[str]:
    """The project's own files: those that Git has or would add; without Git, all files that no tool made."""
    listed = answer(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed is not None and (ROOT / ".git").exists():
        names = sorted({os.fsdecode(name) for name in listed.split(b"\0") if name})
        yield from (name for name in names if (ROOT / name).is_file())
        return
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        made = parts[0] in ("demo", "runs") or any(
            part in _MADE or part.endswith((".egg-info", "_cache")) for part in parts
        )
        if path.is_file() and not made:
            yield path.relative_to(ROOT).as_posix()
