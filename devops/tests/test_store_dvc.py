"""A plain `dvc pull` brings back every byte that was uploaded without DVC."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from s3_server import S3Server
from servers import free_port

from wms_ops.storage.config import RemoteConfig, read_remote
from wms_ops.storage.remote import S3Remote

PLAIN = b"\x89PNG" + bytes(range(256)) * 50
FILES = {
    "plain.png": PLAIN,
    "empty.png": b"",
    "same as plain.png": PLAIN,
    "żółw/licznik 1.jpg": b"line\r\nline\n",
}


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def write_clone(folder: Path, remote: RemoteConfig, endpoint: str | None) -> None:
    """A DVC repository without Git, whose remote is `remote` at `endpoint`."""
    (folder / ".dvc").mkdir(parents=True)
    at = f"    endpointurl = {endpoint}\n" if endpoint else ""
    (folder / ".dvc" / "config").write_text(
        "[core]\n    remote = storage\n    no_scm = true\n    analytics = false\n    check_update = false\n"
        f"    site_cache_dir = {folder}/.site\n"
        f"['remote \"storage\"']\n    url = {remote.url}\n{at}"
    )


def upload_directory(folder: Path, remote: S3Remote) -> None:
    """Write blobs, manifest and .dvc file of the directory `images`, all without DVC."""
    oids = {name: md5(content) for name, content in FILES.items()}
    rows = [{"md5": oids[name], "relpath": name} for name in sorted(FILES)]
    manifest = json.dumps(rows).encode()
    oid = md5(manifest) + ".dir"
    remote.upload({**{oids[name]: content for name, content in FILES.items()}, oid: manifest})
    (folder / "images.dvc").write_text(
        f"outs:\n- md5: {oid}\n  size: {sum(map(len, FILES.values()))}\n  nfiles: {len(FILES)}\n"
        "  hash: md5\n  path: images\n"
    )


def pull(folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DVC_", "WMS_"))}
    return subprocess.run(
        [sys.executable, "-m", "dvc", "pull"],
        cwd=folder,
        env=env | environ | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("where", ["config", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "config goes first"])
def test_dvc_pull(s3: S3Server, remote_config: RemoteConfig, tmp_path: Path, where: str) -> None:
    """Wherever the endpoint is named, DVC and this code agree on it."""
    keys = {name: value for name, value in s3.environ.items() if "ENDPOINT" not in name}
    in_config = where.startswith("config")
    environ = keys if in_config else keys | {where: s3.endpoint}
    if where == "config goes first":
        nobody = f"http://127.0.0.1:{free_port()}"
        environ = keys | {"AWS_ENDPOINT_URL_S3": nobody, "AWS_ENDPOINT_URL": nobody}
    write_clone(tmp_path, remote_config, s3.endpoint if in_config else None)
    upload_directory(tmp_path, S3Remote(read_remote(tmp_path, environ=environ), environ))
    result = pull(tmp_path, environ)
    assert result.returncode == 0, result.stderr
    found = {
        path.relative_to(tmp_path / "images").as_posix(): path.read_bytes()
        for path in (tmp_path / "images").rglob("*")
        if path.is_file()
    }
    assert found == FILES
