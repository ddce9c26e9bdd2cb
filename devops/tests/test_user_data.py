"""The instance's user data, run in a folder: the deadline first, then the code that was meant, or a quick end."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from terraform_provider import ROOTS
from terraform_tool import rendered

HOST = {"environment": "main", "launch_id": "20261125-153000-ab12cd"}
AWS = """#!/usr/bin/env bash
echo "aws $*" >>"$CALLS"
[[ "$(grep -c ^aws "$CALLS")" -gt "$FAILURES" ]] && cp "$BUNDLE" "${!#}"
"""


class Machine:
    """A folder with stand-ins for the programs that reach outside; `calls` lists how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls_file = folder, folder / "calls"
        self.bundle = folder / "bundle.tar.gz"
        self.programs = folder / "bin"
        self.programs.mkdir()
        self._program("shutdown", '#!/usr/bin/env bash\necho "shutdown $*" >>"$CALLS"\nexit "${SHUTDOWN_FAILS:-0}"\n')
        self._program("systemd-run", '#!/usr/bin/env bash\necho "systemd-run $*" >>"$CALLS"\n')
        self._program("sleep", "#!/usr/bin/env bash\n")
        self._program("aws", AWS)
        bootstrap = self.programs / "bootstrap.sh"
        self._program("bootstrap.sh", '#!/usr/bin/env bash\necho "bootstrap $#" >>"$CALLS"\n')
        with tarfile.open(self.bundle, "w:gz") as archive:
            archive.add(bootstrap, "infrastructure/bootstrap/bootstrap.sh")
        self.sha256 = hashlib.sha256(self.bundle.read_bytes()).hexdigest()

    def _program(self, name: str, text: str) -> None:
        program = self.programs / name
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)

    def boot(self, sha256: str, failures: int = 0, shutdown_fails: int = 0) -> int:
        values = {
            "lifetime_minutes": 60,
            "region": "us-east-1",
            "bundle_uri": "s3://bucket/bundle/x.tar.gz",
            "bundle_sha256": sha256,
            "host_json": json.dumps(HOST),
        }
        script = self.folder / "user-data.sh"
        script.write_text(rendered(ROOTS / "instance" / "user-data.sh.tftpl", values, self.folder), encoding="utf-8")
        environ = {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "WMS_PREFIX": str(self.folder / "machine"),
            "CALLS": str(self.calls_file),
            "BUNDLE": str(self.bundle),
            "FAILURES": str(failures),
            "SHUTDOWN_FAILS": str(shutdown_fails),
        }
        return subprocess.run(["bash", str(script)], env=environ, timeout=120, check=False).returncode

    @property
    def calls(self) -> list[str]:
        return [line.split(" s3://")[0] for line in self.calls_file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


FETCH = "aws s3 cp --only-show-errors --region us-east-1"


def test_the_deadline_is_set_before_anything_else(machine: Machine) -> None:
    assert machine.boot(machine.sha256, failures=2) == 0
    assert machine.calls == ["shutdown -h +60", FETCH, FETCH, FETCH, "bootstrap 0"]
    etc = machine.folder / "machine" / "etc" / "wms" / "host.json"
    assert json.loads(etc.read_text(encoding="utf-8")) == HOST


def test_other_code_than_the_one_meant_is_never_run(machine: Machine) -> None:
    assert machine.boot("0" * 64) != 0
    assert machine.calls == ["shutdown -h +60", FETCH, "shutdown -h +1"]


def test_a_machine_without_its_code_goes_at_once(machine: Machine) -> None:
    assert machine.boot(machine.sha256, failures=1000) != 0
    assert machine.calls == ["shutdown -h +60", *[FETCH] * 30, "shutdown -h +1"]


def test_a_deadline_that_shutdown_cannot_set_is_set_by_systemd(machine: Machine) -> None:
    assert machine.boot(machine.sha256, shutdown_fails=1) == 0
    assert machine.calls[:2] == ["shutdown -h +60", "systemd-run --on-active=60min systemctl poweroff"]
    assert machine.calls[-1] == "bootstrap 0"
