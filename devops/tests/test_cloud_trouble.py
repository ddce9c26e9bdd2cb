"""What can be wrong with the machine under a local cloud: ports, files, programs, space. One sentence each."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud_shop import close_and_check, listening, new_cloud, roles

from wms.errors import DiskFullError, UsageError
from wms_ops.base.errors import CloudError
from wms_ops.commands.main import main
from wms_ops.machine import servers, storage
from wms_ops.machine.record import STATE, ServerRecord
from wms_ops.machine.types import CloudState
from wms_ops.machine.workspace import S3
from wms_ops.targets.factory import open_cloud
from wms_ops.targets.local import LocalCloud

pytestmark = pytest.mark.slice("trouble of a cloud", of=2)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    """A cloud of the test's own, not started."""
    cloud = new_cloud(tmp_path)
    try:
        yield cloud
    finally:
        cloud.close()
        assert roles(cloud) == []


def test_ports_that_somebody_took(cloud: LocalCloud) -> None:
    cloud.storage_up()
    first = cloud.workspace.read().s3_ports
    cloud.close()
    taken = [first["s3.port"]]

    def take(step: str) -> None:
        """At the first start's last moment one of the new ports is taken, too."""
        if step == "begun" and len(taken) == 1:
            taken.append(cloud.workspace.read().s3_ports["master.port"])
            others.enter_context(listening(taken[-1]))

    with contextlib.ExitStack() as others:
        others.enter_context(listening(taken[0]))
        LocalCloud(cloud.folder, step=take).storage_up()
        assert len(taken) == 2
    assert not set(taken) & set(cloud.workspace.read().s3_ports.values())
    assert roles(cloud) == [S3]


def test_a_state_that_is_out_of_date(cloud: LocalCloud) -> None:
    cloud.storage_up()
    for process in cloud.processes():
        process.kill()
        process.wait(30)
    with subprocess.Popen(["sleep", "600"]) as other:  # it has got the number of a server that is gone
        record = cloud.workspace.read()
        cloud.workspace.write(
            record.with_server(S3, ServerRecord(pid=other.pid, started_at="2026-11-21T10:00:00+00:00"))
        )
        cloud.storage_up()
        assert roles(cloud) == [S3]
        close_and_check(cloud)
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b'{"format": 2}'], ids=["torn", "empty", "bytes", "newer"])
def test_a_state_that_is_damaged(
    cloud: LocalCloud, content: bytes, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    torn = request.node.callspec.id == "torn"
    if torn:  # with a process under it
        cloud.storage_up()
    cloud.folder.mkdir(exist_ok=True)
    (cloud.folder / STATE).write_bytes(content)
    for act in (cloud.storage_up, cloud.status, cloud.down, cloud.endpoints, cloud.environ):
        newer = b"format" in content
        words = "newer version.*update" if newer else r"state.json is damaged.*down --all"
        with pytest.raises(CloudError, match=words):
            act()
    assert roles(cloud) == ([S3] if torn else [])
    assert main(["cloud", "down", "--all", "--folder", str(cloud.folder)]) == 0
    assert "Nothing of the local cloud runs" in capsys.readouterr().out
    assert roles(cloud) == []
    assert cloud.status() is CloudState.ABSENT


def test_a_program_that_is_missing_or_fails(cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(CloudError, match=r"`weed`\) isn't installed; run `make install FOR=cloud`"):
        cloud.up()
    assert roles(cloud) == []
    broken = tmp_path / "bin" / "weed"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nfor i in $(seq 20); do echo line $i; done\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(
        CloudError, match=r"(?s)S3 ended at its start.*s3\.log, ends so:\n.*line 19\n  line 20"
    ) as caught:
        cloud.storage_up()
    assert "line 12" not in str(caught.value)
    broken.write_text("#!/bin/sh\necho write data: no space left on device\nexit 1\n")
    with pytest.raises(DiskFullError, match="No space left on the disk for S3"):
        cloud.storage_up()
    broken.write_text("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setattr(servers.wait, "__defaults__", (0.5,))
    with pytest.raises(CloudError, match="S3 doesn't answer after"):
        cloud.storage_up()
    assert roles(cloud) == []


def test_no_space(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "FREE_MIB", 10**9)
    with pytest.raises(DiskFullError, match=r"MiB are free .* needs 2000000000 MiB"):
        cloud.up()
    assert roles(cloud) == []


def test_a_folder_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        main(["cloud", "up", "--folder", str(tmp_path / "file")])
    assert caught.value.code == UsageError.exit_code
    assert f"{tmp_path / 'file'} isn't a folder" in capsys.readouterr().err


def test_commands_show_what_runs(cloud: LocalCloud, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--folder", str(cloud.folder)]
    assert main(["cloud", "status", *where]) == 0
    said = capsys.readouterr().out
    assert "is absent" in said and "process" not in said
    assert not cloud.folder.exists()
    cloud.storage_up()
    assert main(["cloud", "status", *where]) == 0
    said = capsys.readouterr().out
    environ = cloud.environ()
    assert environ["AWS_ENDPOINT_URL_S3"] in said and str(cloud.workspace.logs) in said
    assert environ["AWS_SECRET_ACCESS_KEY"] not in said
    assert main(["cloud", "status", "--json", *where]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["target"], facts["state"], facts["mlflow"]) == ("local", "absent", None)
    assert [one["address"] for one in facts["processes"]] == [environ["AWS_ENDPOINT_URL_S3"]]
    assert main(["cloud", "environ", *where]) == 0
    lines = capsys.readouterr().out
    shown = subprocess.run(
        ["sh", "-c", f'{lines}printf %s "$AWS_SECRET_ACCESS_KEY"'], capture_output=True, text=True, check=True
    )
    assert shown.stdout == environ["AWS_SECRET_ACCESS_KEY"]
    assert main(["cloud", "down", *where]) == 0 and roles(cloud) == [S3]
    assert main(["cloud", "down", "--all", *where]) == 0 and roles(cloud) == []
    assert main(["cloud", "down", "--all", *where]) == 0


def test_names_of_clouds(tmp_path: Path) -> None:
    assert open_cloud("local", tmp_path).name == "local"
    with pytest.raises(UsageError, match="no cloud 'moon'; choose one of: local"):
        open_cloud("moon", tmp_path)
