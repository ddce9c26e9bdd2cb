"""A clean temporary clone inside the repository's own .git folder: the user's work tree and index stay as they are.

One process at a time has such a clone, by a lock that dies with the process: an existing folder is a killed run's and
is removed.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from wms.errors import from_os_error
from wms.files import exclusive_lock
from wms.git import OWN
from wms_ops.base.layout import DATA_BRANCHES, main_branch
from wms_ops.git.command import Git

# The user's own settings that a clone needs to reach the same remote as the same user.
_SETTINGS = (
    r"^(http|credential|url|user|author|committer|core\.(sshcommand|askpass)|ssh|protocol|remote\..*\.proxy)(\.|$)"
)
_SCHEME = re.compile(r"[\w.+-]+:|[^/]+@[^/]+:")


@dataclass(frozen=True)
class Scratch:
    """A temporary bare clone of `url`, and a folder beside the clone for files in transit."""

    git: Git
    folder: Path
    url: str

    @property
    def base(self) -> str | None:
        """The commit of the remote's main, or None in an empty repository."""
        found = self.git("for-each-ref", "--format=%(objectname)", f"refs/there/{main_branch()}")
        return found or None

    @property
    def data_branches(self) -> dict[str, str]:
        """The remote's data branches, newest name first: name -> commit."""
        pattern = f"refs/there/{DATA_BRANCHES}"
        lines = self.git("for-each-ref", "--sort=-refname", "--format=%(objectname) %(refname)", pattern).splitlines()
        return {name.removeprefix("refs/there/"): commit for commit, name in (line.split(" ", 1) for line in lines)}


@contextlib.contextmanager
def scratch_clone(git: Git, url: str, *, depth: int | None = 1) -> Iterator[Scratch]:
    """Clone main and the data branches of `url`; removed at the end, or by the next call after a kill.

    Objects that `git` has aren't fetched again. Raises GitError, DiskFullError, UnwritableError.
    """
    workspace = Path(git("rev-parse", "--path-format=absolute", "--git-common-dir")) / "wms"
    with exclusive_lock(workspace / "push.lock"):
        try:
            for leftover in workspace.glob("push-*/"):
                shutil.rmtree(leftover)
            folder = Path(tempfile.mkdtemp(prefix="push-", dir=workspace))
        except OSError as error:
            raise from_os_error(error, workspace) from error
        try:
            yield _clone(git, _from_anywhere(git, url), folder, depth)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _from_anywhere(git: Git, url: str) -> str:
    """Return the address as it is, but a path from the work tree, such as ../meters.git, as a whole path."""
    here = git.folder / url
    return str(here.absolute()) if not _SCHEME.match(url) and here.exists() else url


def _clone(git: Git, url: str, folder: Path, depth: int | None) -> Scratch:
    clone = Git.bare(folder / "clone.git", OWN)
    # A clone can borrow objects only from a repository with the same hash function.
    hashes = git("rev-parse", "--show-object-format")
    Git(folder, OWN)("init", "--quiet", "--bare", f"--object-format={hashes}", str(clone.folder))
    clone = replace(clone, handed=git.handed_on(_SETTINGS, clone)).at_address(url)
    objects = git("rev-parse", "--path-format=absolute", "--git-path", "objects")
    # A shallow clone's commits lack their parents, and git would take them for whole ones.
    whole = depth is not None or git("rev-parse", "--is-shallow-repository") == "false"
    try:
        alternates = clone.folder / "objects" / "info" / "alternates"
        # Git reads a quoted line as a C string: a path may hold anything.
        quoted = objects.replace("\\", "\\\\").replace('"', '\\"')
        alternates.write_text(
            f'"{quoted}"\n' if whole else "", encoding="utf-8", errors="surrogateescape", newline="\n"
        )
    except OSError as error:
        raise from_os_error(error, folder) from error
    refs = [f"+refs/heads/{name}:refs/there/{name}" for name in (main_branch(), f"{DATA_BRANCHES}*")]
    # Patterns only, since git refuses a plain name that the origin lacks: a new origin has no main.
    refs[0] = f"+refs/heads/{main_branch()}*:refs/there/{main_branch()}*"
    line = ("fetch", "--quiet", "--no-tags", *([f"--depth={depth}"] if depth else []), url, *refs)
    # Git fails without a word where an origin is empty.
    if clone.attempt(*line).returncode and clone("ls-remote", url):
        clone(*line)
    return Scratch(clone, folder, url)
