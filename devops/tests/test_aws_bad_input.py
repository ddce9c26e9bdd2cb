"""What a user meets who lacks something or makes a mistake: one sentence, what to run next, nothing left."""

from __future__ import annotations

import json
import subprocess
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aws_clone import Clone, assert_told
from aws_server import ACCOUNT, AwsServer
from servers import free_port, serving

from wms.errors import DECLINED

pytest_plugins = ["aws_fixtures", "aws_clone_fixtures"]
pytestmark = pytest.mark.slice("bad input to a cloud", of=3)

STOP = "devops/scripts/stop-cloud.sh"
SCRIPTS = {
    "deploy-to-cloud": ("--yes",),
    "stop-cloud": ("--yes",),
    "cloud-status": (),
    "cleanup-aws": ("--account", ACCOUNT),
}


def deploy(clone: Clone) -> subprocess.CompletedProcess[str]:
    return clone.run("deploy-to-cloud", "--yes")


def buckets(aws: AwsServer) -> list[str]:
    return [one["Name"] for one in aws.client("s3").list_buckets()["Buckets"]]


def diagnostic(summary: str) -> str:
    """A line of shell that fails as `terraform apply -json` does."""
    line = json.dumps({"type": "diagnostic", "diagnostic": {"severity": "error", "summary": summary, "detail": ""}})
    return f"cat <<'EOF'\n{line}\nEOF\nexit 1"


def test_no_terraform(clone: Clone, aws: AwsServer) -> None:
    (clone.bin / "terraform").unlink()
    assert_told(deploy(clone), 84, "Terraform isn't installed; install version 1.11", "then run this again")
    assert buckets(aws) == []


@pytest.mark.parametrize("version", ["1.5.0", "1.10.9-beta1"])
def test_an_old_terraform(clone: Clone, aws: AwsServer, version: str) -> None:
    clone.terraform(version)
    assert_told(deploy(clone), 84, f"Terraform {version} is too old; install version 1.11 or newer")
    assert buckets(aws) == []


@pytest.mark.parametrize(
    ("shown", "ends", "words"),
    [
        ("", 84, "Terraform shows nothing of its plan, so nothing was changed"),
        ('{"format_version": "1.2", "resource_ch', 84, "Terraform shows a part of its plan, so nothing was changed"),
        ('{"format_version": "2.0"}', 69, "Terraform's plan has another form than that of version 1.11"),
    ],
)
def test_a_terraform_whose_plan_cannot_be_read(clone: Clone, shown: str, ends: int, words: str) -> None:
    clone.terraform(persistent="echo applied >&2; exit 1")
    program = clone.bin / "terraform"
    program.write_text(program.read_text().replace('{"format_version": "1.2"}', shown))
    assert_told(deploy(clone), ends, words)


@pytest.mark.parametrize("content", ["#!/bin/sh\necho Segmentation fault\nexit 139\n", "\x7fELF for another machine"])
def test_a_terraform_that_does_not_work(clone: Clone, content: str) -> None:
    (clone.bin / "terraform").write_text(content)
    assert_told(deploy(clone), 84, "doesn't say its version; install Terraform 1.11 or newer")


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_credentials(clone: Clone, script: str) -> None:
    clone.more = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    done = clone.run(script, *SCRIPTS[script])
    assert_told(done, 70, "there are no usable AWS credentials", "Start Lab, AWS Details, Show", "aws configure")


def test_half_of_the_credentials_and_a_profile_that_is_none(clone: Clone) -> None:
    clone.more = {"AWS_SECRET_ACCESS_KEY": ""}
    assert_told(clone.run("cloud-status"), 70, "Start Lab")
    clone.more = {"AWS_PROFILE": "my team"}
    assert_told(clone.run("cloud-status"), 70, "my team")


class Refusing:
    """An AWS that answers each request with this code, counting them."""

    def __init__(self, code: str) -> None:
        self.requests = 0
        refusing = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                refusing.requests += 1
                error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>Really not. So it is.</Message></Error>"
                body = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>".encode()
                self.send_response(403)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.mark.parametrize(
    ("script", "code_", "exit_code", "words"),
    [
        ("deploy-to-cloud", "ExpiredToken", 71, ("have expired", "Start Lab", "~/.aws/credentials")),
        ("stop-cloud", "ExpiredToken", 71, ("have expired", "Start Lab", "~/.aws/credentials")),
        ("cloud-status", "InvalidClientTokenId", 72, ("doesn't know the access key", "check the region")),
    ],
)
def test_credentials_that_are_refused(
    clone: Clone, script: str, code_: str, exit_code: int, words: tuple[str, ...]
) -> None:
    aws = Refusing(code_)
    with serving(aws.server):
        clone.more = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.server.server_port}"}
        assert_told(clone.run(script, *SCRIPTS[script]), exit_code, *words)
    assert aws.requests == 1


def test_no_network(clone: Clone) -> None:
    clone.more = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    started = time.monotonic()
    assert_told(deploy(clone), 74, "AWS doesn't answer", "check the network, then run it again")
    assert time.monotonic() - started < 50  # nobody waits a minute to read that


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('instance_typ = "t3.large"\n', "line 1: there is no setting 'instance_typ'; did you mean instance_type?"),
        ("spot = true\ndisk_gb = 5\n", "line 2: disk_gb is 5"),
        ('region = "us-east-1\n', "line 1 can't be read"),
    ],
)
def test_a_typo_in_the_settings(clone: Clone, aws: AwsServer, text: str, words: str) -> None:
    clone.settings.write_text(text)
    assert_told(deploy(clone), 10, words, "wms.tfvars")
    assert buckets(aws) == []


