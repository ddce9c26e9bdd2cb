"""A student's clone for tests of the cloud's scripts, beside aws_fixtures in a module's pytest_plugins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_clone import Clone, copy_code, eventually
from aws_server import AwsServer
from aws_yard import Yard


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_code(tmp_path_factory.mktemp("student") / "a clone")


@pytest.fixture
def clone(code: Path, tmp_path: Path, aws: AwsServer) -> Iterator[Clone]:
    """One that has everything and an empty account; at the end nothing of an instance is left, and no process."""
    clone = Clone(code, tmp_path, aws)
    clone.terraform()
    yield clone
    left = Yard(aws, tmp_path).left()
    assert left == {}
    eventually(lambda: not clone.processes())
