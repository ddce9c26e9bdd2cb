"""Where a machine may keep Terraform's providers: its own configuration, its usual folders, and a bounded look around.

What is found here are only places; terraform_provider.py looks whether one holds what this project needs.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from wms.settings import CheckSettings

REGISTRY = "registry.terraform.io"

# A search of a whole disk must never be what a test run waits for.
DEPTH = 4
MOST_ENTRIES = 20_000  # of each folder below
LONGEST_S = 10.0  # of all; it's there for a file system that is slow, and a usual disk takes less than a tenth of one
USUAL = ("~", "/opt", "/usr/local", "/usr/share", "/usr/lib", "/srv", "/var/lib", "/var/cache", "/mnt", "/")

_STRING = r'"((?:\\.|[^"\\])*)"'
_STRING_OR_COMMENT = re.compile(rf"({_STRING})|#[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)


def places(environ: Mapping[str, str], roots: Path) -> Iterator[Path]:
    """Folders that may hold providers, the most meant ones first; `roots` has this project's root modules.

    They are what TF_PLUGIN_MIRROR names, the mirrors of Terraform's own configuration, the folders in which Terraform
    looks by itself, its caches, whose layout is that of a mirror, and what lies about.
    """
    if named := CheckSettings.read(environ).tf_plugin_mirror:
        yield Path(named).absolute()
    texts = list(configuration(environ))
    yield from (Path(path) for text in texts for path in values(text, "path", block="filesystem_mirror"))
    yield from implied(environ)
    if named := environ.get("TF_PLUGIN_CACHE_DIR"):
        yield Path(named).absolute()
    yield from (Path(os.path.expandvars(path)) for text in texts for path in values(text, "plugin_cache_dir"))
    yield from sorted(roots.glob("*/.terraform/providers"))
    yield from around(Path(folder).expanduser() for folder in USUAL)


def configuration(environ: Mapping[str, str]) -> Iterator[str]:
    """The texts of Terraform's CLI configuration without their comments; a file that isn't there is none."""
    if named := environ.get("TF_CLI_CONFIG_FILE"):
        files = [Path(named)]
    elif os.name == "nt":
        settings = Path(environ.get("APPDATA", ""))
        files = [settings / "terraform.rc", *sorted((settings / "terraform.d").glob("*.tfrc*"))]
    else:
        home = Path(environ.get("HOME", ""))
        files = [home / ".terraformrc", *sorted((home / ".terraform.d").glob("*.tfrc*"))]
    for file in files:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        yield _STRING_OR_COMMENT.sub(lambda found: found[1] or " ", text)


def values(text: str, name: str, *, block: str = "") -> list[str]:
    """The strings given to `name`, of the blocks `block` only; in HCL, or in JSON, which Terraform reads as well."""
    if block:
        bodies = re.findall(rf'\b{block}"?\s*[:=]?\s*\[?\s*\{{([^{{}}]*)\}}', text)
        return [value for body in bodies for value in values(body, name)]
    return [json.loads(f'"{value}"') for value in re.findall(rf'\b{name}"?\s*[:=]\s*{_STRING}', text)]


def implied(environ: Mapping[str, str]) -> Iterator[Path]:
    """The folders in which Terraform looks without being told, on any system; developer.hashicorp.com lists them."""
    home = Path(environ.get("HOME", "~")).expanduser()
    yield home / ".terraform.d" / "plugins"
    if os.name == "nt":
        settings = Path(environ.get("APPDATA", home))
        yield from (settings / "terraform.d" / "plugins", settings / "HashiCorp" / "Terraform" / "plugins")
    for library in (home / "Library", Path("/Library")):
        yield library / "Application Support" / "io.terraform" / "plugins"
    shared = [environ.get("XDG_DATA_HOME") or str(home / ".local" / "share")]
    shared += (environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
    yield from (Path(folder) / "terraform" / "plugins" for folder in shared if folder)


def around(folders: Iterable[Path], *, depth: int = DEPTH, entries: int = MOST_ENTRIES) -> Iterator[Path]:
    """The parents of folders named as the registry, at most `depth` levels below one of `folders`, nearest first."""
    end = time.monotonic() + LONGEST_S
    seen: set[tuple[int, int]] = set()
    for folder in folders:
        yield from _around(folder, depth, entries, end, seen)


def _around(top: Path, depth: int, entries: int, end: float, seen: set[tuple[int, int]]) -> Iterator[Path]:
    try:
        device = top.stat().st_dev
    except OSError:
        return
    waiting = deque([(str(top), 1)])
    while waiting and entries > 0 and time.monotonic() < end:
        folder, level = waiting.popleft()
        try:
            about = os.stat(folder)  # noqa: PTH116 (thousands of folders, as strings)
            # Not onto another file system, which may be slow, or made up as /proc is; nor a second time into a folder.
            if about.st_dev != device or (about.st_dev, about.st_ino) in seen:
                continue
            # Where anybody may write, anybody may have put a program.
            if os.name != "nt" and about.st_mode & 0o002:
                continue
            with os.scandir(folder) as found:
                listed = sorted(found, key=lambda entry: entry.name)
        except OSError:
            continue
        seen.add((about.st_dev, about.st_ino))
        entries -= len(listed)
        for entry in listed:
            if entry.name == REGISTRY and entry.is_dir():
                yield Path(folder)
            elif level < depth and entry.is_dir(follow_symlinks=False):  # links may lead round in a circle
                waiting.append((entry.path, level + 1))
