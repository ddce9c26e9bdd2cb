"""The Terraform roots: form, checks, their own tests, and what they really make in an AWS on loopback."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aws_server import AwsServer
from botocore.exceptions import ClientError
from servers import require_tool
from terraform_provider import ROOTS
from terraform_rights import check_mlflows_rights, listed
from terraform_tool import copied_root, terraform, terraform_environ

pytest_plugins = ["aws_fixtures"]

FIRST = {"wms:launch": "20261125-153000-ab12cd", "wms:deadline": "2026-11-25T18:00:00+00:00", "wms:owner": "ana@laptop"}
LATER = {"wms:launch": "20261125-190000-ef34ab", "wms:deadline": "2026-11-25T22:00:00+00:00", "wms:owner": "github-7"}
SAME = {"Name": "wms-main", "wms:environment": "main", "wms:part": "instance"}
DVC, MLFLOW = "wms-main-dvc-123456789012-eu-central-1", "wms-main-mlflow-123456789012-eu-central-1"


class Root:
    """A copy of a root module, initialised with its state in the AWS on loopback."""

    def __init__(self, name: str, folder: Path, aws: AwsServer) -> None:
        self.folder = copied_root(name, folder)
        self.environ = {**terraform_environ(folder), **aws.environ}
        aws.make_bucket("wms-state")
        self.run(
            "init",
            *("-backend-config=bucket=wms-state", f"-backend-config=key={name}/main.tfstate"),
            *("-backend-config=region=eu-central-1", "-backend-config=use_lockfile=true"),
            "-backend-config=use_path_style=true",
        )

    def values(self, **values: object) -> None:
        (self.folder / "terraform.tfvars.json").write_text(json.dumps(values), encoding="utf-8")

    def tried(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return terraform(self.folder, *arguments, "-no-color", environ=self.environ)

    def run(self, *arguments: str) -> str:
        done = self.tried(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def outputs(self) -> dict[str, Any]:
        return {name: output["value"] for name, output in json.loads(self.run("output", "-json")).items()}


def instance_values(tags: dict[str, str], **more: object) -> dict[str, object]:
    return {
        "region": "eu-central-1",
        "environment": "main",
        "owner": tags["wms:owner"],
        "launch_id": tags["wms:launch"],
        "deadline": tags["wms:deadline"],
        "lifetime_minutes": 60,
        "bundle_bucket": MLFLOW,
        "bundle_key": "bundle/0123abcd.tar.gz",
        "bundle_sha256": "0" * 64,
        "dvc_bucket": DVC,
        "mlflow_bucket": MLFLOW,
        **more,
    }


PERSISTENT = {
    "region": "eu-central-1",
    "environment": "main",
    "dvc_bucket": DVC,
    "mlflow_bucket": MLFLOW,
    "ecr_repository": "wms-main",
}


def network_of(aws: AwsServer) -> dict[str, object]:
    """The network's values, made by hand as the persistent root would make it."""
    ec2, iam = aws.client("ec2"), aws.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.73.0.0/24")["Vpc"]["VpcId"]
    subnets = {
        f"eu-central-1{zone}": ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=f"eu-central-1{zone}")
        for zone, block in (("b", "10.73.0.32/27"), ("c", "10.73.0.64/27"))
    }
    group = ec2.create_security_group(GroupName="wms-main", Description="x", VpcId=vpc)["GroupId"]
    iam.create_instance_profile(InstanceProfileName="LabInstanceProfile")
    return {
        "subnets": {zone: made["Subnet"]["SubnetId"] for zone, made in subnets.items()},
        "security_group_id": group,
        "instance_profile": "LabInstanceProfile",
    }


def tags_of(listed: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in listed if not tag["Key"].startswith("aws:")}


def test_the_files_are_formatted(tmp_path: Path) -> None:
    done = terraform(ROOTS, "fmt", "-check", "-recursive", "-diff", environ=terraform_environ(tmp_path, provider=False))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slice("Terraform's own tests", of=2)
@pytest.mark.parametrize("name", ["instance", "persistent"])
def test_a_root_is_valid_and_passes_its_own_tests(name: str, tmp_path: Path) -> None:
    root, environ = copied_root(name, tmp_path), terraform_environ(tmp_path)
    for arguments in (["init", "-backend=false"], ["validate"], ["test"]):
        done = terraform(root, *arguments, "-no-color", environ=environ)
        assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout
    # A plain init writes no other hash into it.
    assert (root / ".terraform.lock.hcl").read_bytes() == (ROOTS / name / ".terraform.lock.hcl").read_bytes()


