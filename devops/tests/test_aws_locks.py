"""Terraform's locks: those whose holder is gone are broken, and no other one."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_server import ACCOUNT, REGION, AwsServer
from terraform_tool import terraform_environ

from wms.errors import run_main
from wms_ops.commands.cloud_reap import COMMAND
from wms_ops.storage.bucket import Bucket, Shared
from wms_ops.storage.names import Names
from wms_ops.targets.aws.lease import LeaseClient
from wms_ops.targets.aws.locks import GRACE, Lock, break_stale_lock, is_stale, locked_states

pytest_plugins = ["aws_fixtures"]
pytestmark = pytest.mark.slice("locks at AWS", of=2)

NOW = datetime(2026, 11, 25, 18, 30, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=30)
LATER = NOW + timedelta(minutes=30)
STATE = "instance/main.tfstate"
BUCKET = Names("main", ACCOUNT, REGION).state_bucket


@pytest.mark.parametrize(
    ("age", "is_held", "stale"),
    [
        (timedelta(seconds=119), False, False),
        (timedelta(minutes=2), False, True),
        (timedelta(minutes=2), True, False),
        (timedelta(minutes=30), True, False),
        (timedelta(minutes=31), True, True),
    ],
)
def test_which_locks_are_stale(age: timedelta, is_held: bool, stale: bool) -> None:
    assert is_stale(Lock(key="k", etag="e", since=NOW - age, age=age), is_held) is stale


def lock_of(aws: AwsServer, key: str = STATE, **values: str) -> None:
    s3 = aws.client("s3")
    aws.make_bucket(BUCKET)
    content = {"ID": "1-2", "Operation": "OperationTypeApply", "Who": "ana@laptop", "Created": "x", **values}
    s3.put_object(Bucket=BUCKET, Key=f"{key}.tflock", Body=json.dumps(content))


def locks(aws: AwsServer) -> list[tuple[str, str]]:
    return list(locked_states(Bucket(BUCKET, aws.client("s3"))))


def broken(aws: AwsServer, *, after: timedelta = timedelta(minutes=5), is_held: bool = False, **options: Any) -> Any:
    """Break the lock as if it had been taken that much earlier."""
    return break_stale_lock(Bucket(BUCKET, aws.client("s3")), STATE, is_held=is_held, grace=GRACE - after, **options)


def test_a_stale_lock_is_broken_and_its_holder_named(aws: AwsServer) -> None:
    assert locks(aws) == []
    assert broken(aws) is None
    lock_of(aws)
    lock_of(aws, "persistent/other.tfstate")
    assert locks(aws) == [("main", STATE), ("other", "persistent/other.tfstate")]
    said: list[str] = []
    assert broken(aws, is_held=True, show=said.append) is None
    assert broken(aws, after=timedelta(minutes=1), show=said.append) is None
    assert broken(aws, dry_run=True, show=said.append).who == "ana@laptop"
    assert len(locks(aws)) == 2
    assert broken(aws, show=said.append).id == "1-2"
    assert [text.split(":")[0] for text in said[:3]] == ["Terraform is at work", "Terraform is at work", "Stale"]
    assert "held by ana@laptop for apply since 20" in said[3]
    assert locks(aws) == [("other", "persistent/other.tfstate")]


def test_a_lock_that_nobody_can_read_is_one_all_the_same(aws: AwsServer) -> None:
    lock_of(aws)
    aws.client("s3").put_object(Bucket=BUCKET, Key=f"{STATE}.tflock", Body=b"{")
    assert broken(aws, after=timedelta(minutes=1)) is None
    assert broken(aws) is not None
    assert locks(aws) == []


def test_a_lock_that_was_taken_in_between_is_never_broken(aws: AwsServer) -> None:
    """The condition is S3's: whatever happens between the last look and the deletion, another lock stays."""
    lock_of(aws)
    s3, said = aws.client("s3"), []

    def another(**_: Any) -> None:
        lock_of(aws, ID="3-4", Who="ben@laptop")

    s3.meta.events.register("before-call.s3.DeleteObject", another)
    lock, grace = Bucket(BUCKET, s3), timedelta(0)
    assert break_stale_lock(lock, STATE, is_held=False, grace=grace, show=said.append) is None
    assert "it has changed" in said[0]
    assert locks(aws) == [("main", STATE)]


CONFIGURATION = """
terraform {
  backend "s3" {
    bucket                      = "BUCKET"
    key                         = "instance/main.tfstate"
    region                      = "eu-central-1"
    use_lockfile                = true
    use_path_style              = true
    skip_credentials_validation = true
    skip_requesting_account_id  = true
  }
}
resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "cat fifo"
  }
}
"""


@contextmanager
def terraform_at_work(aws: AwsServer, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An `apply` that holds the lock until somebody writes into `fifo`."""
    aws.make_bucket(BUCKET)
    (folder / "main.tf").write_text(CONFIGURATION.replace("BUCKET", BUCKET))
    os.mkfifo(folder / "fifo")
    environ = {**os.environ, **terraform_environ(folder / "settings", provider=False)}
    subprocess.run(
        ["terraform", "init", "-input=false"], cwd=folder, env=environ, check=True, timeout=120, capture_output=True
    )
    command = ["terraform", "apply", "-auto-approve", "-input=false"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while b"local-exec" not in (folder / "log").read_bytes():
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)  # a poll's pause
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
        process.wait(timeout=30)


def test_terraforms_own_lock(aws: AwsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Held by a real Terraform it stays, as long as the lease beats; after a SIGKILL it's broken."""
    names = Names("main", ACCOUNT, REGION)
    leases = LeaseClient(Shared(Bucket(BUCKET, aws.client("s3")), names.lease_key))
    with terraform_at_work(aws, tmp_path) as process:
        assert locks(aws) == [("main", STATE)]
        leases.take("ana@laptop", datetime.now(UTC) + timedelta(hours=1))
        assert broken(aws, is_held=leases.is_beating()) is None
        assert run_main(COMMAND, []) == 0
        assert "Terraform is at work: the lock instance/main.tfstate.tflock" in capsys.readouterr().out
        assert locks(aws) == [("main", STATE)]
        os.killpg(process.pid, 9)
        process.wait(timeout=30)
    assert locks(aws) == [("main", STATE)], "a killed Terraform leaves its state locked"
    later = LeaseClient(leases.shared, now=lambda: datetime.now(UTC) + timedelta(minutes=5))
    assert not later.is_beating()
    lock = broken(aws, is_held=later.is_beating())
    assert lock.operation == "OperationTypeApply"
    assert "@" in lock.who
    assert locks(aws) == []
