"""Lines that are slow, or break off, between this machine and the store."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import botocore.args
import pytest
from s3_server import S3Server

from wms_ops.base.errors import StoreUnreachableError
from wms_ops.storage import bucket, client
from wms_ops.storage.remote import S3Remote

PHOTO = bytes(range(256)) * 40_000  # 10 MB: more than the kernel's buffers on loopback swallow
OID = hashlib.md5(PHOTO, usedforsecurity=False).hexdigest()


class Link:
    """A relay to a server on loopback: slow on the way there, and broken off on the way back, if asked for.

    `bytes_per_s` limits what clients send; the first `breaks` connections end after `break_after` bytes of
    their answers.
    """

    def __init__(self, target_port: int) -> None:
        self.bytes_per_s: float | None = None
        self.breaks, self.break_after = 0, 0
        self.broken = 0
        self.closed = threading.Event()
        self.target_port = target_port
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target_port))
            threading.Thread(target=self._there, args=(near, far), daemon=True).start()
            threading.Thread(target=self._back, args=(far, near), daemon=True).start()

    def _there(self, near: socket.socket, far: socket.socket) -> None:
        try:
            while block := near.recv(16_384):
                if self.bytes_per_s:
                    self.closed.wait(len(block) / self.bytes_per_s)  # the line's speed, not a wait for something
                far.sendall(block)
            far.shutdown(socket.SHUT_WR)
        except OSError:
            near.close()

    def _back(self, far: socket.socket, near: socket.socket) -> None:
        passed = 0
        try:
            while block := far.recv(16_384):
                near.sendall(block)
                passed += len(block)
                if self.broken < self.breaks and passed > self.break_after:
                    self.broken += 1
                    near.shutdown(socket.SHUT_RDWR)
                    break
        except OSError:
            pass
        near.close()
        far.close()


@pytest.fixture
def link(s3: S3Server) -> Iterator[Link]:
    """A relay to the server, not slow and whole as long as nothing is set."""
    with relayed(s3) as made:
        yield made


@contextmanager
def relayed(s3: S3Server) -> Iterator[Link]:
    made = Link(s3.ports["s3.port"])
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.closed.set()
        made.listener.shutdown(socket.SHUT_RDWR)
        made.listener.close()
        thread.join(10)


@pytest.fixture
def through(s3: S3Server, remote: S3Remote, link: Link) -> S3Remote:
    """The same remote, reached through the link."""
    return S3Remote(replace(remote.config, endpoint_url=link.url), s3.environ)


def test_a_slow_link_outlasts_the_time_out(
    remote: S3Remote, through: S3Remote, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time-out holds for a small block, so that only a link that stands still fails."""
    monkeypatch.setattr(client, "CONNECT_TIMEOUT_S", 1)
    # Else the kernel swallows the whole body at once, as it wouldn't on a line with a delay.
    small_buffer = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)]
    monkeypatch.setattr(botocore.args.ClientArgsCreator, "_compute_socket_options", lambda *_, **__: small_buffer)
    link.bytes_per_s = 80_000
    body = PHOTO[:400_000]
    oid = hashlib.md5(body, usedforsecurity=False).hexdigest()
    assert through.upload({oid: body}).bytes_sent == len(body)
    assert remote.missing([oid]) == set()


def test_a_link_that_stands_still_is_told(through: S3Remote, link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "READ_TIMEOUT_S", 1)
    monkeypatch.setattr(client, "ATTEMPTS", 1)
    link.bytes_per_s = 20  # bytes: the first request's header alone takes longer than the time-out
    with pytest.raises(StoreUnreachableError, match="doesn't answer"):
        through.check_access()


def test_a_download_that_breaks_off_is_begun_again(
    remote: S3Remote, through: S3Remote, link: Link, tmp_path: Path
) -> None:
    remote.upload({OID: PHOTO})
    link.breaks, link.break_after = bucket.BODY_ATTEMPTS - 1, 1_000_000
    through.read_blob(OID, tmp_path / "photo")
    assert link.broken == bucket.BODY_ATTEMPTS - 1
    assert (tmp_path / "photo").read_bytes() == PHOTO


def test_a_download_that_always_breaks_off_leaves_no_file(
    remote: S3Remote, through: S3Remote, link: Link, tmp_path: Path
) -> None:
    remote.upload({OID: PHOTO})
    link.breaks, link.break_after = 1000, 1_000_000
    with pytest.raises(StoreUnreachableError, match="run it again"):
        through.read_blob(OID, tmp_path / "photo")
    assert list(tmp_path.iterdir()) == []
