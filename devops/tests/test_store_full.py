"""A store without space says so, with the place to make room: a local server answers then as one that is busy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from entrance_table import REFUSED, WORKS, Row
from s3_server import S3Server
from servers import free_port

from wms.errors import DiskFullError, WmsError
from wms_ops.base.errors import StoreUnreachableError
from wms_ops.storage import disk
from wms_ops.storage.client import remote_client
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.trouble import aws_errors, from_sdk

pytestmark = pytest.mark.slice("full stores", of=2)

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
# What SeaweedFS 4.48 answers to a PUT for which the disk has no space.
BUSY = """
import http.server, sys
class Full(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        text = b"<Error><Code>InternalError</Code><Message>We encountered an internal error, please try again."
        text += b"</Message></Error>"
        self.send_response(500)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Full)
print("up", flush=True)
server.serve_forever()
"""
# A real server on a disk of 300 MiB, filled up but for 2 MiB.
ON_A_SMALL_DISK = """
import os, sys
from pathlib import Path
sys.path[:0] = {path!r}
from s3_server import S3Server
from wms.errors import run_main
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.remote import S3Remote
import hashlib, shutil
def main(_):
    folder = Path({folder!r})
    with S3Server(folder) as server:
        server.create_bucket("meters")
        (folder / "filler").write_bytes(bytes(shutil.disk_usage(folder).free - 2 * 2**20))
        content = os.urandom(8 * 2**20)
        name = hashlib.md5(content).hexdigest()
        S3Remote(RemoteConfig("meters", endpoint_url=server.endpoint), server.environ).upload({{name: content}})
    return 0
sys.exit(run_main(main))
"""


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """A server on this machine, started in `tmp_path`, that answers every PUT as SeaweedFS does on a full disk."""
    port = free_port()
    command = [sys.executable, "-c", BUSY, str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None and server.stdout.readline()
        yield f"http://127.0.0.1:{port}"
        server.kill()


def put(endpoint: str) -> WmsError:
    remote = RemoteConfig("meters", endpoint_url=endpoint, region="us-east-1")
    client = remote_client(remote, KEYS, 1, attempts=1)
    with pytest.raises(WmsError) as caught, aws_errors(remote.use, remote):
        client.put_object(Bucket="meters", Key="photo", Body=b"x")
    return caught.value


def test_a_full_disk_on_this_machine_is_told_from_a_busy_server(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entrance: Row
) -> None:
    busy = put(endpoint)
    assert type(busy) is StoreUnreachableError and "is busy (InternalError)" in str(busy)
    monkeypatch.setattr(disk, "FREE_MIB", shutil.disk_usage(tmp_path).free)  # more MiB than there can be
    full = put(endpoint)
    assert type(full) is DiskFullError
    assert f"the disk of the S3 store at {endpoint} is full: only " in str(full)
    assert f"MiB are free on the disk of {tmp_path}; free some there" in str(full)
    entrance(
        "the rest", "a local S3 answers 500, its disk is full", "code 30: the store's disk and what is free", REFUSED
    )
    entrance("the rest", "a local S3 answers 500, its disk has space", "code 74: busy, run it again", REFUSED)


@pytest.mark.parametrize("address", ["", "http://127.0.0.1", "http://10.9.8.7:8333", "http://[", "http://localhost:1"])
def test_an_unknown_disk_is_never_called_full(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "FREE_MIB", 10**12)
    assert disk.full_disk(address) == ""


@pytest.mark.parametrize("code", ["XMinioStorageFull", "QuotaExceeded", "507"])
def test_other_stores_that_are_full(code: str, entrance: Row) -> None:
    refusal = ClientError(
        {"Error": {"Code": code, "Message": "No space."}, "ResponseMetadata": {"HTTPStatusCode": 507}},  # type: ignore[typeddict-item]
        "PutObject",
    )
    remote = RemoteConfig("meters", endpoint_url="https://minio.example.org")
    error = from_sdk(refusal, remote.use, remote)
    assert type(error) is DiskFullError and "has no space left" in str(error)
    entrance("the rest", f"another S3 store answers {code}", "code 30: the store has no space left", REFUSED)


def test_a_real_server_on_a_small_disk(tmp_path: Path, entrance: Row) -> None:
    """In a mount namespace of its own, so that no mount can be left."""
    folder = tmp_path / "disk"
    folder.mkdir()
    inside = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=300m tmpfs "$0" && exec "$@"',
    ]
    if subprocess.run([*inside, str(folder), "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces for this user")
    code = ON_A_SMALL_DISK.format(path=sys.path, folder=str(folder))
    done = subprocess.run(
        [*inside, str(folder), sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=170,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == DiskFullError.exit_code, done.stderr
    assert f"MiB are free on the disk of {folder}; free some there" in done.stderr
    assert done.stderr.count("\n") == 1 and not list(folder.iterdir())
    entrance(
        "the rest", "a push to SeaweedFS on a full disk of 300 MiB", "code 30: the store's disk, what is free", REFUSED
    )


def test_a_server_leaves_no_log_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entrance: Row
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    server = S3Server(tmp_path / "store")
    for _ in range(2):
        with server:
            assert not list(temporary.iterdir())
        assert not list(temporary.iterdir())
    assert "Start Seaweed S3 API Server" in server.log.read_text()
    entrance("the rest", "SeaweedFS started, killed, started, killed", "no file is left in the temporary folder", WORKS)
