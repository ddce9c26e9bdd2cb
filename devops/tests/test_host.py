"""An instance from its user data to its end: MLflow behind a password, a database that outlives it, timers."""

from __future__ import annotations

import contextlib
import urllib.error
from datetime import timedelta

import pytest
from cloud_shop import fetch
from host_shop import EXPERIMENTS, PASSWORD, Launch, World
from instance_shop import Machine

from wms_ops.targets.host.boot import STEPS

pytest_plugins = ["host_fixtures"]

SEARCH = f"{EXPERIMENTS}/search"
ASKED = {"max_results": 1}


def test_boots_and_says_so_step_by_step(world: World, host: Launch) -> None:
    world.hypervisor.wait(lambda: state(world, host, "k3s") == "done", "k3s")
    steps = world.boot(host)
    assert list(steps) == list(STEPS)
    assert {one["state"] for one in steps.values()} == {"done"}
    said = host.machine.log() + host.machine.log("wms-host")
    assert "install FOR=train serve cloud" in said and "Traceback" not in said


def test_mlflow_asks_for_the_password_and_knows_its_own_name(host: Launch) -> None:
    assert host.ask(SEARCH, ASKED)[0] == 200
    for login in (None, "wms:", f"wms:{PASSWORD}x", "wms:wrong", f"somebody:{PASSWORD}", f"WMS:{PASSWORD}"):
        assert host.ask(SEARCH, ASKED, login=login)[0] == 401, login
    for broken in ("Basic", "Basic ====", "Basic d21z", f"Bearer {PASSWORD}", "Basic \xff"):
        assert host.ask(SEARCH, ASKED, login=None, Authorization=broken)[0] == 401, broken
    assert host.ask("/", login=None)[0] == 401
    assert host.ask("/health", login=None) == (200, "OK")
    public = host.machine.address
    assert public
    for name in (public, f"{public}:{host.mlflow_port}", "localhost", f"127.0.0.1:{host.mlflow_port}"):
        assert host.ask(SEARCH, ASKED, Host=name)[0] == 200, name
    for name in ("evil.example", f"{public}.evil.example", f"{public}:1", "10.0.0.1", ""):
        assert host.ask(SEARCH, ASKED, Host=name)[0] == 403, name
    # Its own pages post with an Origin; a page of somebody else's must not.
    origin = f"https://{public}:{host.mlflow_port}"
    assert host.ask(SEARCH, ASKED, Host=public, Origin=origin)[0] == 200
    assert host.ask(SEARCH, ASKED, Host=public, Origin="http://evil.example")[0] == 403


def test_what_counts_as_use(world: World, host: Launch) -> None:
    def idle_s() -> float:
        alive = host.queue.alive()
        assert alive is not None
        return alive.idle_s

    world.hypervisor.wait(lambda: idle_s() > 2, "idleness")
    own = f"host:{PASSWORD}"
    beats = host.queue.alive()
    for login in (own, "wms:wrong", None):  # the instance's own requests, and those of nobody
        host.ask(SEARCH, ASKED, login=login)
    host.ask("/health", login=None)
    world.hypervisor.wait(lambda: host.queue.alive().beat > beats.beat + 1, "signs of life")
    assert idle_s() > 2
    assert host.ask(SEARCH, ASKED)[0] == 200
    world.hypervisor.wait(lambda: idle_s() < 1, "a request to MLflow")
    world.hypervisor.wait(lambda: idle_s() > 2, "idleness")
    with contextlib.suppress(urllib.error.HTTPError):  # nothing may be served
        fetch(f"http://127.0.0.1:{host.service_port}/version")
    world.hypervisor.wait(lambda: idle_s() < 1, "a request to the service")


def test_the_password_is_nowhere_to_be_seen(host: Launch) -> None:
    for process in host.machine.processes():
        seen = [*process.cmdline(), *process.environ().values()]
        assert not [one for one in seen if PASSWORD in one], process
    files = [path for path in host.machine.folder.rglob("*") if path.is_file() and "opt" not in path.parts]
    assert len(files) > 5
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]


@pytest.mark.slice("ends of an instance", of=2)
def test_metrics_survive_the_instance(world: World) -> None:
    """One database through four ends: by AWS, by a crash, by a power cut and by idleness. A minute is a second here."""
    with world.prepared("wrong-k3s"):
        first = world.until_up(world.launch())  # without k3s MLflow is there all the same
    for name in ("periodically", "at the end"):
        assert create(first, name)
        if name == "periodically":
            world.hypervisor.wait(first.backups.latest, "a periodic backup", 30)
    world.hypervisor.wait(lambda: state(world, first, "k3s") == "failed", "k3s' failure")
    assert not (first.machine.folder / "usr/local/bin/k3s").exists()
    world.terminate(first)
    latest = first.backups.latest()
    assert latest is not None and latest.launch_id == first.launch_id

    second = world.until_up(world.launch(first.environment))
    assert second.experiments() == {"Default", "periodically", "at the end"}
    assert create(second, "kept")
    agent = second.machine.agent()
    assert agent is not None
    agent.kill()  # systemd starts another, which goes on with the database on the disk
    world.hypervisor.wait(lambda: _is_another(second.machine, agent.pid), "another agent")
    world.hypervisor.wait(lambda: _answers(second), "MLflow")
    assert "kept" in second.experiments()
    note = second.queue.backup()
    latest = second.backups.latest()
    assert latest is not None and latest.key >= note.key
    second.machine.cut_power()
    world.terminate(second)

    third = world.until_up(world.launch(first.environment, idle_minutes=8))
    assert "kept" in third.experiments()
    assert create(third, "last words")
    world.until_off(third)  # nobody touches it
    assert "for the idle time; a last backup" in third.machine.log("wms-host")
    latest = third.backups.latest()
    assert latest is not None and latest.launch_id == third.launch_id
    alive = third.queue.alive()
    assert alive is not None and alive.phase == "stopping"


@pytest.mark.slice("ends of an instance", of=2)
def test_ends_at_its_deadline_and_when_it_never_came_up(world: World) -> None:
    with world.prepared("no-dnf"):
        broken = world.launch(minutes=8)
    late = world.until_up(world.launch(lifetime=timedelta(seconds=25)))
    assert create(late, "last words")
    for launch in (broken, late):
        world.until_off(launch)  # nobody touches them
    assert "The deadline is near; a last backup" in late.machine.log("wms-host")
    latest = late.backups.latest()
    assert latest is not None and latest.launch_id == late.launch_id
    assert state(world, broken, "packages") == "failed"
    assert "bootstrap.sh ended with 1" in world.boot(broken)["packages"]["sentence"]


def create(launch: Launch, name: str) -> bool:
    return launch.ask(f"{EXPERIMENTS}/create", {"name": name})[0] == 200


def state(world: World, launch: Launch, step: str) -> str:
    return world.boot(launch).get(step, {}).get("state", "")


def _is_another(machine: Machine, pid: int) -> bool:
    agent = machine.agent()
    return agent is not None and agent.pid != pid


def _answers(launch: Launch) -> bool:
    try:
        return launch.ask(SEARCH, ASKED)[0] == 200
    except OSError:
        return False
