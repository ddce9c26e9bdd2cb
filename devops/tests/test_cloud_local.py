"""The life of a local cloud: one cloud whoever starts it, the same data after a stop, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud_shop import ask, begin, close_and_check, eventually, fetch, kill_at, listening, new_cloud, roles

from wms_ops.base.errors import CloudError
from wms_ops.machine.processes import is_taken
from wms_ops.machine.types import CloudState
from wms_ops.machine.workspace import MLFLOW, S3
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.remote import S3Remote
from wms_ops.targets.local import BUCKET, LocalCloud

EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    """A cloud of the test's own, not started."""
    cloud = new_cloud(tmp_path)
    try:
        yield cloud
    finally:
        cloud.close()
        assert roles(cloud) == []


def remote(cloud: LocalCloud) -> S3Remote:
    environ = cloud.environ()
    return S3Remote(RemoteConfig(BUCKET, "dvc", endpoint_url=environ["AWS_ENDPOINT_URL_S3"]), environ)


def experiments(url: str) -> list[str]:
    found = ask(f"{url}/api/2.0/mlflow/experiments/search", {"max_results": 10})["experiments"]
    return sorted(one["name"] for one in found)


def test_two_ups_at_once_are_one_cloud_whose_data_outlives_it(cloud: LocalCloud) -> None:
    assert cloud.status() is CloudState.ABSENT and cloud.endpoints() is None
    cut_off = cloud.folder / MLFLOW / "mlflow.db.new"  # as a killed creation of the database leaves it
    cut_off.parent.mkdir(parents=True)
    cut_off.write_bytes(b"half of a database")
    both = [begin(cloud, "up") for _ in range(2)]
    said = [one.communicate(timeout=150)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert sum("Starting MLflow" in text for text in said) == 1
    assert roles(cloud) == [MLFLOW, S3] and cloud.status() is CloudState.RUNNING
    before, processes = cloud.endpoints(), {one.pid for one in cloud.processes()}
    assert before is not None and before.service is None
    assert not cut_off.exists()
    assert cloud.up() == before and {one.pid for one in cloud.processes()} == processes
    assert cloud.environ()["MLFLOW_TRACKING_URI"] == before.mlflow

    ask(f"{before.mlflow}/api/2.0/mlflow/experiments/create", {"name": "kept"})
    artifact = f"{before.mlflow}/api/2.0/mlflow-artifacts/artifacts/kept.txt"
    fetch(artifact, method="PUT", data=b"content")
    remote(cloud).upload({EMPTY_MD5: b""})
    cloud.down()
    assert roles(cloud) == [S3] and cloud.status() is CloudState.ABSENT and cloud.endpoints() is None
    assert "MLFLOW_TRACKING_URI" not in cloud.environ()
    assert remote(cloud).missing([EMPTY_MD5]) == set()  # the store isn't part of the instance
    key = cloud.environ()["AWS_ACCESS_KEY_ID"]
    close_and_check(cloud)

    with listening(cloud.workspace.read().mlflow_port):  # somebody took it meanwhile
        after = cloud.up()
    assert after.mlflow != before.mlflow and cloud.environ()["AWS_ACCESS_KEY_ID"] == key
    assert experiments(after.mlflow) == ["Default", "kept"]
    assert fetch(artifact.replace(before.mlflow, after.mlflow)) == b"content"
    assert remote(cloud).missing([EMPTY_MD5]) == set()
    assert cloud.workspace.log(MLFLOW).read_text().count("start of mlflow") == 2


def test_killed_at_each_step_of_up_the_next_one_goes_on(cloud: LocalCloud) -> None:
    expected = {
        "begun": [],
        "s3 spawned": [S3],  # no state names it: the next call ends it and starts another one
        "s3 written": [S3],
        "mlflow spawned": [MLFLOW, S3],
        "mlflow written": [MLFLOW, S3],
        "s3 ready": [MLFLOW, S3],
        "mlflow ready": [MLFLOW, S3],
        "running": [MLFLOW, S3],
    }
    for step, left in expected.items():
        kill_at(cloud, step, "up")
        assert roles(cloud) == left, step
        wanted = (CloudState.STARTING, CloudState.RUNNING) if MLFLOW in left else (CloudState.ABSENT,)
        assert cloud.status() in wanted, step
    cloud.up()
    assert roles(cloud) == [MLFLOW, S3] and cloud.status() is CloudState.RUNNING
    kill_at(cloud, "stopping", "down")
    assert cloud.status() is CloudState.STOPPING and cloud.endpoints() is None
    cloud.up()
    assert cloud.status() is CloudState.RUNNING
    (store,) = [one.process for one in cloud.workspace.find() if one.role == S3]
    store.kill()
    door = cloud.workspace.read().s3_ports["s3.port"]
    eventually(lambda: not is_taken(door))
    with listening(door):  # MLflow must learn of the store's new address, too
        cloud.storage_up()
    (mlflow,) = [one.process for one in cloud.workspace.find() if one.role == MLFLOW]
    assert mlflow.environ()["AWS_ENDPOINT_URL_S3"] == cloud.environ()["AWS_ENDPOINT_URL_S3"]
    for step in ("stopping", "ended", "stopped"):
        kill_at(cloud, step, "down")
    cloud.down()
    assert roles(cloud) == [S3]


@pytest.mark.parametrize("step", ["begun", "s3 spawned", "s3 written", "mlflow spawned", "mlflow written"])
def test_killed_at_a_step_of_up_nothing_is_left_after_close(cloud: LocalCloud, step: str) -> None:
    kill_at(cloud, step, "up")
    cloud.down()
    assert set(roles(cloud)) <= {S3}
    for closing in ("stopping", "ended", "stopped"):
        kill_at(cloud, closing, "close")
    close_and_check(cloud)


def test_ctrl_c_during_up_leaves_nothing(cloud: LocalCloud) -> None:
    process = begin(cloud, "up")
    eventually(lambda: cloud.workspace.read().servers.get(MLFLOW) and cloud.workspace.read().servers[MLFLOW].pid)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said
    assert roles(cloud) == [] and cloud.status() is CloudState.ABSENT


def test_a_folder_that_was_deleted_under_a_running_cloud(cloud: LocalCloud) -> None:
    cloud.storage_up()
    shutil.rmtree(cloud.folder)
    assert roles(cloud) == [S3]
    cloud.close()
    assert roles(cloud) == [] and not cloud.folder.exists()


def test_keys_stay_in_one_private_file_and_lead_every_client_here(cloud: LocalCloud) -> None:
    with pytest.raises(CloudError, match=r"no local cloud here yet; start it with `.* up"):
        cloud.environ()
    cloud.storage_up()
    environ = cloud.environ()
    secret = environ["AWS_SECRET_ACCESS_KEY"].encode()
    holding = [path for path in cloud.folder.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert [path.name for path in holding] == ["s3.json"] and holding[0].stat().st_mode & 0o777 == 0o600
    assert not any(environ["AWS_SECRET_ACCESS_KEY"] in " ".join(one.cmdline()) for one in cloud.processes())
    # What a user's own shell may hold, and what the SDK would obey.
    hostile = {
        "AWS_PROFILE": "mine",
        "AWS_SESSION_TOKEN": "old",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "NO_PROXY": "example.org",
    }
    code = f"import boto3; print(boto3.client('s3').list_objects_v2(Bucket='{BUCKET}')['KeyCount'])"
    variables = {**os.environ, **hostile, **environ}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1", done.stderr
