"""What Terraform and AWS print when a start fails: one sentence each, with the remedy that fits.

The texts are those of Terraform 1.11 with the AWS provider 5.100, made here where this machine can make them (a lock, a
registry out of reach, another package), else as users published them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from aws_server import REGION, AwsServer
from entrance_table import REFUSED, Row
from terraform_tool import copied_root, terraform_environ

from wms.errors import DiskFullError, WmsError
from wms_ops.base.errors import (
    AccessDeniedError,
    BusyError,
    CloudError,
    CredentialsExpiredError,
    QuotaError,
    StoreUnreachableError,
)
from wms_ops.targets.aws import terraform as terraform_module
from wms_ops.targets.aws.terraform import Backend, Terraform
from wms_ops.targets.aws.trouble import explain

pytest_plugins = ["aws_fixtures"]
pytestmark = pytest.mark.slice("trouble of Terraform", of=2)

RUN = "Error: creating EC2 Instance: operation error EC2: RunInstances, https response error StatusCode: 400"
FETCH = "Error: Failed to install provider\n\nError while installing hashicorp/aws v5.100.0: "
QUERY = (
    "Error: Failed to query available provider packages\n\nCould not retrieve the list of available versions for "
    "provider hashicorp/aws: could not connect to\nregistry.terraform.io: failed to request discovery document: Get\n"
    '"https://registry.terraform.io/.well-known/terraform.json": '
)
LOCKED = (
    "Error: Error acquiring the state lock\n\nError message: operation error S3: PutObject, https response error "
    "StatusCode: 412, RequestID: 1, HostID: 2, api error PreconditionFailed: At least one of the pre-conditions you "
    "specified did not hold\nLock Info:\n  ID:        1-2\n  Path:      wms-state/instance/main.tfstate\n  Operation: "
    "OperationTypeApply\n  Who:       ana@laptop\n  Version:   1.11.4\n  Created:   2026-11-28 06:00:00.5 +0000 UTC\n"
    "  Info:      \n\n\nTerraform acquires a state lock to protect the state\n"
)
CAPACITY = (
    f"{RUN}, api error InsufficientInstanceCapacity: We currently do not have sufficient t3.large capacity in the "
    "Availability Zone you requested (us-east-2a). Our system will be working on provisioning additional capacity.\n"
)
PENDING = (
    f"{RUN}, api error PendingVerification: Your request for accessing resources in this region is being validated, "
    "and you will not be able to launch additional resources in this region until the validation is complete.\n"
)
ROWS: dict[str, tuple[str, type[WmsError], str]] = {
    "a lock of another person": (
        LOCKED,
        BusyError,
        "ana@laptop holds the lock of the state wms-state/instance/main.tf",
    ),
    "a lock, credentials expired": (
        "Error: Error acquiring the state lock\n\nError message: operation error S3: PutObject, api error "
        "ExpiredToken: The provided token has expired.\n",
        *(CredentialsExpiredError, "Start Lab"),
    ),
    "no capacity in a zone": (CAPACITY, QuotaError, "run it again later, or choose another instance_type or region"),
    "no Spot capacity": (
        f"{RUN}, api error InsufficientInstanceCapacity: There is no Spot capacity available that matches your "
        "request.",
        *(QuotaError, "another `spot`"),
    ),
    "a type that its zone lacks": (
        f"{RUN}, api error Unsupported: Your requested instance type (t3.large) is not supported in your requested "
        "Availability Zone (us-east-1e).",
        *(QuotaError, "(us-east-1e)); choose another instance_type"),
    ),
    "an account under validation": (PENDING, CloudError, "run it again after AWS's e-mail"),
    "an account that is blocked": (
        f"{RUN}, api error Blocked: This account is currently blocked and not recognized as a valid account.",
        *(AccessDeniedError, "its owner must open a case at AWS Support"),
    ),
    "a quota of 0 vCPU": (
        f"{RUN}, api error VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 0 "
        "allows for the instance bucket that the specified instance type belongs to.",
        *(QuotaError, "Service Quotas"),
    ),
    "a right that is missing": (
        f"{RUN}, api error UnauthorizedOperation: You are not authorized to perform this operation. User: "
        "arn:aws:sts::1:assumed-role/x is not authorized to perform: ec2:RunInstances on resource: y. Encoded "
        "authorization failure message: AbC",
        *(AccessDeniedError, "lack the right to ec2:RunInstances"),
    ),
    "a region that isn't switched on": (
        f"{RUN}, api error OptInRequired: You are not subscribed to this service.",
        *(CloudError, "one that is switched on for the account"),
    ),
    "a token that expires during apply": (
        "Error: creating EC2 VPC: operation error EC2: CreateVpc, api error RequestExpired: Request has expired.\n\n"
        "Error: Failed to save state\n\nError saving state: failed to upload state: operation error S3: PutObject, "
        "api error ExpiredToken: The provided token has expired.\n",
        *(CredentialsExpiredError, "Start Lab"),
    ),
    "the registry without DNS": (
        f"{QUERY}dial tcp: lookup registry.terraform.io on 192.0.2.53:53: no such host\n",
        *(StoreUnreachableError, "no such host); check the network and HTTPS_PROXY"),
    ),
    "the registry behind a dead proxy": (
        f"{QUERY}proxyconnect tcp: dial tcp 127.0.0.1:9: connect: connection refused\n",
        *(StoreUnreachableError, "Terraform's registry doesn't answer ("),
    ),
    "the registry in silence": (
        f"{QUERY}net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting "
        "headers)\n",
        *(StoreUnreachableError, "a mirror in TF_CLI_CONFIG_FILE"),
    ),
    "the registry behind a proxy with a certificate of its own": (
        f"{QUERY}tls: failed to verify certificate: x509: certificate signed by unknown authority\n",
        *(StoreUnreachableError, "x509: certificate signed by unknown authority"),
    ),
    "the registry answers, the download doesn't": (
        f"{FETCH}could not query provider registry for registry.terraform.io/hashicorp/aws: failed to retrieve "
        "authentication checksums for provider: the request failed after 2 attempts, please try again later: Get "
        '"https://releases.hashicorp.com/x": context deadline exceeded\n',
        *(StoreUnreachableError, "context deadline exceeded); check the network"),
    ),
    "another package than the lock file's": (
        f"{FETCH}the local package for registry.terraform.io/hashicorp/aws 5.100.0 doesn't match any of the\nchecksums "
        "previously recorded in the dependency lock file (this might be\nbecause the available checksums are for "
        "packages targeting different\nplatforms)\n",
        *(CloudError, "restore that file from Git"),
    ),
    "a disk that is full": (
        f"{FETCH}write /home/ana/data/terraform-provider-aws: no space left on device\n",
        *(DiskFullError, "free some"),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_each_failure_has_its_remedy(name: str, monkeypatch: pytest.MonkeyPatch, entrance: Row) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    text, kind, words = ROWS[name]
    error = explain(text, "start the instance")
    assert type(error) is kind, error
    assert words in str(error)
    assert re.fullmatch(r"Can't start the instance: [^\n]*[^. ]\.", str(error)), error
    assert not re.search(r"\. [A-Z]", str(error)), error
    assert "Service Quotas" not in str(error) or name == "a quota of 0 vCPU"
    entrance("the rest", f"Terraform: {name}", f"code {error.exit_code}: {error}"[:200], REFUSED)


@pytest.fixture
def stack(aws: AwsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terraform:
    """The persistent root with its state in an AWS on loopback; a lock is waited for a second."""
    monkeypatch.setattr(terraform_module, "LOCK_WAIT", "1s")
    aws.make_bucket("wms-state")
    environ = {**os.environ, **terraform_environ(tmp_path / "settings"), **aws.environ}
    backend = Backend("wms-state", "persistent/main.tfstate", REGION, path_style=True)
    return Terraform(copied_root("persistent", tmp_path), tmp_path / "work", backend, environ)


def test_a_real_lock_and_another_package(stack: Terraform, aws: AwsServer, entrance: Row) -> None:
    stack.init()
    lock = {"ID": "1-2", "Operation": "OperationTypeApply", "Who": "ana@laptop", "Created": "2026-11-28T06:00:00Z"}
    key = "persistent/main.tfstate.tflock"
    content = {**lock, "Version": "1.11.4", "Path": "wms-state/persistent/main.tfstate"}
    aws.client("s3").put_object(Bucket="wms-state", Key=key, Body=json.dumps(content))
    with pytest.raises(BusyError) as held:
        stack.apply({"region": REGION, "environment": "main"})
    words = (
        "ana@laptop holds the lock of the state wms-state/persistent/main.tfstate for apply since 2026-11-28 06:00:00"
    )
    assert words in str(held.value)
    entrance("the rest", "a real Terraform finds a lock", f"code 85: {held.value}", REFUSED)
    pinned = stack.root / ".terraform.lock.hcl"
    committed = pinned.read_text(encoding="utf-8")
    other = re.sub(r'"(?:h1|zh):[^"]+"', f'"h1:{"A" * 43}="', committed)
    for attack, name in ((other, "a provider with another hash"), ("", "a lock file that names no provider")):
        pinned.write_text(attack, encoding="utf-8")
        shutil.rmtree(stack.work / "data", ignore_errors=True)
        with pytest.raises(CloudError, match=r"restore that file from Git") as refused:
            stack.init()
        entrance("the rest", f"Terraform: {name}", f"code {refused.value.exit_code}: {refused.value}"[:200], REFUSED)
    pinned.write_text(committed, encoding="utf-8")
    stack.init()  # the advice helps
    assert pinned.read_text(encoding="utf-8") == committed


def test_a_real_registry_out_of_reach(stack: Terraform, tmp_path: Path, entrance: Row) -> None:
    (tmp_path / "no-mirror.rc").touch()
    unreachable = {"TF_CLI_CONFIG_FILE": str(tmp_path / "no-mirror.rc"), "HTTPS_PROXY": "http://127.0.0.1:9"}
    cut_off = Terraform(stack.root, stack.work, stack.backend, {**stack.environ, **unreachable})
    with pytest.raises(StoreUnreachableError) as caught:
        cut_off.init()
    assert "Terraform's registry doesn't answer (" in str(caught.value)
    assert "connection refused); check the network and HTTPS_PROXY" in str(caught.value)
    entrance("the rest", "a real Terraform behind a dead proxy", f"code 74: {caught.value}", REFUSED)


def test_a_second_init_is_left_out_until_something_it_needs_has_changed(stack: Terraform) -> None:
    def commands(words: str) -> int:
        return len(list((stack.work / "logs").glob(f"{words}-*.log")))

    stack.init()
    stack.init()
    assert commands("init") == 1
    elsewhere = Backend("wms-state", "persistent/team.tfstate", REGION, path_style=True)
    Terraform(stack.root, stack.work, elsewhere, stack.environ).init()
    connected = stack.work / "data" / "terraform.tfstate"
    assert "persistent/team.tfstate" in connected.read_text(encoding="utf-8")
    stack.init()
    assert "persistent/main.tfstate" in connected.read_text(encoding="utf-8")

    shutil.rmtree(stack.work / "data" / "providers")
    with pytest.raises(
        CloudError, match="No value for required variable"
    ):  # a refusal of the values: `init` has run again
        stack.apply({"region": REGION, "environment": "Main!"})
    assert (stack.work / "data" / "providers").is_dir()
