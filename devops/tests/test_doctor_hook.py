"""`wms doctor` and the pre-push hook: a hook that git doesn't run, or that can't start, is no hook."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from entrance_table import REFUSED, Row

from wms.paths import ROOT
from wms_ops.base.errors import GitError
from wms_ops.commands.checks import check_hook
from wms_ops.commands.finding import Finding, State
from wms_ops.commands.main import main

pytestmark = pytest.mark.slice("hooks that the doctor finds", of=2)


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with the project's own hooks/pre-push, and `wms hook` done."""
    folder = tmp_path / "clone"
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    (folder / "hooks").mkdir()
    (folder / "hooks" / "pre-push").write_bytes((ROOT / "hooks" / "pre-push").read_bytes())
    (folder / ".venv").symlink_to(ROOT / ".venv")
    for name in ("devops", "WMS"):
        (folder / name).symlink_to(ROOT / name)
    monkeypatch.chdir(folder)
    assert main(["hook"]) == 0
    return folder


def hook_of(clone: Path) -> Path:
    return clone / ".git" / "hooks" / "pre-push"


def told(clone: Path) -> Finding:
    return check_hook(clone)


def test_an_installed_hook_is_fine_also_in_trials_and_further_work_trees(clone: Path) -> None:
    git(clone, "config", "wms.dryRun", "true")
    assert told(clone).state is State.FINE, told(clone)
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    git(clone, "add", "hooks")
    git(clone, *identity, "commit", "-q", "-m", "Start", "--no-verify")
    git(clone, "worktree", "add", "-q", str(clone.parent / "tree"), "-b", "more")
    tree = clone.parent / "tree"
    for name in ("devops", "WMS"):
        (tree / name).symlink_to(ROOT / name)
    assert told(tree).state is State.FINE, told(tree)
    (clone / "hooks" / "pre-push").unlink()
    assert told(tree).state is State.FINE
    (tree / "hooks" / "pre-push").unlink()
    assert told(tree).mend == "git restore hooks/pre-push"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "isn't the hook that `wms hook` writes"),
        ("#!/bin/sh\nexit 0\n", "isn't the hook that `wms hook` writes"),
        ("#!/bin/sh\n# installed by devops/scripts/install-git-hooks.sh\nexit 0\n", "isn't the hook"),
    ],
)
def test_another_text_is_no_hook_and_wms_hook_mends_it(clone: Path, text: str, reason: str) -> None:
    hook_of(clone).write_text(text, encoding="utf-8")
    found = told(clone)
    assert (found.state, found.mend) == (State.MISSING, "wms hook") and reason in found.text
    assert main(["hook"]) == 0
    assert told(clone).state is State.FINE


def test_a_hook_that_is_not_executable_is_ignored_by_git_and_mended_by_wms_hook(clone: Path) -> None:
    hook_of(clone).chmod(0o644)
    found = told(clone)
    assert (found.state, found.mend) == (State.MISSING, "wms hook")
    assert f"git ignores {hook_of(clone)}, which isn't executable" in found.text
    assert main(["hook"]) == 0
    assert told(clone).state is State.FINE


def set_by(clone: Path, scope: str, elsewhere: Path) -> str:
    """Set core.hooksPath as `scope` says; returns the file and the scope that `wms doctor` names."""
    more = clone.parent / "more.config"
    if scope in ("global includeIf", "local include"):
        where, _, kind = scope.partition(" ")
        git(clone, "config", "--file", str(more), "core.hooksPath", str(elsewhere))
        key = f"includeIf.gitdir:{clone}/.path" if kind == "includeIf" else "include.path"
        git(clone, "config", f"--{where}", key, str(more))
        return f"{more}, {where}"
    if scope == "local twice":
        git(clone, "config", "--add", "core.hooksPath", "hooks")
        git(clone, "config", "--add", "core.hooksPath", str(elsewhere))
        return ".git/config, local"
    if scope == "worktree":
        git(clone, "config", "extensions.worktreeConfig", "true")
    git(clone, "config", f"--{scope}", "core.hooksPath", str(elsewhere))
    files = {"local": ".git/config", "worktree": ".git/config.worktree"}
    return f"{files.get(scope, clone.parent / f'{scope}.config')}, {scope}"


