"""Installs the pre-push hook, chained after an existing hook, for the clone and all its work trees."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wms.command import Command
from wms.errors import from_os_error
from wms.files import write_atomic
from wms_ops.base.errors import GitError
from wms_ops.git.command import Git
from wms_ops.hook.dry_run import SETTING

_MARK = "installed by devops/scripts/install-git-hooks.sh"
_EARLIER = "pre-push.before-wms"
_SWITCH = "wms.hook"
"""The setting in a clone's own configuration that tells the hook of a work tree without the project's files."""

# The hook that git runs: the earlier hook first, then the work tree's own hooks/pre-push, with the same input. The text
# names no folder, so that a project that was moved keeps its hook.
HOOK = f"""#!/bin/sh
# {_MARK}
refs=$(cat)
earlier=$(dirname "$0")/{_EARLIER}
if [ -x "$earlier" ]; then
  printf '%s\\n' "$refs" | grep . | "$earlier" "$@" || exit
fi
root=$(git rev-parse --show-toplevel 2>/dev/null)
if [ ! -f "$root/hooks/pre-push" ] || [ ! -f "$root/devops/scripts/python.sh" ]; then
  # Another project's repository, which shares this folder of hooks or was copied with it.
  [ "$(git config --local --type=bool {_SWITCH})" = true ] || exit 0
  root=$(git worktree list --porcelain | sed -n 's/^worktree //p' | while IFS= read -r tree; do
    # Both files, since the hooks of a bare repository lie in hooks/, too.
    if [ -f "$tree/hooks/pre-push" ] && [ -f "$tree/devops/scripts/python.sh" ]; then
      printf '%s\\n' "$tree"
      break
    fi
  done)
fi
if [ -z "$root" ]; then
  echo "error: hooks/pre-push isn't in this work tree; photos could reach main unseen, so nothing was pushed." >&2
  exit 1
fi
printf '%s\\n' "$refs" | grep . | sh "$root/hooks/pre-push" "$@"
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument("--remove", action="store_true", help="take the hook away and put the earlier one back")


def run(arguments: argparse.Namespace) -> int:
    """Install (or remove) the hook of the clone in the current folder; returns 0. Raises as `install_hook` does."""
    return install_hook(Path.cwd(), remove=arguments.remove)


def install_hook(folder: Path, *, remove: bool = False) -> int:
    """Install (or remove) the hook of a clone; repetition changes nothing. Raises GitError, UnwritableError."""
    here = Git(folder)
    root = Path(here("rev-parse", "--show-toplevel"))
    hooks = Path(here("rev-parse", "--path-format=absolute", "--git-path", "hooks"))
    hook, earlier = hooks / "pre-push", hooks / _EARLIER
    ours = _is_ours(hook)
    try:
        if remove:
            here.attempt("config", "--local", "--unset-all", _SWITCH)
            return _remove(hook, earlier, ours)
        _leave_shared(here, root)
        if not (root / "hooks" / "pre-push").is_file():
            raise GitError(f"{root} has no hooks/pre-push; run this in a clone of this project.")
        _refuse_shared(here, root, hooks)
        if _is_tracked(hook, (root,)):
            hook.chmod(0o755)
            print(f"Git runs {hook} itself; nothing else is needed.")
            return 0
        hooks.mkdir(parents=True, exist_ok=True)
        if hook.exists() and not ours:
            _keep(hook, earlier)
        write_atomic(hook, HOOK)
        hook.chmod(0o755)
        here("config", "--local", "--replace-all", _SWITCH, "true")
    except OSError as error:
        raise from_os_error(error, hook) from error
    print(f"Installed {hook}; it looks at every push from this clone and its work trees.")
    return 0


def is_outdated(git: Git) -> bool:
    """Whether the clone's hook is one that an earlier version of this project wrote."""
    hook = Path(git("rev-parse", "--path-format=absolute", "--git-path", "hooks")) / "pre-push"
    return _is_ours(hook) and bool(_why_unused(hook, _work_trees(git)))


def hook_defect(git: Git) -> tuple[str, str] | None:
    """The reason why pushes of a clone bypass the pre-push hook or can't pass it, and the remedy; None for no defect.

    Raises GitError outside of a clone.
    """
    root = Path(git("rev-parse", "--show-toplevel"))
    hooks = Path(git("rev-parse", "--path-format=absolute", "--git-path", "hooks"))
    hook = hooks / "pre-push"
    if reason := _why_unused(hook, (root, *_work_trees(git))):
        setting = _hooks_setting(git)
        where = f" (core.hooksPath is set by {setting.origin}, {setting.scope})" if setting else ""
        remedy = f"{_own_folder(git)} && wms hook" if _is_shared(git, root, hooks) else "wms hook"
        return f"{reason}{where}, so photos would reach main unseen", remedy
    tree = next((tree for tree in (root, *_work_trees(git)) if (tree / "hooks" / "pre-push").is_file()), None)
    if tree is None:
        return f"{root} has no hooks/pre-push, so every push would be refused", "git restore hooks/pre-push"
    # With no refs the hook only finds Python and imports its code; the setting for trials would end it with 1.
    start = ("-c", f"{SETTING}=false", "-c", "alias.wms-start=!sh hooks/pre-push origin .", "wms-start")
    done = Git(tree).attempt(*start, data=b"")
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
        return (
            f"the pre-push hook doesn't start, so every push would be refused ({said[-1].rstrip('.')})",
            "make install",
        )
    return None


