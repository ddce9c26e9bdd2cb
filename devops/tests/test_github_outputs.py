"""What a workflow's step is told arrives as it was meant, whatever a value holds; elsewhere nothing is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms.errors import UnwritableError
from wms_ops.base import outputs
from wms_ops.base.outputs import add_summary, annotate, github_run, mask, put_outputs


def read_outputs(text: str) -> dict[str, str]:
    """The file as GitHub's runner reads it: what comes first in a line decides, = or <<."""
    found, lines = {}, iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        at, mark = line.find("="), line.find("<<")
        if at >= 0 and (mark < 0 or at < mark):
            found[line[:at]] = line[at + 1 :]
            continue
        assert mark >= 0, f"the runner stops here: {line!r}"
        name, end = line.split("<<", 1)
        value = []
        for more in lines:
            if more == end:
                break
            value.append(more)
        else:
            raise AssertionError(f"the runner looks for {end} in vain")
        found[name] = "\n".join(value)
    return found


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    return tmp_path / "output"


NASTY = {
    "two lines": "one\ntwo",
    "ends with a line": "one\n",
    "a value of its own": "x\nadmin=true",
    "another mark": "x\nEOF\nadmin=true",
    "a mark in one line": "a<<EOF",
    "equals signs": "a=b=c",
    "a lone carriage return": "x\radmin=true",
    "nothing": "",
    "Unicode": "Zähler — 5 m³",
}


@pytest.mark.parametrize("case", NASTY)
def test_a_value_arrives_and_nothing_else(output: Path, case: str) -> None:
    put_outputs({"before": 1, "value": NASTY[case], "after": 2})
    assert read_outputs(output.read_bytes().decode()) == {"before": "1", "value": NASTY[case], "after": "2"}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_value_arrives(value: str) -> None:
    lines = outputs._assignment("value", value) + outputs._assignment("last", "x")
    assert read_outputs(lines) == {"value": value, "last": "x"}


def test_values_of_all_kinds_and_of_several_calls(output: Path) -> None:
    put_outputs({"yes": True, "no": False, "none": None, "count": 49, "dice": 0.9})
    put_outputs({"name": "file \udcff"})
    assert output.read_text() == "yes=true\nno=false\nnone=\ncount=49\ndice=0.9\nname=file \\udcff\n"


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a\nb", "a<<b", "1a"])
def test_a_name_that_would_be_another_is_refused(output: Path, name: str) -> None:
    with pytest.raises(ValueError, match="can't be the name"):
        put_outputs({"good": 1, name: "x"})
    assert not output.exists()


def test_a_file_that_cannot_be_written_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "nowhere" / "output"))
    with pytest.raises(UnwritableError, match="nowhere"):
        put_outputs({"a": 1})


def test_elsewhere_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    put_outputs({"a": 1})
    add_summary("# Text")
    annotate("error", "Something")
    mask("secret")
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_annotations_are_one_command_whatever_they_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    annotate("error", "50 % are bad:\r\n::set-output name=x::y", file="a,b:c.png", line=3)
    annotate("notice", "Fine.")
    annotate("warning", "Look.", line=1)
    assert capsys.readouterr().out == (
        "::error file=a%2Cb%3Ac.png,line=3::50 %25 are bad:%0D%0A::set-output name=x::y\n"
        "::notice::Fine.\n::warning line=1::Look.\n"
    )


def test_each_line_of_a_secret_is_masked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    mask("one\n\n  \ntwo%\n")
    mask("")
    assert capsys.readouterr().out == "::add-mask::one\n::add-mask::two%25\n"


def test_summaries_add_up_and_are_cut_where_github_would_drop_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = tmp_path / "summary"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(target))
    add_summary("# One")
    add_summary("Two\n")
    assert target.read_text() == "# One\nTwo\n"
    add_summary("Zähler, row\n" * 100_000)
    cut = target.read_text()
    assert len(target.read_bytes()) <= outputs.SUMMARY_LIMIT
    assert cut.endswith("Zähler, row\n\n\nThe summary is longer than GitHub shows; it was cut here.\n")
    add_summary("More\n" * 100_000)
    assert len(target.read_bytes()) <= outputs.SUMMARY_LIMIT


def test_the_run_has_an_address() -> None:
    given = {"GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "7"}
    assert github_run(given) == "https://github.example/a/b/actions/runs/7"
    assert github_run({**given, "GITHUB_RUN_ID": ""}) == ""


def test_it_starts_fast() -> None:
    code = "import sys, wms_ops.base.outputs; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "numpy", "boto3", "mlflow", "PIL", "torch"} & {*loaded}
