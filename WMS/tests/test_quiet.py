"""No library reports to its makers: the variables against that are set before any library is imported."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wms.quiet import QUIET

ROOT = Path(__file__).resolve().parents[2]
HOME = "WMS/src/wms/inference/runtime.py"
WATCH = """
import importlib, importlib.abc, os, pkgutil, sys
seen = []
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            seen.append(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Watch())
import wms, wms_ops
for package in (wms, wms_ops):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError:  # a group that isn't installed, or another system's
                pass
print(seen)
"""


def imports_of_the_runtime(source: str) -> bool:
    """Whether a module imports ONNX Runtime by itself, in a statement or by name."""
    named: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            named.append(node.module or "")
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            named += [str(one.value) for one in node.args if isinstance(one, ast.Constant)]
    return any(name.partition(".")[0] == "onnxruntime" for name in named)


def test_each_module_script_and_test_takes_the_runtime_that_reports_nothing() -> None:
    assert imports_of_the_runtime("import onnxruntime.capi as x")
    assert imports_of_the_runtime("__import__('onnxruntime')")
    folders = ("WMS", "devops", "infrastructure", "hooks")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if ".venv" not in path.parts]
    found = [path for path in sources if imports_of_the_runtime(path.read_text(encoding="utf-8"))]
    assert [path.relative_to(ROOT).as_posix() for path in found] == [HOME]


@pytest.mark.attack(
    "a compromised dependency or release",
    "ONNX Runtime reports to its maker",
    "a variable before each import",
)
def test_no_module_and_no_library_imports_the_runtime_before_the_variable_is_set(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in QUIET}
    environ["PYTHONPATH"] = os.pathsep.join((str(ROOT / "WMS" / "src"), str(ROOT / "devops" / "src")))
    command = [sys.executable, "-c", WATCH]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=200)
    assert done.stdout.splitlines()[-1:] == ["['1']"], done.stdout + done.stderr


@pytest.mark.attack(
    "a compromised dependency or release",
    "a library that calls its maker",
    "one typed place, inherited by all processes",
)
def test_a_command_and_its_processes_are_quiet(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in QUIET}
    environ["PYTHONPATH"] = str(ROOT / "WMS" / "src")
    child = "import os, json; print(json.dumps(dict(os.environ)))"
    call = f"subprocess.call([sys.executable, '-c', {child!r}])"
    code = f"import subprocess, sys; from wms.errors import run_main; run_main(lambda _: {call})"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert QUIET.items() <= ast.literal_eval(done.stdout).items()
