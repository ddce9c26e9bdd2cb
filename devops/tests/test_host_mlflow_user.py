"""A process that has taken over MLflow on an instance: another user, without the instance's files and keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from entrance_table import Row
from host_shop import BUCKET, PASSWORD, Launch, World
from instance_shop import USERS
from servers import cannot_test, require_tool
from unit_sandbox import options_of

from wms.paths import ROOT
from wms_ops.base.errors import AccessDeniedError, CloudError
from wms_ops.storage.bucket import Bucket
from wms_ops.targets.aws.show import host_lines
from wms_ops.targets.host import credentials
from wms_ops.targets.host.backup import Backups
from wms_ops.targets.host.credentials import MlflowKeys, policy
from wms_ops.targets.host.messages import Alive

pytest_plugins = ["host_fixtures"]

UNITS = ROOT / "infrastructure" / "bootstrap"
STOPPED = "a user of its own"


def mlflow_of(host: Launch) -> psutil.Process:
    found = [one for one in host.machine.processes() if "wms_ops.machine.mlflow_server" in one.cmdline()]
    own = [one for one in found if one.name().startswith("python")]
    assert len(own) == 1, found
    return own[0]


@pytest.fixture
def intruder(host: Launch) -> Callable[[str], str]:
    """Runs Python code with all that MLflow's process has: its user, its view of the files, its variables."""
    if os.geteuid() != 0:
        cannot_test("only root can start a process as another user")
    process = mlflow_of(host)
    uid = str(USERS["wms-mlflow"])
    way = ["nsenter", "--target", str(process.pid), "--mount", "--", "setpriv", "--reuid", uid, "--regid", uid]
    way += ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--", sys.executable, "-c"]

    def run(code: str) -> str:
        done = subprocess.run([*way, code], env=process.environ(), capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip()

    return run


@pytest.mark.attack(
    "someone with MLflow's password",
    "root by way of MLflow's process",
    "a user of its own without capabilities",
)
def test_mlflow_runs_as_another_user_without_capabilities(host: Launch, intruder: Callable[[str], str]) -> None:
    process = mlflow_of(host)
    assert set(process.uids()) == set(process.gids()) == {USERS["wms-mlflow"]}
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    assert status["NoNewPrivs"] == "1" and status["Groups"].strip() == ""
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert intruder("import os; print(os.getuid())") == str(USERS["wms-mlflow"])


@pytest.mark.attack(
    "someone with MLflow's password",
    "other files by way of MLflow's process",
    "a read-only file system but for its folder",
)
def test_mlflows_user_reads_and_writes_its_own_folder_alone(
    host: Launch, intruder: Callable[[str], str], entrance: Row
) -> None:
    state = host.machine.folder / "var/lib/wms"
    host.queue.backup()
    own = [state / name for name in ("scratch", "door/run", "work", "service")]
    assert own[0].exists() and own[1].exists()  # the others come with a job and a version
    of_root = [path for path in Path("/root").iterdir() if path.is_file()]
    for path in (*(path for path in own if path.exists()), *of_root[:1], Path("/etc/shadow")):
        said = intruder(f"import os; p = {str(path)!r}; print(os.listdir(p) if os.path.isdir(p) else open(p).read())")
        assert "Permission denied" in said or "No such file" in said, (path, said)
    outside = (
        "/etc/cron.d/x",
        "/root/x",
        str(state / "x"),
        str(state / "access/x"),
        str(host.machine.folder / "opt/wms/x"),
    )
    for name in (*outside, str(state / "access/credentials.json"), str(state / "door/haproxy.cfg")):
        said = intruder(f"open({name!r}, 'a').write('x')")
        assert "Permission denied" in said or "Read-only file system" in said or "No such file" in said, (name, said)
    assert intruder(f"open({str(state / 'mlflow/own')!r}, 'w').write('x')") == ""
    assert (state / "mlflow/own").read_text() == "x"
    entrance("MLflow", "its process reads /root, the agent's files, writes /etc", "permission denied", STOPPED)


@pytest.mark.attack(
    "someone with MLflow's password",
    "the instance's keys by way of MLflow's process",
    "keys of a role of its own",
)
def test_mlflows_user_has_neither_the_password_nor_the_instances_keys(
    world: World, host: Launch, intruder: Callable[[str], str], entrance: Row
) -> None:
    code = "import boto3; print(boto3.Session().get_credentials().get_frozen_credentials().access_key)"
    taken = intruder(code)
    assert taken.startswith("ASIA") and taken != world.aws.environ["AWS_ACCESS_KEY_ID"]
    seen = intruder("import os; print(dict(os.environ))")
    assert world.aws.environ["AWS_SECRET_ACCESS_KEY"] not in seen and PASSWORD not in seen
    access = host.machine.folder / "var/lib/wms/access"
    assert not [path for path in access.iterdir() if PASSWORD.encode() in path.read_bytes()]
    alive = host.queue.alive()
    assert alive is not None and alive.mlflow_rights == "role"
    entrance("MLflow", "its process asks for the instance's keys", "gets its role's: mlflow/* alone", STOPPED)


class Sts:
    """AWS's STS: `mine` is who asks, `allowed` which roles may be taken."""

    def __init__(self, mine: str, *allowed: str) -> None:
        self.mine, self.allowed, self.asked = mine, allowed, list[dict[str, Any]]()

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "123456789012", "Arn": self.mine}

    def assume_role(self, **asked: Any) -> dict[str, Any]:
        from datetime import UTC, datetime

        self.asked.append(asked)
        if asked["RoleArn"] not in self.allowed:
            raise AccessDeniedError("no")
        keys = {"AccessKeyId": "ASIATAKEN", "SecretAccessKey": "s", "SessionToken": "t"}
        return {"Credentials": {**keys, "Expiration": datetime(2026, 11, 28, tzinfo=UTC)}}


