"""`wms doctor` and `wms status`: what is there, what isn't, and never a wait without an end."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from servers import free_port

from wms.errors import UNHEALTHY
from wms.registry.metadata import NOTHING_PROMOTED
from wms_ops.base.errors import GitError
from wms_ops.base.layout import METADATA
from wms_ops.commands import doctor, status
from wms_ops.commands.checks_records import check_records
from wms_ops.commands.finding import Finding, State
from wms_ops.commands.main import main
from wms_ops.commands.parallel import ask_all
from wms_ops.commands.roles import CHECKS

ROOT = Path(__file__).resolve().parents[2]
URL = "s3://somewhere/dvc"


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of an origin that has a data branch, and nobody's keys, settings or servers."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI", "WMS_CLOUD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("WMS_DVC_URL", URL)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    seed, origin, folder = tmp_path / "seed", tmp_path / "origin.git", tmp_path / "clone"
    git(tmp_path, "init", "-q", "-b", "main", str(seed))
    (seed / "hooks").mkdir()
    (seed / "hooks" / "pre-push").write_text("#!/bin/sh\n", encoding="utf-8")
    (seed / ".dvc").mkdir()
    (seed / ".dvc" / "config").write_text(f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {URL}\n")
    (seed / METADATA).write_text(NOTHING_PROMOTED, encoding="utf-8")
    git(seed, "add", ".")
    git(seed, "commit", "-q", "-m", "Start")
    git(seed, "branch", "data/20261121-103000")
    git(tmp_path, "clone", "-q", "--bare", str(seed), str(origin))
    git(tmp_path, "clone", "-q", str(origin), str(folder))
    return folder


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, timeout=60)


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(capsys.readouterr().out)}


def test_each_check_says_what_it_found_and_what_mends_it(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--repo", str(clone), "--json"]) == UNHEALTHY
    found = findings(capsys)
    assert list(found) == list(CHECKS)
    assert (found["hook"]["state"], found["hook"]["mend"]) == ("missing", "wms hook")
    assert found["bucket"]["state"] == "missing"
    assert "wms cloud up" in found["MLflow"]["mend"]
    assert all(one["mend"] for one in found.values() if one["state"] != "fine")
    monkeypatch.chdir(clone)
    assert main(["hook"]) == 0
    capsys.readouterr()
    main(["doctor", "--repo", str(clone), "--json"])
    assert findings(capsys)["hook"]["state"] == "fine"


def test_a_person_reads_one_line_for_each_and_a_verdict(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--repo", str(clone)]) == UNHEALTHY
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("hook          MISSING ") for line in lines)
    assert lines[-1].startswith("Missing: hook, bucket")


def test_all_that_is_needed_is_enough(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fine = {
        name: (lambda _, name=name: Finding(name, State.FINE, "yes"), needed) for name, (_, needed) in CHECKS.items()
    }
    optional = (lambda _: Finding("model", State.OPTIONAL, "no", "wms sync"), False)
    monkeypatch.setattr(doctor, "CHECKS", {**fine, "model": optional})
    assert main(["doctor", "--repo", str(clone)]) == 0
    assert capsys.readouterr().out.endswith("All that is needed is here.\n")


def test_what_never_answers_is_done_without(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        found = {one.name: one for one in doctor.examine(clone, limit_s=2)}
        assert time.monotonic() - began < 30
    assert (found["bucket"].state, found["bucket"].text) == (State.MISSING, "no answer within 2 s")
    assert found["git"].state is State.FINE


def test_an_error_is_an_answer_too() -> None:
    def fails(_: Path) -> object:
        raise GitError("no clone")

    answers = ask_all({"one": lambda _: 1, "two": fails}, ROOT)
    assert answers["one"] == 1
    assert str(answers["two"]) == "no clone"


def test_status_tells_the_clone(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--repo", str(clone), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"repository", "data_set", "production", "instance", "loop_runs", "data_branches"}
    assert (found["repository"]["branch"], found["repository"]["changed"]) == ("main", False)
    assert found["data_set"] == {"version": None, "images": 0, "bytes": 0}
    assert found["production"] == {"version": None}
    assert found["instance"] == {"target": "local", "state": "absent", "mlflow": None, "service": None}
    assert found["data_branches"] == {"branches": ["data/20261121-103000"], "asked": True}


def test_a_null_version_is_no_damage_and_damage_is_named(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No model is Production yet; then somebody edits the file that says so."""
    path = clone / METADATA

    def told() -> tuple[Finding, str]:
        main(["status", "--repo", str(clone)])
        return check_records(clone), capsys.readouterr().out

    path.write_text(NOTHING_PROMOTED, encoding="utf-8")
    found, screen = told()
    assert found.state is State.FINE and found.text.endswith("no model was ever promoted")
    assert "production    no model is Production yet\n" in screen
    path.write_text(NOTHING_PROMOTED.replace('"run_id": null', '"run_id": "a"'), encoding="utf-8")
    found, screen = told()
    assert found.state is State.MISSING and found.mend == f"git restore {METADATA}"
    assert found.text.startswith(f"{path} is damaged: ") and "run_id doesn't fit model_version null" in found.text
    assert f"production    no model is Production yet\n{'':14}{found.text}\n" in screen


def test_status_says_what_it_could_not_ask(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    git(clone, "remote", "set-url", "origin", str(clone.parent / "gone.git"))
    monkeypatch.setenv("WMS_CLOUD", "azure")
    assert main(["status", "--repo", str(clone)]) == 0
    out = capsys.readouterr().out
    assert "data branches data/20261121-103000 by the last fetch (the origin didn't answer)" in out
    assert "instance      not known: WMS_CLOUD is 'azure'" in out
    assert len(out.splitlines()) <= 24


def test_status_outside_of_a_clone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.COMMAND(["--repo", str(tmp_path)]) == 0
    assert "repository    not known: " in capsys.readouterr().out
