"""promote-model.py and check_model.py --promote on a pseudo-terminal: yes, no, Ctrl-C, Ctrl-D, and odd answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from registry_workshop import Shop
from terminal import CTRL_C, CTRL_D, Terminal

from wms.errors import DECLINED, INTERRUPTED
from wms.registry import promotion
from wms.registry.types import PRODUCTION

pytest_plugins = ["registry_fixtures"]
ROOT = Path(__file__).resolve().parents[2]
PROMOTE, CHECK = ROOT / "devops/scripts/promote-model.py", ROOT / "WMS/scripts/check_model.py"
GO_ON, WHICH = "Go on? [y/N] ", "Which version or run should become Production? (none: Enter) "


def environ(shop: Shop, **more: str) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
    return {**kept, "MLFLOW_TRACKING_URI": shop.uri, "GITHUB_ACTOR": "ann", "PYTHONUTF8": "1", **more}


def promote(shop: Shop, *arguments: str) -> list[str]:
    where = ["--ledger", str(shop.folder), "--metadata", str(shop.promotions.metadata), "--model", shop.model]
    return [sys.executable, str(PROMOTE), *arguments, *where]


def check(shop: Shop, *arguments: str) -> list[str]:
    """check_model.py with its files where `promote` has them."""
    shop.folder.mkdir(exist_ok=True)
    where = ["--models", str(shop.folder), "--repo", str(shop.folder), "--model", shop.model]
    return [sys.executable, str(CHECK), *arguments, *where]


def open_terminal(shop: Shop, command: list[str]) -> Terminal:
    return Terminal(command, environ(shop), ROOT)


def standing(shop: Shop) -> dict[str, Any]:
    """Versions, aliases, tags, and the files that a promotion writes."""
    files = sorted(path for path in shop.folder.rglob("*") if path.is_file()) if shop.folder.exists() else []
    versions = [(found.version, found.run_id, found.aliases, found.tags) for found in shop.registry.versions()]
    return {"versions": versions, "files": {path.name: path.read_bytes() for path in files}}


@pytest.fixture
def with_production(shop: Shop) -> Shop:
    """Version 1 is Production."""
    found = promotion.propose(shop.promotions, shop.run(0.8, name=f"run_first_{shop.model}"))
    assert isinstance(found, promotion.Proposal)
    promotion.execute(shop.promotions, found, who="bob")
    return shop


def production(shop: Shop) -> str:
    found = shop.registry.alias(PRODUCTION)
    assert found is not None
    return found.run_id


@pytest.mark.parametrize("answer", ["y\n", " Yes \n"])
def test_yes_promotes(shop: Shop, answer: str) -> None:
    run_id = shop.run(0.8)
    with open_terminal(shop, promote(shop, run_id)) as terminal:
        terminal.wait_for(GO_ON)
        assert "Dice 0.0000 -> 0.8000" in terminal.shown, "somebody who is asked has to know what"
        assert shop.registry.versions() == ()
        terminal.type(answer)
        assert terminal.finish() == 0
        assert f"Version 1 (run {run_id}) is Production, the first one." in terminal.shown
    assert production(shop) == run_id
    assert [entry.who for entry in shop.promotions.ledger.entries()] == ["ann"]


@pytest.mark.slice("questions", of=2)
@pytest.mark.parametrize(
    "answer", ["n\n", "\n", "yess\n", CTRL_D, CTRL_C], ids=["no", "Enter", "typo", "Ctrl-D", "Ctrl-C"]
)
def test_all_else_changes_nothing(with_production: Shop, answer: str) -> None:
    shop = with_production
    run_id, before = shop.run(0.9, champion=1), standing(shop)
    with open_terminal(shop, promote(shop, run_id)) as terminal:
        terminal.wait_for(GO_ON)
        terminal.type(answer)
        assert terminal.finish() == (INTERRUPTED if answer == CTRL_C else DECLINED)
        words = "Stopped by the user" if answer == CTRL_C else "Nothing was changed."
        assert terminal.shown.splitlines()[-1].startswith(words)
    assert standing(shop) == before


@pytest.mark.slice("questions", of=2)
def test_without_a_terminal_nobody_is_asked(shop: Shop) -> None:
    commands = {
        "add --yes.": promote(shop, shop.run(0.8)),
        "use `wms promote`.": check(shop, "--promote"),
    }
    for instead, command in commands.items():
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environ(shop),
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stderr) == (2, f"error: There is no terminal to ask on; {instead}\n")
    assert shop.registry.versions() == ()


@pytest.mark.slice("questions", of=2)
def test_check_model_promotes_a_run_that_waits(with_production: Shop) -> None:
    shop = with_production
    name = f"run_second_{shop.model}"
    run_id = shop.run(0.9, champion=1, name=name)
    with open_terminal(shop, check(shop, "--promote")) as terminal:
        terminal.wait_for(WHICH)
        table, waiting = terminal.shown.split("Runs that were never promoted")
        assert " Production " in table, "whole, in a terminal of 80 columns too"
        (row,) = [line for line in waiting.splitlines() if name in line]
        assert "0.9000" in row
        assert "improved" in row, "its verdict, which no tag repeats here"
        terminal.type(f"{name}\n")
        terminal.wait_for(GO_ON)
        assert "Production is version 1 now; Dice 0.5000 -> 0.9000" in terminal.shown
        terminal.type("yes\n")
        assert terminal.finish() == 0
    assert production(shop) == run_id
    assert shop.promotions.metadata.is_file()


ANSWERS: dict[str, tuple[list[str], int, str]] = {
    "none": (["\n"], DECLINED, "Nothing was changed."),
    "Ctrl-C": ([CTRL_C], INTERRUPTED, "Stopped by the user"),
    "no sense": (["--rollback\n"], 2, "error: '--rollback' is neither a version nor a run"),
    "unknown version": (["v7\n"], 40, "error: The registry at"),
    "version, then no": (["v2\n", "n\n"], DECLINED, "Nothing was changed."),
    "version, then Ctrl-C": (["2\n", CTRL_C], INTERRUPTED, "Stopped by the user"),
}


@pytest.mark.slice("questions", of=2)
@pytest.mark.parametrize("case", ANSWERS)
def test_check_model_changes_nothing(with_production: Shop, case: str) -> None:
    shop = with_production
    keys, code, words = ANSWERS[case]
    shop.registry.register(shop.run(0.9, champion=1))
    before = standing(shop)
    with open_terminal(shop, check(shop, "--promote")) as terminal:
        for question, answer in zip((WHICH, GO_ON), keys, strict=False):
            terminal.wait_for(question)
            terminal.type(answer)
        assert terminal.finish() == code
        assert terminal.shown.splitlines()[-1].startswith(words)
    assert standing(shop) == before


@pytest.mark.slice("questions", of=2)
def test_check_model_asks_nothing_that_it_cannot_do(shop: Shop) -> None:
    """Without a server there is nobody to promote at: that is said before the question."""
    with Terminal(check(shop, "--promote"), environ(shop, MLFLOW_TRACKING_URI=""), ROOT) as terminal:
        assert terminal.finish() == 2
        assert terminal.shown.startswith("error: MLFLOW_TRACKING_URI isn't set")
