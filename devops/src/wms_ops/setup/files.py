"""The files in which the names of a project stand: wms.toml, DVC's configuration, the workflows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wms.errors import from_os_error
from wms.files import write_atomic
from wms.project import FILE, Project, project_text, read_project
from wms.regular import read_regular
from wms_ops.base.errors import StoreConfigError
from wms_ops.base.layout import DVC_CONFIG
from wms_ops.storage.config import MARK, RemoteConfig, machine_texts, parse_remote, sections, unquoted

WORKFLOWS: Final = ".github/workflows"
_FORMER: Final = ("cloud.yml", "data.yml", "lock.yml", "reaper.yml")
GITIGNORE: Final = ".gitignore"
IGNORED: Final = (
    ".venv",
    "/wheelhouse/",
    ".env",
    ".cache/",
    "__pycache__/",
    "*.egg-info/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".import_linter_cache/",
    ".pytest_cache/",
    ".hypothesis/",
    "mlruns/",
    "runs/",
    "!/devops/src/wms_ops/runs/",
    "/demo/",
    "/WMS/data/dataset/images",
    "/WMS/data/*/originals-*/",
    "/WMS/data/dataset/masks",
    "/WMS/data/predictions/photos_to_predict/*",
    "/WMS/data/predictions/predicted_masks/*",
    "*.jsonl.lock",
    "/WMS/models/*.pth",
    "/WMS/models/*.onnx",
    "/WMS/models/production.json",
    "/WMS/models/MODEL_CARD.*",
    "/WMS/models/worst-*",
    "/WMS/models/ledger_anchor.json",
    "/WMS/models/.sync/",
    "/WMS/models/.*.lock",
    "/WMS/models/candidate/",
    "/WMS/models/.candidate.new/",
    "/WMS/models/evaluation/scores.json",
    "!.gitkeep",
    "/WMS/data/dataset/.brought.json",
    ".loop/",
    ".terraform/",
    "*.tfstate",
    "*.tfstate.*",
    "*.tfplan",
    "/infrastructure/terraform/wms.tfvars",
)
"""What must never get into Git: a team that keeps its own .gitignore in a merge gets these lines back."""

_HEADER: Final = re.compile(rf"{MARK}?\s*\[(.+)\]\s*(?:#.*)?$")
_FALLBACK: Final = re.compile(r"(vars\.AWS_REGION \|\| ')[a-z0-9-]+(')")


@dataclass(frozen=True)
class Change:
    """A file to be written: its path from the repository's root, its new text, and what changes, for people."""

    path: str
    text: str
    what: str


def changes(root: Path, names: Project) -> tuple[Change, ...]:
    """Return the files of the clone `root` that don't say these names yet, wms.toml first.

    After a kill between two of the files, wms.toml tells the next run what is left to do. Raises ConfigError,
    StoreConfigError, UnwritableError.
    """
    found = [*_settings(root, names), *_ignored(root), *_dvc(root, names), *_workflows(root, names)]
    return tuple(change for change in found if change.text != read_text(root / change.path))


def write(root: Path, wanted: tuple[Change, ...]) -> None:
    """Write the files, each whole or not at all. Raises DiskFullError, UnwritableError."""
    for change in wanted:
        write_atomic(root / change.path, change.text)


def read_text(path: Path) -> str:
    """Return a file's text, with its line ends; "" for a missing file. Raises StoreConfigError, UnwritableError."""
    try:
        return read_regular(path).decode("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise StoreConfigError(f"{path} isn't text in UTF-8 ({error}); restore the file from Git.") from error
    except OSError as error:
        raise from_os_error(error, path) from error


def default_remote(text: str) -> tuple[str, Mapping[str, str]]:
    """Return name and options of the default remote in a .dvc/config: ("", {}) without one. Raises StoreConfigError."""
    found = sections(text, DVC_CONFIG)
    name = found.get("core", {}).get("remote", "")
    return name, found.get(f'remote "{name}"', {}) if name else {}


def remote_of(root: Path, names: Project) -> RemoteConfig:
    """Return the DVC remote of a clone as it is after `write`, with the clone's own settings in config.local."""
    local = read_text(root / ".dvc" / "config.local")
    text = _with_bucket(read_text(root / DVC_CONFIG), names.bucket)
    return parse_remote(text, local, bucket=names.bucket, machine=machine_texts())


def former_workflows(root: Path) -> tuple[Path, ...]:
    """Return the workflows that earlier versions had under other names, not a team's own of the same name."""
    paths = (root / WORKFLOWS / name for name in _FORMER)
    return tuple(path for path in paths if any(word in read_text(path) for word in (".venv/bin/wms ", "lock.hcl")))


def _settings(root: Path, names: Project) -> Iterator[Change]:
    # A file that says the same in a user's own words stays.
    if not (root / FILE).exists() or read_project(root / FILE) != names:
        yield Change(FILE, project_text(names), "the names of this project")


def _ignored(root: Path) -> Iterator[Change]:
    text = read_text(root / GITIGNORE)
    if not set(IGNORED) <= set(text.splitlines()):
        end = "\r\n" if "\r\n" in text else "\n"
        between = "" if not text or text.endswith("\n") else end
        # All of them, because a line that takes an earlier one back must follow it.
        block = end.join(("# Of the reading-strip project; `wms init` adds these lines.", *IGNORED, ""))
        yield Change(GITIGNORE, f"{text}{between}{block}", "files that must never get into Git")


def _dvc(root: Path, names: Project) -> Iterator[Change]:
    text = read_text(root / DVC_CONFIG)
    if names.bucket:
        changed = _with_bucket(text, names.bucket)
        parse_remote(changed, environ={}, bucket=names.bucket)  # DVC's other options may be refused
        yield Change(DVC_CONFIG, changed, f"the bucket for `dvc pull`, {names.bucket}")


def _with_bucket(text: str, url: str) -> str:
    """Return a .dvc/config whose default remote is at `url`; other options and sections stay as they are."""
    name, options = default_remote(text)
    # A default remote that isn't at S3 is kept, beside the new one.
    if not name or options.get("url", "s3://").partition("://")[0] != "s3":
        name = "storage"
    return _with_option(_with_option(text, "core", "remote", name), f'remote "{name}"', "url", url)


def _with_option(text: str, section: str, key: str, value: str) -> str:
    """Return an INI text in which the option has this value; all other lines stay byte for byte."""
    if sections(text, DVC_CONFIG).get(section, {}).get(key) == value:
        return text
    end = "\r\n" if "\r\n" in text else "\n"
    line, lines = f"    {key} = {value}{end}", text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    header, inside = None, False
    for number, old in enumerate(lines):
        if found := _HEADER.match(old):
            inside = unquoted(found[1]) == section
            header = number if inside else header
        elif inside and re.match(rf"\s*{key}\s*[=:]", old):
            lines[number] = line
            return "".join(lines)
    if header is None:
        lines += [f"[{section}]{end}" if section.isalnum() else f"['{section}']{end}", line]
    else:
        lines.insert(header + 1, line)
    return "".join(lines)


def _workflows(root: Path, names: Project) -> Iterator[Change]:
    """Yield workflows with the region: an expression of GitHub's takes no value from a file."""
    for path in sorted((root / WORKFLOWS).glob("*.yaml")):
        if names.region:
            text = _FALLBACK.sub(rf"\g<1>{names.region}\g<2>", read_text(path))
            yield Change(f"{WORKFLOWS}/{path.name}", text, f"the region {names.region}")
