"""cleanup-aws deletes everything of one environment, the data too, also where a killed one left its lock."""

from __future__ import annotations

import getpass
import json
import platform
from pathlib import Path

import pytest
from aws_server import ACCOUNT, AwsServer
from aws_yard import Yard

from wms_ops.base.errors import BusyError, CloudError
from wms_ops.targets.aws import cleanup
from wms_ops.targets.aws.store_root import ensure_state_bucket, ensure_store

pytest_plugins = ["aws_fixtures"]
pytestmark = pytest.mark.slice("deployments at AWS", of=2, number=1)


@pytest.fixture
def yard(aws: AwsServer, tmp_path: Path) -> Yard:
    return Yard(aws, tmp_path)


def buckets(yard: Yard) -> list[str]:
    return [one["Name"] for one in yard.aws.client("s3").list_buckets()["Buckets"]]


def test_everything_goes_and_another_environment_stays(yard: Yard) -> None:
    cloud, s3 = yard.cloud(), yard.aws.client("s3")
    names = cloud.context.names
    ensure_state_bucket(s3, names)
    assert ensure_store(cloud.context) is True
    assert ensure_store(yard.cloud("another").context) is False  # noted for every clone
    for bucket in (names.dvc_bucket, names.mlflow_bucket):
        for body in (b"one", b"two"):  # an old version, too
            s3.put_object(Bucket=bucket, Key="dvc/files/md5/aa/bb", Body=body)
    s3.put_object(Bucket=names.state_bucket, Key="sessions/main/one.json", Body=b"{}")
    for key in ("lease/team.json", "sessions/team/main.json", "instance/team.tfstate"):
        s3.put_object(Bucket=names.state_bucket, Key=key, Body=b"{}")
    lock = {"ID": "1", "Operation": "OperationTypeApply", "Who": f"{getpass.getuser()}@{platform.node()}"}
    s3.put_object(Bucket=names.state_bucket, Key="persistent/main.tfstate.tflock", Body=json.dumps(lock))

    assert all(name in cleanup.warning(cloud) for name in (ACCOUNT, names.dvc_bucket, names.mlflow_bucket))
    cleanup.clean_up(yard.cloud())
    assert buckets(yard) == [names.state_bucket]
    kept = {one["Key"] for one in s3.list_object_versions(Bucket=names.state_bucket)["Versions"]}
    assert kept == {"lease/team.json", "sessions/team/main.json", "instance/team.tfstate"}
    assert yard.aws.client("ecr").describe_repositories()["repositories"] == []
    assert yard.left() == {}
    assert set(yard.lasting().values()) == {0}
    assert any(text.startswith("Broke the lock persistent/main.tfstate") for text in yard.said)


def test_nothing_is_there(yard: Yard) -> None:
    cleanup.clean_up(yard.cloud())
    assert buckets(yard) == []


def test_without_terraform_nothing_is_deleted_by_halves(yard: Yard) -> None:
    cloud = yard.cloud(PATH=str(yard.folder))
    ensure_state_bucket(yard.aws.client("s3"), cloud.context.names)
    with pytest.raises(CloudError, match="Terraform isn't installed"):
        cleanup.clean_up(cloud)
    assert buckets(yard) == [cloud.context.names.state_bucket]


def test_somebody_who_starts_meanwhile_is_refused(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = yard.cloud()
    ensure_state_bucket(yard.aws.client("s3"), cloud.context.names)
    refused = []

    def destroy(_: object) -> None:
        other = yard.cloud("another", WMS_HOLDER="ben@desk")
        with pytest.raises(BusyError) as caught:
            other.context.leases.take(other.context.holder, other.context.now())
        refused.append(str(caught.value))

    monkeypatch.setattr(cleanup, "destroy_store", destroy)
    cleanup.clean_up(cloud)
    assert len(refused) == 1 and "in use by ana@laptop" in refused[0]
    assert buckets(yard) == []
