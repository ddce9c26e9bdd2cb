"""A plan of the persistent root that deletes data, or changes what isn't this environment's, is never carried out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aws_server import ACCOUNT, REGION, AwsServer
from aws_yard import Yard

from wms_ops.base.errors import UnsafePlanError
from wms_ops.storage.names import Names
from wms_ops.targets.aws.launch import make_store
from wms_ops.targets.aws.store_plan import plan_judge
from wms_ops.targets.aws.terraform import ROOTS

pytest_plugins = ["aws_fixtures"]

NAMES = Names("main", ACCOUNT, REGION)
STATE, NOTE = "persistent/main.tfstate", "persistent/main.applied.json"
OWN = {"tags_all": {"wms:environment": "main", "wms:part": "store"}}
BUCKET = {"bucket": NAMES.dvc_bucket}
UPDATE, DELETE, REPLACE = ["update"], ["delete"], ["delete", "create"]
DATA, TAG, UNDECLARED = "guards data: ", "the tag wms:environment=main: ", "isn't in this version's files: "


def change(address: str, actions: list[str], before: dict[str, Any] | None, **more: object) -> dict[str, Any]:
    """A change as `terraform show -json` has it."""
    kind, _, name = address.partition("[")[0].rpartition(".")
    found = {"address": address, "type": kind.rpartition(".")[2], "name": name, "mode": "managed"}
    return {**found, "change": {"actions": actions, "before": before}, **more}


def judged(*changes: dict[str, Any], end: bool = False, root: Path = ROOTS / "persistent") -> None:
    """Judge a plan. AWS has what each change has before; the state said that all of it is this environment's."""
    read = [
        {"address": one["address"], "deposed_key": one.get("deposed"), "values": one["change"]["before"]}
        for one in changes
        if one["change"]["before"] is not None
    ]
    told = [{**one, "change": {**one["change"], "before": OWN}} for one in changes]
    state = {"values": {"root_module": {"resources": read}}}
    plan_judge(NAMES, root, end=end)({"format_version": "1.2", "resource_changes": told, "prior_state": state})


REFUSED = {
    "the data set's bucket, which other settings replace": (
        change('aws_s3_bucket.this["dvc"]', REPLACE, BUCKET | OWN),
        DATA,
    ),
    "another bucket": (change('aws_s3_bucket.this["victim"]', DELETE, {"bucket": "payroll"}), DATA),
    "a bucket's versions": (change('aws_s3_bucket_versioning.this["x"]', DELETE, BUCKET), DATA),
    "a bucket's policy": (change('aws_s3_bucket_policy.this["x"]', ["create", "delete"], BUCKET), DATA),
    "a bucket, by an action that is none yet": (change('aws_s3_bucket.this["dvc"]', ["evict"], BUCKET | OWN), DATA),
    "the images": (change("aws_ecr_repository.this", DELETE, OWN), DATA),
    "an undeclared resource": (change("aws_db_instance.company", DELETE, OWN), UNDECLARED),
    "an undeclared name": (change("aws_iam_role.admin", UPDATE, OWN), UNDECLARED),
    "a module": (change("module.x.aws_vpc.this", DELETE, OWN, module_address="module.x"), UNDECLARED),
    "a stranger's subnet": (change('aws_subnet.public["z"]', DELETE, {"tags_all": {}}), TAG),
    "a deposed group": (change("aws_security_group.this", DELETE, {"tags_all": None}, deposed="0a"), TAG),
    "another environment's gateway": (
        change("aws_internet_gateway.this", UPDATE, {"tags_all": {"wms:environment": "team"}}),
        TAG,
    ),
    "a role by its name": (change("aws_iam_role.host[0]", REPLACE, {"name": "admin", "tags_all": {}}), TAG),
    "a role's policy": (change("aws_iam_role_policy.host[0]", REPLACE, {"role": "admin", "name": "host"}), TAG),
    "a group named as ours": (change("aws_security_group.this", REPLACE, {"name": "wms-main", "tags_all": {}}), TAG),
    "a stranger's bucket's setting": (
        change('aws_s3_bucket_public_access_block.this["dvc"]', UPDATE, {"bucket": "payroll"}),
        TAG,
    ),
}
ALLOWED = [
    change("aws_vpc.this", ["create"], None),
    change("aws_vpc.this", ["no-op"], {"tags_all": {}}),
    change("aws_vpc.gone", ["forget"], {"tags_all": {}}),
    change("aws_vpc.this", DELETE, OWN),
    change('aws_subnet.public["eu-central-1c"]', DELETE, OWN),
    change("aws_security_group.this", REPLACE, OWN),
    change("aws_security_group.this", UPDATE, OWN),
    change('aws_iam_role.github["this"]', DELETE, OWN),
    change('aws_iam_role_policy.github["this"]', DELETE, {"role": "wms-main-eu-central-1-github"}),
    change("aws_ecr_lifecycle_policy.this", UPDATE, {"repository": "wms-main"}),
    change('aws_s3_bucket.this["dvc"]', UPDATE, {**BUCKET, "tags_all": {}}),  # made a moment ago, not tagged yet
    change('aws_s3_bucket_policy.this["dvc"]', UPDATE, BUCKET),
]


