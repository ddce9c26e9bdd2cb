"""`wms accept`: the judgement of each seam, the signature of the report, and what is refused before anything starts."""

from __future__ import annotations

import argparse
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from s3_server import require_tool

from wms.errors import UsageError
from wms_ops.accept import facts as facts_module
from wms_ops.accept.facts import Facts, Job, SeamState, judge
from wms_ops.accept.report import NAMESPACE, page, sign, signing_key, write_report
from wms_ops.accept.watch import Acceptance
from wms_ops.base.errors import StoreUnreachableError
from wms_ops.commands import accept
from wms_ops.git.command import Git
from wms_ops.storage.names import Names

GOOD = Facts(
    repository="acme/meters",
    origin="https://github.com/acme/meters.git",
    account="123456789012",
    region="eu-west-1",
    environment="main",
    begun_at=datetime(2026, 11, 29, 10, tzinfo=UTC),
    seed=7,
    photos=40,
    most_usd=1.0,
    most_minutes=30.0,
    branch="data/20261129-100000",
    commit="a" * 40,
    role="arn:aws:iam::123456789012:role/wms-github",
    registry="123456789012.dkr.ecr.eu-west-1.amazonaws.com/wms-main",
    start_run="https://github.com/acme/meters/actions/runs/1",
    start_result="success",
    run="https://github.com/acme/meters/actions/runs/2",
    run_event="workflow_dispatch",
    run_branch="main",
    run_result="success",
    jobs=tuple(Job(name=name, result="success", seconds=9) for name in ("data", "train", "release", "down", "tell")),
    instance="i-0123456789abcdef0",
    boot=dict.fromkeys(("packages", "environment", "agent", "restore", "mlflow", "k3s"), "done"),
    pull="https://github.com/acme/meters/pull/1",
    pull_state="merged",
    check="success",
    version=1,
    ledger_run="abc",
    is_recorded=True,
    left=(),
    usd=0.02,
    minutes=12.0,
)


def failed(facts: Facts) -> set[str]:
    return {one.name for one in judge(facts) if one.state is SeamState.FAILED}


def without(job: str) -> dict[str, Any]:
    return {"jobs": tuple(one for one in GOOD.jobs if one.name != job)}


def test_all_that_was_seen_passes() -> None:
    assert [one.state for one in judge(GOOD)] == [SeamState.PASSED] * 11


@pytest.mark.parametrize(
    ("change", "seams"),
    [
        ({"unset": ("environment",)}, {"environment"}),
        ({"start_result": ""}, {"dispatch"}),
        ({"run_event": "push"}, {"dispatch"}),
        ({"run_branch": "data/20261129-100000"}, {"dispatch"}),
        (without("data"), {"OIDC"}),
        ({"instance": ""}, {"Terraform"}),
        ({"boot": {**GOOD.boot, "mlflow": "running"}}, {"boot"}),
        ({"boot": {**GOOD.boot, "k3s": "failed"}}, {"k3s"}),
        (without("train"), {"MLflow"}),
        (without("release"), {"MLflow"}),
        ({"version": None}, {"MLflow"}),
        ({"registry": ""}, {"ECR"}),
        ({"pull_state": "blocked"}, {"merge"}),
        ({"check": "failure"}, {"merge"}),
        ({"is_recorded": False}, {"merge"}),
        ({"left": ("instance i-0123456789abcdef0",)}, {"teardown"}),
        ({"left": None}, {"teardown"}),
        (without("down"), {"teardown"}),
        ({"usd": 1.01}, {"limits"}),
        ({"minutes": 30.5}, {"limits"}),
        ({"usd": None}, {"limits"}),
    ],
)
def test_each_seam_fails_alone(change: dict[str, Any], seams: set[str]) -> None:
    assert failed(GOOD.changed(**change)) == seams


def test_keys_of_a_session_leave_oidc_unchecked() -> None:
    states = {one.name: one.state for one in judge(GOOD.changed(role=""))}
    assert states["OIDC"] is SeamState.UNCHECKED and not failed(GOOD.changed(role=""))


def test_nothing_that_was_seen_passes_nothing() -> None:
    nothing = Facts(
        **{name: GOOD.model_dump()[name] for name, field in Facts.model_fields.items() if field.is_required()}
    )
    assert {one.name for one in judge(nothing) if one.state is SeamState.PASSED} == {"environment"}
    assert not nothing.is_over and nothing.changed(start_result="failure").is_over


def test_the_page_escapes_what_others_said(tmp_path: Path) -> None:
    harm = GOOD.changed(registry="<script>|x|", repository="a*b*")
    text = page(harm, judge(harm))
    assert "<script>" not in text and "\\*b\\*" in text and "**Accepted.**" in text
    report = write_report(tmp_path, harm, judge(harm))
    assert json.loads(report.read_text())["facts"]["registry"] == harm.registry


