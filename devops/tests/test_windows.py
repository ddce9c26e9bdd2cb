"""The core commands where Windows' Python differs: run for real, without what Linux alone has (see windows_like.py)."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers import require_tool
from small import random_network
from workshop import Workshop, said

from wms.inference.export import export_model
from wms.models.unet import UNet
from wms.registry.metadata import NOTHING_PROMOTED
from wms_ops.base.layout import METADATA

ROOT = Path(__file__).resolve().parents[2]
LIKE_WINDOWS = ROOT / "WMS" / "tests" / "windows_like.py"
# A console's code page, and a warning for each text that is opened without an encoding.
CONSOLE = {
    "PYTHONIOENCODING": "cp1252",
    "PYTHONUTF8": "0",
    "LC_ALL": "C.UTF-8",  # file names are UTF-8 there, too
    "PYTHONWARNDEFAULTENCODING": "1",
}


def wms(folder: Path, *words: str | Path, code: int = 0, **more: str) -> str:
    """The output of `wms WORDS` in `folder`; no traceback, and no text opened by the project without an encoding."""
    done = subprocess.run(
        [sys.executable, str(LIKE_WINDOWS), *map(str, words)],
        cwd=folder,
        env={**os.environ, **more, **CONSOLE},
        capture_output=True,
        timeout=120,
        check=False,
    )
    text = (done.stdout + done.stderr).decode("cp1252")
    assert done.returncode == code, text
    assert "Traceback" not in text and not own_warnings(text), text
    return text


def own_warnings(text: str) -> list[str]:
    ours = ("/wms/", "/wms_ops/")
    return [line for line in text.splitlines() if "EncodingWarning" in line and any(part in line for part in ours)]


@pytest.mark.parametrize("words", ["--help", "sync --help", "predict --help", "data --help", "--version"])
def test_help_is_shown(words: str, tmp_path: Path) -> None:
    assert "wms" in wms(tmp_path, *words.split())


def test_photos_are_drawn_checked_mended_and_checked_again(tmp_path: Path) -> None:
    wms(tmp_path, "data", "draw", "drawn", "--count", "5", "--seed", "7")
    (tmp_path / "drawn" / "images" / "Zähler 水.jpg").write_bytes(b"")  # a letter that the console lacks
    text = wms(tmp_path, "data", "check", "drawn", "--output", "report.json", code=28)
    assert "is empty (0 bytes)" in text
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert "水" in json.dumps(report, ensure_ascii=False) and b"\r" not in (tmp_path / "report.json").read_bytes()
    (tmp_path / "drawn" / "images" / "Zähler 水.jpg").unlink()
    assert "PASS" in wms(tmp_path, "data", "check", "drawn", "--fix", "--html", "page.html")
    assert "PASS" in wms(tmp_path, "data", "check", "drawn")


def test_a_model_predicts(tmp_path: Path) -> None:
    models = tmp_path / "models"
    network = UNet(channels=(2, 3, 4, 5, 6))
    weights = random_network(network.channels).state_dict()
    export_model(weights, models, model=network, input_size=64, threshold=0.5, mirror=False, about={"run": "r1"})
    wms(tmp_path, "data", "draw", "drawn", "--count", "2", "--seed", "7")
    wms(tmp_path, "predict", "--input", "drawn/images", "--output", "masks", "--model", models, "--overlay")
    assert len(list((tmp_path / "masks").glob("*.png"))) >= 2


def test_the_doctor_looks_at_a_clone(tmp_path: Path, shop: Workshop) -> None:
    clone = shop.clone()
    (clone / METADATA).write_text(NOTHING_PROMOTED, encoding="utf-8")
    text = wms(clone, "doctor", "labeller", "--repo", clone, code=0, **shop.environ)
    assert "hook          fine" in text and "bucket        fine" in text and "git           fine" in text


def test_the_hook_installs_and_lets_a_push_without_refs_pass(shop: Workshop) -> None:
    clone = shop.clone()
    (clone / ".git/hooks/pre-push").unlink()
    wms(clone, "hook", **shop.environ)
    hook = (clone / ".git/hooks/pre-push").read_bytes()
    assert b"\r" not in hook and b"\\" not in hook.replace(b"'%s\\n'", b"")
    line = [sys.executable, LIKE_WINDOWS, "--hook", "origin", f"file://{shop.origin}"]
    assert shop.run(*line, where=clone, **CONSOLE).returncode == 0


def test_pushed_photos_go_to_a_data_branch(shop: Workshop) -> None:
    """git starts the hook of this clone, whose hooks/pre-push starts Python as on Windows."""
    clone = shop.clone()
    starter = clone / "devops" / "scripts" / "python.sh"
    starter.write_text(f'#!/bin/sh\nshift 2\nexec "{sys.executable}" "{LIKE_WINDOWS}" --hook "$@"\n', encoding="utf-8")
    shop.photos(clone, 3)
    shop.commit(clone)
    done = shop.push(clone, **CONSOLE)
    assert done.returncode == 1 and "Existing: 0, new: 3, total: 3" in said(done), said(done)
    assert "Traceback" not in said(done)
    (branch,) = shop.data_branches()
    assert len(shop.version(branch).pairs) == 3
    shop.assert_complete()


def test_the_deception_works(tmp_path: Path) -> None:
    """Else the tests above would prove nothing: the project's modules see Windows, and open files can't be replaced."""
    code = f"""
import runpy, sys
sys.path[:0] = [{str(LIKE_WINDOWS.parent)!r}, {str(ROOT / "WMS" / "src")!r}, {str(ROOT / "devops" / "src")!r}]
import windows_like
windows_like.begin()
from pathlib import Path
import wms.files as files, wms_ops.base.signals as signals
assert files.sys.platform == "win32" and not hasattr(files, "fcntl") and files.msvcrt
assert not hasattr(files.os, "fork") and files.os.name == "nt" and signals._HANG_UP == ()
with files.exclusive_lock(Path("lock")):
    try:
        with files.exclusive_lock(Path("lock"), wait=False): raise AssertionError
    except BlockingIOError: pass
files.write_atomic(Path("a"), "old")
Path("lines").write_text("1\\n", encoding="utf-8")
assert Path("lines").read_bytes() == b"1\\r\\n"
with open("a", "rb"):
    try: files.write_atomic(Path("a"), "new")
    except Exception as error: print(type(error).__name__, error)
    else: raise AssertionError("replaced")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("UnwritableError "), done.stdout
    assert (tmp_path / "a").read_text(encoding="utf-8") == "old"


def test_each_text_is_opened_with_an_encoding_and_written_with_an_end_of_its_lines() -> None:
    """Else Windows takes the code page of the machine, and other bytes than those that are hashed or in Git."""
    folders = [
        str(ROOT / name) for name in ("WMS/src", "WMS/scripts", "devops/src", "devops/scripts", "infrastructure")
    ]
    ruff = [str(require_tool("ruff")), "check", "--preview", "--isolated", "--select", "PLW1514", *folders]
    done = subprocess.run(ruff, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    found = [
        f"{path.name}, line {node.lineno}"
        for folder in folders
        for path in Path(folder).rglob("*.py")
        if path.name != "boot.py"  # for the instance's own, older Python, which can't name an end
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "write_text"
        if "newline" not in {keyword.arg for keyword in node.keywords}
    ]
    assert not found
