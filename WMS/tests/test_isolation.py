"""The tester's own settings reach no test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import isolation
import pytest

from wms.quiet import QUIET

HERE = Path(__file__)
HOSTILE = {
    **{"AWS_PROFILE": "work", "AWS_ACCESS_KEY_ID": "AKIAREAL", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9/"},
    **{"GITHUB_ACTIONS": "true", "GH_TOKEN": "a-token", "WMS_CLOUD": "aws", "GIT_DIR": "/nowhere", "PGHOST": "nowhere"},
    **{"TF_VAR_region": "x", "MAKEFLAGS": "n", "http_proxy": "http://127.0.0.1:9", "LC_ALL": "de_DE.ISO-8859-1"},
}
GITCONFIG = """
[commit]
    gpgsign = true
[core]
    hooksPath = /nowhere
    autocrlf = true
[init]
    defaultBranch = trunk
[log]
    showSignature = true
"""


def git(*arguments: str, where: Path) -> str:
    return subprocess.run(["git", *arguments], cwd=where, check=True, capture_output=True, text=True).stdout


def test_a_test_sees_nothing_of_the_tester(tmp_path: Path) -> None:
    allowed = {
        *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED", "GH_CONFIG_DIR"),
        *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_TERMINAL_PROMPT", "TF_PLUGIN_MIRROR"),
        *QUIET,  # what a command sets in its own process, be it a test's
        *("TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR", "WMS_PROJECT", "WMS_REQUIRE_TOOLS", isolation.SESSION),
    }
    prefixes = ("AWS_", "GH_", "GIT_", "GITHUB_", "MLFLOW_", "PG", "TF_", "WMS_", "MAKE")
    assert {name for name in os.environ if name.startswith(prefixes)} <= allowed
    assert "127.0.0.1" in os.environ["no_proxy"].split(",")
    (tmp_path / "ü").write_text("ü\n")
    assert (tmp_path / "ü").read_bytes() == "ü\n".encode()
    assert (tmp_path / "ü").stat().st_mode & 0o777 == 0o644
    told = git("config", "--list", where=tmp_path).splitlines()
    assert sorted(told) == ["safe.directory=*", "user.useconfigonly=true"]


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["one process", "with pytest-xdist"])
def test_whatever_the_tester_has_set(workers: list[str], tmp_path: Path) -> None:
    (tmp_path / ".gitconfig").write_text(GITCONFIG)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "WMS_", "LC_"))}
    environ = {**kept, **HOSTILE, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    one = f"{HERE}::{test_a_test_sees_nothing_of_the_tester.__name__}"
    command = [sys.executable, "-m", "pytest", "--rootdir", str(HERE.parents[2]), *workers, one]
    done = subprocess.run(
        command, cwd=HERE.parents[2], env=environ, umask=0o077, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
