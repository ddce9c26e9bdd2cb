"""`wms restore` where ledger, production_current.json or model-metadata.json were cut, edited or deleted; no MLflow."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sync_shop import make_run, promote

from wms.errors import LedgerError, run_main
from wms.registry.ledger import Ledger, LedgerEntry, link
from wms.registry.metadata import metadata_fault, write_metadata
from wms.registry.recovery import Found, Trust, rebuild
from wms_ops.commands.restore import COMMAND as RESTORE
from wms_ops.git.command import Git

FILES = ("WMS/models/production_history.jsonl", "WMS/models/production_current.json", "model-metadata.json")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], ...]:
    """The three files after each of three promotions."""
    folder = tmp_path_factory.mktemp("history")
    models, found = folder / "WMS" / "models", []
    run = make_run(folder)
    for version in (1, 2, 3):
        write_metadata(promote(run, models, version), folder / "model-metadata.json")
        found.append({name: (folder / name).read_bytes() for name in FILES})
    return tuple(found)


@pytest.fixture
def clone(tmp_path: Path, history: tuple[dict[str, bytes], ...], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with a commit for each promotion."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    git = Git(tmp_path, {"user.name": "Ada", "user.email": "ada@example.org"})
    git("init", "--quiet", "--initial-branch=main")
    for files in history:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        git("add", "--all")
        git("commit", "--quiet", "-m", "Promote")
    return tmp_path


def restored(clone: Path, *more: str) -> int:
    named = {"--ledger": clone / "WMS/models", "--metadata": clone / "model-metadata.json", "--repo": clone}
    return run_main(RESTORE, [*(str(word) for pair in named.items() for word in pair), *more])


def lines(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes | None]]] = {
    "the ledger's last line is gone": (FILES[0], lambda text: b"".join(lines(text)[:2])),
    "its first line is gone": (FILES[0], lambda text: b"".join(lines(text)[1:])),
    "it ends in the middle of a line": (FILES[0], lambda text: text[:-40]),
    "a score in it was edited": (FILES[0], lambda text: text.replace(b'"dice":0.9', b'"dice":0.8', 1)),
    "it is empty": (FILES[0], lambda _: b""),
    "it isn't text": (FILES[0], lambda _: b"\xff\x00"),
    "it is gone": (FILES[0], lambda _: None),
    "the current entry was edited": (FILES[1], lambda text: text.replace(b"Ada", b"Bob")),
    "it names an older version": (FILES[1], lambda text: text.replace(b'"seq": 3', b'"seq": 2')),
    "the current entry is gone": (FILES[1], lambda _: None),
    "the metadata was edited": (FILES[2], lambda text: text.replace(b"0.91", b"0.99")),
    "the metadata is half": (FILES[2], lambda text: text[: len(text) // 2]),
    "the metadata is gone": (FILES[2], lambda _: None),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_each_damage_is_mended_from_git_and_the_damaged_file_is_kept(
    clone: Path, history: tuple[dict[str, bytes], ...], how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, damage = DAMAGE[how]
    content = damage(history[-1][name])
    if content is None:
        (clone / name).unlink()
    else:
        assert content != history[-1][name]
        (clone / name).write_bytes(content)
    assert restored(clone, "--dry-run") == 0
    assert (clone / name).exists() == (content is not None)
    assert f"{clone / name} is written anew" in capsys.readouterr().out
    assert restored(clone, "--yes") == 0
    said = capsys.readouterr().out
    assert "The restore took" in said
    assert {one: (clone / one).read_bytes() for one in FILES} == history[-1]
    assert metadata_fault(clone / FILES[2], Ledger(clone / "WMS/models")) == ""
    if content:
        assert (clone / ".git" / "wms" / "replaced" / Path(name).name).read_bytes() == content
    assert restored(clone, "--yes") == 0
    assert "Nothing is to be restored." in capsys.readouterr().out


IN_THE_WAY: dict[str, Callable[[Path], None]] = {
    "it is a folder": Path.mkdir,
    "it is a named pipe": os.mkfifo,
    "it is a link to nothing": lambda path: path.symlink_to("no-such-file"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_record_that_is_no_file_is_one_sentence(
    clone: Path, history: tuple[dict[str, bytes], ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for how, put in IN_THE_WAY.items():
        (clone / name).unlink()
        put(clone / name)
        for more in (["--dry-run"], ["--yes"]):
            capsys.readouterr()
            assert restored(clone, *more) == LedgerError.exit_code, how
            said = capsys.readouterr().err
            assert said.count("\n") == 1 and str(clone / name) in said and "`wms restore` again" in said, said
        (clone / name).rmdir() if (clone / name).is_dir() else (clone / name).unlink()
        (clone / name).write_bytes(history[-1][name])
    assert restored(clone) == 0


def test_an_edit_that_mends_its_own_hashes_loses_against_git(
    clone: Path, history: tuple[dict[str, bytes], ...], capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(clone / "WMS/models")
    first, second, third = ledger.entries()
    edited = link(second.model_copy(update={"verdict": "improved, honestly"}), first)
    last = link(third, edited)
    ledger.history.write_text("".join(f"{entry.line}\n" for entry in (first, edited, last)))
    ledger.write_current(last)
    assert restored(clone, "--yes") == 0
    said = capsys.readouterr().out
    for number in (2, 3):
        assert f"entry {number} (version {number}, promoted by Ada at 2026-11-0{number}T10:00:00+00:00) from" in said
    assert "from commit" in said
    assert {one: (clone / one).read_bytes() for one in FILES} == history[-1]


def test_an_entry_that_only_the_current_file_has_left_is_taken_from_there(
    clone: Path, history: tuple[dict[str, bytes], ...]
) -> None:
    Git(clone)("reset", "--quiet", "--hard", "HEAD~1")
    Git(clone)("reflog", "expire", "--expire=now", "--all")
    (clone / FILES[1]).write_bytes(history[-1][FILES[1]])
    assert restored(clone, "--yes") == 0
    assert {one: (clone / one).read_bytes() for one in FILES} == history[-1]


def test_an_entry_that_nothing_has_left_is_named(
    tmp_path: Path,
    history: tuple[dict[str, bytes], ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Git(tmp_path)("init", "--quiet")
    (tmp_path / "WMS" / "models").mkdir(parents=True)
    first, _, third = lines(history[-1][FILES[0]])
    (tmp_path / FILES[0]).write_bytes(first + third)
    (tmp_path / FILES[1]).write_bytes(history[-1][FILES[1]])
    for more in ([], ["--dry-run"]):
        assert restored(tmp_path, "--yes", *more) == LedgerError.exit_code
        assert "entry 2 of the ledger, and with them what follows up to entry 3" in capsys.readouterr().out
        assert (tmp_path / FILES[0]).read_bytes() == first + third, "nothing goes back to version 1 unasked"
        assert (tmp_path / FILES[1]).read_bytes() == history[-1][FILES[1]]
    assert restored(tmp_path, "--yes", "--force") == LedgerError.exit_code, "what is lost stays lost"
    assert (tmp_path / FILES[0]).read_bytes() == first
    assert restored(tmp_path, "--yes") == 0


def test_two_commits_that_contradict_each_other_need_the_registry(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(clone / "WMS/models")
    first, second, third = ledger.entries()
    rival = link(third.model_copy(update={"who": "Bob"}), second)
    ledger.history.write_text("".join(f"{entry.line}\n" for entry in (first, second, rival)))
    ledger.write_current(rival)
    Git(clone, {"user.name": "Bob", "user.email": "b@example.org"})("commit", "--quiet", "-am", "Mine")
    assert restored(clone, "--yes") == 94
    said = capsys.readouterr().err
    assert said.startswith("error: Entry 3 of the ledger is one thing in commit") and said.count("\n") == 1
    found = [Found(entry, "Git", Trust.GIT) for entry in (first, second, third, rival)]
    decided = rebuild([*found, *(Found(entry, "the registry", Trust.REGISTRY) for entry in (first, second, rival))])
    assert [entry.who for entry in decided.entries] == ["Ada", "Ada", "Bob"]
    assert [one.entry for one in decided.rivals] == [third]
    with pytest.raises(LedgerError):
        rebuild(found)


def test_an_empty_clone_has_nothing_to_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Git(tmp_path)("init", "--quiet")
    assert restored(tmp_path) == 0
    assert "Nothing is to be restored." in capsys.readouterr().out
    entries: tuple[LedgerEntry, ...] = Ledger(tmp_path / "WMS/models").entries()
    assert entries == ()


def test_only_main_bears_witness_and_a_pushed_branch_never_does(
    clone: Path, history: tuple[dict[str, bytes], ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Anybody who may push a data branch could write an entry whose hashes fit: it would be Production after that."""
    git = Git(clone, {"user.name": "Eve", "user.email": "eve@example.org"})
    path = clone / FILES[0]
    last = Ledger(clone / "WMS/models").entries()[-1]
    forged = link(last.model_copy(update={"who": "eve", "run_id": "f" * 32}), last)
    git("checkout", "--quiet", "-b", "data/20261128-120000")
    path.write_bytes(history[-1][FILES[0]] + f"{forged.line}\n".encode())
    git("commit", "--quiet", "-am", "More photos")
    git("update-ref", "refs/remotes/origin/data/20261128-120000", "HEAD")
    git("tag", "v9")
    git("checkout", "--quiet", "main")
    assert restored(clone, "--yes") == 0
    assert "Nothing is to be restored." in capsys.readouterr().out
    path.unlink()
    assert restored(clone, "--yes") == 0
    assert path.read_bytes() == history[-1][FILES[0]]
    git("branch", "-D", "data/20261128-120000")
    git("update-ref", "refs/remotes/origin/main", "main")
    git("checkout", "--quiet", "--detach", "main~2")
    git("branch", "-D", "main")
    assert restored(clone, "--yes") == 0, "the remote's main counts"
    assert path.read_bytes() == history[-1][FILES[0]]
