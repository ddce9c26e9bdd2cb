"""The files that a lost MLflow kept: names that no run can have, and links, are never brought back."""

from __future__ import annotations

from pathlib import Path

import pytest

from wms.errors import UsageError
from wms_ops.restore.pasts import ArtifactStore
from wms_ops.restore.stores import former_artifacts, open_artifacts
from wms_ops.storage.config import RemoteConfig

RUN = "1/" + "a" * 32


@pytest.mark.attack(
    "someone who may write MLflow's bucket",
    "an object whose name no run's file can have, so that no restore ends",
    "left out and named",
)
def test_a_name_that_no_run_can_have_is_left_out() -> None:
    odd = ("..", "a/..", "../../x", "%2e%2e/x", "%252e%252e/x", "a" * 300, "a\\..\\x", "x\ny", "a//b", "\x01")
    right = ("metadata.json", "model/production.pth", "gate/Größe 90%.png")
    keys = [f"{RUN}/artifacts/{name}" for name in (*odd, *right, "model/")]
    store = ArtifactStore("s3://b", keys, lambda key: key.encode())
    assert store.odd == keys[: len(odd)]
    assert set(store.files("a" * 32)) == set(right)


@pytest.mark.attack(
    "someone who may write MLflow's folder", "a link to a file of the user", "links are left where they are"
)
def test_a_link_in_a_folder_of_files_is_not_read(tmp_path: Path) -> None:
    secret, files = tmp_path / "secret", tmp_path / "mlflow" / RUN / "artifacts"
    secret.write_text("a key")
    files.mkdir(parents=True)
    (files / "metadata.json").write_text("{}")
    (files / "note.txt").symlink_to(secret)
    (files / "folder").symlink_to(tmp_path)
    store = open_artifacts(str(tmp_path / "mlflow"), None)
    assert store.files("a" * 32) == {"metadata.json": b"{}"}


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/x", "no-such-folder"])
def test_a_place_that_is_neither_a_bucket_nor_a_folder_is_a_mistake(place: str, tmp_path: Path) -> None:
    for opened in (former_artifacts, open_artifacts):
        with pytest.raises(UsageError, match="isn't a folder, so MLflow's files aren't there"):
            opened(str(tmp_path / place), RemoteConfig("water-meters"))
    assert former_artifacts(str(tmp_path), RemoteConfig("water-meters")) is None
