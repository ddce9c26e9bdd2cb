"""Parts of the host that need no instance: when it ends, what it's told, what travels."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from wms_ops.cloud.host import boot
from wms_ops.cloud.host.config import HostConfig, Pace
from wms_ops.cloud.host.parcel import adopt, incoming, outgoing, pack, unpack
from wms_ops.cloud.host.timers import Limits, Verdict, decide
from wms_ops.errors import CloudError
from wms_ops.git import Git

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


@pytest.mark.parametrize(
    ("now", "last_used", "jobs", "idle_s", "expected"),
    [
        (1000, 0, 0, 0, Verdict.GO_ON),  # idleness ends nothing unless asked to
        (1000, 401, 0, 600, Verdict.GO_ON),
        (1000, 400, 0, 600, Verdict.IDLE),
        (1000, 0, 1, 600, Verdict.GO_ON),  # a job is no idleness, however long it takes
        (9760, 9759, 1, 600, Verdict.DEADLINE),
        (9759, 9759, 1, 0, Verdict.GO_ON),
        (99999, 0, 0, 600, Verdict.DEADLINE),
    ],
)
def test_when_an_instance_ends(now: float, last_used: float, jobs: int, idle_s: float, expected: Verdict) -> None:
    limits = Limits(deadline=10_000, margin_s=240, idle_s=idle_s)
    assert decide(limits, now=now, last_used=last_used, jobs=jobs) is expected


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
    parcel = target.with_name("parcel.tar.gz")
    pack({name: source / name for name in files}, parcel)
    adopt(parcel, target, files)
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
    for name in ("secret.txt", ".cache/blob", "runs/one/metrics", "new.txt", "WMS/data/dataset/images/1.png"):
        (client / name).parent.mkdir(parents=True, exist_ok=True)
        (client / name).write_text(name)
    files = send(client, host)
    assert (host / "runs/one/metrics").exists() and (host / "new.txt").exists() and (host / "dir/ü b.txt").exists()
    assert not [name for name in ("secret.txt", ".cache", "WMS") if (host / name).exists()]
    assert Git(host)("rev-parse", "HEAD") == Git(client)("rev-parse", "HEAD")
    assert Git(host)("status", "--porcelain") == "?? new.txt"
    assert incoming(host, files) == []

    for name in ("runs/one/metrics", "runs/two/model", "a.txt", "WMS/data/dataset/images/2.png", ".cache/x", "ignored"):
        (host / name).parent.mkdir(parents=True, exist_ok=True)
        (host / name).write_text("made there")
    assert incoming(host, files) == ["a.txt", "ignored", "runs/one/metrics", "runs/two/model"]
    (client / "gone.txt").unlink()
    files = send(client, host)
    assert not (host / "gone.txt").exists() and (host / "a.txt").read_text() == "a.txt"
    for name in ("runs/one/metrics", "runs/two/model", "WMS/data/dataset/images/2.png"):  # what commands have made
        assert (host / name).read_text() == "made there"
    back = tmp_path / "back.tar.gz"
    pack({name: host / name for name in incoming(host, files)}, back)
    unpack(back, client)
    assert (client / "runs/two/model").read_text() == "made there"
    assert (client / "WMS/data/dataset/images/1.png").exists() and not list(client.glob(".wms-parcel*"))


def test_an_archive_cant_reach_out_of_its_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    archive = tmp_path / "bad.tar.gz"
    (tmp_path / "file").write_text("x")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "file", "../outside")
    with pytest.raises(CloudError, match="can't be unpacked"):
        unpack(archive, tmp_path / "inside")
    assert not outside.exists()
    archive.write_bytes(b"no archive")
    with pytest.raises(CloudError, match="can't be unpacked"):
        unpack(archive, tmp_path / "inside")


def test_the_boot_report_needs_nothing_but_python_3_9() -> None:
    code = f"import ast, sys; ast.parse(open({boot.__file__!r}).read(), feature_version=(3, 9))"
    subprocess.run([sys.executable, "-c", code], check=True)
