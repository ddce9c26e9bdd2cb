"""Fixtures for tests of the registry; a test module has them by `pytest_plugins = ["registry_fixtures"]`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_workshop import Promoters, Shop
from servers import MlflowServer, mlflow_server


@pytest.fixture(scope="session")
def mlflow_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """The MLflow server of this test process."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def promoters() -> Iterator[Promoters]:
    """The promoters of this test process."""
    processes = Promoters()
    try:
        yield processes
    finally:
        processes.close()


@pytest.fixture
def shop(mlflow_of_session: MlflowServer, tmp_path: Path) -> Shop:
    """A registered model of its own for one test."""
    return Shop(mlflow_of_session.uri, tmp_path / "models", f"model-{uuid.uuid4().hex[:8]}")
