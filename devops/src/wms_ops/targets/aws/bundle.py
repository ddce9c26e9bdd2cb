"""The code that an instance runs: one archive whose name is its hash, so the same code is uploaded once."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wms.git import answer
from wms_ops.base.errors import CloudError
from wms_ops.storage.bucket import Bucket

PARTS: Final = ("WMS/src", "WMS/configs", "devops/src", "infrastructure/bootstrap")
FILES: Final = ("Makefile", "pyproject.toml", "requirements.in", "requirements.txt")


@dataclass(frozen=True)
class Bundle:
    """A gzipped tar; the same files give the same bytes."""

    content: bytes

    @property
    def sha256(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def key(self) -> str:
        """Where it lies in MLflow's bucket."""
        return f"bundle/{self.sha256}.tar.gz"


def make_bundle(root: Path) -> Bundle:
    """What an instance needs of the working tree `root`: as it is now, committed or not. Raises CloudError."""
    paths = sorted({path for part in (*PARTS, *FILES) for path in _files(root, part)})
    for name in FILES:
        if not (root / name).is_file():
            raise CloudError(f"{root / name} is missing, and the instance can't be set up without it; restore it.")
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in paths:
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            content = path.read_bytes()
            entry.size, entry.mode = len(content), 0o755 if path.stat().st_mode & 0o100 else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return Bundle(gzip.compress(plain.getvalue(), mtime=0))


def upload(bucket: Bucket, bundle: Bundle) -> bool:
    """Put the bundle there unless it is; returns whether it was sent."""
    if bucket.facts(bundle.key) is not None:
        return False
    bucket.put(bundle.key, bundle.content)
    return True


def _files(root: Path, part: str) -> list[Path]:
    """What Git has or would add; without Git, all but what Python makes."""
    if listed := answer(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", part):
        found = [root / os.fsdecode(name) for name in listed.split(b"\0") if name]
    else:
        whole = root / part
        found = [whole] if whole.is_file() else [*whole.rglob("*")]
    return [path for path in found if _is_plain(root, path) and not any(map(_stays, path.relative_to(root).parts))]


def _is_plain(root: Path, path: Path) -> bool:
    """Whether it's a file of the clone itself: what a link leads to may be a key of its user's."""
    above = [parent for parent in path.parents if root in parent.parents]
    return path.is_file() and not any(one.is_symlink() for one in (path, *above))


def _stays(name: str) -> bool:
    """Whether it belongs to this machine only: tools make it, or it's hidden, as an .env is."""
    return name == "__pycache__" or name.endswith(".egg-info") or name.startswith(".")
