"""The fixtures `runs` and `refused` for tests of the gate, by `pytest_plugins = ["gate_fixtures"]`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gate_runs import STRICT, GateRuns
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


@pytest.fixture
def refused(runs: GateRuns, capsys: pytest.CaptureFixture[str]) -> GateRuns:
    """The weak run is Production, and a strict gate has refused the good one, which has a twin with its weights."""
    runs.produce(None)
    runs.produce(runs.weak)
    assert runs.gate(runs.good, recipe=runs.recipe_with(**STRICT)) == 90
    capsys.readouterr()
    return runs
