"""A student's clone for tests of the cloud's scripts: the real scripts and code, a Terraform that does as it's told."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from aws_network import make_network
from aws_server import AwsServer
from aws_yard import CALLER

from wms.paths import ROOT

CODE = ("WMS/src", "WMS/configs", "devops/src", "devops/scripts", "infrastructure")
FILES = ("Makefile", "pyproject.toml")
TOOLS = ("bash", "sh", "env", "dirname", "cat", "sleep", "git")

# VERSION is what it says it is. `apply` of a root runs what lies in NAME.sh beside it.
TERRAFORM = """#!/bin/sh
here="$(dirname "$0")"
case "$1" in
version) echo '{"terraform_version": "VERSION"}' ;;
show) echo '{"format_version": "1.2"}' ;;
apply) case "$PWD" in */instance) . "$here/instance.sh" ;; *) . "$here/persistent.sh" ;; esac ;;
esac
"""


def copy_code(folder: Path) -> Path:
    """A copy of the code without Git; a test's own, since it writes settings into it."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".terraform*", "*.tfvars", "*.tfstate*")
    for name in CODE:
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        shutil.copy2(ROOT / name, folder / name)
    return folder


@dataclass
class Clone:
    """`run` starts a script as a user does; `bin` is all of PATH but for Python's folder."""

    root: Path
    folder: Path
    aws: AwsServer
    more: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bin = self.folder / "bin"
        self.bin.mkdir(parents=True)
        for name in TOOLS:
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(found)
        (self.bin / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (self.bin / "python3").chmod(0o755)
        self.settings.unlink(missing_ok=True)

    @property
    def settings(self) -> Path:
        return self.root / "infrastructure" / "terraform" / "wms.tfvars"

    @property
    def environ(self) -> dict[str, str]:
        ours = {"WMS_CALLER_ADDRESS": CALLER, "WMS_S3_PATH_STYLE": "1", "WMS_HOLDER": "ana@laptop"}
        home = {"HOME": str(self.folder / "home"), "PATH": str(self.bin), "LANG": "C.UTF-8"}
        return {**home, **self.aws.environ, **ours, **self.more}

    def terraform(self, version: str = "1.11.4", *, instance: str = "exit 0", persistent: str = "exit 0") -> None:
        """Install one that says it's of this version; what `apply` of a root does is a line of shell."""
        program = self.bin / "terraform"
        program.write_text(TERRAFORM.replace("VERSION", version))
        program.chmod(0o755)
        (self.bin / "instance.sh").write_text(f"{instance}\n")
        (self.bin / "persistent.sh").write_text(f"{persistent}\n")

    def make_store(self) -> None:
        """The buckets that `persistent` would make."""
        for name in ("dvc", "mlflow"):
            self.aws.make_bucket(f"wms-main-{name}-123456789012-eu-central-1")

    def note_network(self) -> None:
        """The network and the state of `persistent` after an apply, with the outputs that a launch reads."""
        outputs = {name: {"value": value} for name, value in make_network(self.aws).items()}
        bucket = "wms-state-123456789012-eu-central-1"
        self.aws.make_bucket(bucket)
        body = json.dumps({"version": 4, "outputs": outputs})
        self.aws.client("s3").put_object(Bucket=bucket, Key="persistent/main.tfstate", Body=body)

    def command(self, script: str, *arguments: str) -> list[str]:
        path = self.root / "devops" / "scripts" / f"{script}.sh"
        return [str(path), *arguments, "--folder", str(self.folder / "terraform")]

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(script, *arguments),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        """The same, for a test that interrupts it."""
        return subprocess.Popen(
            self.command(script, *arguments),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def processes(self) -> list[str]:
        """What still runs with this clone's folder in its environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and str(self.bin) in process.environ().get("PATH", ""):
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found


def assert_told(done: subprocess.CompletedProcess[str], code: int, *words: str) -> str:
    """One sentence on standard error that begins with `error:` and holds the words; that exit code; no traceback."""
    assert done.returncode == code, done.stdout + done.stderr
    assert re.fullmatch(r"error: [^\n]+[.?]\n", done.stderr), done.stderr
    assert "Traceback" not in done.stdout
    for word in words:
        assert word in done.stderr, done.stderr
    return done.stderr


def eventually(condition: Callable[[], Any], limit_s: float = 60) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
