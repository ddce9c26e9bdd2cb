"""The credentials of an MLflow server reach its client without this process's environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from guarded_mlflow import PASSWORD, GuardedMlflow

from wms.errors import RegistryError
from wms.registry.ledger import Ledger
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.promotion import PromotionClient
from wms_ops.machine.answers import ask
from wms_ops.machine.environment import tracking_address
from wms_ops.machine.mlflow_server import server_environ
from wms_ops.machine.password import USER
from wms_ops.targets.host.mlflow import own_headers

pytest_plugins = ["guarded_fixtures"]

LED = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}


@pytest.fixture
def uri(guarded: GuardedMlflow) -> str:
    """The address of an MLflow server that asks for a password."""
    return guarded.uri


@pytest.fixture(autouse=True)
def hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own shell: a proxy that isn't there, and the credentials of another server."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "example.org")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of another server")


def client_variables() -> dict[str, str]:
    """This process's variables that a client of MLflow or of AWS obeys."""
    kinds = ("MLFLOW_", "AWS_", "HTTP", "http", "NO_", "no_", "WMS_")
    return {name: value for name, value in os.environ.items() if name.startswith(kinds)}


def test_the_registry_works_with_credentials_that_only_its_address_holds(uri: str) -> None:
    before = client_variables()
    run = ask(f"{uri}/api/2.0/mlflow/runs/create", {"experiment_id": "0"}, own_headers(PASSWORD))[1]
    run_id = run["run"]["info"]["run_id"]
    registry = ModelRegistry(tracking_address(LED, uri))
    registry.write_artifact(run_id, "model/weights.bin", b"weights")
    assert registry.read_artifact(run_id, "model/weights.bin") == b"weights"
    version = registry.register(run_id)
    registry.set_alias("production", version.version)
    found = registry.alias("production")
    assert found is not None and found.run_id == run_id
    assert client_variables() == before
    with pytest.raises(RegistryError, match="refuses"):
        ModelRegistry(uri).versions()


def test_the_password_is_not_shown(uri: str, tmp_path: Path) -> None:
    leases = PromotionClient(tracking_address(LED, uri), Ledger(tmp_path))
    with pytest.raises(RegistryError) as caught:
        ModelRegistry(tracking_address({**LED, "MLFLOW_TRACKING_PASSWORD": "secret-but-wrong"}, uri)).versions()
    for text in (repr(leases), leases.registry.server, str(caught.value)):
        assert "p%40ss" not in text and "secret-but-wrong" not in text


def test_an_address_keeps_its_own_credentials_and_needs_none() -> None:
    assert tracking_address(LED, "https://ana:word@mlflow.example.org/x") == "https://ana:word@mlflow.example.org/x"
    assert tracking_address({}, "http://127.0.0.1:5000") == "http://127.0.0.1:5000"
    assert tracking_address({"MLFLOW_TRACKING_USERNAME": "wms"}, "http://h:1") == "http://h:1"


def test_the_servers_variables_have_mlflows_own_names() -> None:
    from mlflow.server import constants

    found = server_environ("s3://b/p")
    assert found[constants.BACKEND_STORE_URI_ENV_VAR] == found[constants.REGISTRY_STORE_URI_ENV_VAR]
    assert found[constants.ARTIFACTS_DESTINATION_ENV_VAR] == "s3://b/p"
    assert found[constants.ARTIFACT_ROOT_ENV_VAR] == "mlflow-artifacts:/"
    assert found[constants.SERVE_ARTIFACTS_ENV_VAR] == "true"