def _work_trees(git: Git) -> list[Path]:
    lines = git("worktree", "list", "--porcelain").splitlines()
    return [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]


def _is_tracked(hook: Path, trees: Sequence[Path]) -> bool:
    """Whether the hook is the project's own hooks/pre-push, because core.hooksPath names that folder."""
    return any(hook.resolve() == (tree / "hooks" / "pre-push").resolve() for tree in trees)


def _why_unused(hook: Path, trees: Sequence[Path]) -> str:
    """The reason why git doesn't run this project's hook; empty if git does."""
    if not hook.is_file():
        return f"there is no {hook}"
    if not os.access(hook, os.X_OK):
        return f"git ignores {hook}, which isn't executable"
    if not _is_tracked(hook, trees) and hook.read_text(encoding="utf-8", errors="replace") != HOOK:
        return f"{hook} isn't the hook that `wms hook` writes"
    return ""


def _keep(hook: Path, earlier: Path) -> None:
    """Move a foreign hook aside. Raises GitError if another foreign hook is kept already."""
    if earlier.exists() and earlier.read_bytes() != hook.read_bytes():
        raise GitError(
            f"{hook} is a foreign hook, and {earlier} is another that is kept already, so nothing was changed: join "
            f"both in {hook}, delete {earlier.name}, and run this again."
        )
    hook.rename(earlier)
    if os.access(earlier, os.X_OK):
        print(f"The pre-push hook that was there is kept as {earlier} and runs first.")
    else:
        switch = f"chmod +x {shlex.quote(str(earlier))}"
        print(
            f"The pre-push hook that was there is kept as {earlier}, but isn't executable: git didn't run it, and it "
            f"doesn't run now; `{switch}` lets it run first."
        )


def _is_ours(hook: Path) -> bool:
    return hook.is_file() and _MARK in hook.read_text(encoding="utf-8", errors="replace")


def _refuse_shared(git: Git, root: Path, hooks: Path) -> None:
    """Raise GitError for a hooks folder outside of this clone, because other repositories would run the hook, too."""
    if _is_shared(git, root, hooks):
        raise GitError(
            f"git looks for hooks in {hooks} (core.hooksPath), which other repositories share, so nothing was "
            f"installed. Give this clone a folder of its own, then run this again: {_own_folder(git)}"
        )


def _leave_shared(git: Git, root: Path) -> None:
    """Take the hook out of folders that other repositories share, where versions of this project once put it."""
    told = git.attempt("config", "--null", "--type=path", "--get-all", "core.hooksPath").stdout
    for name in told.decode("utf-8", "surrogateescape").split("\0"):
        shared = root / name / "pre-push"
        if name and _is_shared(git, root, shared.parent) and _is_ours(shared):
            _remove(shared, shared.with_name(_EARLIER), ours=True)


def _is_shared(git: Git, root: Path, hooks: Path) -> bool:
    owned = (root.resolve(), _common(git).resolve())
    return not any(own in (hooks.resolve(), *hooks.resolve().parents) for own in owned)


@dataclass(frozen=True)
class _Setting:
    """The value of core.hooksPath that counts: the scope in Git's words, the file, and how many values it has there."""

    scope: str
    origin: str
    count: int


def _hooks_setting(git: Git) -> _Setting | None:
    """What switches the clone's own folder of hooks off; None where nothing does."""
    asked = ("config", "--null", "--show-scope", "--show-origin", "--get-all", "core.hooksPath")
    parts = git.attempt(*asked).stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    found = list(zip(parts[::3], parts[1::3], strict=False))  # a scope, a file and a value for each
    if not found:
        return None
    scope, origin = found[-1]
    return _Setting(scope, origin.removeprefix("file:").removesuffix(":"), found.count((scope, origin)))


def _own_folder(git: Git) -> str:
    """The command that gives the clone a folder of hooks of its own, against the setting that counts."""
    own = shlex.quote((_common(git) / "hooks").as_posix())
    setting = _hooks_setting(git)
    if setting is None or setting.scope in ("global", "system"):
        return f"git config core.hooksPath {own}"
    if setting.scope == "command":  # in the environment, which no file overrides
        return "unset GIT_CONFIG_COUNT GIT_CONFIG_PARAMETERS"
    if setting.scope == "worktree":
        return f"git config --worktree core.hooksPath {own}"
    if (git.folder / setting.origin).resolve() != (_common(git) / "config").resolve():
        # Included by the clone's settings, after which they may not be read again.
        return f"git config --file {shlex.quote(setting.origin)} --unset-all core.hooksPath"
    return f"git config {'--replace-all ' if setting.count > 1 else ''}core.hooksPath {own}"


def _common(git: Git) -> Path:
    return Path(git("rev-parse", "--path-format=absolute", "--git-common-dir"))


def _remove(hook: Path, earlier: Path, ours: bool) -> int:
    if not ours:
        print("The hook isn't installed; nothing was changed.")
        return 0
    if earlier.exists():
        earlier.replace(hook)
    else:
        hook.unlink()
    print(f"Removed {hook}.")
    return 0


COMMAND = Command(
    "Install the pre-push hook, beside one that is there, for the clone and all its work trees.", declare, run
)
