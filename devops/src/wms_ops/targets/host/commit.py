"""The commit that a folder has checked out, without the clone around it: no config, no hook, no history, no remote.

The commands on an instance ask Git for HEAD, for files in HEAD and for differences from HEAD. The instance makes a
repository of that single commit, which answers all of this.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from wms.errors import from_os_error
from wms_ops.git.command import Git

GIT = ".git"


def pack_commit(folder: Path, target: Path) -> str | None:
    """Write HEAD's commit with all its files into the pack `target`; returns the commit's id, None without a commit.

    Raises GitError, DiskFullError, UnwritableError.
    """
    git = Git(folder)
    if not git.ok("rev-parse", "--verify", "--quiet", "HEAD^{commit}"):
        return None
    commit = git("rev-parse", "HEAD^{commit}")
    objects = git.raw("rev-list", "--objects", "--no-object-names", "--no-walk", commit)
    begin = target.with_name("pack")
    name = git("pack-objects", "--quiet", str(begin.absolute()), data=objects)
    try:
        begin.with_name(f"{begin.name}-{name}.pack").replace(target)
    except OSError as error:
        raise from_os_error(error, target) from error
    return commit


def lay_commit(folder: Path, commit: str, pack: Path) -> None:
    """Make `folder`, whose files exist already, a repository of this single commit.

    Raises GitError for a damaged pack or the pack of another commit, DiskFullError, UnwritableError.
    """
    remove_repository(folder)
    object_format = "sha256" if len(commit) == 64 else "sha1"
    git = Git(folder)
    # No template: the machine's own may hold hooks.
    git("init", "--quiet", "--template=", f"--object-format={object_format}")
    objects = folder / GIT / "objects" / "pack" / "pack-job.pack"
    try:
        shutil.copyfile(pack, objects)
        # Shallow, or Git would miss the parents that the commit names.
        (folder / GIT / "shallow").write_text(f"{commit}\n", encoding="ascii", newline="\n")
    except OSError as error:
        raise from_os_error(error, folder) from error
    git("index-pack", str(objects.absolute()))
    git("config", "core.fileMode", "false")  # a client on Windows has no such modes
    git("update-ref", "--no-deref", "HEAD", commit)
    git("read-tree", "HEAD")


def remove_repository(folder: Path) -> None:
    """Remove the repository of a folder, also a link or a file that a command has put in its place."""
    path = folder / GIT
    if path.is_symlink() or path.is_file():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def names_in_git(folder: Path) -> Iterable[str]:
    """Names of the files that Git has, committed or only added. Raises GitError outside of a repository."""
    return Git(folder).names("ls-files", "-z", "--cached")
