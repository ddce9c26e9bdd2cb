"""Core, installed for real from the locks into a copy of this clone: its size, its commands, and what it refuses.

Needs the index of packages that pip and uv are set to. Commands that need another group name it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from servers import cannot_test

from wms.errors import InstallError
from wms.install.environment import Environment
from wms.libraries import MEGABYTES
from wms.paths import ROOT

pytest_plugins = ["serving_fixtures"]

CODE = (
    "WMS/src",
    "WMS/configs",
    "devops/src",
    "infrastructure/bootstrap",
    "infrastructure/requirements",
    "hooks",
    "devops/scripts",
)
SILENT = "http://127.0.0.1:9/simple"  # nobody listens at this port
NO_INDEX = {"PIP_INDEX_URL": SILENT, "UV_DEFAULT_INDEX": SILENT, "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
TWO = 2  # the code of a usage error

HELP = """
import contextlib, io
from wms_ops.commands.main import parse
from wms_ops.commands.tree import TREE, leaves
for path, leaf in leaves(TREE):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            parse(leaf, path, ["--help"])
        except SystemExit as end:
            assert end.code == 0
    print(" ".join(path), len(said.getvalue()))
"""


def copy_of_the_code(folder: Path) -> Path:
    for name in CODE:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "Makefile"):
        shutil.copy2(ROOT / name, folder)
    return folder


def environ(**more: str) -> dict[str, str]:
    dropped = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    return {**{name: text for name, text in os.environ.items() if name not in dropped}, **more}


def install(clone: Path, *words: str, before: tuple[str, ...] = (), **more: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, str(clone / "infrastructure/bootstrap/install.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ(**more), timeout=280)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with core in its .venv. Don't change it."""
    clone = copy_of_the_code(tmp_path_factory.mktemp("core") / "clone")
    done = install(clone)
    if done.returncode == InstallError.exit_code and "can't be reached" in done.stderr:
        cannot_test(f"the index of packages is out of reach: {done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr
    size = re.search(r"Installed core into .*: ([\d,]+) MB in \d+ s\.\n$", done.stdout)
    assert size and 0.8 * MEGABYTES["core"] < int(size[1].replace(",", "")) < MEGABYTES["core"] < 600
    return clone


def wms(clone: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [str(clone / ".venv" / "bin" / "wms"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ(**more), cwd=clone)


@pytest.mark.timeout(300)
def test_core_is_small_and_has_no_tools_of_developers(core: Path) -> None:
    packages = {path.name.partition("-")[0] for path in core.rglob("*.dist-info")}
    assert {"dvc", "numpy", "onnxruntime", "water_meter_segmentation"} <= packages
    assert not {"torch", "mlflow", "pytest", "moto", "mypy", "psycopg2_binary", "pandas", "polars"} & packages
    assert list(core.glob(".venv/lib/*/site-packages/numpy/__pycache__/__init__.*.pyc")), "bytecode is kept"
    assert json.loads((core / ".venv/.installed").read_text())["groups"] == ["core"]
    again = install(core, **NO_INDEX)
    assert (again.returncode, again.stdout) == (0, f"{core}/.venv has core already.\n"), "and asks no index"


def test_every_command_has_its_help(core: Path) -> None:
    command = [str(core / ".venv" / "bin" / "python"), "-c", HELP]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ(), cwd=core)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 50 and all(int(line.rpartition(" ")[2]) > 80 for line in lines)


def test_a_labeller_s_commands_run(core: Path, promoted: Path, tmp_path: Path) -> None:
    drawn = wms(core, "data", "draw", str(tmp_path / "drawn"), "--count", "6")
    assert drawn.returncode == 0, drawn.stderr
    checked = wms(core, "data", "check", str(tmp_path / "drawn"), "--html", str(tmp_path / "page.html"))
    assert "6 valid pairs, 0 errors" in checked.stdout and (tmp_path / "page.html").stat().st_size > 1000
    where = ("--input", str(tmp_path / "drawn" / "images"), "--output", str(tmp_path / "masks"))
    predicted = wms(core, "predict", "--model", str(promoted), *where, "--overlay")
    assert predicted.returncode == 0, predicted.stderr
    assert len(list((tmp_path / "masks").rglob("*.png"))) >= 6
    assert wms(core, "completion", "bash").stdout.count("wms") > 50
    assert wms(core, "sync", "--help").returncode == 0


def test_the_hook_starts(core: Path) -> None:
    for words in (["init", "-q"], ["-c", "alias.start=!sh hooks/pre-push origin .", "start"]):
        done = subprocess.run(
            ["git", *words], cwd=core, env=environ(), capture_output=True, text=True, check=False, input=""
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.slice("commands of other groups", of=3)
@pytest.mark.parametrize(
    ("words", "library", "group"),
    [
        ("train --data DRAWN --splits DRAWN/splits.jsonl", "torch", "train"),
        ("versions export WMS/models", "onnx", "train"),
        ("data history", "polars", "train"),
        ("runs list", "mlflow", "train"),
        ("serve --model WMS/models --ledger WMS/models --port 0", "uvicorn", "serve"),
        ("promote RUN", "mlflow", "cloud"),
        ("gate --run RUN", "mlflow", "cloud"),
    ],
)
def test_a_command_of_another_group_names_the_group(
    core: Path, tmp_path: Path, words: str, library: str, group: str
) -> None:
    if "DRAWN" in words:
        assert wms(core, "data", "draw", str(tmp_path / "drawn"), "--count", "6").returncode == 0
    given = words.replace("DRAWN", str(tmp_path / "drawn")).split()
    done = wms(core, *given, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    python = core / ".venv" / "bin" / "python"
    assert done.returncode == TWO, done.stdout + done.stderr
    assert done.stderr == (
        f"error: {python} lacks {library}, of the group {group}, which this command needs; run `make install "
        f"FOR={group}` in {core}, then `source .venv/bin/activate`, and this again.\n"
    )


@pytest.mark.slice("installations", of=2)
@pytest.mark.timeout(300)
def test_a_failed_or_killed_installation_loses_nothing_and_a_second_run_finishes_it(core: Path, tmp_path: Path) -> None:
    clone = Path(shutil.copytree(core, tmp_path / "clone", symlinks=True))
    environment = Environment(clone)
    done = install(clone, "serve", **NO_INDEX, UV_CACHE_DIR=str(tmp_path / "empty"), UV_HTTP_RETRIES="0")
    assert done.returncode == InstallError.exit_code
    assert done.stderr.startswith("error: The index of packages can't be reached (") and done.stderr.count("\n") == 1
    assert environment.record()["groups"] == ["core"]
    (site,) = clone.glob(".venv/lib/*/site-packages")
    for name in ("rich/table.py", "jinja2/environment.py"):
        (site / name).unlink()  # as a kill leaves packages, which uv then takes for whole
    (site / "tenacity" / "retry.py").write_text("")
    finished = install(clone, "serve")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert (site / "rich/table.py").exists() and (site / "jinja2/environment.py").exists()
    assert (site / "tenacity/retry.py").stat().st_size > 1000
    assert environment.record()["groups"] == ["core", "serve"]
    assert (site / "fastapi").is_dir()
    kept = install(clone)
    assert kept.stdout == f"{clone}/.venv has core serve already.\n", "a group is never taken away"


@pytest.mark.slice("installations", of=2)
@pytest.mark.timeout(300)
def test_a_wheelhouse_installs_without_a_network_and_its_hashes_are_checked(core: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    made = install(core, "--wheelhouse", str(wheels))
    assert made.returncode == 0, made.stdout + made.stderr
    clone = copy_of_the_code(tmp_path / "clone")
    cut_off = ("unshare", "-n")
    tried = subprocess.run([*cut_off, "true"], capture_output=True, check=False) if shutil.which("unshare") else None
    before = cut_off if tried is not None and tried.returncode == 0 else ()
    more = {**NO_INDEX, "WMS_OFFLINE": str(wheels), "UV_CACHE_DIR": str(tmp_path / "cache")}
    (rich,) = wheels.glob("rich-*.whl")
    content = rich.read_bytes()
    with zipfile.ZipFile(rich, "a") as archive:
        archive.writestr("rich/more.py", "another author's code\n")
    for said in (
        "isn't the one that the lock names (Hash mismatch for `rich==",
        "lacks a package, or holds a damaged one",
    ):
        refused = install(clone, before=before, **more)
        assert refused.returncode == InstallError.exit_code
        assert said in refused.stderr and refused.stderr.count("\n") == 1, refused.stderr
        rich.write_bytes(content[:1000])
    rich.write_bytes(content)
    done = install(clone, before=before, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    assert wms(clone, "--version").returncode == 0
