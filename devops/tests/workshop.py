"""Real Git repositories around a bare origin, with the real hook, for tests of the data path."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from s3_server import S3Server

from wms.data.manifest import DataSet
from wms.data.synthetic import write_dataset
from wms_ops.dataset.versions import version_at
from wms_ops.git.command import Git
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.remote import S3Remote

ROOT = Path(__file__).resolve().parents[2]
INBOX = "WMS/data/training"


@dataclass
class Workshop:
    """An origin with an empty data set and as many clones as a test wants."""

    folder: Path
    s3: S3Server
    config: RemoteConfig
    extra: dict[str, str] = field(default_factory=dict)  # more environment variables

    def __post_init__(self) -> None:
        self.origin = self.folder / "origin.git"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "home").mkdir()
        program = self.folder / "bin" / "wms"  # as an installation makes it
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wms_ops "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        self.run("git", "init", "--quiet", "--bare", "--initial-branch=main", self.origin, where=self.folder)
        seed = self.folder / "seed"
        self.run("git", "clone", "--quiet", self.origin, seed, where=self.folder)
        self.write(seed, "README.md", "A project.\n")
        self.write(seed, ".dvc/config", self._dvc_config())
        self.write(seed, ".dvc/.gitignore", "/config.local\n/tmp\n/cache\n")
        self.write(seed, "WMS/data/dataset/.gitignore", "/images\n/masks\n")
        for name in ("hooks/pre-push", "devops/scripts/install-git-hooks.sh", "devops/scripts/python.sh"):
            target = seed / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
        self.run("git", "add", ".", where=seed)
        self.run("git", "commit", "--quiet", "-m", "Start", where=seed)
        self.run("git", "push", "--quiet", "origin", "HEAD:main", where=seed)

    def _dvc_config(self) -> str:
        """As in a real project: the store's address comes from the environment."""
        return f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {self.config.url}\n"

    @property
    def environ(self) -> dict[str, str]:
        """Nothing of the tester's own settings."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "AWS_", "WMS_"))}
        paths = [ROOT / "WMS/src", ROOT / "devops/src"]
        identity = {f"GIT_{who}_NAME": "Ada" for who in ("AUTHOR", "COMMITTER")}
        identity |= {f"GIT_{who}_EMAIL": "ada@example.org" for who in ("AUTHOR", "COMMITTER")}
        return {
            **kept,
            **identity,
            **self.s3.environ,
            "HOME": str(self.folder / "home"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": ":".join(map(str, paths)),
            "OMP_NUM_THREADS": "1",
            **self.extra,
        }

    def run(
        self, *command: str | Path, where: Path, check: bool = True, **more: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=where,
            env={**self.environ, **more},
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=240,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def clone(self, name: str = "clone", *options: str) -> Path:
        """A clone with the hook installed."""
        target = self.folder / name
        self.run("git", "clone", "--quiet", *options, f"file://{self.origin}", target, where=self.folder)
        self.run("devops/scripts/install-git-hooks.sh", where=target)
        return target

    @staticmethod
    def write(clone: Path, name: str, text: str) -> None:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(text, encoding="utf-8")

    @staticmethod
    def photos(clone: Path, count: int = 3, *, seed: int = 1, prefix: str = "") -> list[str]:
        """Put new synthetic pairs of 96 pixels into the inbox; returns their stems."""
        made = clone.parent / f"made-{clone.name}-{seed}"
        write_dataset(made, count, seed=seed, size=96)
        stems = []
        for kind in ("images", "masks"):
            folder = clone / INBOX / kind
            folder.mkdir(parents=True, exist_ok=True)
            for number, path in enumerate(sorted((made / kind).iterdir())):
                stem = f"{prefix or f's{seed}'}_{number}"
                shutil.copy(path, folder / f"{stem}{path.suffix}")
                stems.append(stem)
        shutil.rmtree(made)
        return sorted(set(stems))

    def commit(self, clone: Path, message: str = "New photos") -> str:
        self.run("git", "add", "--all", where=clone)
        self.run("git", "commit", "--quiet", "-m", message, where=clone)
        return self.run("git", "rev-parse", "HEAD", where=clone).stdout.strip()

    def push(self, clone: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """`git push`; its exit code isn't looked at."""
        return self.run("git", "push", *(arguments or ("origin", "main")), where=clone, check=False, **more)

    def branches(self) -> dict[str, str]:
        """Branches of the origin: name -> commit."""
        format_ = "--format=%(refname:lstrip=2) %(objectname)"
        lines = self.run("git", "for-each-ref", format_, "refs/heads", where=self.origin).stdout.split("\n")
        return dict(line.split(" ") for line in lines if line)

    def data_branches(self) -> list[str]:
        return [name for name in self.branches() if name.startswith("data/")]

    def store(self) -> S3Remote:
        return S3Remote(self.config, self.s3.environ)

    def version(self, branch: str) -> DataSet:
        """The data set of a branch of the origin."""
        return version_at(Git(self.origin), self.branches()[branch], self.store())

    def assert_complete(self) -> None:
        """The promise: whatever a branch's manifests name is in the remote."""
        for branch in self.branches():
            version = self.version(branch)
            assert not version.pairs or self.store().missing(version.oids) == set(), branch

    def merge(self, branch: str) -> None:
        """What the pull request's merge does: squash the branch into main."""
        keeper = self.folder / "keeper"
        if not keeper.exists():
            self.run("git", "clone", "--quiet", self.origin, keeper, where=self.folder)
        self.run("git", "fetch", "--quiet", "origin", where=keeper)
        self.run("git", "checkout", "--quiet", "-B", "main", "origin/main", where=keeper)
        self.run("git", "merge", "--quiet", "--squash", f"origin/{branch}", where=keeper)
        self.run("git", "commit", "--quiet", "-m", f"Merge {branch}", where=keeper)
        self.run("git", "push", "--quiet", "origin", "main", where=keeper)

    def changed(self, branch: str) -> list[str]:
        """Files in which a branch of the origin differs from main."""
        done = self.run("git", "diff", "--name-only", f"main...{branch}", where=self.origin)
        return done.stdout.split()


def fingerprint(clone: Path) -> str:
    """Everything in a work tree and the index, but for Git's own folder."""
    digest = hashlib.sha256()
    for path in sorted(clone.rglob("*")):
        if ".git" in path.relative_to(clone).parts and path != clone / ".git" / "index":
            continue
        if path.is_file():
            digest.update(f"{path.relative_to(clone)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def leftovers(clones: Sequence[Path]) -> list[Path]:
    """Temporary clones that are still there."""
    return [path for clone in clones for path in (clone / ".git" / "wms").glob("push-*/")]
