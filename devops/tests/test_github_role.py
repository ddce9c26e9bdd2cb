"""The role that GitHub's workflows assume: moto enforces its policy while they start, use, look at and end an instance.

moto knows no condition and, outside of S3, no resource, so what this proves is that no action is missing. What the
statements are about is looked at by `persistent.tftest.hcl`.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_server import REGION, AwsServer
from aws_yard import Yard
from botocore.config import Config
from botocore.exceptions import ClientError
from workflow_policy import FILES

from wms_ops.base.errors import AccessDeniedError
from wms_ops.targets.aws.certificate import NoCertificateError
from wms_ops.targets.aws.cloud import AwsCloud
from wms_ops.targets.aws.reap import reap
from wms_ops.targets.aws.store_root import ensure_state_bucket, ensure_store

pytest_plugins = ["aws_fixtures"]

PATHS = Config(s3={"addressing_style": "path"})
ROLE = "wms-main-eu-central-1-github"


def longest_login() -> int:
    """The most seconds for which a workflow's job asks to have the role."""
    texts = [path.read_text(encoding="utf-8") for path in FILES]
    return max(int(found) for text in texts for found in re.findall(r'session-seconds: "(\d+)"', text))


def ask_for_rights(aws: AwsServer, asked: bool) -> None:
    """Have moto refuse what the caller's policies don't allow, or stop that."""
    count = b"0" if asked else b"inf"  # requests that are carried out for everybody
    plain = {"Content-Type": "text/plain"}
    request = urllib.request.Request(f"{aws.endpoint}/moto-api/reset-auth", count, plain, method="POST")  # noqa: S310
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310


@contextmanager
def enforced(aws: AwsServer) -> Iterator[None]:
    ask_for_rights(aws, True)
    try:
        yield
    finally:
        ask_for_rights(aws, False)


def of_ana(cloud: AwsCloud) -> AwsCloud:
    settings = cloud.context.settings.model_copy(update={"github_repository": "ana/meters"})
    return replace(cloud, context=replace(cloud.context, settings=settings))


def keys_with(aws: AwsServer, document: dict[str, Any]) -> dict[str, str]:
    """Keys of a user with a policy, of which moto understands the actions."""
    iam = aws.client("iam")
    # A refusal with a condition would refuse everything to moto.
    document["Statement"] = [one for one in document["Statement"] if one["Effect"] == "Allow"]
    for statement in document["Statement"]:
        statement["Action"] = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        if not any(action.startswith("s3:") for action in statement["Action"]):
            statement["Resource"] = "*"
        if "s3:ListBucket" in statement["Action"]:
            statement["Action"].append("s3:HeadBucket")  # which only moto has; at AWS it is the right to list
        statement.pop("Condition", None)
    iam.create_user(UserName="github")
    iam.put_user_policy(UserName="github", PolicyName="github", PolicyDocument=json.dumps(document))
    made = iam.create_access_key(UserName="github")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}


def protect(aws: AwsServer, cloud: AwsCloud) -> None:
    """Have AWS refuse the end of the cloud's instance, as a person may who has other rights."""
    ask_for_rights(aws, False)
    (instance,) = cloud.context.instances()
    aws.client("ec2").modify_instance_attribute(InstanceId=instance.id, DisableApiTermination={"Value": True})
    ask_for_rights(aws, True)


def aws_as(keys: dict[str, str], aws: AwsServer) -> Any:
    """S3 with these keys."""
    named = {name.lower(): value for name, value in keys.items()}
    return boto3.client("s3", endpoint_url=aws.endpoint, region_name=REGION, config=PATHS, **named)


@pytest.mark.timeout(300)
@pytest.mark.attack("a job at GitHub", "changing the network, a bucket or a role", "the role's rights")
def test_its_rights_are_enough_and_change_nothing_that_lasts(
    aws: AwsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard = Yard(aws, tmp_path)
    admin = of_ana(yard.cloud())
    ensure_state_bucket(admin.context.aws.s3, admin.context.names)
    ensure_store(admin.context)
    keys = keys_with(aws, aws.client("iam").get_role_policy(RoleName=ROLE, PolicyName="github")["PolicyDocument"])
    role = aws.client("iam").get_role(RoleName=ROLE)["Role"]
    assert role["MaxSessionDuration"] == longest_login(), "a training's login lasts as long as its job"
    trusted = role["AssumeRolePolicyDocument"]["Statement"][0]
    assert set(trusted["Condition"]) == {"StringEquals"}
    assert (
        trusted["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
        == "repo:ana/meters:environment:wms"
    )

    lasting = yard.lasting()
    for name, value in keys.items():
        monkeypatch.setenv(name, value)  # for boto3 in this process, as `yard` sets them for Terraform
    with enforced(aws):
        runner = of_ana(yard.cloud("runner", **keys))
        assert runner.up().mlflow
        runner.allow("runner")
        protect(aws, runner)
        with pytest.raises(NoCertificateError):  # nothing starts in moto's instance
            runner.environ()
        assert list(runner.sessions())
        assert not reap(runner.context.aws, environment=None, is_held=lambda _: False, show=yard.said.append)
        runner.down()
        assert runner.endpoints() is None
        plain = yard.cloud("runner", **keys)  # without the repository: it would have to take the role away
        with pytest.raises(AccessDeniedError, match="wms cloud store"):
            ensure_store(plain.context)
        states = aws_as(keys, aws)
        bucket, prefix = runner.records()
        bucket.put(f"{prefix}data-1/run.json", b"{}")
        bucket.delete([f"{prefix}data-1/run.json"])
        for key in ("persistent/main.tfstate", "persistent/main.applied.json", "runs/other/data-1/run.json"):
            with pytest.raises(ClientError, match=r"AccessDenied|not authorized"):
                states.put_object(Bucket=admin.context.names.state_bucket, Key=key, Body=b"{}")
    assert yard.lasting() == lasting
    assert yard.left() == {}