def test_checkov_finds_nothing_that_is_not_explained() -> None:
    checkov = require_tool("checkov", ROOTS.parents[1] / ".cache" / "checkov" / "bin" / "checkov")
    python = checkov.with_name("python")  # the script's first line can't name one whose path has a space
    command = [
        *([str(python)] if python.exists() else []),
        str(checkov),
        "-d",
        str(ROOTS),
        "--framework",
        "terraform",
        "--skip-download",
        "-o",
        "json",
    ]
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200, check=False)
    results = json.loads(done.stdout)
    found = [(check["check_id"], check["resource"]) for check in results["results"]["failed_checks"]]
    assert not found and not results["summary"]["parsing_errors"]
    assert results["summary"]["passed"] > 30
    for check in results["results"]["skipped_checks"]:
        assert len(check["check_result"]["suppress_comment"]) > 20, check["check_id"]


def made_by_ec2(aws: AwsServer) -> dict[str, dict[str, str]]:
    """The tags of whatever in EC2 carries the environment's tag, by id."""
    listed = aws.client("ec2").describe_tags(Filters=[{"Name": "key", "Values": ["wms:environment"]}])["Tags"]
    ids = [tag["ResourceId"] for tag in listed]
    everything = aws.client("ec2").describe_tags(Filters=[{"Name": "resource-id", "Values": ids}])["Tags"]
    return {found: tags_of([tag for tag in everything if tag["ResourceId"] == found]) for found in ids}


@pytest.mark.slice("applied roots", of=2, number=0)
@pytest.mark.timeout(300)
def test_a_machine_is_found_by_tag_and_stays_as_it_was_launched(aws: AwsServer, tmp_path: Path) -> None:
    root, ec2, network = Root("instance", tmp_path, aws), aws.client("ec2"), network_of(aws)
    root.values(**instance_values(FIRST, **network))
    root.run("apply", "-auto-approve")
    first = root.outputs()
    assert (first["launch_id"], first["instance_type"]) == (FIRST["wms:launch"], "t3.large")

    made = made_by_ec2(aws)
    assert sorted(name.split("-")[0] for name in made) == ["i", "vol"], "the machine and its disk, and nothing else"
    assert all(tags == SAME | FIRST for tags in made.values())
    (machine,) = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    assert machine["Placement"]["AvailabilityZone"] == "eu-central-1b", "the first zone that has the type and a subnet"

    root.values(
        **instance_values(LATER, **network, instance_type="m6i.large", lifetime_minutes=90, disk_gb=60, spot=True)
    )
    root.run("apply", "-auto-approve")
    assert root.outputs() == first
    assert made_by_ec2(aws)[first["instance_id"]] == SAME | FIRST

    ec2.terminate_instances(InstanceIds=[first["instance_id"]])  # as its own deadline does
    root.run("apply", "-auto-approve")
    second = root.outputs()
    assert (second["launch_id"], second["instance_type"]) == (LATER["wms:launch"], "m6i.large")
    user_data = ec2.describe_instance_attribute(InstanceId=second["instance_id"], Attribute="userData")["UserData"]
    assert "shutdown -h +90" in base64.b64decode(user_data["Value"]).decode()

    root.run("destroy", "-auto-approve")
    states = [i["State"]["Name"] for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    assert set(states) == {"terminated"}


@pytest.fixture(scope="module")
def lasting(aws_of_module: AwsServer, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """The persistent root, applied once: the tests of it stand last, and that of its end at the very end."""
    root = Root("persistent", tmp_path_factory.mktemp("lasting"), aws_of_module)
    root.values(**PERSISTENT)
    root.run("apply", "-auto-approve")
    return root


@pytest.mark.slice("applied roots", of=2, number=1)
@pytest.mark.timeout(300)
def test_what_lasts_is_made_once_and_its_open_ports_stay(aws_of_module: AwsServer, lasting: Root) -> None:
    aws, root, ec2 = aws_of_module, lasting, aws_of_module.client("ec2")
    outputs = root.outputs()
    zones = [one["ZoneName"] for one in ec2.describe_availability_zones()["AvailabilityZones"]]
    assert sorted(outputs["subnets"]) == sorted(zones)
    group = ec2.describe_security_groups(GroupIds=[outputs["security_group_id"]])["SecurityGroups"][0]
    assert group["IpPermissions"] == []
    assert [rule["FromPort"] for rule in group["IpPermissionsEgress"]] == [443]
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [group["VpcId"]]}])["RouteTables"]
    assert [table["Associations"][0]["Main"] for table in tables] == [True], "its subnets have no table of their own"
    assert [r["GatewayId"][:3] for r in tables[0]["Routes"] if r["DestinationCidrBlock"] == "0.0.0.0/0"] == ["igw"]
    made = made_by_ec2(aws)
    tags = {"wms:environment": "main", "wms:part": "store"}
    assert all({key: one.get(key) for key in tags} == tags for one in made.values())

    door = {"IpProtocol": "tcp", "FromPort": 5000, "ToPort": 5000, "IpRanges": [{"CidrIp": "192.0.2.7/32"}]}
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[door])
    root.values(**PERSISTENT, noncurrent_days=7)
    root.run("apply", "-auto-approve")
    assert root.outputs() == outputs and made_by_ec2(aws) == made
    group = ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"][0]
    assert [rule["IpRanges"][0]["CidrIp"] for rule in group["IpPermissions"]] == ["192.0.2.7/32"]

    _check_rights(aws, outputs["instance_profile"])
    check_mlflows_rights(aws, MLFLOW, outputs["mlflow_role"], outputs["instance_profile"])
    _check_refusals(aws)


