"""Jobs for an instance by its mailbox: commands, their output and files, and releases that are served."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from aws_server import REGION
from cloud_shop import Models, ask, eventually, fetch
from host_shop import BUCKET, Launch, World
from test_host_parts import repository

from wms_ops.base.errors import CloudError
from wms_ops.targets.host.message_queue import MessageQueue, new_job
from wms_ops.targets.host.messages import Alive, Keys

pytest_plugins = ["host_fixtures"]
pytestmark = pytest.mark.slice("jobs of an instance", of=2)

TALK = """
import os, sys, time
from pathlib import Path
print("first", flush=True)
print("second, on the other stream", file=sys.stderr, flush=True)
Path("runs/one").mkdir(parents=True, exist_ok=True)
Path("runs/one/metrics.jsonl").write_text("made there")
Path("a.txt").write_text("changed there")
print(os.environ["CHOSEN"], sys.executable != sys.argv[1], Path.cwd() == Path(sys.argv[2]), flush=True)
import mlflow
print(len(mlflow.search_experiments()) > 0, os.environ["MLFLOW_TRACKING_URI"].startswith("http://127.0.0.1:"))
print("no line end", end="")
sys.exit(7)
"""
CLIENT = """
import sys
from pathlib import Path
from wms_ops.targets.host.message_queue import MessageQueue
from wms_ops.storage.bucket import Bucket
bucket, region, launch, job, folder, log, *command = sys.argv[1:]
mailbox = MessageQueue(Bucket.open(bucket, region), launch, poll_s=0.1)
sys.exit(mailbox.run(command, folder=Path(folder), log=Path(log), show=lambda t: print(t, flush=True), job=job))
"""
WAIT = """
import os, pathlib, time
print("pid", os.getpid(), flush=True)
while not pathlib.Path({path!r}).exists():
    time.sleep(0.05)
print("end")
"""
SLEEP = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"


def client(world: World, host: Launch, job: str, folder: Path, *, log: Path, code: str) -> subprocess.Popen[str]:
    """A process that has the host run a piece of Python."""
    environ = {**os.environ, **world.aws.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [BUCKET, REGION, host.launch_id, job, str(folder), str(log), sys.executable, "-c", code]
    command = [sys.executable, "-c", CLIENT, *words]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True)


def left(host: Launch, job: str) -> list[str]:
    """A job's objects."""
    keys = Keys(host.launch_id)
    return host.objects.names(keys.of(job)) + host.objects.names(keys.request(job))


def test_a_command_talks_returns_its_code_and_leaves_its_files(host: Launch, tmp_path: Path) -> None:
    folder, log, said = repository(tmp_path / "client's folder"), tmp_path / "logs" / "job.log", []
    job = new_job()
    command = [sys.executable, "-c", TALK, str(folder / "not python"), str(folder)]
    code = host.queue.run(command, folder=folder, log=log, environ={"CHOSEN": "ü 1"}, show=said.append, job=job)
    assert code == 7, said
    assert said == ["first", "second, on the other stream", "ü 1 True True", "True True", "no line end"]
    assert log.read_text() == "\n".join(said)
    assert (folder / "runs/one/metrics.jsonl").read_text() == "made there"
    assert (folder / "a.txt").read_text() == "a.txt", "code isn't a result"
    assert left(host, job) == []

    # The next command finds what the one before has made, and the folder as it is here.
    (folder / "gone.txt").unlink()
    seen = "P('runs/one/metrics.jsonl').exists(), P('gone.txt').exists(), P('.git').is_dir()"
    check = f"from pathlib import Path as P; print({seen})"
    assert host.queue.run([sys.executable, "-c", check], folder=folder, log=log, show=said.append) == 0
    assert said[-1] == "True False True"
    with pytest.raises(CloudError, match="`no-such-program` can't be started"):
        host.queue.run(["no-such-program"], folder=folder, log=log)
    long = "import sys; [print(n, 'x' * 80) for n in range(40000)]"
    lines: list[str] = []
    assert host.queue.run([sys.executable, "-c", long], folder=folder, log=log, show=lines.append) == 0
    assert [int(line.split()[0]) for line in lines] == list(range(40000))


