"""A service holds its ledger against the anchor beside the model and, in a clone, against main: forged ledgers fail."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from serving_workshop import promote

from wms.git import command, environment
from wms.registry.ledger import CURRENT, HISTORY, Ledger
from wms.registry.shipped import ANCHOR, ship
from wms.serving.model import NoModel, ServedModel, load_model

pytest_plugins = ["serving_fixtures"]

HIGH = {"dice": 0.9999, "iou": 0.9998}


def rewrite(folder: Path, **more: object) -> None:
    """Write another ledger, whose hashes all fit, about the same files."""
    for name in (HISTORY, CURRENT):
        (folder / name).unlink()
    promote(folder, folder, 3, **more)


def why(folder: Path, ledger: Path | None = None) -> str:
    found = load_model(folder, ledger or folder, threads=1)
    return found.why if isinstance(found, NoModel) else ""


@pytest.mark.attack("a forged registry entry", "the service's ledger rewritten", "the anchor beside the model")
def test_a_ledger_that_was_rewritten_as_a_whole_differs_from_the_anchor(own: Path) -> None:
    ship(own, Ledger(own).entries()[0])
    assert isinstance(load_model(own, own, threads=1), ServedModel)
    rewrite(own, metrics=HIGH)
    assert f"{ANCHOR} names entry 1" in why(own)
    assert f"{own / HISTORY} and the model's files beside it say otherwise" in why(own)


def test_an_anchor_of_other_weights_or_a_damaged_one(own: Path, tmp_path: Path) -> None:
    entry = Ledger(own).entries()[0]
    other = promote(own, tmp_path / "elsewhere", 3, weights_sha256="0" * 64)
    ship(own, other)
    assert "say otherwise" in why(own)
    (own / ANCHOR).write_text(entry.line.replace('"dice":0.91', '"dice":0.99'))
    assert f"{ANCHOR} was changed after it was written" in why(own)
    ship(own, entry)
    assert why(own) == ""


def git(folder: Path, *words: str) -> None:
    named = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    line = command(folder, *words)
    line[3:3] = named
    subprocess.run(line, check=True, capture_output=True, env=environment())


@pytest.fixture
def clone(own: Path, tmp_path: Path) -> Path:
    """WMS/models of a clone whose origin has the ledger on main."""
    origin, repo = tmp_path / "origin.git", tmp_path / "clone"
    origin.mkdir()
    git(origin, "init", "--quiet", "--bare", "--initial-branch=main")
    git(tmp_path, "clone", "--quiet", str(origin), str(repo))
    models = Path(shutil.copytree(own, repo / "WMS" / "models"))
    git(repo, "add", f"WMS/models/{HISTORY}", f"WMS/models/{CURRENT}")
    git(repo, "commit", "--quiet", "-m", "Promote")
    git(repo, "push", "--quiet", "origin", "HEAD:main")
    return models


@pytest.mark.attack("a forged registry entry", "the service's ledger rewritten in a clone", "the ledger on main")
def test_a_ledger_in_a_clone_is_held_against_main(clone: Path) -> None:
    assert why(clone) == ""
    entry = promote(clone, clone, 4, metrics=HIGH)
    said = why(clone)
    assert f"Entry 2 of {clone / HISTORY} isn't on origin/main, and no {ANCHOR} lies in {clone}" in said
    ship(clone, entry)  # as `wms sync` does, which asks the bucket
    assert why(clone) == ""
    (clone / ANCHOR).unlink()
    rewrite(clone, metrics=HIGH)
    assert "isn't on origin/main" in why(clone)
    git(clone, "checkout", "--quiet", "HEAD", "--", HISTORY, CURRENT)
    first = Ledger(clone).entries()[0]
    promote(clone, clone, 4)
    git(clone, "commit", "--quiet", "--all", "-m", "Promote")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    for name in (HISTORY, CURRENT):
        (clone / name).unlink()
    Ledger(clone).append(first)
    ship(clone, promote(clone, clone, 4, metrics=HIGH))
    assert f"Entry 2 of {clone / HISTORY} isn't the one that origin/main has" in why(clone)
