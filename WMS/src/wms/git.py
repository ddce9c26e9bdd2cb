"""Calls git from a program, with pinned settings, so that a user's settings change neither answers nor effects."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

# By `-c`, which alone wins against a setting that was itself given by `-c`, as in `git -c ... push`.
PINNED: Mapping[str, str] = MappingProxyType(
    {
        # Settings that change git's output.
        "log.showSignature": "false",
        "log.showRoot": "true",
        "log.diffMerges": "separate",
        "log.decorate": "false",
        "log.mailmap": "false",
        "format.pretty": "medium",
        "grep.patternType": "default",
        "column.ui": "never",
        "core.quotePath": "false",
        "core.pager": "cat",
        "i18n.logOutputEncoding": "UTF-8",
        "i18n.commitEncoding": "UTF-8",
        **{f"color.{where}": "false" for where in ("ui", "branch", "diff", "status", "push", "remote", "transport")},
        "color.advice": "false",
        "status.short": "false",
        "status.branch": "false",
        "status.renames": "false",
        "status.relativePaths": "true",
        "status.showStash": "false",
        "status.submoduleSummary": "false",
        "core.fsmonitor": "false",
        "advice.graftFileDeprecated": "false",
        # Settings that change diffs and merges.
        "diff.noprefix": "false",
        "diff.mnemonicPrefix": "false",
        "diff.relative": "false",
        "diff.renames": "false",
        "diff.orderFile": os.devnull,
        "diff.ignoreSubmodules": "none",
        "merge.renames": "true",
        "merge.directoryRenames": "conflict",
        "merge.renormalize": "false",
        "merge.conflictStyle": "merge",
        "merge.autoStash": "false",
        "merge.verifySignatures": "false",
        # Settings that push, fetch or delete more than the command asks for.
        "push.followTags": "false",
        "push.gpgSign": "false",
        "push.recurseSubmodules": "no",
        "push.useForceIfIncludes": "false",
        "push.pushOption": "",
        "fetch.prune": "false",
        "fetch.pruneTags": "false",
        "fetch.recurseSubmodules": "no",
        "submodule.recurse": "false",
        # Commits and tags stay plain: no program asks for a passphrase or opens an editor.
        "commit.gpgSign": "false",
        "commit.cleanup": "whitespace",
        "tag.gpgSign": "false",
        "tag.forceSignAnnotated": "false",
        "init.defaultBranch": "main",
        "clone.defaultRemoteName": "origin",
    }
)
"""Settings that every command gets; a user's own can't override them."""

OWN: Mapping[str, str] = MappingProxyType(
    {
        "core.hooksPath": os.devnull,
        "core.attributesFile": os.devnull,
        "core.excludesFile": os.devnull,
        "core.autocrlf": "false",
        "core.eol": "lf",
        "core.safecrlf": "false",
        "safe.bareRepository": "all",  # a scratch clone is bare
        "init.templateDir": "",
        "gc.auto": "0",
        "maintenance.auto": "false",
    }
)
"""More settings, for a clone that only a program uses: no hooks, no filters, unchanged bytes."""

# Git sets these to tell its hooks which repository to work on; another repository must not inherit them.
_PLACES = {
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH", "GIT_SHALLOW_FILE"),
}
_DROPPED = {
    *("GIT_CONFIG", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS", "GIT_DEFAULT_HASH", "GIT_ATTR_SOURCE", "GIT_TEMPLATE_DIR"),
    *("GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS", "GIT_REDIRECT_STDIN"),
    *("GIT_REDIRECT_STDOUT", "GIT_REDIRECT_STDERR", "LANGUAGE"),
}
_FIXED = {
    "LC_ALL": "C.UTF-8",
    "GIT_PAGER": "cat",
    "GIT_LITERAL_PATHSPECS": "1",  # a photo's name may hold a star
    "GIT_OPTIONAL_LOCKS": "0",  # a query must not write to the repository
    # Replaced objects and grafts exist in a single clone; a push sends the real objects.
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
}


def command(folder: Path | str, *arguments: str, pinned: bool = True) -> list[str]:
    """The command line of `git ARGUMENTS` in `folder`; without `pinned` the user's settings apply."""
    settings = [part for name, value in PINNED.items() for part in ("-c", f"{name}={value}")] if pinned else []
    return ["git", "-C", str(folder), *settings, *arguments]


def environment() -> dict[str, str]:
    """The environment for git: this process's, without variables that name another repository or change answers."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in _PLACES | _DROPPED and not (key.startswith("GIT_TRACE") and not value.startswith("/"))
    }
    return kept | _FIXED


def place() -> dict[str, str]:
    """The variables of this process that say where the repository is, of which `environment` tells nothing.

    A hook runs for the repository that they name.
    """
    named = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
    found = {name: os.environ[name] for name in named if os.environ.get(name)}
    return {
        name: value if name.endswith("DIRECTORIES") else str(Path(value).absolute()) for name, value in found.items()
    }


def answer(folder: Path, *arguments: str) -> bytes | None:
    """The output of `git ARGUMENTS` in `folder`; None if git fails, takes over 30 s, or isn't installed."""
    try:
        done = subprocess.run(
            command(folder, *arguments), capture_output=True, env=environment(), check=False, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
