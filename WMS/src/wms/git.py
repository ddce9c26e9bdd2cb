"""How git is asked: as a program by a program, so that nobody's own settings change what is answered or done."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

# By `-c`, which alone wins against a setting that was itself given by `-c`, as in `git -c ... push`.
PINNED: Mapping[str, str] = MappingProxyType(
    {
        # What is printed, and how.
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
        # What counts as a difference, and how a merge is made.
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
        # Nothing goes along, or goes away, that wasn't asked for.
        "push.followTags": "false",
        "push.gpgSign": "false",
        "push.recurseSubmodules": "no",
        "push.useForceIfIncludes": "false",
        "push.pushOption": "",
        "fetch.prune": "false",
        "fetch.pruneTags": "false",
        "fetch.recurseSubmodules": "no",
        "submodule.recurse": "false",
        # What is made is plain: no program asks for a passphrase or opens an editor.
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
        "safe.bareRepository": "all",  # a scratch clone is one
        "init.templateDir": "",
        "gc.auto": "0",
        "maintenance.auto": "false",
    }
)
"""More of them for a clone that nobody but a program works in: no hooks, no filters, bytes as they are."""

# Git tells its hooks by these which repository to work on; another repository must not inherit them.
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
    "GIT_OPTIONAL_LOCKS": "0",  # a question doesn't write
    # Replaced objects and grafts are true in one clone only: what is pushed are the real ones.
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
}


def command(folder: Path | str, *arguments: str, pinned: bool = True) -> list[str]:
    """The command line of `git ARGUMENTS` in `folder`; without `pinned` the user's own settings count."""
    settings = [part for name, value in PINNED.items() for part in ("-c", f"{name}={value}")] if pinned else []
    return ["git", "-C", str(folder), *settings, *arguments]


def environment() -> dict[str, str]:
    """The variables for it: this process's, without those that point elsewhere or change answers."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in _PLACES | _DROPPED and not (key.startswith("GIT_TRACE") and not value.startswith("/"))
    }
    return kept | _FIXED


def answer(folder: Path, *arguments: str) -> bytes | None:
    """What `git ARGUMENTS` prints in `folder`; None where it fails, takes over 30 s, or isn't installed."""
    try:
        done = subprocess.run(
            command(folder, *arguments), capture_output=True, env=environment(), check=False, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
