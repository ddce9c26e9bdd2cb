"""The installer, without a network: what it refuses, in which sentence, and what it leaves. No package is installed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import cannot_test, require_tool
from test_bat_files import INSTALLER, in_place, lines_of

from wms.errors import DiskFullError, InstallError, UsageError
from wms.install import main as installer
from wms.install import wheelhouse
from wms.install.environment import Environment
from wms.install.groups import chosen, digest
from wms.install.trouble import sentence
from wms.json_text import to_json
from wms.libraries import LOCKS, MEGABYTES, lock_of
from wms.paths import ROOT

DOOR = ROOT / "infrastructure" / "bootstrap" / "install.py"
SILENT = "http://127.0.0.1:9/simple"  # nobody listens at this port


def copy_locks(folder: Path) -> Path:
    """What the installer reads of a clone."""
    shutil.copytree(ROOT / LOCKS, folder / LOCKS)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return copy_locks(tmp_path)


def old_pythons() -> Iterator[Path]:
    for minor in range(6, 11):
        if found := shutil.which(f"python3.{minor}"):
            yield Path(found)
    if found := shutil.which("python2.7"):
        yield Path(found)


def test_an_old_python_can_read_the_door_and_is_told() -> None:
    text = DOOR.read_text(encoding="ascii")
    tree = ast.parse(text, feature_version=(3, 4))
    later = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Nonlocal)
    assert not [node for node in ast.walk(tree) if isinstance(node, later)]
    assert not [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and (node.returns or node.args.args)
    ]
    here = f"import runpy, sys; sys.version_info = (3, 10, 2); runpy.run_path({str(DOOR)!r}, run_name='__main__')"
    started = [[sys.executable, "-c", here]]
    started += [[str(python), str(DOOR)] for python in old_pythons()]
    for command in started:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "pyenv: " in done.stderr:  # a name without a Python behind it
            continue
        assert done.returncode == 2, done.stderr
        assert re.fullmatch(r"error: Python [\d.]+ is too old; install 3\.11 or newer, [^\n]+\n", done.stderr)


def test_groups_by_name_and_the_nearest_name() -> None:
    assert chosen([]) == {"core"}
    assert chosen(["train", "serve"]) == {"core", "train", "serve"}
    assert chosen(["all"]) == set(MEGABYTES)
    with pytest.raises(UsageError, match=r"no group 'trian' \(did you mean train\?\); choose among core, "):
        chosen(["trian"])
    assert set(map(lock_of, MEGABYTES)) <= {path.relative_to(ROOT) for path in (ROOT / LOCKS).iterdir()}


def test_too_little_disk_is_told_before_anything_begins(clone: Path) -> None:
    disk = clone / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "wms-test", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        cannot_test("no small file system can be mounted here, which takes root")
    try:
        copy_locks(disk)
        with pytest.raises(
            DiskFullError, match=r"^core train need [\d,]{5} MB more, and \d MB are free where .*/small/\.venv"
        ):
            installer.install(["train"], disk)
        assert not (disk / ".venv").exists()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_what_a_cut_off_installation_brought_needs_no_room_again(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(clone)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))

    def needed(*groups: str) -> int:
        with pytest.raises(DiskFullError) as caught:
            installer.install(groups, clone)
        found = re.search(r"need ([\d,]+) MB more, and 1 MB", str(caught.value))
        assert found, caught.value
        return int(found[1].replace(",", ""))

    whole = needed("core")
    (clone / ".venv").mkdir()
    (clone / ".venv" / "half").write_bytes(os.urandom(30_000_000))
    assert needed("core") in (whole - 30, whole - 31)
    (clone / ".venv" / ".installed").write_text(to_json({"groups": ["core"], "digest": ""}))
    train = needed("train")
    (clone / ".venv" / ".installing").touch()
    assert needed("train") == train, "core alone is larger than what lies there"
    monkeypatch.setitem(MEGABYTES, "core", 10)
    assert needed("train") in (train - 20, train - 21)


def test_an_environment_of_an_old_python_is_told_and_left(clone: Path) -> None:
    python = Environment(clone).python
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 3.9\n")
    python.chmod(0o755)
    with pytest.raises(UsageError, match=r"\.venv is of Python 3\.9, which is too old; delete that folder"):
        Environment(clone).make()
    assert python.exists()


def test_a_link_to_a_broken_environment_is_left(clone: Path) -> None:
    (clone / ".venv").symlink_to(clone / "gone")
    with pytest.raises(UsageError, match="links to an environment that doesn't start"):
        Environment(clone).make()
    assert (clone / ".venv").is_symlink()


def run_door(clone: Path, *words: str, code: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """The installer in a process of its own, for a clone that holds nothing but locks and the installer."""
    for name in ("WMS/src", "infrastructure/bootstrap"):
        shutil.copytree(ROOT / name, clone / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    door = str(clone / DOOR.relative_to(ROOT))
    command = [sys.executable, door, *words]
    if code:
        start = (
            f"import runpy, sys; {code}; sys.argv = {[door, *words]!r}; runpy.run_path({door!r}, run_name='__main__')"
        )
        command = [sys.executable, "-c", start]
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHONPATH"))}
    silent = {"PIP_INDEX_URL": SILENT, "UV_DEFAULT_INDEX": SILENT, "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
    environ = {**kept, **silent, "UV_HTTP_RETRIES": "0", **variables}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


def told(done: subprocess.CompletedProcess[str], code: int, text: str) -> None:
    """Assert a code, and a single sentence on standard error."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert text in done.stderr