@pytest.mark.parametrize(
    "scope", ["local", "local twice", "local include", "worktree", "global", "global includeIf", "system"]
)
def test_a_later_hooks_path_switches_the_hook_off(
    clone: Path, scope: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], entrance: Row
) -> None:
    for name in ("global", "system"):
        monkeypatch.setenv(f"GIT_CONFIG_{name.upper()}", str(clone.parent / f"{name}.config"))
    monkeypatch.delenv("GIT_CONFIG_NOSYSTEM", raising=False)
    elsewhere = clone.parent / "shared hooks"
    elsewhere.mkdir()
    said = set_by(clone, scope, elsewhere)
    found = told(clone)
    assert found.state is State.MISSING and f"there is no {elsewhere / 'pre-push'}" in found.text
    assert said in found.text.replace(f"{clone}/", "")
    mend, _, again = found.mend.partition(" && ")
    assert again == "wms hook"
    subprocess.run(["sh", "-c", mend], cwd=clone, check=True, timeout=60)
    assert main(["hook"]) == 0
    assert told(clone).state is State.FINE
    entrance("pushes", f"core.hooksPath set after the installation ({scope})", "wms doctor tells, and mends", REFUSED)


def test_a_hooks_path_in_the_environment_is_taken_out_of_it(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("COUNT", "1"), ("KEY_0", "core.hooksPath"), ("VALUE_0", "/nowhere/hooks")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    found = told(clone)
    assert found.state is State.MISSING and "set by command line, command" in found.text
    unset, again = found.mend.split(" && ")
    assert again == "wms hook"
    for name in unset.removeprefix("unset ").split():
        monkeypatch.delenv(name, raising=False)
    assert told(clone).state is State.FINE


def test_a_folder_of_hooks_inside_the_clone_gets_the_hook(clone: Path) -> None:
    git(clone, "config", "core.hooksPath", ".husky")
    assert (told(clone).state, told(clone).mend) == (State.MISSING, "wms hook")
    assert main(["hook"]) == 0
    assert told(clone).state is State.FINE


def test_a_hook_without_its_python_says_so(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clone / ".venv").unlink()
    bare = clone.parent / "bin"
    bare.mkdir()
    for name in ("git", "sh", "dirname"):
        found = subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True, text=True, check=True).stdout
        (bare / name).symlink_to(found.strip())
    monkeypatch.setenv("PATH", str(bare))
    defect = told(clone)
    assert (defect.state, defect.mend) == (State.MISSING, "make install")
    assert "doesn't start, so every push would be refused (error: no Python from 3.11 on was found for " in defect.text


def test_a_foreign_hook_that_never_ran_is_not_said_to_run(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hook = hook_of(clone)
    earlier = hook.with_name("pre-push.before-wms")
    for mode, words in ((0o644, "isn't executable: git didn't run it, and it doesn't run now"), (0o755, "runs first.")):
        hook.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
        hook.chmod(mode)
        capsys.readouterr()
        assert main(["hook"]) == 0
        assert words in capsys.readouterr().out
        assert (earlier.stat().st_mode & 0o777) == mode


def test_a_second_foreign_hook_does_not_overwrite_the_first(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hook = hook_of(clone)
    for text in ("#!/bin/sh\n# first\n", "#!/bin/sh\n# second\n"):
        hook.write_text(text, encoding="utf-8")
        code = main(["hook"])
    assert code == GitError.exit_code and "is another that is kept already" in capsys.readouterr().err
    assert "first" in hook.with_name("pre-push.before-wms").read_text() and "second" in hook.read_text()