def test_a_region_that_is_none(clone: Clone, aws: AwsServer) -> None:
    clone.settings.write_text('region = "us-est-1"\n')
    assert_told(deploy(clone), 2, "region 'us-est-1'; did you mean us-east-1?")
    assert buckets(aws) == []


def test_a_type_without_a_price(clone: Clone, aws: AwsServer) -> None:
    clone.settings.write_text('instance_type = "t9.large"\n')
    assert_told(deploy(clone), 2, "t9.large")
    assert buckets(aws) == []


@pytest.mark.parametrize(
    ("failure", "exit_code", "words"),
    [
        (
            "creating EC2 Instance: operation error EC2: RunInstances, https response error StatusCode: 400, api error "
            "VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 0 allows. Please "
            "visit http://aws.amazon.com/contact-us/ec2-request.",
            97,
            ("vCPU limit of 0", "smaller instance_type", "Service Quotas"),
        ),
        ("creating it: api error ExpiredToken: The security token included in the request is expired", 71, ("Lab",)),
        ("Unsupported argument", 84, ("Unsupported argument", "Its output is in", "apply-")),
    ],
)
def test_what_aws_refuses_to_terraform(clone: Clone, failure: str, exit_code: int, words: tuple[str, ...]) -> None:
    clone.make_store()
    clone.note_network()
    clone.terraform(instance=diagnostic(failure))
    done = deploy(clone)
    assert done.returncode == exit_code, done.stderr
    assert done.stderr.startswith("error: Can't run `terraform apply`: ") and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert "The start didn't succeed; ending what it has begun." in done.stdout
    status = clone.run("cloud-status")
    assert status.returncode == 0 and "absent" in status.stdout and "Held by" not in status.stdout


def other_account(aws: AwsServer, account: str) -> dict[str, str]:
    """Credentials of another account."""
    arn = f"arn:aws:iam::{account}:role/student"
    found = aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="student")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
        "AWS_SESSION_TOKEN": found["SessionToken"],
    }


def test_a_bucket_s_name_that_is_taken_in_the_store(clone: Clone) -> None:
    clone.terraform(
        persistent=diagnostic(
            "creating S3 Bucket (wms-main-dvc-1): operation error S3: CreateBucket, https response error StatusCode: "
            "409, api error BucketAlreadyExists: The requested bucket name is not available."
        )
    )
    assert_told(deploy(clone), 84, "taken by another account", "choose another environment")


@pytest.mark.parametrize("script", ["deploy-to-cloud", "stop-cloud", "cleanup-aws"])
def test_a_state_from_another_account(clone: Clone, aws: AwsServer, script: str) -> None:
    clone.make_store()
    folder = clone.folder / "terraform"
    folder.mkdir()
    (folder / "main.json").write_text(f'{{"account": "{ACCOUNT}", "region": "eu-central-1", "environment": "main"}}')
    clone.more = other_account(aws, "999999999999")
    arguments = ("--account", "999999999999") if script == "cleanup-aws" else ("--yes",)
    done = clone.run(script, *arguments)
    assert_told(done, 84, f"started in the account {ACCOUNT}", "belong to 999999999999", STOP)
    assert len(buckets(aws)) == 2


@pytest.mark.parametrize("script", ["deploy-to-cloud", "stop-cloud", "cleanup-aws"])
def test_nobody_to_ask(clone: Clone, aws: AwsServer, script: str) -> None:
    hint = "--account" if script == "cleanup-aws" else "add --yes"
    assert_told(clone.run(script), 2, "There is no terminal to ask on", hint)
    assert buckets(aws) == []


def test_a_wrong_account_number_changes_nothing(clone: Clone, aws: AwsServer) -> None:
    clone.make_store()
    done = clone.run("cleanup-aws", "--account", "111111111111")
    assert done.returncode == DECLINED and "nothing was changed" in done.stdout and done.stderr == ""
    assert len(buckets(aws)) == 2


def test_somebody_else_s_instance(clone: Clone, aws: AwsServer) -> None:
    clone.make_store()
    clone.terraform(instance=diagnostic("x"))
    deploy(clone)
    key = {"Bucket": f"wms-state-{ACCOUNT}-eu-central-1", "Key": "lease/main.json"}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    lease = {"holder": "ben@desk", "taken_at": now, "heartbeat_at": now, "until": now}
    aws.client("s3").put_object(**key, Body=json.dumps(lease))
    assert_told(deploy(clone), 85, "in use by ben@desk", STOP)
    assert json.loads(aws.client("s3").get_object(**key)["Body"].read())["holder"] == "ben@desk"


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_clone_that_was_never_installed(clone: Clone, script: str) -> None:
    (clone.bin / "python3").write_text("#!/bin/sh\nexit 1\n")
    assert_told(clone.run(script, *SCRIPTS[script]), 2, "run `make install` there, then this again")
    (clone.bin / "python3").unlink()
    assert_told(clone.run(script, *SCRIPTS[script]), 2, "run `make install` there, then this again")
