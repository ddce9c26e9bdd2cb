"""Tests see nothing of the tester's own settings: no keys, no Git configuration, no address of a server.

A conftest.py calls `isolate` before the first test; processes that tests start inherit what it leaves.
"""

from __future__ import annotations

import contextlib
import locale
import os
import shutil
import signal
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

import hypothesis
import pytest

SESSION = "WMS_TEST_SESSION"

# Names, and beginnings of names, of settings that would lead a test to the tester's accounts, servers or repositories,
# or change what a program prints.
_DROPPED = (
    *("AWS_", "DVC_", "GH_", "GIT_", "GITHUB_", "MLFLOW_", "PG", "TF_", "WMS_"),
    *("MAKE", "MFLAGS", "LC_", "LANGUAGE", "COLUMNS", "LINES", "FORCE_COLOR", "CLICOLOR_FORCE", "ACTIONS_", "RUNNER_"),
)
_KEPT = frozenset(
    # What a tester says to the tests themselves, and where Terraform's providers lie (see terraform_provider.py).
    (
        SESSION,
        "WMS_REQUIRE_TOOLS",
        "WMS_WHOLE_MATRICES",
        "TF_PLUGIN_MIRROR",
        "TF_CLI_CONFIG_FILE",
        "TF_PLUGIN_CACHE_DIR",
    )
)
_LOOPBACK = "127.0.0.1,localhost"

# No identity, so that a test which commits without naming one fails for everybody. A checkout may belong to another
# account than the tester's, as in a container.
_GIT = "[user]\n\tuseConfigOnly = true\n[safe]\n\tdirectory = *\n"


def session_folder() -> Path | None:
    """The folder that all processes of a test session share, and that goes with it; None in a benchmark."""
    return Path(os.environ[SESSION]) if SESSION in os.environ else None


def isolate(config: pytest.Config) -> None:
    """Make this process's environment the same on any machine; pytest-xdist's workers inherit it from the first."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts a program in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A busy machine is no fault of an example's.
    hypothesis.settings.register_profile("wms", hypothesis.settings.default, deadline=None)
    hypothesis.settings.load_profile("wms")
    if SESSION in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="wms-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    clean(os.environ, folder)
    os.umask(0o022)
    # This process has read LANG already; without pytest-xdist it's the one that runs the tests.
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "C.UTF-8")


def clean(environ: MutableMapping[str, str], folder: Path) -> None:
    """Take the tester's settings out of `environ`, and have programs look for theirs in `folder`."""
    for name in [name for name in environ if name.startswith(_DROPPED) and name not in _KEPT]:
        del environ[name]
    (folder / "gitconfig").write_text(_GIT, encoding="utf-8")
    (folder / "empty").touch()  # the AWS SDK refuses /dev/null
    (folder / "config").mkdir()
    environ |= {
        SESSION: str(folder),
        "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "WMS_PROJECT": str(folder / "wms.toml"),  # no file: the tests know the names of a new project
        "AWS_CONFIG_FILE": str(folder / "empty"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "empty"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_CONFIG_HOME": str(folder / "config"),  # DVC's, git's and GitHub's
        "GH_CONFIG_DIR": str(folder / "config" / "gh"),
        "LC_ALL": "C.UTF-8",
    }
    for name in ("NO_PROXY", "no_proxy"):
        environ[name] = ",".join(filter(None, [environ.get(name), _LOOPBACK]))
