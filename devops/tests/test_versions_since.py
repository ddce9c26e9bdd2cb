"""`wms versions`, a real MLflow: since when a version is Production is told by the ledger, not by MLflow's times."""

from __future__ import annotations

import json
from datetime import datetime, tzinfo

import pytest
from registry_clone import commit, promote, wms
from registry_workshop import Shop

from wms.registry import plan
from wms.registry.chain import SUFFIX
from wms_ops.commands.main import main

pytest_plugins = ["registry_clone"]


def test_since_is_the_ledgers_time_after_a_rollback_and_a_restore(
    clone: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    hours = iter(range(8, 24))

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls(2026, 1, 1, next(hours), tzinfo=tz)

    monkeypatch.setattr(plan, "datetime", Clock)

    def since() -> list[tuple[str, str]]:
        capsys.readouterr()
        assert main(["versions", "--models", str(clone.folder), "--model", clone.model, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["versions"]
        return [(row["stage"], row["since"]) for row in rows]

    promote(clone, 2)
    assert since() == [("Previous", "2026-01-01 08:00"), ("Production", "2026-01-01 09:00")]
    assert wms(clone, "rollback", "--yes") == 0
    rolled_back = [("Production", "2026-01-01 10:00"), ("Previous", "2026-01-01 09:00")]
    assert since() == rolled_back
    commit(clone)
    client = MlflowClient(clone.uri)
    for name in (clone.model, clone.model + SUFFIX):
        client.delete_registered_model(name)
    assert wms(clone, "restore") == 0
    assert since() == rolled_back
