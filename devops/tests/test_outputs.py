"""A command that writes a file the user names replaces nothing but its own earlier result, and asks before any work."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from import_yard import SAMPLES

from wms.data.synthetic import write_dataset
from wms.errors import run_main
from wms.registry.history import draw_history
from wms.registry.metadata import METADATA, NOTHING_PROMOTED
from wms.training.runs import draw_comparison
from wms.training.tracker import COLUMNS
from wms_ops.commands.main import command_of, main
from wms_ops.commands.tree import TREE, leaves
from wms_ops.gate.report import stopped

WRITTEN = {
    "data check": ("--output", "--html"),
    "data import": ("--report",),
    "data merge": ("--card",),
    "data prepare": ("--output",),
    "runs compare": ("--plot",),
    "gate": ("--report", "--html"),
    "promote": ("--metadata",),
    "rollback": ("--metadata",),
    "restore": ("--metadata",),
    "versions list": ("--html", "--markdown"),
    "versions scores": ("--plot",),
    "versions compare": ("--html", "--markdown"),
    "versions metadata": ("--metadata",),
}
OPTIONS = [(name, option) for name, options in WRITTEN.items() for option in options]
READ = {"--key", "--config", "--data", "--splits", "--input", "--model", "--models", "--ledger", "--cache", "--runs"}
"""Options that take any path and write no file of that name: places to read, and folders."""

FOREIGN = {
    "splits.jsonl": b'{"sha256": "00", "look": "00", "split": "test"}\n',
    "production_history.jsonl": b'{"seq": 1, "action": "promote"}\n',
    "train.yaml": b"gate:\n  mode: enforce\n",
    "photo.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    "photo.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "notes.md": b"# Quality gate\n",
    "notes.html": b"<!doctype html>\n<title>Notes</title>",
    "settings.json": b'{"status": "ready", "source": "https://example.org"}',
}


def actions() -> Iterator[tuple[str, argparse.Action]]:
    for path, leaf in leaves(TREE):
        for action in command_of(leaf).parser()._actions:
            yield " ".join(path[1:]), action


def type_of(name: str, option: str) -> argparse.Action:
    return next(action for found, action in actions() if found == name and option in action.option_strings)


def test_every_option_that_names_a_file_to_write_is_one_of_these() -> None:
    kinds = {
        (name, option): getattr(action.type, "__qualname__", "")
        for name, action in actions()
        for option in action.option_strings
    }
    assert sorted(one for one, kind in kinds.items() if kind.startswith("own_file.")) == sorted(OPTIONS)
    others = {option for (_, option), kind in kinds.items() if kind in ("any_path", "new_file")}
    assert others - READ == {"--output", "--folder"}, "the folders of `wms predict` and `wms data fetch`"


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_a_file_of_another_origin_stays_as_it_is(
    name: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file, content in FOREIGN.items():
        path = tmp_path / file
        path.write_bytes(content)
        with pytest.raises(SystemExit) as ended:
            main([*name.split(), option, str(path)])
        assert ended.value.code == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and f"argument {option}: {path} is there already and isn't an earlier" in told
        assert path.read_bytes() == content
    for path in (tmp_path / "new", tmp_path / "empty"):
        (tmp_path / "empty").touch()
        assert type_of(name, option).type(str(path)) == path  # type: ignore[misc, operator]


def test_a_file_of_the_same_command_is_replaced(tmp_path: Path) -> None:
    def takes(name: str, option: str, content: bytes | str, file: str = "earlier") -> bool:
        path = tmp_path / file
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        try:
            type_of(name, option).type(str(path))  # type: ignore[misc, operator]
        except argparse.ArgumentTypeError:
            return False
        return True

    assert takes("gate", "--report", stopped(ValueError("no answer")))
    assert takes("versions scores", "--plot", draw_history([]))
    assert not takes("runs compare", "--plot", draw_history([])), "a plot of another command"
    assert takes("runs compare", "--plot", draw_comparison({"run": pl.DataFrame(schema=COLUMNS)}, ["val/dice"]))
    for name in ("promote", "versions metadata"):
        assert takes(name, "--metadata", NOTHING_PROMOTED)
        assert takes(name, "--metadata", "<<<<<<< HEAD", METADATA.name), "damage that `wms versions metadata` mends"


def test_a_command_runs_twice_with_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "set", 2, seed=0, size=64, difficulty=1)
    check = ["data", "check", "set", "--splits", "none.jsonl", "--cache", "cache", "--workers", "1"]
    for _ in range(2):
        assert run_main(main, [*check, "--output", "qa.json", "--html", "qa.html"]) in (0, 28)
        for report in ("import.json", "import.html"):
            assert main(["data", "import", str(SAMPLES / "supervisely"), "--to", "to", "--report", report]) == 0
    assert {"qa.json", "qa.html", "import.json", "import.html"} <= {path.name for path in tmp_path.iterdir()}