def _check_rights(aws: AwsServer, role: str) -> None:
    """The machine may do what it needs and no more."""
    iam = aws.client("iam")
    assert not iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    statements = iam.get_role_policy(RoleName=role, PolicyName="host")["PolicyDocument"]["Statement"]
    allowed = {(a, r) for s in statements for a in listed(s["Action"]) for r in listed(s["Resource"])}

    def where(action: str) -> set[str]:
        return {resource for allowed_action, resource in allowed if allowed_action == action}

    assert {s["Effect"] for s in statements} == {"Allow"}
    assert not [action for action, _ in allowed if "*" in action or action.endswith("Version")]
    everywhere = {action for action, resource in allowed if resource == "*"}
    assert {re.sub(":.*", "", action) for action in everywhere} == {"ssm", "ssmmessages", "ecr"}
    own = {f"arn:aws:s3:::{MLFLOW}/{prefix}/*" for prefix in ("mlflow", "backup/main", "host")}
    assert where("s3:PutObject") == where("s3:DeleteObject") == own, "nothing of the data set"
    assert where("s3:GetObject") == {*own, f"arn:aws:s3:::{MLFLOW}/bundle/*", f"arn:aws:s3:::{DVC}/dvc/*"}
    parameter = "arn:aws:ssm:eu-central-1:123456789012:parameter/wms/main"
    assert where("ssm:PutParameter") == {f"{parameter}/boot", f"{parameter}/mlflow-certificate"}
    assert where("ssm:GetParameter") == {f"{parameter}/mlflow-password"}


def _check_refusals(aws: AwsServer) -> None:
    """What both buckets refuse: plain HTTP, and the end of a version to every role of the environment."""
    s3 = aws.client("s3")
    for bucket in (DVC, MLFLOW):
        insecure, versions = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
        for refusal in (insecure, versions):
            assert (refusal["Effect"], refusal["Principal"]) == ("Deny", "*")
            assert sorted(refusal["Resource"]) == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        assert insecure["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert sorted(versions["Action"]) == ["s3:DeleteObjectVersion", "s3:PutBucketVersioning"]
        roles = "arn:aws:iam::123456789012:role/wms-main-eu-central-1-*"
        assert versions["Condition"] == {"ArnLike": {"aws:PrincipalArn": roles}}


@pytest.mark.slice("applied roots", of=2, number=1)
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("lasting")
def test_the_buckets_are_closed_and_drop_what_is_old(aws_of_module: AwsServer) -> None:
    s3 = aws_of_module.client("s3")
    for bucket in (DVC, MLFLOW):
        assert tags_of(s3.get_bucket_tagging(Bucket=bucket)["TagSet"]) == {
            "wms:environment": "main",
            "wms:part": "store",
        }
        assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    rules = s3.get_bucket_lifecycle_configuration(Bucket=MLFLOW)["Rules"]
    assert {rule["ID"]: rule["Status"] for rule in rules} == dict.fromkeys(
        ("old-versions", "expire-bundle", "expire-host"), "Enabled"
    )


@pytest.mark.slice("applied roots", of=2, number=1)
@pytest.mark.timeout(300)
def test_data_is_destroyed_only_after_it_was_allowed(aws_of_module: AwsServer, lasting: Root) -> None:
    root, s3 = lasting, aws_of_module.client("s3")
    root.values(**PERSISTENT, s3_path_style=True)
    root.run("apply", "-auto-approve")
    assert root.outputs()["ecr_repository_url"].endswith("/wms-main")
    for content in (b"first", b"second"):
        s3.put_object(Bucket=DVC, Key="files/md5/ab", Body=content)

    refused = root.tried("destroy", "-auto-approve")
    assert refused.returncode == 1 and "BucketNotEmpty" in refused.stderr
    assert len(s3.list_object_versions(Bucket=DVC)["Versions"]) == 2

    root.values(**PERSISTENT, s3_path_style=True, force_destroy=True)
    root.run("apply", "-auto-approve")
    root.run("destroy", "-auto-approve")
    for bucket in (DVC, MLFLOW):
        with pytest.raises(ClientError, match="404"):
            s3.head_bucket(Bucket=bucket)