def test_ended_here_is_ended_there(world: World, host: Launch, tmp_path: Path) -> None:
    folder = repository(tmp_path / "client")
    for number, ending in enumerate((signal.SIGINT, signal.SIGTERM)):
        process = client(world, host, new_job(), folder, log=tmp_path / f"{number}.log", code=SLEEP)
        assert process.stdout is not None
        pid = int(process.stdout.readline().split()[1])
        assert psutil.pid_exists(pid)
        process.send_signal(ending)
        process.communicate(timeout=60)
        assert process.returncode != 0
        eventually(lambda pid=pid: not psutil.pid_exists(pid))


def test_a_client_that_was_killed_finds_its_job_again_and_nothing_is_doubled(
    world: World, host: Launch, tmp_path: Path
) -> None:
    folder, job, go = repository(tmp_path / "client"), new_job(), tmp_path / "go"
    code = WAIT.format(path=str(go))
    process = client(world, host, job, folder, log=tmp_path / "one.log", code=code)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.kill()
    process.communicate()
    again = client(world, host, job, folder, log=tmp_path / "two.log", code=code)
    assert again.stdout is not None and again.stdout.readline() == first
    go.touch()
    rest, _ = again.communicate(timeout=60)
    assert (rest, again.returncode) == ("end\n", 0)
    assert (tmp_path / "two.log").read_text() == f"{first}end\n"

    # Under another name: the command that nobody waits for gives way.
    lost = client(world, host, new_job(), folder, log=tmp_path / "three.log", code=SLEEP)
    assert lost.stdout is not None
    pid = int(lost.stdout.readline().split()[1])
    lost.kill()
    lost.communicate()
    assert host.queue.run([sys.executable, "-c", "print(1)"], folder=folder, log=tmp_path / "four.log") == 0
    assert not psutil.pid_exists(pid)


def test_a_dead_host_is_given_up(host: Launch, tmp_path: Path) -> None:
    folder = repository(tmp_path / "client")
    nobody = MessageQueue(host.objects, "20261101-000000-abcdef", poll_s=0.05, dead_s=0.5)
    with pytest.raises(CloudError, match=r"no sign of life for .* end it with `down`"):
        nobody.run(["true"], folder=folder, log=tmp_path / "log")
    sign = Alive(launch_id=nobody.launch_id, beat=5, at="2026-11-01T00:00:00+00:00", phase="running")
    host.objects.put(Keys(nobody.launch_id).alive, sign.model_dump_json().encode())  # an old one
    with pytest.raises(CloudError, match="no sign of life"):
        nobody.roll_back()
    ending = sign.model_copy(update={"phase": "stopping"})
    host.objects.put(Keys(nobody.launch_id).alive, ending.model_dump_json().encode())
    with pytest.raises(CloudError, match="is shutting down"):
        nobody.backup()


def test_releases_are_served_behind_one_port(host: Launch, models: Models, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{host.service_port}"
    with pytest.raises(urllib.error.HTTPError, match="503"):
        fetch(url)
    assert host.queue.roll_back() is None
    host.queue.deploy(models.one)
    assert version(url) == told(host) == 1
    bad: dict[str, Any] = {
        "has the SHA-256": replace(models.two, weights_sha256="0" * 64),
        r"holds no production\.pth": replace(models.two, model=tmp_path / "nothing"),
    }
    damaged = tmp_path / "damaged"
    shutil.copytree(models.two.model, damaged)
    (damaged / "production.onnx").write_bytes(b"no model")
    bad["can't be served; version 1 is served on"] = replace(models.two, model=damaged)
    for message, release in bad.items():
        with pytest.raises(CloudError, match=message):
            host.queue.deploy(release)
        assert version(url) == 1
    host.queue.deploy(models.two)
    assert version(url) == told(host) == 2
    assert host.queue.roll_back() == 1 and version(url) == told(host) == 1

    service = [one for one in host.machine.processes() if "wms.serving" in " ".join(one.cmdline())]
    assert len(service) == 1
    service[0].kill()  # it comes back by itself
    eventually(lambda: works(url))
    assert version(url) == 1
    alive = host.queue.alive()
    assert alive is not None and alive.version == 1 and alive.idle_s < 60


def told(host: Launch) -> int | None:
    """The served version by the host's sign of life, which is newer than the answer to the last job."""
    alive = host.queue.alive()
    assert alive is not None
    return alive.version


def version(url: str) -> int:
    return int(ask(f"{url}/version")["version"])


def works(url: str) -> bool:
    try:
        return json.loads(fetch(f"{url}/health"))["status"] == "healthy"
    except OSError:
        return False
