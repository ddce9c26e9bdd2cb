"""Line ends, escapes and turned writing: refused where a person writes a reason, visible wherever records are shown."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aws_server import AwsServer
from aws_yard import Yard
from report_values import gate_report
from test_model_card import entries

from wms import pages
from wms.errors import UsageError, run_main
from wms.paths import ROOT
from wms.tables import Column, print_table
from wms.text import literal
from wms_ops.commands import doctor, ledger
from wms_ops.commands.finding import Finding, State
from wms_ops.commands.main import main
from wms_ops.gate.report import markdown, terminal
from wms_ops.release.actor import who
from wms_ops.targets.aws import show as showing
from wms_ops.targets.aws.context import AwsContext
from wms_ops.targets.aws.inventory import Instance
from wms_ops.targets.aws.store_root import ensure_state_bucket

pytest_plugins = ["aws_fixtures"]

HIDDEN = {"a line end": "\n", "a return": "\r", "an escape": "\x1b[2J", "turned writing": "\u202e", "a bell": "\a"}
EVIL = "x\r\n2. 2026 Ada: promote\x1b[2J\u202e\a"
"""A text from a record that would clear a terminal and add a line to a list."""


def is_visible(text: str, lines: int | None = None) -> bool:
    """Whether a text holds no hidden sign but its own line ends."""
    return text.replace("\n", "").isprintable() and lines in (None, text.count("\n"))


@pytest.mark.parametrize("sign", HIDDEN.values(), ids=HIDDEN)
@pytest.mark.parametrize(
    "words",
    [
        ("promote", "run", "--force"),
        ("promote", "--reason"),
        ("rollback", "--reason"),
        ("data", "erase", "a", "--reason"),
    ],
)
def test_a_reason_with_a_hidden_sign_is_refused(
    words: tuple[str, ...], sign: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, f"why{sign}not"])
    assert ended.value.code == UsageError.exit_code
    told = capsys.readouterr().err
    assert is_visible(told, lines=1) and "holds a line end or a character that can't be seen" in told


def test_the_list_of_promotions_has_a_line_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = entries({"who": EVIL, "verdict": f"forced: {EVIL}"})
    monkeypatch.setattr(ledger, "require_sound", lambda _: chain)
    assert ledger.COMMAND([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert is_visible(told, lines=2) and "x\ufffd\ufffd2. 2026 Ada" in told


def test_reports_pages_tables_and_errors_show_hidden_signs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = gate_report(stem="meter_{}" + EVIL)
    verdict = report.verdict.model_copy(update={"warnings": (EVIL,), "held_back": EVIL})
    report = report.model_copy(update={"verdict": verdict})
    for text in (terminal(report), markdown(report), literal(EVIL)):
        assert is_visible(text) and "&#8238;" not in text and "\n2. 2026" not in text
    (tmp_path / "x.html.j2").write_text("<p title='{{ name }}'>{{ name }}</p>{{ 3 }}{{ mark | safe }}")
    page = pages.render(tmp_path / "x.html.j2", {"name": f"{EVIL}<b>", "mark": "<i>"})
    assert is_visible(page) and "&lt;b&gt;</p>3<i>" in page
    print_table([Column("run")], [[EVIL]])
    assert is_visible(capsys.readouterr().out)

    def fails(_: object) -> int:
        raise UsageError(EVIL)

    assert run_main(fails) == 2
    assert is_visible(capsys.readouterr().err)


def test_a_persons_name_is_kept_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTOR", f"ada{EVIL}")
    assert who().startswith("adax\ufffd\ufffd2.") and who().isprintable()


@pytest.mark.attack(
    "someone who may write tags or the state's bucket",
    "a terminal's commands in the names of a lease's holder and an instance's owner",
    "shown as what they are",
)
def test_the_clouds_status_obeys_no_tag(aws: AwsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Yard(aws, tmp_path).cloud()
    context, now = cloud.context, cloud.context.now()
    ensure_state_bucket(context.aws.s3, context.names)
    context.leases.take(EVIL, datetime(2099, 1, 1, tzinfo=UTC))
    far = datetime(2099, 1, 1, tzinfo=UTC)
    instance = Instance("i-1", "main", EVIL, "t3.large", None, "launch", EVIL, far, now, ())
    monkeypatch.setattr(AwsContext, "instances", lambda _: [instance])
    lines = showing.status_text(cloud).splitlines() + showing.instance_text(cloud).splitlines()
    assert all(line.isprintable() for line in lines) and not any(line.startswith("2. 2026") for line in lines)
    told = [line for line in lines if "2099-01-01 00:00 UTC" in line]
    assert len(told) == 3 and all("isn't to be trusted" in line and "stop-cloud.sh" in line for line in told)


def test_the_doctor_shows_hidden_signs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "examine", lambda *_, **__: [Finding("bucket", State.MISSING, EVIL, EVIL)])
    doctor.run(Namespace(repo=ROOT, role=None, json=False))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all(line.isprintable() for line in lines)
