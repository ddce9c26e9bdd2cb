"""`wms data fetch --folder` into a person's own folder deletes and replaces nothing that it didn't fetch."""

from __future__ import annotations

from pathlib import Path

import pytest

from wms.data.manifest import DataSet, Manifest
from wms.errors import UsageError
from wms_ops.dataset.fetch import NOTE, refuse_foreign
from wms_ops.dataset.stored import md5_of

VERSION = DataSet(Manifest({"a.jpg": md5_of(b"photo")}), Manifest({"a.png": md5_of(b"mask")}))


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["images/mine.jpg", "images/a.jpg", "masks/below/mine.png"])
def test_a_file_that_was_never_fetched_is_refused(tmp_path: Path, name: str) -> None:
    refuse_foreign(tmp_path / "new", VERSION)
    path = written(tmp_path, name, b"drawn by hand")
    with pytest.raises(UsageError, match="was never fetched, and fetching would delete or replace it"):
        refuse_foreign(tmp_path, VERSION)
    assert path.read_bytes() == b"drawn by hand"
    written(tmp_path, NOTE, f'{{"{name}": ["", 0, 0]}}'.encode())
    refuse_foreign(tmp_path, VERSION)


def test_what_the_version_holds_and_what_lies_beside_stays(tmp_path: Path) -> None:
    for name, content in (("images/a.jpg", b"photo"), ("masks/a.png", b"mask"), ("notes.txt", b"mine")):
        written(tmp_path, name, content)
    refuse_foreign(tmp_path, VERSION)
