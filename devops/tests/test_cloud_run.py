"""Commands on the local cloud: heard while they run, and ended with whoever started them or with the cloud."""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path

import pytest
from cloud_shop import Models, begin, eventually, new_cloud, roles

from wms.errors import UnwritableError
from wms_ops.base.errors import CloudError
from wms_ops.machine.processes import is_taken
from wms_ops.machine.workspace import RUN, S3
from wms_ops.targets.local import LocalCloud

pytest_plugins = ["cloud_fixtures"]

# A command with a child of its own that took itself out of the command's session.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("family", os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


def commands(cloud: LocalCloud) -> int:
    return roles(cloud).count("run")


def test_output_exit_code_and_variables(cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    log, said = tmp_path / "logs" / "run.log", list[str]()
    code = "import os, sys; print(os.getcwd(), *(os.environ.get(n) for n in sys.argv[1:])); print('ü', file=sys.stderr)"
    names = ["AWS_PROFILE", "MLFLOW_TRACKING_URI", "WMS_OWN", "AWS_SESSION_TOKEN"]
    for _ in range(2):
        done = cloud.run(
            [sys.executable, "-c", f"{code}; print('a\\rb', end=''); sys.exit(3)", *names],
            folder=tmp_path,
            log=log,
            environ={"WMS_OWN": "own"},
            show=said.append,
        )
        assert done == 3
    endpoints = cloud.endpoints()
    assert endpoints is not None
    assert said[:4] == [f"{tmp_path} default {endpoints.mlflow} own ", "ü", "a", "b"]
    assert log.read_text().count("own") == 2
    assert cloud.run(["sh", "-c", "kill -9 $$"], folder=tmp_path, log=log) == 128 + 9
    assert cloud.run(["sh", "-c", "sleep 600 & echo done"], folder=tmp_path, log=log, show=said.append) == 0
    assert said[-1] == "done"  # what still holds the pipe isn't waited for
    left = [one.process for one in cloud.workspace.find() if one.role.startswith("run")]
    assert len(left) == 1
    left[0].kill()
    eventually(lambda: commands(cloud) == 0)


def test_what_cant_be_run(cloud: LocalCloud, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    with pytest.raises(CloudError, match="`no-such-program` can't be started: No such file"):
        cloud.run(["no-such-program"], folder=tmp_path, log=log)
    with pytest.raises(CloudError, match=r"in .*nowhere, which isn't a folder"):
        cloud.run(["true"], folder=tmp_path / "nowhere", log=log)
    with pytest.raises(UnwritableError):
        cloud.run(["true"], folder=tmp_path, log=tmp_path / "run.log" / "under a file")

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cloud.run([sys.executable, "-c", FAMILY], folder=tmp_path, log=log, show=stop)
    assert commands(cloud) == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_ends_with_who_started_it(cloud: LocalCloud, number: signal.Signals) -> None:
    starter = begin(cloud, "run", sys.executable, "-c", FAMILY)
    assert starter.stdout is not None
    name, *pids = starter.stdout.readline().split()
    assert name == "family"
    found = {one.process.pid: one.role.split(" ")[:2] for one in cloud.workspace.find()}
    assert [found[int(pid)] for pid in pids] == [[RUN, str(starter.pid)]] * 2
    assert cloud.run(["true"], folder=cloud.folder, log=cloud.folder / "other.log") == 0
    assert commands(cloud) == 2  # others are left alone as long as somebody waits for them
    starter.send_signal(number)
    said, _ = starter.communicate(timeout=60)
    assert "Traceback" not in said
    if number == signal.SIGKILL:  # nobody could tidy up, so the next one does
        assert commands(cloud) == 2
        assert cloud.run(["true"], folder=cloud.folder, log=cloud.folder / "other.log") == 0
    else:
        assert starter.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert commands(cloud) == 0


def test_commands_and_the_service_end_with_the_cloud(cloud: LocalCloud, models: Models, tmp_path: Path) -> None:
    url = cloud.deploy(models.one)
    starter = begin(cloud, "run", sys.executable, "-c", FAMILY)
    assert starter.stdout is not None
    starter.stdout.readline()
    cloud.down()
    assert roles(cloud) == [S3] and not is_taken(int(url.rpartition(":")[2])) and not cloud.workspace.releases.exists()
    starter.communicate(timeout=60)
    assert starter.returncode == 128 + signal.SIGTERM
    for one in (cloud, new_cloud(tmp_path)):
        run = partial(one.run, ["true"], folder=tmp_path, log=tmp_path / "run.log")
        for act in (run, one.roll_back, partial(one.deploy, models.one)):
            with pytest.raises(CloudError, match=r"isn't up; start it with `wms cloud up --target local --folder '"):
                act()
    assert not one.folder.exists()