@pytest.mark.attack(
    "a writer of Terraform's state", "a plan that deletes or changes what isn't his", "the plan's judge"
)
@pytest.mark.parametrize("name", REFUSED)
def test_a_plan_that_is_refused(name: str) -> None:
    one, why = REFUSED[name]
    with pytest.raises(UnsafePlanError) as refused:
        judged(change("aws_vpc.this", ["create"], None), one)
    assert f"{why}{one['address']}); run" in str(refused.value)
    assert refused.value.exit_code == 69


@pytest.mark.parametrize(
    "plan",
    [
        {"resource_changes": []},
        {"format_version": "2.0", "changes": []},
        {"format_version": 1},
        {"format_version": "1.2", "errored": True},
        {"format_version": "1.2", "complete": False},
        {"format_version": "1.2", "resource_changes": None},
        {"format_version": "1.2", "prior_state": None},
        {"format_version": "1.2", "resource_changes": [{"address": "aws_vpc.this"}]},
        {"format_version": "1.2", "resource_changes": [change("aws_vpc.this", None, OWN)]},
        {"format_version": "1.2", "resource_changes": ["aws_vpc.this"]},
        [],
        "",
    ],
)
def test_a_plan_of_another_form_changes_nothing(plan: Any) -> None:
    with pytest.raises(UnsafePlanError, match="another form than that of version 1"):
        plan_judge(NAMES)(plan)


def test_what_is_changed_today_stays_allowed() -> None:
    for one in ALLOWED:
        judged(one)
    judged()


def test_a_cleanup_deletes_its_own_data_and_no_other() -> None:
    judged(change('aws_s3_bucket.this["dvc"]', DELETE, BUCKET | OWN), end=True)
    judged(change("aws_ecr_repository.this", DELETE, {"name": "wms-main"} | OWN), end=True)
    with pytest.raises(UnsafePlanError, match=r'guards data: aws_s3_bucket\.this\["x"\]'):
        judged(change('aws_s3_bucket.this["x"]', DELETE, {"bucket": "payroll"} | OWN), end=True)
    for name in ("another bucket", "an undeclared resource", "a stranger's subnet"):
        with pytest.raises(UnsafePlanError):
            judged(REFUSED[name][0], end=True)


def test_a_former_resource_may_go_where_the_files_say_so(tmp_path: Path) -> None:
    text = "removed {\n  from = aws_sqs_queue.former\n\n  lifecycle {\n    destroy = true\n  }\n}\n"
    (tmp_path / "removed.tf").write_text(text, encoding="utf-8")
    judged(change("aws_sqs_queue.former", DELETE, OWN), root=tmp_path)
    with pytest.raises(UnsafePlanError):
        judged(change("aws_sqs_queue.former", DELETE, OWN))


def networks(aws: AwsServer) -> set[str]:
    return {one["VpcId"] for one in aws.client("ec2").describe_vpcs()["Vpcs"]}


@pytest.mark.timeout(300)
@pytest.mark.attack(
    "a writer of Terraform's state", "a stranger's bucket and subnet in it, and its note deleted", "the plan's judge"
)
def test_a_forged_state_deletes_nothing_and_a_lost_note_changes_nothing(aws: AwsServer, tmp_path: Path) -> None:
    yard = Yard(aws, tmp_path)
    assert make_store(yard.cloud().context)
    s3, ec2, bucket = aws.client("s3"), aws.client("ec2"), NAMES.state_bucket
    aws.make_bucket("payroll")
    s3.put_object(Bucket="payroll", Key="november", Body=b"1")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/24")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/27")["Subnet"]["SubnetId"]
    state = s3.get_object(Bucket=bucket, Key=STATE)["Body"].read()
    forged = json.loads(state)
    forged["serial"] += 1
    lies = {
        "aws_s3_bucket": {"id": "payroll", "bucket": "payroll", "force_destroy": True, "tags_all": OWN["tags_all"]},
        "aws_subnet": {"id": subnet, "vpc_id": vpc, "cidr_block": "10.9.0.0/27", "tags_all": OWN["tags_all"]},
    }
    for resource in forged["resources"]:
        if resource["mode"] == "managed" and resource["type"] in lies:
            like = resource["instances"][0]
            lie = {**like, "index_key": "lie", "attributes": lies[resource["type"]]}
            resource["instances"].append({**lie, "private": None, "dependencies": []})
    s3.put_object(Bucket=bucket, Key=STATE, Body=json.dumps(forged).encode())
    s3.delete_object(Bucket=bucket, Key=NOTE)
    before = networks(aws)
    with pytest.raises(UnsafePlanError) as refused:
        make_store(yard.cloud("another").context)
    assert f'{DATA}aws_s3_bucket.this["lie"]' in str(refused.value)
    assert f'{TAG}aws_subnet.public["lie"])' in str(refused.value), "by the tags that AWS has, not the state"
    assert s3.get_object(Bucket="payroll", Key="november")["Body"].read() == b"1"
    assert ec2.describe_subnets(SubnetIds=[subnet])["Subnets"]

    s3.put_object(Bucket=bucket, Key=STATE, Body=state)  # as docs/cloud.md has it brought back
    assert make_store(yard.cloud("another").context) is True, "the note was deleted"
    assert make_store(yard.cloud("third").context) is False
    assert networks(aws) == before, "a lost note makes no new network"