def test_a_report_is_signed_by_a_key_and_a_change_is_noticed(tmp_path: Path) -> None:
    keygen = str(require_tool("ssh-keygen"))
    key, allowed = tmp_path / "key", tmp_path / "allowed"
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    allowed.write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    report = write_report(tmp_path, GOOD, judge(GOOD))
    for _ in range(2):  # again over an earlier signature
        signature = sign(report, key)
    command = [keygen, "-Y", "verify", "-n", NAMESPACE, "-f", str(allowed), "-I", "ada@example.org", "-s", signature]

    def verified() -> bool:
        return subprocess.run(command, input=report.read_bytes(), capture_output=True, check=False).returncode == 0

    assert verified()
    report.write_text(report.read_text().replace("passed", "failed", 1))
    assert not verified()
    with pytest.raises(UsageError, match="doesn't sign the report"):
        sign(report, allowed)


def test_which_key_signs(tmp_path: Path) -> None:
    git = Git(tmp_path, environ={"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"})
    git("init", "--quiet")
    assert signing_key(git, None) is None
    with pytest.raises(UsageError, match="isn't there"):
        signing_key(git, tmp_path / "none")
    key = tmp_path / "key"
    key.write_text("x")
    with pytest.raises(UsageError, match="doesn't sign"):  # before anything is started
        signing_key(git, key)
    key.unlink()
    subprocess.run([str(require_tool("ssh-keygen")), "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    git("config", "user.signingkey", str(key))
    assert signing_key(git, None) is None, "a key of another kind signs commits"
    git("config", "gpg.format", "ssh")
    assert signing_key(git, None) == key


def test_an_origin_elsewhere_and_damaged_facts_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "origin_of", lambda _: "/srv/meters.git")
    with pytest.raises(UsageError, match="isn't at GitHub"):
        accept.COMMAND.run(argparse.Namespace())
    path = tmp_path / "facts.json"
    assert accept._left_off(path) is None
    path.write_text("{")
    with pytest.raises(UsageError, match="delete it"):
        accept._left_off(path)
    path.write_text(GOOD.model_dump_json())
    assert accept._left_off(path) == GOOD


@pytest.mark.parametrize("words", ["--usd nan", "--usd inf", "--usd -1", "--photos 1000000000", "--minutes 99999999"])
def test_limits_that_are_none_are_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        accept.COMMAND.parser().parse_args(words.split())
    assert "isn't a" in capsys.readouterr().err


def test_main_may_have_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_module, "main_branch", lambda: "trunk")
    assert failed(GOOD.changed(run_branch="trunk")) == set() and failed(GOOD) == {"dispatch"}


def test_facts_of_another_account_are_not_gone_on_with(tmp_path: Path) -> None:
    names = Names("main", GOOD.account, GOOD.region)
    accept._require_same(tmp_path, GOOD, "https://ada:secret@github.com/acme/meters.git", names)
    for url, here in (("https://github.com/a/b.git", names), (GOOD.origin, Names("main", "2" * 12, GOOD.region))):
        with pytest.raises(UsageError, match=r"belongs to an acceptance of https://github\.com/acme/meters\.git, 123"):
            accept._require_same(tmp_path, GOOD, url, here)


def test_a_key_that_nobody_unlocks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(*_: Any, **__: Any) -> None:
        raise subprocess.TimeoutExpired("ssh-keygen", 120)

    key = tmp_path / "key"
    key.touch()
    Git(tmp_path)("init", "--quiet")
    monkeypatch.setattr(
        "wms_ops.accept.report.subprocess", SimpleNamespace(run=wait, TimeoutExpired=subprocess.TimeoutExpired)
    )
    with pytest.raises(UsageError, match="no passphrase for it within 120 s"):
        signing_key(Git(tmp_path), key)


def test_a_github_that_is_down_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, kept = list[str](), list[Facts]()
    answers: list[Facts | Exception] = [StoreUnreachableError("GitHub can't be asked."), GOOD]

    def look(*_: Any) -> Facts:
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    monkeypatch.setattr(Acceptance, "_runs", look)
    monkeypatch.setattr(Acceptance, "_instance", lambda _, facts: facts)
    nothing: Any = None
    here = Acceptance(tmp_path, "", nothing, nothing, kept.append, said.append, pause_s=0.001)
    assert here.follow(GOOD.changed(run_result=""), 60) == GOOD and kept == [GOOD]
    assert said[0] == "warning: GitHub can't be asked."
