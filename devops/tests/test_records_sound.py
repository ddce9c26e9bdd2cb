"""A ledger that is cut, torn or edited, alone or with the files that tell of it: who notices, and the way back."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from wms.errors import LedgerError, ModelDamagedError
from wms.paths import ROOT
from wms.registry.ledger import CURRENT, HISTORY, Ledger
from wms.registry.metadata import NOTHING_PROMOTED, metadata_of
from wms.registry.page import lags, sound_entries
from wms_ops.base.layout import METADATA, MODELS
from wms_ops.commands import status
from wms_ops.commands.checks_records import check_records
from wms_ops.commands.finding import State
from wms_ops.commands.main import main
from wms_ops.git.records import require_sound

SAMPLES = ROOT / "WMS" / "tests" / "samples" / "v1"


def sh(folder: Path, command: str) -> None:
    line = f"git config user.name t; git config user.email t@example.org; {command}"
    subprocess.run(["sh", "-ec", line], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with three promotions on record: version 1, 2, and back to 1."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    repo = tmp_path / "clone"
    (repo / MODELS).mkdir(parents=True)
    for name in (HISTORY, CURRENT):
        shutil.copy(SAMPLES / name, repo / MODELS / name)
    shutil.copy(SAMPLES / METADATA, repo / METADATA)
    subprocess.run(["git", "init", "-q", "-b", "main", str(repo)], check=True)
    sh(repo, "git add . && git commit -qm Start")
    return repo


def cut(repo: Path, kept: int, *, along: str = "") -> None:
    """Cut the history to its first entries, and write the files named in `along` as these entries say."""
    ledger = Ledger(repo / MODELS)
    entries = ledger.entries()[:kept]
    ledger.history.write_text("".join(f"{entry.line}\n" for entry in entries), encoding="utf-8")
    if "current" in along:
        ledger.newest.unlink() if not entries else ledger.newest.write_text(entries[-1].page, encoding="utf-8")
    if "metadata" in along:
        text = metadata_of(entries[-1]).text if entries else NOTHING_PROMOTED
        (repo / METADATA).write_text(text, encoding="utf-8")
    if "commit" in along:
        sh(repo, "git commit -qam 'Back to what was'")


def cut_and(change: Callable[[Path], object]) -> Callable[[Path], None]:
    def both(repo: Path) -> None:
        cut(repo, 1)
        change(repo / MODELS / CURRENT)

    return both


def edit(name: str, **values: object) -> Callable[[Path], None]:
    def change(repo: Path) -> None:
        path = repo if repo.is_file() else repo / name
        path.write_text(json.dumps(json.loads(path.read_bytes()) | values, indent=2) + "\n", encoding="utf-8")

    return change


def both_lines(repo: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = repo / MODELS / HISTORY
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


PAGE = f"{MODELS}/{CURRENT}"
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda repo: cut(repo, 1), f"{CURRENT} beside it tells of entry 3"),
    "cut, current edited": (cut_and(edit(CURRENT, seq=1)), "ends with entry 1, but Git has entry 3"),
    "cut, current emptied": (cut_and(lambda path: path.write_bytes(b"")), "but Git has entry 3"),
    "cut, current gone": (cut_and(Path.unlink), "but Git has entry 3"),
    "cut with current": (lambda repo: cut(repo, 2, along="current"), "ends with entry 2, but Git has entry 3"),
    "cut with all": (lambda repo: cut(repo, 1, along="current metadata"), "ends with entry 1, but Git has entry 3"),
    "all taken back in Git": (
        lambda repo: cut(repo, 1, along="current metadata commit"),
        "entry 1, but commit",
    ),
    "all emptied": (lambda repo: cut(repo, 0, along="current metadata"), "has no entry, but Git has entry 3"),
    "last line half, with current": (
        lambda repo: (both_lines(repo, lambda lines: [*lines[:2], lines[2][:90]]), (repo / PAGE).unlink()),
        "ends with entry 2, but Git has entry 3",
    ),
    "zeros at the end": (lambda repo: both_lines(repo, lambda lines: [*lines[:2], b"\0" * 512]), "tells of entry 3"),
    "zeros in a line": (lambda repo: both_lines(repo, lambda lines: [b"\0" * 99 + b"\n", *lines[1:]]), "1 is damaged"),
    "order": (lambda repo: both_lines(repo, lambda lines: [lines[1], lines[0], lines[2]]), "line 1 doesn't follow"),
    "doubled": (lambda repo: both_lines(repo, lambda lines: [*lines, lines[2]]), "line 4 doesn't follow entry 3"),
    "current: version": (edit(PAGE, to_version=7), "changed by hand: in entry 3, another value has to_version; "),
    "current: run": (edit(PAGE, run_id="0" * 32), "changed by hand: in entry 3, another value has run_id; "),
    "current: number": (edit(PAGE, seq=1), "changed by hand: in entry 3, another value has seq; "),
    "current: later": (edit(PAGE, to_version=7, at="2027-01-01T00:00:00+00:00"), "tells of a promotion at 2027-01"),
    "current: emptied": (lambda repo: (repo / PAGE).write_bytes(b""), f"{CURRENT} is damaged: it isn't a JSON object"),
    "current: gone": (lambda repo: (repo / PAGE).unlink(), f"{CURRENT} is missing, but {HISTORY} has entry 3"),
    "current: old": (
        lambda repo: (repo / PAGE).write_text(Ledger(repo / MODELS).entries()[0].page, encoding="utf-8"),
        f"{CURRENT} is about entry 1, but {HISTORY} has entry 3",
    ),
    "metadata: version": (
        edit(METADATA, model_version=9),
        f"{METADATA} was changed by hand: model_version and",
    ),
    "metadata: baseline": (edit(METADATA, baseline={"dice": 0.1, "iou": 0.1}), "by hand: baseline is "),
    "metadata: weights": (edit(METADATA, weights_sha256="0" * 64), "by hand: weights_sha256 is "),
    "metadata: trained_at": (edit(METADATA, trained_at="2027-01-01T00:00:00+00:00"), "by hand: trained_at is "),
    "metadata: emptied": (lambda repo: (repo / METADATA).write_bytes(b""), f"{METADATA} is damaged: its content: "),
    "metadata: gone": (lambda repo: (repo / METADATA).unlink(), f"{METADATA} is missing"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_named_with_the_command_that_mends_it(
    clone: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, words = FAULTS[case]
    spoil(clone)
    where = clone / MODELS
    finding = check_records(clone)
    assert finding.state is State.MISSING and words in finding.text
    for command in (["ledger", str(where)], ["baseline", "--ledger", str(where)], ["list", "--models", str(where)]):
        assert main(["versions", *command]) in (LedgerError.exit_code, ModelDamagedError.exit_code), command
        said = capsys.readouterr().err
        assert words in said and said.rstrip().endswith(f"`{finding.mend}` mends it.") and said.count("\n") == 1, said
    try:
        assert status.production(clone)["damage"] == finding.text
    except LedgerError as error:
        assert words in str(error)
    for _ in range(3):  # the ledger, then the files about it
        if check_records(clone).state is not State.FINE:
            sh(clone, check_records(clone).mend)
    assert check_records(clone).state is State.FINE
    assert require_sound(where) == Ledger(SAMPLES).entries()


READABLE: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "no line end": lambda lines: [*lines[:2], lines[2].rstrip(b"\n")],
    "Windows": lambda lines: [line.replace(b"\n", b"\r\n") for line in lines],
    "Windows, no line end": lambda lines: [*lines[:2], lines[2].rstrip(b"\n") + b"\r"],
    "byte order mark": lambda lines: [b"\xef\xbb\xbf", *lines],
    "an empty line": lambda lines: [*lines, b"\n"],
    "a torn entry after the newest": lambda lines: [*lines, lines[0][:99]],
    "zeros after the newest": lambda lines: [*lines, b"\0" * 512],
}


@pytest.mark.parametrize("case", READABLE)
def test_what_loses_nothing_is_read_and_the_next_promotion_follows(
    clone: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    both_lines(clone, READABLE[case])
    ledger = Ledger(clone / MODELS)
    entries = Ledger(SAMPLES).entries()
    assert require_sound(ledger.folder) == entries and check_records(clone).state is State.FINE
    assert main(["versions", "ledger", str(ledger.folder)]) == 0
    assert ("killed promotion left" in capsys.readouterr().out) == ledger.torn
    assert ledger.torn == ("after the newest" in case)
    values = entries[1].model_dump(exclude={"seq", "hash", "previous_hash"})
    made = ledger.append(type(entries[1]).__base__.model_validate(values))
    assert Ledger(ledger.folder).entries() == (*entries, made) and not ledger.torn


def test_a_promotion_killed_between_its_files_is_no_fault_and_is_finished(clone: Path) -> None:
    ledger = Ledger(clone / MODELS)
    entries = ledger.entries()
    ledger.newest.write_text(entries[1].page, encoding="utf-8")
    (clone / METADATA).write_text(metadata_of(entries[1]).text, encoding="utf-8")
    sh(clone, "git add . && git commit -qm Killed")
    assert require_sound(ledger.folder) == entries and lags(ledger, entries)
    found = check_records(clone)
    assert found.state is State.OPTIONAL and "a promotion was killed" in found.text
    ledger.append(entries[-1])  # as the next promotion does
    assert " lags: " in check_records(clone).text
    (clone / METADATA).write_text(metadata_of(entries[-1]).text, encoding="utf-8")
    assert check_records(clone).state is State.FINE and not lags(ledger, entries)
    one = Ledger(clone / "first")
    one.append(entries[0])
    one.newest.unlink()
    assert sound_entries(one) == entries[:1]


@pytest.mark.parametrize(
    "case", ["current: version", "current: emptied", "current: gone", "current: old", "metadata: run"]
)
def test_without_git_the_files_about_the_ledger_are_written_anew(clone: Path, case: str) -> None:
    shutil.rmtree(clone / ".git")
    (edit(METADATA, run_id="0" * 32) if case == "metadata: run" else FAULTS[case][0])(clone)
    where = ["--ledger", str(clone / MODELS), "--metadata", str(clone / METADATA)]
    with pytest.raises((LedgerError, ModelDamagedError), match="`wms versions metadata`"):
        require_sound(clone / MODELS)
    assert main(["versions", "metadata", *where]) == 0
    assert require_sound(clone / MODELS) == Ledger(SAMPLES).entries()


def test_a_cut_that_git_never_saw_is_known_to_the_metadata(clone: Path) -> None:
    shutil.rmtree(clone / ".git")
    cut(clone, 2, along="current")
    with pytest.raises(
        LedgerError, match=r"ends with entry 2 of .* tells of a later promotion: version 1, .* wms restore`"
    ):
        require_sound(clone / MODELS)
    (clone / METADATA).write_text(NOTHING_PROMOTED, encoding="utf-8")
    assert len(require_sound(clone / MODELS)) == 2  # nobody is left to know


def test_a_chain_with_other_entries_than_git_has_is_refused(clone: Path) -> None:
    ledger = Ledger(clone / MODELS)
    entries = ledger.entries()
    values = entries[1].model_dump(exclude={"seq", "hash", "previous_hash"}) | {"who": "Ann"}
    cut(clone, 1, along="current")
    ledger.append(type(entries[1]).__base__.model_validate(values))
    with pytest.raises(LedgerError, match=r"Entry 2 of .* isn't the one in Git; `git restore .*` mends it"):
        require_sound(ledger.folder)


def test_a_commit_that_nobody_reviewed_is_no_witness_beside_a_registry(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(clone, 2, along="current metadata commit")  # the entry that was pushed is well linked, but main hasn't it
    with pytest.raises(LedgerError, match=r"ends with entry 2, but commit .* has entry 3"):
        require_sound(clone / MODELS)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert len(require_sound(clone / MODELS)) == 2
    cut(clone, 1, along="current metadata")
    with pytest.raises(LedgerError, match="ends with entry 1, but Git has entry 2"):
        require_sound(clone / MODELS)


def test_a_new_ledger_after_a_lost_registry_is_no_cut(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    cut(clone, 0, along="current metadata")
    (clone / MODELS / HISTORY).unlink()
    assert require_sound(clone / MODELS) == ()
    values = Ledger(SAMPLES).entries()[0].model_dump(exclude={"seq", "hash", "previous_hash"}) | {"who": "Ann"}
    made = Ledger(clone / MODELS).append(type(Ledger(SAMPLES).entries()[0]).__base__.model_validate(values))
    assert require_sound(clone / MODELS) == (made,)


def test_only_a_clones_own_ledger_is_held_against_git(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES, tmp_path / "models")
    assert len(require_sound(tmp_path / "models")) == 3
    edit(CURRENT, to_version=7)(tmp_path / "models")
    with pytest.raises(LedgerError, match="changed by hand"):
        require_sound(tmp_path / "models")


OTHER_FIELDS = {"other fields": '{"a": 1}', "a number for a time": '{"at": 5, "seq": "x"}', "no object": "[1]"}


@pytest.mark.parametrize("text", OTHER_FIELDS.values(), ids=OTHER_FIELDS)
def test_a_current_of_valid_json_with_other_fields_is_named_by_every_command(
    clone: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = clone / MODELS / CURRENT
    path.write_text(text, encoding="utf-8")
    found = check_records(clone)
    assert found.state is State.MISSING and str(path) in found.text
    assert str(path) in status.production(clone)["damage"]
    where, repo = ["--models", str(path.parent)], ["--repo", str(clone)]
    places = ["--ledger", str(path.parent), "--metadata", str(clone / METADATA)]
    for words in (
        ["versions", *where],
        ["versions", "ledger", str(path.parent)],
        ["versions", "scores", *where],
        ["sync", *where, *repo],
        ["restore", *places, *repo, "--dry-run"],
    ):
        capsys.readouterr()
        code = main(words)
        said = capsys.readouterr()
        if words[0] == "restore":  # which mends the file
            assert code == 0 and CURRENT in said.out, said
        else:
            assert code == LedgerError.exit_code and str(path) in said.err and said.err.count("\n") == 1, said


@pytest.mark.parametrize("text", OTHER_FIELDS.values(), ids=OTHER_FIELDS)
def test_a_promotion_refuses_a_current_with_other_fields(
    clone: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the server is asked, which doesn't exist here."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    (path := clone / MODELS / CURRENT).write_text(text, encoding="utf-8")
    places = ["--ledger", str(path.parent), "--metadata", str(clone / METADATA)]
    assert main(["promote", "a" * 32, "--yes", *places]) == LedgerError.exit_code
    said = capsys.readouterr().err
    assert str(path) in said and said.count("\n") == 1