LAB = "arn:aws:sts::123456789012:assumed-role/LabRole/i-0123"
LAB_ROLE = "arn:aws:iam::123456789012:role/LabRole"
OWN_ROLE = "arn:aws:iam::123456789012:role/wms-main-mlflow"


@pytest.mark.parametrize(
    ("role", "sts", "rights"),
    [
        ("wms-main-mlflow", Sts(LAB, OWN_ROLE), "role"),
        (None, Sts(LAB, LAB_ROLE), "narrowed"),
        (None, Sts(LAB), "instance"),
        (None, Sts("arn:aws:iam::123456789012:user/ana"), "instance"),
    ],
)
def test_the_keys_that_an_account_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str | None, sts: Sts, rights: str
) -> None:
    monkeypatch.setattr(credentials, "make_client", lambda *_, **__: sts)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAINSTANCE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    keys = MlflowKeys(tmp_path, os.geteuid(), "b", "us-east-1", role, "20261125-100000-ab12cd")
    keys.renew_if_due()
    keys.renew_if_due()
    assert keys.rights == rights and len(sts.asked) <= 1
    given = json.loads((tmp_path / "credentials.json").read_text())
    assert given["AccessKeyId"] == ("AKIAINSTANCE" if rights == "instance" else "ASIATAKEN")
    assert given["Version"] == 1 and given["Expiration"]
    assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o640
    sign = Alive(launch_id="l", beat=1, at="2026-11-28T10:00:00+00:00", phase="running", mlflow_rights=keys.rights)
    assert ("rights of the whole instance" in "\n".join(host_lines(sign))) == (rights == "instance")
    if rights == "narrowed":
        narrow = json.loads(sts.asked[0]["Policy"])
        assert narrow == policy("b") and "mlflow/*" in narrow["Statement"][0]["Resource"][0]


def test_a_role_that_cant_be_taken_ends_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "make_client", lambda *_, **__: Sts(LAB))
    monkeypatch.setattr(credentials, "_NEW_ROLE_S", 0.1)
    with pytest.raises(CloudError, match="may not take the role none-such"):
        MlflowKeys(tmp_path, os.geteuid(), "b", "us-east-1", "none-such", "s").renew()
    assert not list(tmp_path.iterdir())


@pytest.mark.attack(
    "someone with MLflow's password",
    "a link in MLflow's folder that root's backup follows",
    "a scratch folder; links are refused",
)
def test_links_in_mlflows_folder_lead_the_backup_nowhere(tmp_path: Path, world: World) -> None:
    """The agent is root; MLflow's user may put links where the agent reads and writes."""
    own, secret = tmp_path / "mlflow", tmp_path / "secret.db"
    own.mkdir()
    secret.write_text("a database of root's")
    for name in ("backup.tmp", "backup.gz", "mlflow.db"):
        (own / name).symlink_to(secret)
    bucket = Bucket(BUCKET, world.aws.client("s3"))
    backups = Backups(bucket, "links", "20261125-100000-ab12cd", own / "mlflow.db", scratch=tmp_path / "scratch")
    with pytest.raises(CloudError, match="is a link instead of MLflow's database"):
        backups.save()
    assert secret.read_text() == "a database of root's" and not bucket.names("backup/links/")


@pytest.mark.attack(
    "someone with MLflow's password",
    "the instance's own keys from the metadata service, by IPv6 too",
    "denied to the units of MLflow and the door",
)
def test_no_unit_with_a_user_reaches_the_metadata_service() -> None:
    denied = {unit.name: set(options_of(str(unit)).get("IPAddressDeny", [""])[0].split()) for unit in _with_user()}
    assert denied.keys() == {"wms-mlflow.service", "wms-door.service"}
    assert all(found == {"169.254.169.254", "fd00:ec2::254"} for found in denied.values()), denied


def _with_user() -> list[Path]:
    return [unit for unit in UNITS.glob("*.service") if "User" in options_of(str(unit))]


@pytest.mark.parametrize("name", ["wms-mlflow", "wms-door"])
def test_systemd_finds_the_units_sound_and_safe(name: str, tmp_path: Path) -> None:
    analyze = require_tool("systemd-analyze")
    unit = tmp_path / f"{name}.service"
    text = (UNITS / unit.name).read_text().replace("@PREFIX@", "").replace("ReadWritePaths=", "ReadWritePaths=-")
    # The programs and users are those of an instance.
    unit.write_text(
        text.replace("/opt/wms/code/.venv/bin/python", "/bin/true").replace("/usr/sbin/haproxy", "/bin/true")
    )
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert unit.name not in done.stderr, done.stderr
    # 0 is safest, 100 a unit that asks for nothing.
    safe = [analyze, "security", "--offline=true", "--threshold=20", unit]
    done = subprocess.run(safe, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
