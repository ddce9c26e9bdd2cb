"""The hook and the scripts find their Python: on Linux, and as Git for Windows' shell would, in linked work trees too.

No Windows is here: `uname` and `cygpath` are stand-ins on PATH, and so is the `python.exe` that notes its start.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("hooks/pre-push", "devops/scripts/python.sh", "devops/scripts/cloud.sh", "devops/scripts/stop-cloud.sh")
HOOK = "devops/scripts/install-git-hooks.sh"
NOTE = '#!/bin/sh\n[ "$1" = -c ] && exit 0\nprintf "%s\\n" "$0" "$PYTHONPATH" "$@"\ncat\n'
CALLS = {
    "hooks/pre-push": ["-m", "wms_ops.hook.main", "origin", "C:/origin.git"],
    "devops/scripts/cloud.sh": ["-m", "wms_ops", "cloud", "origin", "C:/origin.git", "--target", "aws"],
    "devops/scripts/stop-cloud.sh": ["-m", "wms_ops", "cloud", "stop", "origin", "C:/origin.git", "--target", "aws"],
    HOOK: ["-m", "wms_ops", "hook", "origin", "C:/origin.git"],
}


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def git(where: Path, *words: str) -> None:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", *identity, *words], cwd=where, check=True, capture_output=True, timeout=60)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with the project's scripts, and a space in its path; its Python isn't made yet."""
    folder = tmp_path / "a clone"
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    for name in (*SCRIPTS, HOOK):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "Start")
    return folder


@pytest.fixture
def windows(tmp_path: Path) -> Path:
    """A PATH with the few programs that the scripts use, with the answers of Git for Windows."""
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("git", "sh", "bash", "dirname", "env", "cat", "printf"):
        (bare / name).symlink_to(str(shutil.which(name)))
    program(bare / "uname", "#!/bin/sh\necho MINGW64_NT-10.0-22631\n")
    program(bare / "cygpath", '#!/bin/sh\n[ "$1" = -m ] && printf "%s\\n" "$2"\n')
    return bare


def started(script: Path, path: str, *, where: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), "origin", "C:/origin.git"],
        cwd=where or script.parent,
        input="the refs\n",
        env={"PATH": path, "HOME": str(script.parent), **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("script", CALLS)
def test_windows_python_gets_the_code_in_its_own_notation(script: str, clone: Path, windows: Path) -> None:
    wanted = program(clone / ".venv/Scripts/python.exe", NOTE)
    program(clone / ".venv/bin/python", "#!/bin/sh\nexit 9\n")  # of WSL, in the same folder
    done = started(clone / script, str(windows), PYTHONPATH="D:/more")
    assert done.returncode == 0, done.stderr
    code = f"{clone}/devops/src;{clone}/WMS/src;D:/more"
    assert done.stdout.splitlines() == [str(wanted), code, *CALLS[script], "the refs"]


@pytest.mark.parametrize("script", CALLS)
def test_elsewhere_a_windows_python_is_passed_over(script: str, clone: Path) -> None:
    """WSL can start python.exe, but a Windows Python knows none of WSL's paths."""
    program(clone / ".venv/Scripts/python.exe", "#!/bin/sh\nexit 9\n")
    wanted = program(clone / ".venv/bin/python", NOTE)
    done = started(clone / script, os.environ["PATH"])
    code = f"{clone}/devops/src:{clone}/WMS/src"
    assert done.stdout.splitlines() == [str(wanted), code, *CALLS[script], "the refs"], done.stderr


@pytest.mark.parametrize("system", ["Windows", "Linux"])
def test_a_linked_work_tree_uses_its_own_python_then_the_clones(system: str, clone: Path, windows: Path) -> None:
    git(clone, "worktree", "add", "-q", "-b", "more", "../a tree")
    tree = clone.parent / "a tree"
    inside = ".venv/Scripts/python.exe" if system == "Windows" else ".venv/bin/python"
    path = str(windows) if system == "Windows" else os.environ["PATH"]
    joint = ";" if system == "Windows" else ":"
    for owner in (clone, tree):
        wanted = program(owner / inside, NOTE)
        ran, code = started(tree / "hooks/pre-push", path, where=tree).stdout.splitlines()[:2]
        assert (ran, code) == (str(wanted), f"{tree}/devops/src{joint}{tree}/WMS/src")


def test_git_itself_starts_it_from_the_installed_hook(clone: Path, windows: Path) -> None:
    from wms_ops.hook.install import HOOK

    program(clone / ".venv/Scripts/python.exe", NOTE + "exit 1\n")
    program(clone / ".git/hooks/pre-push", HOOK)
    git(clone, "init", "-q", "--bare", "../origin.git")
    git(clone, "remote", "add", "origin", "../origin.git")
    (windows / "grep").symlink_to(str(shutil.which("grep")))
    done = subprocess.run(
        ["git", "push", "origin", "main"],
        cwd=clone,
        env={"PATH": str(windows), "HOME": str(clone)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    said = (done.stdout + done.stderr).splitlines()
    assert said[:3] == [
        f"{clone}/.venv/Scripts/python.exe",
        f"{clone}/devops/src;{clone}/WMS/src",
        "-m",
    ]
    assert any(line.startswith("refs/heads/main ") for line in said)


@pytest.mark.parametrize(("name", "advice"), [("MINGW64_NT-10.0", "install.bat"), ("Linux", "make install")])
def test_without_python_it_says_what_to_run(name: str, advice: str, clone: Path, windows: Path) -> None:
    program(windows / "uname", f"#!/bin/sh\necho {name}\n")
    # What Windows puts onto PATH without a Python: a program that only opens its shop.
    program(windows / "python3", "#!/bin/sh\nexit 9\n")
    done = started(clone / "hooks/pre-push", str(windows))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: no Python from 3.11 on was found for {clone}, so nothing was done; run `")
    assert advice in done.stderr and done.stderr.count("\n") == 1
    wanted = program(windows / "python", NOTE)  # its usual name on Windows
    assert started(clone / "hooks/pre-push", str(windows)).stdout.startswith(str(wanted))


def test_a_folder_without_git_asks_no_other_folder_for_its_python(clone: Path, windows: Path, tmp_path: Path) -> None:
    shutil.rmtree(clone / ".git")
    program(tmp_path / ".venv/Scripts/python.exe", "#!/bin/sh\nexit 9\n")
    wanted = program(windows / "python3", NOTE)
    done = started(clone / "devops/scripts/cloud.sh", str(windows), where=tmp_path, GIT_CEILING_DIRECTORIES="/")
    assert done.stdout.startswith(str(wanted)), done.stderr
