"""The fixture `runs` for tests of the gate; a test module has it by `pytest_plugins = ["gate_fixtures"]`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gate_runs import GateRuns
from servers import mlflow_server


@pytest.fixture(scope="session")
def runs_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GateRuns]:
    """The server and the two runs of this test process."""
    folder = tmp_path_factory.mktemp("gate")
    with mlflow_server(folder / "server") as server:
        found = GateRuns(folder, server)
        found.train()
        yield found


@pytest.fixture
def runs(runs_of_session: GateRuns, monkeypatch: pytest.MonkeyPatch) -> GateRuns:
    """The two runs, on the server that MLFLOW_TRACKING_URI names."""
    monkeypatch.setenv("WMS_MLFLOW_TIMEOUT", "30")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", runs_of_session.server.uri)
    return runs_of_session
