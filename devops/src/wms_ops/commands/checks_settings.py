"""Checks of `wms doctor` about this clone's settings: wms.toml, the bucket's versions, Python and its libraries."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from pathlib import Path

from wms.libraries import MEGABYTES, absent, group_of
from wms.paths import ROOT
from wms.project import FILE, Project, read_project
from wms.start import OLDEST
from wms_ops.base.layout import DVC_CONFIG
from wms_ops.commands.finding import Finding, State
from wms_ops.git.command import Git
from wms_ops.storage.config import read_remote
from wms_ops.storage.remote import S3Remote


def check_python(groups: tuple[str, ...]) -> Finding:
    """The version of Python, and the libraries of the groups that a role needs; no library is imported."""
    version = f"Python {platform.python_version()}"
    if sys.version_info < OLDEST:
        text = f"{version} is too old: {'.'.join(map(str, OLDEST))} or newer is needed"
        return Finding("Python", State.MISSING, text, "https://www.python.org/downloads, then make install")
    lacking = {group: found for group in MEGABYTES if (found := absent(group))}
    if missing := [group for group in groups if group in lacking]:
        text = "; ".join(f"{', '.join(lacking[group])} of {group}" for group in missing)
        return Finding("Python", State.MISSING, f"{version} lacks {text}", _install(missing))
    whole = [group for group in MEGABYTES if group not in lacking]
    more = f"; not installed: {', '.join(lacking)}" if lacking else ""
    return Finding("Python", State.FINE, f"{version} with {', '.join(whole)}{more}, {sys.executable}")


def missing_library(error: ModuleNotFoundError) -> tuple[str, str] | None:
    """The sentence about a check that can't run without a library, and the command that installs its group."""
    name = (error.name or "").partition(".")[0]
    group = group_of(name, (), ROOT)
    return (f"can't be looked at without the library {name}", _install([group])) if group else None


def _install(groups: list[str]) -> str:
    if os.name == "nt":
        return f"WMS\\scripts\\install.bat {' '.join(groups)}"
    return f'make install FOR="{" ".join(groups)}"'


def check_settings(repo: Path) -> Finding:
    """wms.toml, and whether Git and DVC have what it names. Raises ConfigError, GitError, StoreConfigError."""
    path = repo / FILE
    names = read_project(path)
    defect = _case_defect(repo) or _remote_defect(Git(repo), names) or _bucket_defect(repo, names)
    if defect:
        return Finding("settings", State.MISSING, *defect)
    origin = path.name if path.is_file() else f"no {FILE}, so the names are the usual ones"
    branch = f"{names.remote}/{names.main_branch}"
    return Finding("settings", State.FINE, f"{origin}: project {names.project}, main branch {branch}")


def _case_defect(repo: Path) -> tuple[str, str] | None:
    """Whether the file of names has other capitals in its name, which only some systems read as the same name."""
    names = sorted(path.name for path in repo.iterdir() if path.name.lower() == FILE)
    if not names or FILE in names:
        return None
    return f"{names[0]} isn't read on every system, because its name has capitals", f"git mv {names[0]} {FILE}"


def _named(git: Git, what: str) -> str:
    """The beginning of a sentence about a name, which only an existing wms.toml can have chosen."""
    return f"{FILE} names {what}" if (git.folder / FILE).is_file() else f"without a {FILE}, {what} is expected"


def _remote_defect(git: Git, names: Project) -> tuple[str, str] | None:
    remotes = git("remote").split()
    if names.remote not in remotes:
        text = f"{_named(git, f'the remote {names.remote}')}, but this clone has {', '.join(remotes) or 'none'}"
        if len(remotes) == 1:
            return text, f"git remote rename {remotes[0]} {names.remote}"
        return text, f"git remote add {names.remote} URL, then git fetch {names.remote}"
    refs = f"refs/remotes/{names.remote}/"
    known = git("for-each-ref", "--format=%(refname)", refs).splitlines()
    branches = [name.removeprefix(refs) for name in known if not name.endswith("/HEAD")]
    if names.main_branch in branches:
        return None
    if not branches:
        return f"nothing was ever fetched from {names.remote}", f"git fetch {names.remote}"
    shown = ", ".join(branches[:5])
    text = f"{_named(git, f'the main branch {names.main_branch}')}, but {names.remote} had {shown} at the last fetch"
    usual = next((name for name in ("main", "master") if name in branches), "")
    return text, f"wms init --main-branch {usual}" if usual else f"git fetch {names.remote}, or `wms init`"


def _bucket_defect(repo: Path, names: Project) -> tuple[str, str] | None:
    """Whether DVC and wms.toml name different buckets; WMS_DVC_URL, which one shell may set, doesn't count."""
    if not names.bucket:
        return None
    remote = read_remote(repo, environ={})
    if remote.url == names.bucket.rstrip("/"):
        return None
    text = f"{FILE} names the bucket {names.bucket}, but {DVC_CONFIG} names {remote.url}"
    return text, f"dvc remote modify {remote.name} url {shlex.quote(names.bucket)}"


def check_versions(repo: Path) -> Finding:
    """Whether the data set's bucket keeps what is overwritten or deleted. Raises the store's errors."""
    config = read_remote(repo)
    status = S3Remote(config).versioning()
    if status is None:
        text = f"s3://{config.bucket} doesn't tell whether it keeps versions: another store, or keys that may not ask"
        return Finding("versions", State.FINE, text)
    if status == "Enabled":
        return Finding("versions", State.FINE, f"s3://{config.bucket} keeps versions of its objects")
    why = "stopped keeping versions" if status else "never kept versions"
    mend = f"aws s3api put-bucket-versioning --bucket {config.bucket} --versioning-configuration Status=Enabled"
    address = f" --endpoint-url {config.endpoint_url}" if config.endpoint_url else ""
    text = f"s3://{config.bucket} {why}: a deleted photo or model is gone for good"
    return Finding("versions", State.OPTIONAL, text, mend + address)
