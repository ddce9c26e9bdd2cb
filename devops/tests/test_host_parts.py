"""Parts of the host that need no instance: when it ends, what it's told, what travels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wms_ops.base.errors import CloudError
from wms_ops.git.command import Git
from wms_ops.targets.host import boot
from wms_ops.targets.host.agent import why_end
from wms_ops.targets.host.archive import pack
from wms_ops.targets.host.commit import pack_commit
from wms_ops.targets.host.config import HostConfig, Pace
from wms_ops.targets.host.transfer import adopt, incoming, outgoing, unpack

CONFIG = {
    "environment": "main",
    "region": "us-east-1",
    "launch_id": "20261125-100000-ab12cd",
    "deadline": "2026-11-25T18:00:00+00:00",
    "idle_minutes": 30,
    "mlflow_bucket": "m",
    "dvc_bucket": "d",
    "mlflow_port": 5000,
    "service_port": 8000,
}

IDLE, DEADLINE = "Nobody has asked for anything for the idle time", "The deadline is near"


@pytest.mark.parametrize(
    ("now", "last_used", "jobs", "idle_s", "expected"),
    [
        (1000, 0, 0, 0, None),  # idleness ends nothing unless asked to
        (1000, 401, 0, 600, None),
        (1000, 400, 0, 600, IDLE),
        (1000, 0, 1, 600, None),  # a job is no idleness, however long it takes
        (9760, 9759, 1, 600, DEADLINE),
        (9759, 9759, 1, 0, None),
        (99999, 0, 0, 600, DEADLINE),
    ],
)
def test_when_an_instance_ends(now: float, last_used: float, jobs: int, idle_s: float, expected: str | None) -> None:
    assert why_end(10_000 - 240, idle_s, now=now, last_used=last_used, jobs=jobs) == expected


def test_what_an_instance_is_told_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    path.write_text(json.dumps(CONFIG))
    assert HostConfig.load(path).deadline_s == 1795629600
    bad = {
        "deadline: Input should": {"deadline": "soon"},
        "deadline: .*timezone": {"deadline": "2026-11-25T18:00:00"},
        "idle_minutes: ": {"idle_minutes": -1},
        "mlflow_port: ": {"mlflow_port": 0},
        "pasword: Extra inputs": {"pasword": "secret"},
    }
    for message, change in bad.items():
        path.write_text(json.dumps({**CONFIG, **change}))
        with pytest.raises(CloudError, match=message):
            HostConfig.load(path)
    with pytest.raises(CloudError, match="can't be read: No such file"):
        HostConfig.load(tmp_path / "none.json")
    with pytest.raises(CloudError, match="WMS_HOST_PACE is wrong"):
        Pace.of({"WMS_HOST_PACE": '{"poll_s": 0}'})


def test_the_boot_report_begins_anew_with_another_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))  # no AWS CLI: the report is kept, and its log says so
    path = tmp_path / "host.json"
    path.write_text(json.dumps(CONFIG))
    for step, state in (("packages", "done"), ("k3s", "running"), ("packages", "failed")):
        assert not boot.report(path, tmp_path, step, state, "a 'sentence' with \"quotes\"")
    assert "didn't reach /wms/main/boot" in capsys.readouterr().err
    known = json.loads((tmp_path / boot.REPORT).read_text())
    assert [(one["step"], one["state"]) for one in known["steps"]] == [("packages", "failed"), ("k3s", "running")]
    path.write_text(json.dumps({**CONFIG, "launch_id": "20261126-100000-ab12cd"}))
    boot.report(path, tmp_path, "agent", "done")
    known = json.loads((tmp_path / boot.REPORT).read_text())
    assert known["launch_id"].startswith("20261126") and [one["step"] for one in known["steps"]] == ["agent"]
    with pytest.raises(ValueError, match="packags done: use one of packages"):
        boot.report(path, tmp_path, "packags", "done")


def test_the_names_of_steps_are_those_of_the_script() -> None:
    script = Path(__file__).resolve().parents[2].joinpath("infrastructure/bootstrap/bootstrap.sh").read_text()
    begun = [line.split()[1] for line in script.splitlines() if line.startswith("begin ")]
    assert set(begun) | {"restore", "mlflow"} == set(boot.STEPS) and len(begun) == 4


def repository(folder: Path) -> Path:
    git = Git(folder, {"user.name": "t", "user.email": "t@example.org"})
    folder.mkdir()
    git("init", "--quiet")
    (folder / ".gitignore").write_text("runs/\n.cache/\nsecret.txt\n/WMS/data/dataset/images\n")
    for name in ("a.txt", "gone.txt", "dir/ü b.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    git("add", "--all")
    git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "all")
    return folder


def send(source: Path, target: Path) -> dict[str, str]:
    files = outgoing(source)
    archive, commit = target.with_name("files.tar.gz"), target.with_name("commit.pack")
    pack({name: source / name for name in files}, archive)
    adopt(archive, target, files, commit=pack_commit(source, commit), pack=commit)
    return files


def test_of_finished_runs_only_the_newest_travels(tmp_path: Path) -> None:
    client = repository(tmp_path / "client")
    ends = {"run_1": "2026-01-01", "run_2": None, "run_3": "2026-01-03", "run_4": "2026-01-04", "run_5": "half"}
    for name, end in ends.items():
        (client / "runs" / name / "checkpoints").mkdir(parents=True)
        (client / "runs" / name / "checkpoints" / "best.pt").write_text(name)
        text = "{" if end == "half" else json.dumps({"finished_at": end} if end else {})
        (client / "runs" / name / "metadata.json").write_text(text)
    (client / "runs" / "data_versions.jsonl").write_text("{}")
    sent = {name.removeprefix("runs/") for name in outgoing(client) if name.startswith("runs/")}
    whole = {f"{run}/{name}" for run in ("run_2", "run_5") for name in ("metadata.json", "checkpoints/best.pt")}
    assert sent == {*whole, "run_4/metadata.json", "data_versions.jsonl"}
    # On the way back everything new comes but what only a run that isn't finished needs.
    back = {name.removeprefix("runs/") for name in incoming(client, {}) if name.startswith("runs/")}
    assert back == {*whole, *(f"{run}/metadata.json" for run in ("run_1", "run_3", "run_4")), "data_versions.jsonl"}


def test_a_folder_travels_and_comes_back(tmp_path: Path) -> None:
    client, host = repository(tmp_path / "client"), tmp_path / "host" / "tree"
    host.parent.mkdir()
    data, made = "WMS/data/dataset/images/1.png", ("runs/one/metrics.jsonl", "runs/two/model.onnx")
    for name in ("secret.txt", ".cache/blob", made[0], "new.txt", data):
        (client / name).parent.mkdir(parents=True, exist_ok=True)
        (client / name).write_text(name)
    Git(client)("add", "new.txt")
    files = send(client, host)
    assert (host / made[0]).exists() and (host / "new.txt").exists() and (host / "dir/ü b.txt").exists()
    assert not [name for name in ("secret.txt", ".cache", "WMS") if (host / name).exists()]
    assert Git(host)("rev-parse", "HEAD") == Git(client)("rev-parse", "HEAD")
    assert Git(host)("status", "--porcelain") == "?? new.txt"
    assert incoming(host, files) == []

    back_there = (*made, "WMS/data/splits.jsonl")
    for name in (*back_there, "a.txt", "WMS/data/dataset/images/2.png", ".cache/x", "ignored", "runs/two/a.py"):
        (host / name).parent.mkdir(parents=True, exist_ok=True)
        (host / name).write_text("made there")
    (host / "runs/link.json").symlink_to("/etc/passwd")
    assert incoming(host, files) == sorted(back_there)
    (client / "gone.txt").unlink()
    files = send(client, host)
    assert not (host / "gone.txt").exists() and (host / "a.txt").read_text() == "a.txt"
    for name in (*made, "WMS/data/dataset/images/2.png"):  # what commands have made
        assert (host / name).read_text() == "made there"
    back = tmp_path / "back.tar.gz"
    pack({name: host / name for name in incoming(host, files)}, back)
    unpack(back, client)
    assert (client / made[1]).read_text() == "made there"
    assert (client / data).exists() and not list(client.glob(".wms-archive*"))


def test_the_boot_report_needs_nothing_but_python_3_9() -> None:
    code = f"import ast, sys; ast.parse(open({boot.__file__!r}).read(), feature_version=(3, 9))"
    subprocess.run([sys.executable, "-c", code], check=True)
