"""Releases on the local cloud: a new one takes over once it's healthy, and the one before can come back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from cloud_shop import Models, arguments, ask, eventually, kill_at, roles

from wms_ops.base.errors import CloudError
from wms_ops.machine.processes import is_taken
from wms_ops.machine.types import CloudState
from wms_ops.machine.workspace import MLFLOW, S3, SERVICE
from wms_ops.targets.local import LocalCloud

pytest_plugins = ["cloud_fixtures"]


def served(cloud: LocalCloud) -> int | None:
    """The version that the service at the cloud's address names."""
    found = cloud.endpoints()
    assert found is not None
    return ask(f"{found.service}/version")["version"] if found.service else None


def service(cloud: LocalCloud) -> list[int]:
    return [one.process.pid for one in cloud.workspace.find() if one.role == SERVICE]


@pytest.fixture
def fresh(cloud: LocalCloud) -> LocalCloud:
    """As after `up`, without the seconds that takes."""
    record = cloud.workspace.read()
    cloud.workspace.end(one for one in cloud.workspace.find() if one.role == SERVICE)
    cloud.workspace.write(record.model_copy(update={"current": None, "before": None, "coming": None}))
    shutil.rmtree(cloud.workspace.releases, ignore_errors=True)
    return cloud


def folders(cloud: LocalCloud) -> list[str]:
    return sorted(path.name.rpartition("-")[2] for path in cloud.workspace.releases.iterdir())


def test_deployed_twice_rolled_back_and_again(fresh: LocalCloud, models: Models) -> None:
    cloud = fresh
    assert cloud.roll_back() is None
    cloud.deploy(models.one)
    assert cloud.roll_back() is None and service(cloud) == []  # nothing was served before the first one
    assert cloud.roll_back() is None
    first = cloud.deploy(models.one)
    assert served(cloud) == 1
    listens = {here.laddr.ip for one in cloud.processes() for here in one.net_connections() if here.status == "LISTEN"}
    assert listens == {"127.0.0.1"}
    process = service(cloud)
    assert cloud.deploy(models.one) == first and service(cloud) == process
    second = cloud.deploy(models.two)
    assert second != first and served(cloud) == 2 and len(service(cloud)) == 1
    assert is_taken(int(first.rpartition(":")[2])) is False
    assert cloud.roll_back() == 1 and served(cloud) == 1
    process = service(cloud)
    assert cloud.roll_back() == 1 and service(cloud) == process  # repeated, it doesn't return to what it left
    assert folders(cloud) == ["v1"]
    cloud.deploy(models.two)
    cloud.deploy(models.two)
    assert cloud.roll_back() == 1 and served(cloud) == 1

    psutil.Process(service(cloud)[0]).kill()
    eventually(lambda: not service(cloud))
    assert served(cloud) is None and cloud.status() is CloudState.RUNNING
    cloud.deploy(models.one)
    assert served(cloud) == 1


def test_a_release_that_fails_leaves_the_old_one_served(cloud: LocalCloud, models: Models, tmp_path: Path) -> None:
    cloud.deploy(models.one)
    process = service(cloud)
    model = tmp_path / "model"
    shutil.copytree(models.two.model, model)
    network = model / "production.onnx"
    network.write_bytes(network.read_bytes()[:-100])
    empty = tmp_path / "ledger"
    empty.mkdir()
    bad = {
        r"Version 2 can't be served; version 1 is served on\. .*production\.onnx": replace(models.two, model=model),
        r"Version 2 can't .* ledger": replace(models.two, ledger=empty),
        "Version 7 can't .* says that it's version 2": replace(models.two, version=7),
        r"production\.pth has the SHA-256": replace(models.two, weights_sha256="0" * 64),
        r"holds no production\.pth": replace(models.two, model=tmp_path / "nothing"),
    }
    for message, release in bad.items():
        with pytest.raises(CloudError, match=message):
            cloud.deploy(release)
        assert served(cloud) == 1 and service(cloud) == process
    assert folders(cloud) == ["v1"]
    cloud.deploy(models.two)
    assert served(cloud) == 2


def test_killed_at_each_step_of_a_deployment(fresh: LocalCloud, models: Models) -> None:
    cloud = fresh
    cloud.deploy(models.one)
    steps = ("staged", "placed", "coming written", "service spawned", "service written", "service healthy", "switched")
    for step in steps:
        kill_at(cloud, step, "deploy", *arguments(models.two))
        assert served(cloud) == (2 if step == "switched" else 1), step
    cloud.deploy(models.two)
    assert served(cloud) == 2 and len(service(cloud)) == 1 and folders(cloud) == ["v1", "v2"]
    for step in ("service written", "switched", ""):
        if step:
            kill_at(cloud, step, "roll_back")
        assert served(cloud) == (2 if step == "service written" else 1), step
    assert cloud.roll_back() == 1
    assert served(cloud) == 1 and roles(cloud) == [MLFLOW, S3, SERVICE]
