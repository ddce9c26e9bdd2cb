"""What an instance fetches at its first start: bootstrap.sh, run in a folder, with a release that an attacker owns."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOOTSTRAP = ROOT / "infrastructure" / "bootstrap"
REPORTER = "devops/src/wms_ops/targets/host/boot.py"
GOOD, EVIL = b"#!/bin/sh\nexit 0\n", b"#!/bin/sh\ntouch /attacked\n"
# The whole release is the attacker's, so its list of sums fits its program.
CURL = """#!/usr/bin/env bash
while (($#)); do
  case "$1" in -o) target="$2"; shift ;; https://*) url="$1" ;; esac
  shift
done
cp "$RELEASE/${url##*/}" "$target"
"""


class Machine:
    """A folder that bootstrap.sh takes for the disk; dnf, make and systemctl do nothing there."""

    def __init__(self, folder: Path) -> None:
        self.disk, self.programs, self.release = folder / "disk", folder / "bin", folder / "release"
        code = self.disk / "opt" / "wms" / "code"
        self.here = code / "infrastructure" / "bootstrap"
        shutil.copytree(BOOTSTRAP, self.here)
        (code / REPORTER).parent.mkdir(parents=True)
        shutil.copy(ROOT / REPORTER, code / REPORTER)
        for made in (self.programs, self.release, self.disk / "etc" / "wms"):
            made.mkdir(parents=True)
        config = {"environment": "main", "launch_id": "20261125-153000-ab12cd", "region": "eu-central-1"}
        (self.disk / "etc" / "wms" / "host.json").write_text(json.dumps(config), encoding="utf-8")
        for name, text in {"dnf": "", "make": "", "systemctl": "", "aws": "", "curl": CURL}.items():
            (self.programs / name).write_text(text or "#!/bin/sh\n", encoding="utf-8")
            (self.programs / name).chmod(0o755)
        (self.here / "k3s.sha256").write_text(f"{hashlib.sha256(GOOD).hexdigest()}  k3s\n", encoding="utf-8")

    def boot(self, released: bytes) -> str:
        """Run the script with a release that holds this program; returns what was said."""
        (self.release / "k3s").write_bytes(released)
        sums = f"{hashlib.sha256(released).hexdigest()}  k3s\n"
        (self.release / "sha256sum-amd64.txt").write_text(sums, encoding="utf-8")
        environ = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "WMS_PREFIX": str(self.disk),
            "RELEASE": str(self.release),
        }
        command = ["bash", str(self.here / "bootstrap.sh")]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return (self.disk / "var/lib/wms/boot.json").read_text(encoding="utf-8") + done.stderr

    @property
    def k3s(self) -> Path:
        return self.disk / "usr/local/bin/k3s"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_program_of_the_pinned_sum_is_installed(machine: Machine) -> None:
    machine.boot(GOOD)
    assert machine.k3s.read_bytes() == GOOD
    assert machine.k3s.stat().st_mode & 0o777 == 0o755


@pytest.mark.attack(
    "a compromised dependency or release",
    "k3s swapped together with its sums",
    "a SHA-256 in this repository",
)
def test_a_release_that_was_swapped_with_its_list_of_sums_is_refused(machine: Machine) -> None:
    said = machine.boot(EVIL)
    assert not machine.k3s.exists()
    assert "couldn't be installed; MLflow and the service work without it." in said


def test_the_sum_is_one_of_its_own_kind_and_its_source_stands_beside_it() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}  k3s\n", (BOOTSTRAP / "k3s.sha256").read_text(encoding="utf-8"))
    script = (BOOTSTRAP / "bootstrap.sh").read_text(encoding="utf-8")
    (version,) = re.findall(r'^K3S_VERSION="(v[\d.]+\+k3s\d+)"', script, re.MULTILINE)
    beside = (BOOTSTRAP / "README.md").read_text(encoding="utf-8")
    assert f"/{version.replace('+', '%2B')}/sha256sum-amd64.txt" in beside


def test_nothing_that_is_fetched_goes_straight_into_an_interpreter() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    texts = [ROOT / os.fsdecode(name) for name in listed if name]
    scripts = [path for path in texts if path.suffix in (".sh", ".yml", ".tftpl") or path.name in ("run", "Makefile")]
    assert len(scripts) > 8
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:curl|wget)\b[^\n]*\|\s*(?:sudo\s+)?(?:ba|z)?sh\b", text), path
        assert not re.search(r"(?:ba|z)?sh\s+(?:-c\s+)?[\"']?[<$]\(\s*(?:curl|wget)", text), path


def test_continuous_integration_installs_nothing_without_a_hash() -> None:
    """Packages of Debian are signed; those of the package index have hashes here."""
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace("\\\n", " ")
    installs = re.findall(r"^.*\bpip install\b.*$", run, re.MULTILINE)
    assert len(installs) == 1 and all("--require-hashes -r .ci/checkov.txt" in line for line in installs)
    lock = re.sub(r"^#.*\n", "", (ROOT / ".ci" / "checkov.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    packages = re.split(r"\n(?=\S)", lock.strip())
    assert len(packages) > 50 and all("==" in one and "--hash=sha256:" in one for one in packages)
    wanted = (ROOT / ".ci" / "checkov.in").read_text(encoding="utf-8").split()[-1]
    assert any(one.startswith(f"{wanted} ") for one in packages)