def test_a_python_without_venv_is_told(clone: Path) -> None:
    done = run_door(clone, code="sys.modules['ensurepip'] = None")
    told(
        done,
        2,
        "has no venv, which the installation needs; install it (on Debian and Ubuntu: apt install python3-venv)",
    )
    assert not (clone / ".venv").exists()


def test_an_index_out_of_reach_is_told_and_a_killed_venv_is_finished(clone: Path) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)  # what a killed run leaves
    (clone / ".venv" / "pyvenv.cfg").write_text("home = /nowhere\n")
    Environment(clone).python.symlink_to(clone / "gone")
    told(run_door(clone), InstallError.exit_code, "The index of packages can't be reached (Connection refused); look")
    assert Environment(clone).python.exists()
    assert Environment(clone).record() == {}


@pytest.mark.parametrize("packages", [False, True])
def test_a_venv_that_was_killed_before_its_activate_script_is_finished(clone: Path, packages: bool) -> None:
    """A kill during ensurepip leaves a Python that starts, and half of pip; an earlier installer went on from there."""
    environment = Environment(clone)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment.folder)], check=True)
    site = environment._packages()
    (site / "pip").mkdir()
    (site / "pip" / "__init__.py").touch()
    (site / "a_package").mkdir()
    environment.activate.write_bytes(b"")
    stamp = digest(clone, ["core"])
    if packages:
        (environment.folder / ".installed").write_text(to_json({"groups": ["core"], "digest": stamp}))
    assert not environment.is_ready(stamp)
    environment.make()
    assert environment.activate.stat().st_size > 0
    assert environment._answer("import pip._internal") is not None
    assert (site / "a_package").exists() == environment.is_ready(stamp) == packages, "packages are kept"


def test_a_mistake_in_the_arguments(clone: Path) -> None:
    told(run_door(clone, "--quite"), 2, "did you mean --quiet?")
    told(run_door(clone, "serv"), 2, "did you mean serve?")


def test_former_installations_count_as_everything(clone: Path) -> None:
    (clone / ".venv").mkdir()
    (clone / ".venv" / ".installed").write_text("")
    assert set(Environment(clone).record()["groups"]) == set(MEGABYTES)
    assert not Environment(clone).has_lost_record()
    for damaged in ("{", '{"groups": 3}', '{"groups": ["nothing"]}', '{"groups": [["core"]]}', "[]"):
        (clone / ".venv" / ".installed").write_text(damaged)
        assert Environment(clone).record() == {} and Environment(clone).has_lost_record(), damaged
    (clone / ".venv" / ".installed").unlink()
    assert not Environment(clone).has_lost_record()


