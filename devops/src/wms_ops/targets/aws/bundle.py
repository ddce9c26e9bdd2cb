"""The code for an instance: one archive named by its hash, so that equal code is uploaded once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wms.git import answer
from wms_ops.base.errors import CloudError
from wms_ops.storage.bucket import Bucket
from wms_ops.targets.host.archive import pack

PARTS: Final = ("WMS/src", "WMS/configs", "devops/src", "infrastructure/bootstrap", "infrastructure/requirements")
FILES: Final = ("Makefile", "pyproject.toml")


@dataclass(frozen=True)
class Bundle:
    """A gzipped tar; the same files give the same bytes."""

    content: bytes

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def key(self) -> str:
        """The key in MLflow's bucket."""
        return f"bundle/{self.sha256}.tar.gz"


def make_bundle(root: Path) -> Bundle:
    """The code from the working tree `root` for an instance, committed or not. Raises CloudError."""
    paths = {path for part in (*PARTS, *FILES) for path in _files(root, part)}
    for name in FILES:
        if not (root / name).is_file():
            raise CloudError(f"{root / name} is missing, and the instance can't be set up without it; restore it.")
    with tempfile.TemporaryDirectory(prefix="wms-bundle-") as temporary:
        target = Path(temporary, "bundle.tar.gz")
        pack({path.relative_to(root).as_posix(): path for path in paths}, target)
        return Bundle(target.read_bytes())


def upload(bucket: Bucket, bundle: Bundle) -> bool:
    """Upload the bundle unless the bucket has the key already; returns whether the bundle was sent."""
    if bucket.facts(bundle.key) is not None:
        return False
    bucket.put(bundle.key, bundle.content)
    return True


def _files(root: Path, part: str) -> list[Path]:
    """Files that Git has or would add; without Git, all but Python's own outputs."""
    if listed := answer(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", part):
        found = [root / os.fsdecode(name) for name in listed.split(b"\0") if name]
    else:
        whole = root / part
        found = [whole] if whole.is_file() else [*whole.rglob("*")]
    return [path for path in found if _is_plain(root, path) and not any(map(_stays, path.relative_to(root).parts))]


def _is_plain(root: Path, path: Path) -> bool:
    """Whether `path` is a file of the clone itself: the target of a link may be a user's key."""
    above = [parent for parent in path.parents if root in parent.parents]
    return path.is_file() and not any(part.is_symlink() for part in (path, *above))


def _stays(name: str) -> bool:
    """Whether a name belongs to this machine only: a tool's output, or a hidden file such as .env."""
    return name == "__pycache__" or name.endswith(".egg-info") or name.startswith(".")
