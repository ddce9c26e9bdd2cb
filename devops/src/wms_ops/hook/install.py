"""Installs the pre-push hook, chained after an existing hook, for the clone and all its work trees."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from wms.command import Command
from wms.errors import from_os_error
from wms.files import write_atomic
from wms_ops.base.errors import GitError
from wms_ops.git.command import Git

_MARK = "installed by devops/scripts/install-git-hooks.sh"
_EARLIER = "pre-push.before-wms"

# The hook that git runs: the earlier hook first, then the work tree's own hooks/pre-push, with the same input.
_HOOK = f"""#!/bin/sh
# {_MARK}
root=$(git rev-parse --show-toplevel) || exit 1
[ -f "$root/hooks/pre-push" ] || root={{home}}
if [ ! -f "$root/hooks/pre-push" ]; then
  echo "error: hooks/pre-push isn't in this work tree; photos could reach main unseen, so nothing was pushed." >&2
  exit 1
fi
refs=$(cat)
earlier={{earlier}}
if [ -x "$earlier" ]; then
  printf '%s\\n' "$refs" | grep . | "$earlier" "$@" || exit
fi
printf '%s\\n' "$refs" | grep . | sh "$root/hooks/pre-push" "$@"
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument("--remove", action="store_true", help="take the hook away and put the earlier one back")


def run(arguments: argparse.Namespace) -> int:
    """Install (or remove) the hook; repetition changes nothing. Raises GitError, UnwritableError."""
    here = Git(Path.cwd())
    root = Path(here("rev-parse", "--show-toplevel"))
    hooks = Path(here("rev-parse", "--path-format=absolute", "--git-path", "hooks"))
    hook, earlier = hooks / "pre-push", hooks / _EARLIER
    ours = _is_ours(hook)
    try:
        if arguments.remove:
            return _remove(hook, earlier, ours)
        if not (root / "hooks" / "pre-push").is_file():
            raise GitError(f"{root} has no hooks/pre-push; run this in a clone of this project.")
        _refuse_shared(here, root, hooks)
        hooks.mkdir(parents=True, exist_ok=True)
        if hook.exists() and not ours:
            hook.rename(earlier)
            print(f"The pre-push hook that was there is kept as {earlier} and runs first.")
        content = _HOOK.format(home=shlex.quote(str(root)), earlier=shlex.quote(str(earlier)))
        write_atomic(hook, content)
        hook.chmod(0o755)
    except OSError as error:
        raise from_os_error(error, hook) from error
    print(f"Installed {hook}; it looks at every push from this clone and its work trees.")
    return 0


def is_installed(git: Git) -> bool:
    """Whether the pre-push hook of a clone is this project's. Raises GitError outside of a clone."""
    return _is_ours(Path(git("rev-parse", "--path-format=absolute", "--git-path", "hooks")) / "pre-push")


def _is_ours(hook: Path) -> bool:
    return hook.is_file() and _MARK in hook.read_text(encoding="utf-8", errors="replace")


def _refuse_shared(git: Git, root: Path, hooks: Path) -> None:
    """Raise GitError for a hooks folder outside of this clone, because other repositories would run the hook, too."""
    common = Path(git("rev-parse", "--path-format=absolute", "--git-common-dir"))
    if not any(own.resolve() in (hooks.resolve(), *hooks.resolve().parents) for own in (root, common)):
        raise GitError(
            f"git looks for hooks in {hooks} (core.hooksPath), which other repositories share, so nothing was "
            "installed. Give this clone a folder of its own, then run this again: git config core.hooksPath "
            f"{shlex.quote(str(common / 'hooks'))}"
        )


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
