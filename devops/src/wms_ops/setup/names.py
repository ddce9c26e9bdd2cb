"""The seven names of a project: proposed from the clone's own files, and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from wms.errors import UsageError
from wms.project import FILE, FORMER_REGION, MEANINGS, REGION, Project, read_project, why_refused
from wms.registry.ledger import HISTORY
from wms_ops.base.layout import DVC_CONFIG, LOOP, MODELS, pointer
from wms_ops.base.settings import AwsSettings, StoreSettings
from wms_ops.git.command import Git
from wms_ops.setup.files import default_remote, read_text

_STORE: Final = re.compile(r"s3://wms-[a-z0-9-]+-dvc-\d{12}-([a-z]{2}(?:-[a-z]+)+-\d)(?:/|$)")
PRODUCT: Final = "product"
"""The remote that brings new versions of this project, as docs/SETUP.md calls it; never the team's own."""

NAMES: Final = tuple(MEANINGS)


def propose(git: Git, remote: str | None = None) -> Project:
    """Propose the names: those of wms.toml; else those that Git, DVC, AWS's variables and the folder's name suggest.

    A given `remote` is taken as it is. Raises ConfigError for a wms.toml that can't be used, StoreConfigError for such
    a .dvc/config, UsageError if a user has to say which of several remotes is the team's.
    """
    path = git.folder / FILE
    names = read_project(path)
    if not path.exists():
        remote = remote or _remote(git) or names.remote
        folder = git.folder.name
        names = replace(
            names,
            project=names.project if was_used(git) or why_refused("project", folder) else folder,
            remote=remote,
            main_branch=_head(git, remote) or names.main_branch,
        )
    _, options = default_remote(read_text(git.folder / DVC_CONFIG))
    bucket = _first("bucket", (names.bucket, options.get("url", "")))
    told, default = (_region_in(bucket), FORMER_REGION) if was_used(git) else (_told_region(), REGION)
    regions = (names.region, options.get("region", ""), told, default)
    return replace(names, region=_first("region", regions), bucket=bucket)


def was_used(git: Git) -> bool:
    """Whether a clone without wms.toml has photos, a promoted model or a loop: then it goes on under former names."""
    former = Project()
    main = f"refs/remotes/{former.remote}/{former.main_branch}"
    paths = (pointer("images"), f"{MODELS}/{HISTORY}")
    at_remote = any(git.ok("cat-file", "-e", f"{main}:{path}") for path in paths)
    return at_remote or any((git.folder / path).exists() for path in (*paths, f"{LOOP}/runs", f"{LOOP}/aws"))


def choose(proposed: Project, given: Mapping[str, str | None]) -> Project:
    """Return the proposed names with those that options give; raises UsageError naming an option that is refused.

    >>> choose(Project(), {"main_branch": "master"}).main_branch
    'master'
    """
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name, value in chosen.items():
        if reason := why_refused(name, value):
            raise UsageError(f"{option(name)} is {value!r}, {reason}.")
    return replace(proposed, **chosen)


def option(name: str) -> str:
    """Return the option that gives a name.

    >>> option("main_branch")
    '--main-branch'
    """
    return f"--{name.replace('_', '-')}"


def remotes(git: Git) -> list[str]:
    """Return the names of the clone's Git remotes."""
    return git("remote").split()


def _region_in(bucket: str) -> str:
    """The region at the end of the name of a bucket that `wms cloud store` made; "" for another name."""
    found = _STORE.match(bucket)
    return found[1] if found else ""


def _told_region() -> str:
    """The region in AWS's variables; "" where they lead to another store, whose region says nothing about AWS."""
    return "" if StoreSettings.read().endpoint else AwsSettings.read().region


def _remote(git: Git) -> str:
    """The remote that the checked-out branch follows, else the only one, but for the one that brings new versions."""
    branch = git.attempt("symbolic-ref", "--quiet", "--short", "HEAD").stdout.decode("utf-8", "replace").strip()
    followed = git.attempt("config", f"branch.{branch}.remote").stdout.decode("utf-8", "replace").strip()
    found = [name for name in remotes(git) if name != PRODUCT and not why_refused("remote", name)]
    if followed in found or len(found) == 1:
        return followed if followed in found else found[0]
    if len(found) > 1 and Project().remote not in found:
        raise UsageError(f"This clone has the remotes {', '.join(found)}; name the team's with --remote.")
    return ""


def _head(git: Git, remote: str) -> str:
    """Return the branch at the remote's HEAD, else the branch that is checked out; "" for neither."""
    for ref, start in ((f"refs/remotes/{remote}/HEAD", f"refs/remotes/{remote}/"), ("HEAD", "refs/heads/")):
        done = git.attempt("symbolic-ref", "--quiet", ref)
        name = done.stdout.decode("utf-8", "replace").strip().removeprefix(start)
        if name and not why_refused("main_branch", name):
            return name
    return ""


def _first(name: str, values: tuple[str, ...]) -> str:
    return next((value for value in values if value and not why_refused(name, value)), "")
