"""A registered version as MLflow loads it: signature, example, and masks that are those of predicts.py."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml
from registry_workshop import Shop
from serving_workshop import export, photo

from wms.errors import RegistryError
from wms.inference import cli
from wms.registry import promotion
from wms.registry.lineage import FILES
from wms.registry.mlflow_model import MLMODEL
from wms.registry.mlflow_store import ModelRegistry

pytest_plugins = ["registry_fixtures"]


def run_with_model(shop: Shop, folder: Path) -> str:
    """A run of the shop that keeps a real model's files."""
    run_id = shop.run(gate=False, without=tuple(f"model/{name}" for name in FILES))
    for name in FILES:
        shop.registry.write_artifact(run_id, f"model/{name}", (folder / name).read_bytes())
    return run_id


def load(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shop.uri)
    mlflow.set_tracking_uri(shop.uri)
    return mlflow.pyfunc.load_model(f"models:/{shop.model}@production")


def register_as_older_code(shop: Shop, run_id: str, source: str = "") -> None:
    """Register a version without the files for `mlflow.pyfunc`."""
    client = mlflow.MlflowClient(tracking_uri=shop.uri, registry_uri=shop.uri)
    if not shop.registry.versions():
        client.create_registered_model(shop.model)
    client.create_model_version(shop.model, source or f"{shop.registry.run(run_id).artifact_uri}/model", run_id)


def execute(shop: Shop, proposal: object) -> str:
    assert isinstance(proposal, promotion.Proposal)
    return promotion.execute(shop.promotions, proposal, who="Ann").text


def test_mlflow_predicts_what_predicts_does(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = export(tmp_path / "model", mirror=True)
    shop.registry.set_alias("production", shop.registry.register(run_with_model(shop, model)).version)
    photos = {"upright.jpg": photo(), "turned.jpg": photo(orientation=6), "other.png": photo("PNG", (100, 70))}
    for name, content in photos.items():
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(content)
    places = ["--input", tmp_path / "photos", "--output", tmp_path / "masks", "--model", model]
    assert cli.COMMAND([str(word) for word in places]) == 0
    loaded = load(shop, monkeypatch)
    found = loaded.predict(pd.DataFrame({"photo": list(photos.values())}, index=list(photos)))
    masks = {name: (tmp_path / "masks" / name).with_suffix(".png").read_bytes() for name in photos}
    assert found["mask"].to_dict() == masks
    assert len(set(masks.values())) == 3
    assert [column.name for column in loaded.metadata.signature.inputs] == ["photo"]
    assert [column.name for column in loaded.metadata.signature.outputs] == ["mask"]
    (example,) = loaded.predict(loaded.input_example)["mask"]
    assert example.startswith(b"\x89PNG")


def test_the_version_holds_no_code_and_an_older_one_gets_its_files(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version of older code, registered without MLmodel, is read and promoted as before."""
    run_id = run_with_model(shop, export(tmp_path / "model"))
    register_as_older_code(shop, run_id)
    (old,) = shop.registry.versions()
    assert shop.registry.absent_artifacts(run_id, [f"model/{MLMODEL}"])
    assert shop.registry.register(run_id) == old
    written = shop.registry.read_artifact(run_id, f"model/{MLMODEL}")
    said = yaml.safe_load(written)
    (flavor,) = said["flavors"].values()
    assert flavor == {"loader_module": "wms.inference.pyfunc", "python_version": platform.python_version()}
    assert shop.registry.register(run_id) == old
    assert shop.registry.read_artifact(run_id, f"model/{MLMODEL}") == written
    shop.registry.set_alias("production", old.version)
    assert load(shop, monkeypatch).metadata.run_id == run_id


@pytest.mark.parametrize("source", ["the run's folder", "runs:/"])
def test_mlflow_loads_a_version_of_older_code_after_a_rollback(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    old, new = (run_with_model(shop, export(tmp_path / name, mirror=name == "new")) for name in ("old", "new"))
    register_as_older_code(shop, old, f"runs:/{old}/model" if source == "runs:/" else "")
    with monkeypatch.context() as older_code:
        older_code.setattr(ModelRegistry, "describe", lambda *_: None)
        execute(shop, promotion.propose(shop.promotions, old, force="a test"))
    execute(shop, promotion.propose(shop.promotions, new, force="a test"))
    assert shop.registry.absent_artifacts(old, [f"model/{MLMODEL}"])
    before = {name: shop.registry.read_artifact(old, f"model/{name}") for name in FILES}
    said = execute(shop, promotion.propose_rollback(shop.promotions))
    assert said == f"Version 1 (run {old}) is Production, instead of version 2."
    assert {name: shop.registry.read_artifact(old, f"model/{name}") for name in FILES} == before
    loaded = load(shop, monkeypatch)
    assert loaded.metadata.run_id == old
    (mask,) = loaded.predict(pd.DataFrame({"photo": [photo()]}))["mask"]
    assert mask.startswith(b"\x89PNG")


def test_a_rollback_says_where_mlflow_cannot_load_the_version(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version whose folder isn't its run's, and a store that takes no file: the rollback is done all the same."""
    runs = [run_with_model(shop, export(tmp_path / str(number))) for number in range(3)]
    elsewhere = f"{shop.registry.run(runs[0]).artifact_uri}/elsewhere"
    register_as_older_code(shop, runs[0], elsewhere)
    register_as_older_code(shop, runs[1])
    said = execute(shop, promotion.propose(shop.promotions, runs[0], force="a test"))
    assert said.endswith(f"no MLmodel could be added: MLflow loads it from {elsewhere}, not from its run.")
    for run_id in runs[1:]:
        execute(shop, promotion.propose(shop.promotions, run_id, force="a test"))

    def refuse(*_: object) -> None:
        raise RegistryError("The server refuses.")

    monkeypatch.setattr(ModelRegistry, "describe", refuse)
    said = execute(shop, promotion.propose_rollback(shop.promotions))
    assert said.startswith(f"Version 2 (run {runs[1]}) is Production") and said.endswith("The server refuses.")
    assert "for no MLmodel could be added" in said
