"""An origin with data branches, and pull requests of it: files in the origin, or a fake GitHub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wms_ops.git.command import Git

WHO = {"user.name": "Ada", "user.email": "ada@example.org"}
BRANCH = "data/20261121-103000"


@dataclass(frozen=True)
class Yard:
    """A bare origin and a clone of it, in a folder whose name has a space."""

    folder: Path

    @property
    def origin(self) -> Path:
        return self.folder / "origin.git"

    @property
    def url(self) -> str:
        return f"file://{self.origin}"

    @property
    def clone(self) -> Git:
        return Git(self.folder / "clone", WHO)

    def branch(self, name: str = BRANCH, *, start: str = "origin/main", **files: str) -> str:
        """Push a branch with a commit that writes these files; returns the commit. A __ in a name is a slash."""
        git = self.clone
        git("fetch", "--quiet", "--prune", "origin")
        git("checkout", "--quiet", "-B", "work", start)
        for path, text in (files or {"images__dvc": f"outs of {name}\n"}).items():
            target = git.folder / path.replace("__", "/").replace("/dvc", ".dvc")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        git("add", ".")
        git("commit", "--quiet", "-m", f"Change for {name}")
        git("push", "--quiet", "origin", f"+HEAD:refs/heads/{name}")
        return git("rev-parse", "HEAD")

    def more(self, name: str = BRANCH, **files: str) -> str:
        """Another commit on top of a branch."""
        return self.branch(name, start=f"origin/{name}", **files)

    def tip(self, name: str) -> str:
        return Git(self.origin)("for-each-ref", "--format=%(objectname)", f"refs/heads/{name}")

    def show(self, path: str, commit: str = "pull-requests") -> str:
        return Git(self.origin)("show", f"{commit}:{path}")

    def main(self) -> list[str]:
        """Subjects of main's commits, newest first."""
        return Git(self.origin)("log", "--format=%s", "main").splitlines()

    def leftovers(self) -> list[Path]:
        return list((self.clone.folder / ".git" / "wms").glob("push-*/"))


def make_yard(folder: Path) -> Yard:
    yard = Yard(folder / "a yard")
    yard.folder.mkdir()
    Git(yard.folder)("init", "--quiet", "--bare", "--initial-branch=main", str(yard.origin))
    Git(yard.folder)("clone", "--quiet", str(yard.origin), str(yard.clone.folder))
    git = yard.clone
    (git.folder / "README.md").write_text("A project.\n")
    (git.folder / "images.dvc").write_text("outs of the first\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "Start")
    git("push", "--quiet", "origin", "HEAD:main")
    return yard
