"""MLflow's answers as values, also where a client wrote what no calendar has."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from wms.registry.mlflow_values import run_of


@pytest.mark.attack(
    "someone with MLflow's password", "a run that ends in a year of no calendar", "the run is shown without its end"
)
@pytest.mark.parametrize(
    ("ended", "told"), [(1_795_910_037_917, "2026-11-28T23:53:57+00:00"), (10**18, ""), (-(10**18), "")]
)
def test_a_runs_end(ended: int, told: str) -> None:
    info = SimpleNamespace(run_id="1", run_name="a", status="FINISHED", end_time=ended, artifact_uri="")
    data = SimpleNamespace(tags={}, params={}, metrics={})
    assert run_of(SimpleNamespace(info=info, data=data)).ended_at == told
