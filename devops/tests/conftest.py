"""Fixtures for tests of the operations half: one S3 server for each test process, one prefix for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from entrance_table import entrance, pytest_terminal_summary
from isolation import isolate
from order import pytest_collection_modifyitems
from s3_server import S3Server
from workshop import Workshop

from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.remote import S3Remote

__all__ = ["entrance", "pytest_collection_modifyitems", "pytest_terminal_summary"]

BUCKET = "wms-tests"


def pytest_configure(config: pytest.Config) -> None:
    """Before the first test, in each process."""
    isolate(config)


@pytest.fixture(scope="session")
def s3_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The server of this test process; use `s3`, which brings it back after a test that killed it."""
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def s3(s3_of_session: S3Server) -> S3Server:
    """A running S3 server."""
    if not s3_of_session.running:
        s3_of_session.start()
    return s3_of_session


@pytest.fixture
def remote_config(s3: S3Server) -> RemoteConfig:
    """A DVC remote of its own for one test: an empty prefix in a bucket that exists."""
    return RemoteConfig(bucket=BUCKET, prefix=f"tests/{uuid.uuid4().hex}", endpoint_url=s3.endpoint)


@pytest.fixture
def remote(s3: S3Server, remote_config: RemoteConfig) -> S3Remote:
    """That remote, with the server's own keys."""
    return S3Remote(remote_config, s3.environ)


@pytest.fixture
def shop(tmp_path: Path, s3: S3Server, remote_config: RemoteConfig) -> Workshop:
    """An origin, an S3 remote and no data yet; the folder's name has a space on purpose."""
    return Workshop(tmp_path / "a shop", s3, remote_config)
