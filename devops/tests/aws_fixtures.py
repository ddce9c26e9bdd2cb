"""AWS for tests; a test module has it by `pytest_plugins = ["aws_fixtures"]`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws_server import AwsServer


@pytest.fixture(scope="session")
def aws_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsServer]:
    """The server of this test process; use `aws`, which is empty."""
    with AwsServer(tmp_path_factory.mktemp("aws")) as server:
        yield server


@pytest.fixture
def aws(aws_of_session: AwsServer, monkeypatch: pytest.MonkeyPatch) -> AwsServer:
    """An AWS without anything in it; this process's own variables lead there, too."""
    return _emptied(aws_of_session, monkeypatch)


@pytest.fixture(scope="module")
def aws_of_module(aws_of_session: AwsServer) -> Iterator[AwsServer]:
    """An AWS that a module's tests share: Terraform makes what lasts there once."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield _emptied(aws_of_session, monkeypatch)


def _emptied(server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> AwsServer:
    server.reset()
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return server
