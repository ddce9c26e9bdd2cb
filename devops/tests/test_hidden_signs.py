"""Line ends, escapes and turned writing: refused where a person writes a reason, visible wherever records are shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_values import gate_report
from test_model_card import entries

from wms import pages
from wms.errors import UsageError, run_main
from wms.tables import Column, print_table
from wms.text import literal
from wms_ops.commands import ledger
from wms_ops.commands.main import main
from wms_ops.gate.report import markdown, terminal
from wms_ops.release.actor import who

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
