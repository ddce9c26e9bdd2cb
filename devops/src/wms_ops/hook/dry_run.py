"""Detects a trial push: git runs the hook for `git push --dry-run`, too, without telling the hook.

So this module reads the command line of the git process that runs the hook; git itself has expanded aliases in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from wms_ops.base.errors import PushRefusedError
from wms_ops.git.command import Git

SETTING = "wms.dryRun"
"""The Git setting for users whose git command line can't be read: true for a trial, false for a push."""

# Options that take the next argument, if they hold no "=" themselves.
_OF_GIT = {"-C", "-c", "--git-dir", "--work-tree", "--namespace", "--super-prefix", "--config-env", "--attr-source"}
_OF_PUSH = ("--push-option", "--receive-pack", "--exec", "--repo", "--recurse-submodules")


def is_dry_run(git: Git) -> bool:
    """Whether nothing may be changed. Raises PushRefusedError if that can't be determined: again nothing is changed."""
    line = next((found for found in map(of_push, _parents()) if found is not None), None)
    if line is not None and asks_for_dry_run(line):
        return True  # whatever is configured
    if git.config(SETTING) is not None:
        return git.switched(SETTING) is not False  # what is neither yes nor no changes nothing
    if line is not None:
        return False
    raise PushRefusedError(
        "The hook can't see whether this is `git push --dry-run`, so it did nothing: say `git -c "
        f"{SETTING}=false push ...` to push, or {SETTING}=true for a trial."
    )


def of_push(line: Sequence[str]) -> list[str] | None:
    """The arguments of `git push` in a process's command line; None for any other command.

    >>> of_push(["git", "-C", "clone", "push", "origin", "main"])
    ['origin', 'main']
    """
    name = PurePath(line[0].replace("\\", "/")).name.lower().removesuffix(".exe") if line else ""
    if name == "git-push":
        return list(line[1:])
    if name != "git":
        return None
    rest = iter(line[1:])
    for argument in rest:
        if argument in _OF_GIT:
            next(rest, None)
        elif not argument.startswith("-"):
            return list(rest) if argument == "push" else None
    return None


def asks_for_dry_run(arguments: Sequence[str]) -> bool:
    """Whether the arguments of `git push` hold -n or --dry-run, also abbreviated or combined with other short options.

    >>> asks_for_dry_run(["-fn", "origin"]), asks_for_dry_run(["--dry", "--no-dry-run"])
    (True, False)
    """
    dry, rest = False, iter(arguments)
    for argument in rest:
        if argument == "--":
            break
        if argument.startswith("--"):
            # Git accepts abbreviations; `--d` could also mean --delete.
            if len(argument) > 3 and "--dry-run".startswith(argument):
                dry = True
            elif len(argument) > 6 and "--no-dry-run".startswith(argument):
                dry = False
            elif any(option.startswith(argument) for option in _OF_PUSH):
                next(rest, None)
        elif argument.startswith("-"):
            # -o takes a value: the rest of the word or, if that is empty, the next argument.
            flags, option, value = argument[1:].partition("o")
            dry = dry or "n" in flags
            if option and not value:
                next(rest, None)
    return dry


def _parents() -> Iterator[list[str]]:
    """Yield the command lines of the parent processes, as far as the system shows them."""
    import psutil

    try:
        for process in psutil.Process().parents():
            yield process.cmdline()
    except (psutil.Error, OSError):
        return
