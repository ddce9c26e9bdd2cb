"""Checkpoints that survive a kill at any moment.

A checkpoint is a self-contained file; checkpoints/index.json lists the files with their sha256, newest last. The file
is written first, then the index is replaced atomically, then unlisted files are removed.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch

from wms.errors import CheckpointError, NothingToResumeError, ResumeMismatchError
from wms.files import parse_json, sha256_bytes, write_atomic
from wms.json_text import to_json
from wms.links import refuse_links, remove_files
from wms.regular import read_regular

_log = logging.getLogger("wms")

INDEX = "index.json"
RECENT = 2
"""The number of newest checkpoints to keep, so that a damaged checkpoint has a predecessor."""


class CheckpointManager:
    """The checkpoints of a run, in `folder`; `identity` (config hash, data version) must match to resume.

    >>> store = CheckpointManager(run / "checkpoints", identity, keep_every=0)  # doctest: +SKIP
    >>> store.save(state, epoch=3, step=120, epoch_end=True)  # doctest: +SKIP
    >>> store.load()["epoch"]  # doctest: +SKIP
    3
    """

    def __init__(self, folder: Path, identity: Mapping[str, str], *, keep_every: int) -> None:
        self.folder = folder
        self.identity = dict(identity)
        self.keep_every = keep_every

    def save(self, state: Mapping[str, Any], *, epoch: int, step: int, epoch_end: bool) -> Path:
        """Write a checkpoint durably and return its path. Raises DiskFullError or UnwritableError."""
        refuse_links(self.folder, self.folder.parent)  # another run's checkpoints would be replaced and deleted
        content = _to_bytes({**state, "identity": self.identity})
        path = self.folder / f"step_{step:08d}.pt"
        write_atomic(path, content)
        kept = bool(epoch_end and self.keep_every and epoch % self.keep_every == 0)
        entry = {"file": path.name, "sha256": sha256_bytes(content), "epoch": epoch, "step": step, "kept": kept}
        entries = [e for e in self._entries() if e["file"] != path.name] + [entry]
        recent = entries[-RECENT:]
        self._write([e for e in entries if e["kept"] or e in recent])
        return path

    def save_best(self, weights: Mapping[str, Any]) -> Path:
        """Replace best.pt, a plain state_dict of the best weights so far."""
        path = self.folder / "best.pt"
        write_atomic(path, _to_bytes(weights))
        return path

    def load(self) -> dict[str, Any]:
        """The newest sound checkpoint; a warning names each damaged checkpoint, and the previous checkpoint is used.

        Raises NothingToResumeError without a checkpoint, CheckpointError if all are damaged, ResumeMismatchError if the
        checkpoint belongs to another config or other data.
        """
        entries = self._entries()
        if not entries:
            raise NothingToResumeError(f"{self.folder} holds no checkpoint yet; start the run without --resume.")
        for entry in reversed(entries):
            state = self._read(entry)
            if state is not None:
                self._check_identity(state)
                return state
        raise CheckpointError(f"All {len(entries)} checkpoints in {self.folder} are damaged; start a new run.")

    def _read(self, entry: Mapping[str, Any]) -> dict[str, Any] | None:
        path = self.folder / entry["file"]
        try:
            content = read_regular(path)
            if sha256_bytes(content) != entry["sha256"]:
                raise ValueError("its sha256 isn't the recorded one")
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file may raise any error in torch's reader
            _log.warning("Checkpoint %s is damaged (%s); using the one before it.", path, error)
            return None
        return state

    def _check_identity(self, state: Mapping[str, Any]) -> None:
        for name, value in self.identity.items():
            found = state["identity"].get(name)
            if found != value:
                raise ResumeMismatchError(
                    f"The run in {self.folder.parent} was made with {name} {str(found)[:12]}, not {value[:12]}; "
                    "resume it with what it began with, or start a new run without --resume."
                )

    def _entries(self) -> list[dict[str, Any]]:
        try:
            entries: list[dict[str, Any]] = parse_json(read_regular(self.folder / INDEX))
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise CheckpointError(f"{self.folder / INDEX} is damaged; start a new run.") from error
        return entries

    def _write(self, entries: list[dict[str, Any]]) -> None:
        write_atomic(self.folder / INDEX, to_json(entries, indent=1))
        listed = {entry["file"] for entry in entries}
        remove_files(self.folder, self.folder.parent, lambda name: fnmatch(name, "step_*.pt") and name not in listed)


def _to_bytes(state: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    torch.save(dict(state), stream)
    return stream.getvalue()
