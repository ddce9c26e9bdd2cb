"""No reader of a stored file waits for a pipe, a socket or a device that lies in the file's place."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wms import files
from wms.config import load_config
from wms.data.hashes import hash_files
from wms.data.images import read_image
from wms.data.splits import SplitRecord
from wms.data.versions import DataVersionManager
from wms.errors import (
    ConfigError,
    DataNotFoundError,
    LedgerError,
    ModelDamagedError,
    SplitError,
    TrackingError,
    UnwritableError,
)
from wms.inference.predictor import read_card
from wms.registry.ledger import HISTORY, Ledger
from wms.regular import is_present, open_regular, read_regular
from wms.training.mlflow_sender import STATE_FILE, SyncState
from wms.training.tracker import ExperimentTracker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes among its files")

READERS: dict[str, tuple[str, Callable[[Path], object], type[Exception]]] = {
    "recipe": ("recipe.yaml", load_config, ConfigError),
    "JSON object": ("metadata.json", files.read_object, TrackingError),
    "verified file": ("a", lambda path: files.read_verified(path, "0" * 64), TrackingError),
    "ledger": (HISTORY, lambda path: Ledger(path.parent).entries(), LedgerError),
    "card": ("model.json", read_card, ModelDamagedError),
    "split record": ("splits.jsonl", SplitRecord, SplitError),
    "photo": ("a.jpg", read_image, DataNotFoundError),
    "hashed photo": ("b.jpg", lambda path: hash_files([path], path.with_name("memory")), DataNotFoundError),
    "data versions": ("data_versions.jsonl", lambda path: DataVersionManager(path.parent).history(), TrackingError),
    "state of MLflow": (STATE_FILE, lambda path: SyncState.load(path.parent), TrackingError),
    "metrics to write": ("metrics.jsonl", lambda path: ExperimentTracker(path.parent), UnwritableError),
    "torn tail": ("d", files.cut_torn_tail, UnwritableError),
}


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_waits_for_a_pipe(tmp_path: Path, reader: str) -> None:
    name, act, error = READERS[reader]
    os.mkfifo(tmp_path / name)
    with pytest.raises(error, match="it is a named pipe, not a file"):
        act(tmp_path / name)


def test_damage_of_no_consequence_stays_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert files.object_in(tmp_path / "pipe") == {}


def test_sockets_and_devices_are_named_and_folders_left_to_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's whole path may be too long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(OSError, match="it is a socket, not a file"):
            read_regular(tmp_path / "s")
    with pytest.raises(OSError, match="it is a device, not a file"):
        read_regular(Path(os.devnull))
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)


def test_files_and_links_to_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "nowhere").symlink_to("absent")
    assert read_regular(tmp_path / "link") == b"content"
    assert is_present(tmp_path / "link") and not is_present(tmp_path / "nowhere")
    with open_regular(tmp_path / "link", "r+b") as stream:
        stream.truncate(3)
    assert read_regular(tmp_path / "file") == b"con"
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "nowhere")
