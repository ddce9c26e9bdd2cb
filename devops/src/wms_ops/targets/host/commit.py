"""The commit that a folder has checked out, without the clone around it: no config, no hook, no history, no remote.

The commands that run on an instance ask Git for HEAD, for files in HEAD and for what differs from it. A repository of
that one commit, which the instance makes itself, answers all of this.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from wms.errors import from_os_error
from wms_ops.git.command import Git

GIT = ".git"


def pack_commit(folder: Path, target: Path) -> str | None:
    """Write HEAD's commit with all its files into the pack `target`; returns its id, None where there is no commit.

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
    """Make `folder`, whose files are there already, a repository of this one commit.

    Raises GitError for a pack that is damaged or of another commit, DiskFullError, UnwritableError.
    """
    remove_repository(folder)
    kind = "sha256" if len(commit) == 64 else "sha1"
    git = Git(folder)
    git("init", "--quiet", "--template=", f"--object-format={kind}")
    objects = folder / GIT / "objects" / "pack" / "pack-job.pack"
    try:
        shutil.copyfile(pack, objects)
        (folder / GIT / "shallow").write_text(f"{commit}\n", encoding="ascii")
    except OSError as error:
        raise from_os_error(error, folder) from error
    git("index-pack", str(objects.absolute()))
    git("config", "core.fileMode", "false")  # a client on Windows has no such modes
    git("update-ref", "--no-deref", "HEAD", commit)
    git("read-tree", "HEAD")


def remove_repository(folder: Path) -> None:
    """Remove the repository of a folder, also where a command has put a link or a file in its place."""
    path = folder / GIT
    if path.is_symlink() or path.is_file():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def names_in_git(folder: Path) -> Iterable[str]:
    """Names of the files that Git has, committed or only added. Raises GitError outside of a repository."""
    return Git(folder).names("ls-files", "-z", "--cached")
