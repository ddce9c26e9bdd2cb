"""The repository keeps its own rules: small files, true documents, quick starts."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
LARGEST_FILE = 1_000_000  # bytes; anything larger belongs into DVC
MADE_HERE = {".git", ".venv", ".cache", "wheelhouse", "__pycache__", "mlruns", ".loop"}
# Paths and indexes of one machine; the brackets keep this file, which is searched too, from being found.
OF_ONE_MACHINE = re.compile(r"(?<![\w.~}])/[w]ork/|/[t]mp/x/|--[e]xtra-index-url|[i]ndex-url[\s=]*http|/opt/[p]ypi")
LIGHT_MODULES = (
    "wms.training.dvc_stages",
    "wms.config",
    "wms.data.images",
    "wms.data.splits",
    "wms.data.versions",
    "wms.data.manifest",
    "wms.data.qa",
    "wms_ops.hook.main",
    "wms_ops.dataset.publish",
    "wms.registry.gate",
    "wms.registry.promotion",
    "wms_ops.commands.gate",
    "wms_ops.storage.remote",
    "wms_ops.targets.local",
    "wms_ops.runs.plan",
    "wms_ops.commands.sync",
    "wms.training.tracker",
    "wms.serving.app",
)


def own_files() -> Iterator[Path]:
    """The files that Git has or would add; without Git, all but what the tools make."""
    listed = None
    if (HOUSE / ".git").exists():
        command = ["git", "-C", str(HOUSE), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, capture_output=True, check=False)
    if listed is not None and listed.returncode == 0:
        paths = (HOUSE / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name)
        yield from (path for path in paths if path.is_file())
        return
    for folder, folders, names in os.walk(HOUSE):
        folders[:] = [n for n in folders if n not in MADE_HERE and not n.endswith(("_cache", ".egg-info"))]
        folders[:] = [
            name for name in folders if name != ".hypothesis" and (name not in ("demo", "runs") or folder != str(HOUSE))
        ]
        yield from (Path(folder, name) for name in names)


def test_no_file_is_large() -> None:
    large = {str(path.relative_to(HOUSE)): path.stat().st_size for path in own_files()}
    assert not {name: size for name, size in large.items() if size > LARGEST_FILE}


def test_no_file_names_one_machine() -> None:
    found = []
    for path in own_files():
        text = path.read_bytes()
        if b"\0" not in text:
            match = OF_ONE_MACHINE.search(text.decode("utf-8", "replace"))
            found += [f"{path.relative_to(HOUSE)}: {match[0]}"] if match else []
    assert not found


def test_the_documents_name_targets_that_exist() -> None:
    makefile = (HOUSE / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE))
    assert {"demo", "test", "bench-train", "lock", "lint", "clean", "help"} <= targets
    named = {}
    for document in [HOUSE / "README.md", *sorted((HOUSE / "docs").rglob("*.md"))]:
        if not document.exists():
            continue
        for code in re.findall(r"```.*?```|`[^`\n]+`", document.read_text(encoding="utf-8"), re.DOTALL):
            # At a command's beginning only: a sentence in a comment may well "make sure".
            words = re.findall(r"(?:^|[`$&;])\s*(?:[A-Z_]+=\S+\s+)*make\s+([a-z][a-z-]*)", code, re.MULTILINE)
            named.update(dict.fromkeys(words, document.name))
    assert not {name: where for name, where in named.items() if name not in targets}


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_a_light_module_starts_without_torch_and_mlflow(module: str, tmp_path: Path) -> None:
    heavy = "{'torch', 'mlflow'} & set(sys.modules)"
    assert in_fresh_python(f"import sys, {module}; print({heavy} or '')", tmp_path) == ""


def test_no_test_may_take_longer_than_five_minutes() -> None:
    limits = {
        f"{path.name}:{limit}"
        for folder in ("WMS/tests", "devops/tests")
        for path in (HOUSE / folder).glob("test_*.py")
        for limit in re.findall(r"mark\.timeout\((\d+)\)", path.read_text(encoding="utf-8"))
    }
    assert len(limits) >= 9
    assert not {limit for limit in limits if int(limit.rpartition(":")[2]) > 300}


def test_libraries_are_installed_with_their_bytecode() -> None:
    """Else every start of Python compiles PyTorch anew where the shell forbids bytecode, as container images do."""
    for name in ("torch", "mlflow", "numpy"):
        found = importlib.util.find_spec(name)
        assert found is not None and found.origin is not None
        assert Path(importlib.util.cache_from_source(found.origin)).exists(), name


def test_importing_makes_no_folder_and_opens_no_connection(tmp_path: Path) -> None:
    watch = "import sys; sys.addaudithook(lambda name, _: name in ('os.mkdir', 'socket.connect') and print(name))"
    assert in_fresh_python(f"{watch}; import wms, {', '.join(LIGHT_MODULES)}", tmp_path) == ""
    assert in_fresh_python(f"{watch}; import os; os.mkdir('made')", tmp_path) == "os.mkdir"


def in_fresh_python(code: str, folder: Path) -> str:
    """What the code prints in an interpreter of its own, which starts in `folder` and has it as home."""
    sources = os.pathsep.join(str(HOUSE / part / "src") for part in ("WMS", "devops"))
    environment = {**os.environ, "PYTHONPATH": sources, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_fresh_clone_names_nobodys_bucket_and_the_local_cloud_leads_to_its_own():
    from wms_ops.base.errors import StoreConfigError
    from wms_ops.storage.config import URL_VARIABLE, parse_remote
    from wms_ops.targets.local import DVC_URL

    text = (HOUSE / ".dvc" / "config").read_text(encoding="utf-8")
    with pytest.raises(StoreConfigError, match=r"`wms cloud environ` leads.*; run `wms init --bucket s3://BUCKET/dvc`"):
        parse_remote(text, environ={})
    assert parse_remote(text, environ={URL_VARIABLE: DVC_URL}).url == DVC_URL