def test_what_is_installed_is_left_alone_until_a_lock_changes(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = Environment(clone)
    environment.python.parent.mkdir(parents=True)
    environment.python.touch()
    environment.activate.write_text("# a script\n")
    record = {"groups": ["core", "serve"], "digest": digest(clone, ["core", "serve"])}
    (clone / ".venv" / ".installed").write_text(to_json(record))
    assert installer.install([], clone) == installer.install(["serve", "--quiet"], clone) == 0
    assert capsys.readouterr().out == f"{clone}/.venv has core serve already.\n"
    assert not environment.is_ready(digest(clone, ["core", "serve", "train"]))
    with (clone / lock_of("serve")).open("a") as file:
        file.write("# another\n")
    assert not environment.is_ready(digest(clone, ["core", "serve"]))


@pytest.mark.attack(
    "a compromised dependency or release",
    "a package's build reads keys and tokens",
    "the installer's clean environment",
)
def test_no_build_of_a_package_sees_a_key_or_a_token(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN GH_TOKEN GITHUB_TOKEN MLFLOW_TRACKING_PASSWORD"
    secret = [*names.split(), "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_RUNTIME_TOKEN", "GITHUB_PAT", "Db_Password"]
    plain = ["PIP_INDEX_URL", "UV_INDEX_MINE_PASSWORD", "HTTPS_PROXY", "AWS_REGION", "TOKENIZERS_PARALLELISM", "PATH"]
    for name in {*secret, *plain} - {"PATH"}:
        monkeypatch.setenv(name, "a-value")
    # What pip and uv print comes out where its first word is one of uv's.
    code = "import os; print('Built', *sorted(os.environ))"
    Environment(clone).run([sys.executable, "-c", code])
    seen = capsys.readouterr().out.split()
    assert not set(secret) & set(seen)
    assert set(plain) <= set(seen)


def label(folder: Path, clone: Path, **more: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "a.whl").touch()
    own = {"groups": ["core"], "digest": digest(clone, ["core"]), "machine": wheelhouse._machine(), "files": ["a.whl"]}
    (folder / "wheelhouse.json").write_text(to_json({**own, **more}))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"machine": "Python 3.13 on win-amd64"}, "was made for Python 3.13 on win-amd64, and this is Python 3."),
        ({"groups": ["core", "train"]}, "was made without serve"),
        ({"groups": ["core", "serve"]}, "was made for another version of this project"),
        ({"groups": ["core", "serve", "train"], "files": ["a.whl", "b.whl"]}, "lacks b.whl, one of 1 files"),
        ({"groups": 3}, "is no wheelhouse"),
    ],
)
def test_a_wheelhouse_that_doesn_t_fit_is_told(
    clone: Path, more: dict[str, object], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(clone / "wheels", clone, **more)
    monkeypatch.setenv("WMS_OFFLINE", str(clone / "wheels"))
    with pytest.raises(InstallError, match=re.escape(sentence)) as caught:
        installer.install(["serve"], clone)
    assert "make wheelhouse FOR='core serve' DIR=" in str(caught.value)
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize(
    ("said", "offline", "kind", "text"),
    [
        (
            "error: Failed to fetch: `u`\n  cause: Connection refused (os error 111)\n",
            "",
            InstallError,
            "be reached (Conn",
        ),
        (
            "  cause: failed to lookup address information: Temporary failure in name resolution\n",
            "",
            InstallError,
            "name",
        ),
        (
            "ERROR: No matching distribution found for uv==0.13.8\n",
            "",
            InstallError,
            "index of packages can't be reached",
        ),
        ("ERROR: No matching distribution found for uv==0.13.8\n", "/w", InstallError, "wheelhouse /w lacks a package"),
        (
            "error: Failed to install: a\n  cause: No space left on device (os error 28)\n",
            "",
            DiskFullError,
            "filled up",
        ),
        (
            "  × Failed to read `a`\n  ╰─▶ Hash mismatch for `a==1`\n",
            "",
            InstallError,
            "isn't the one that the lock names",
        ),
        ("error: something else\n", "", InstallError, "can't be installed (something else)"),
        ("", "", InstallError, "it said nothing"),
    ],
)
def test_each_failure_of_pip_and_uv_has_its_sentence(said: str, offline: str, kind: type, text: str) -> None:
    found = sentence(said.splitlines(keepends=True), offline)
    assert type(found) is kind
    assert text in str(found) and "\n" not in str(found)


@pytest.mark.parametrize(
    ("broken", "cause"),
    [
        (
            "New('<a.b object at 0x7f>: Failed to establish: [Errno -3] Temporary failure in name resolution')",
            "Temporary",
        ),
        (
            "ReadTimeoutError(\"HTTPSConnectionPool(host='h', port=443): Read timed out. (read timeout=15)\")",
            "Read timed",
        ),
        ("SSLError(1, '[SSL: X] certificate verify failed: self-signed certificate (_ssl.c:1)')", "certificate verify"),
        ("Another(3, <a.b object at 0x7f>)", "the connection broke"),
    ],
)
def test_a_broken_connection_is_told_without_pip_s_objects(broken: str, cause: str) -> None:
    line = f"WARNING: Retrying (Retry(total=0, read=None)) after connection broken by '{broken}': /simple/uv/\n"
    text = str(sentence([line, "ERROR: No matching distribution found for uv==0.13.8\n"], ""))
    assert text.startswith(f"The index of packages can't be reached ({cause}")
    assert not re.search("Retry|0x|Error|_ssl", text)


def test_install_bat_finds_python_hands_all_on_and_waits_only_after_a_double_click() -> None:
    lines = lines_of(INSTALLER)
    assert lines[:2] == ["@echo off", "setlocal DisableDelayedExpansion"]
    tries = [re.search(r'set "PYTHON=(.+)"$', line) for line in lines]
    assert [found[1] for found in tries if found] == ["py -3.11", "py -3", "python"]
    (call,) = [line for line in lines if line.startswith("%PYTHON% ")]
    started = re.fullmatch(r'%PYTHON% "(%~dp0[^"]+)" %\*', call)
    assert started and in_place(INSTALLER, started[1]) == DOOR
    assert lines[lines.index(call) + 1] == 'set "RESULT=%ERRORLEVEL%"', "any command between would set another code"
    last = lines[lines.index(":end") + 1 :]
    assert last[1:3] == ['set "LINE=!CMDCMDLINE:"=*!"', 'if not "!LINE:~-3!"=="* *" exit /b %RESULT%']
    assert last[3:5] == [f"if defined {name} exit /b %RESULT%" for name in ("WMS_NO_PAUSE", "CI")]
    assert last[-2].endswith("&& pause") and last[-1] == "exit /b %RESULT%"
    jumps = re.findall(r"goto (\w+)", "\n".join(lines))
    assert {f":{name}" for name in jumps} == {line for line in lines if line.startswith(":")}
    assert not [line for line in lines if line.endswith("(")], "a folder such as Program Files (x86) would end a block"
    content = INSTALLER.read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r")


def test_make_installs_what_each_target_needs() -> None:
    make = str(require_tool("make"))
    for target, words in {
        "install": "core", "install FOR=train": "train", "demo": "--quiet train serve cloud", "test": "--quiet all",
        "lint": "--quiet all", "loop": "--quiet train serve cloud", "repro": "--quiet train",
        "wheelhouse FOR=core DIR=w": "--wheelhouse w core",
    }.items():  # fmt: skip
        command = [make, "-C", str(ROOT), "--dry-run", *target.split()]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert f"infrastructure/bootstrap/install.py {words}\n" in said, target
