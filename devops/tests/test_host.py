"""An instance from its user data to its end: MLflow behind a password, a database that outlives it, timers."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from host_shop import EXPERIMENTS, PASSWORD, Launch, World
from instance_shop import Machine

from wms_ops.cloud.host.boot import STEPS

pytest_plugins = ["host_fixtures"]

SEARCH = f"{EXPERIMENTS}/search"
ASKED = {"max_results": 1}


def test_boots_and_says_so_step_by_step(world: World, host: Launch) -> None:
    world.hypervisor.wait(lambda: world.boot(host).get("k3s", {}).get("state") == "done", "k3s")
    steps = world.boot(host)
    assert list(steps) == list(STEPS)
    assert {one["state"] for one in steps.values()} == {"done"}
    said = host.machine.log() + host.machine.log("wms-host")
    assert "TORCH_BACKEND=cpu" in said and "Traceback" not in said


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
    origin = f"http://{public}:{host.mlflow_port}"
    assert host.ask(SEARCH, ASKED, Host=public, Origin=origin)[0] == 200
    assert host.ask(SEARCH, ASKED, Host=public, Origin="http://evil.example")[0] == 403


def test_the_password_is_nowhere_to_be_seen(host: Launch) -> None:
    for process in host.machine.processes():
        seen = [*process.cmdline(), *process.environ().values()]
        assert not [one for one in seen if PASSWORD in one], process
    files = [path for path in host.machine.folder.rglob("*") if path.is_file() and "opt" not in path.parts]
    assert len(files) > 5
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]


def test_metrics_survive_the_instance(world: World) -> None:
    first = world.until_up(world.launch())
    for name in ("periodically", "at the end"):
        assert first.ask(f"{EXPERIMENTS}/create", {"name": name})[0] == 200
        if name == "periodically":
            world.hypervisor.wait(first.backups.latest, "a periodic backup", 30)
    world.terminate(first)
    latest = first.backups.latest()
    assert latest is not None and latest.launch_id == first.launch_id
    second = world.until_up(world.launch(first.environment))
    assert second.experiments() == {"Default", "periodically", "at the end"}

    # A power cut takes no more than what no backup has; an agent that crashes takes nothing.
    assert second.ask(f"{EXPERIMENTS}/create", {"name": "kept"})[0] == 200
    agent = second.machine.agent()
    assert agent is not None
    agent.kill()
    world.hypervisor.wait(lambda: _is_another(second.machine, agent.pid), "another agent")
    world.hypervisor.wait(lambda: _answers(second), "MLflow")
    assert "kept" in second.experiments()
    note = second.mailbox.backup()
    latest = second.backups.latest()
    assert latest is not None and latest.key >= note.key
    second.machine.cut_power()
    world.terminate(second)
    third = world.until_up(world.launch(first.environment))
    assert "kept" in third.experiments()
    world.terminate(third)


def _is_another(machine: Machine, pid: int) -> bool:
    agent = machine.agent()
    return agent is not None and agent.pid != pid


def _answers(launch: Launch) -> bool:
    try:
        return launch.ask(SEARCH, ASKED)[0] == 200
    except OSError:
        return False


def test_a_step_that_fails_is_reported(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    def prepare(machine: Machine) -> None:
        (machine.folder / "wrong-k3s").touch()

    world.hypervisor.before_boot = prepare
    try:
        launch = world.until_up(world.launch())  # without k3s MLflow is there all the same
        world.hypervisor.wait(lambda: world.boot(launch).get("k3s", {}).get("state") == "failed", "k3s' failure")
        assert not (launch.machine.folder / "usr/local/bin/k3s").exists()
        world.terminate(launch)
        world.hypervisor.before_boot = lambda machine: (machine.folder / "no-dnf").touch()
        launch = world.launch()
        step = world.hypervisor.wait(lambda: world.boot(launch).get("packages", {}), "a report")
        world.hypervisor.wait(lambda: world.boot(launch)["packages"]["state"] == "failed", "the step's failure")
        step = world.boot(launch)["packages"]
        assert "bootstrap.sh ended with 1" in step["sentence"]
        world.terminate(launch)
    finally:
        world.hypervisor.before_boot = lambda _: None


def test_ends_by_its_own_timers(world: World) -> None:
    """A minute is a second here. None of the instances is touched from outside."""
    forgotten = world.launch(minutes=25)
    idle = world.launch(idle_minutes=6)
    late = world.launch(lifetime=timedelta(seconds=25))
    for launch in (idle, late):
        world.until_up(launch)
        assert launch.ask(f"{EXPERIMENTS}/create", {"name": "last words"})[0] == 200
    for launch in (idle, late, forgotten):
        world.until_off(launch)
    assert "for the idle time; a last backup" in idle.machine.log("wms-host")
    assert "The deadline is near; a last backup" in late.machine.log("wms-host")
    for launch in (idle, late):
        note = launch.backups.latest()
        assert note is not None and note.launch_id == launch.launch_id
        assert json.loads(launch.objects.get(f"host/{launch.launch_id}/alive.json").content)["phase"] == "stopping"
