"""The door of an instance without the instance: a real HAProxy on free ports of loopback."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import free_port, require_tool

from wms_ops.targets.host.door import Door


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """A door without an instance, and without a model behind it."""
    haproxy = require_tool("haproxy", Path("/usr/sbin/haproxy"))
    with contextlib.ExitStack() as stack:

        def start(verb: str, unit: str) -> None:
            assert (verb, unit) == ("restart", "wms-door")
            stack.close()
            process = subprocess.Popen([haproxy, "-db", "-C", tmp_path / "door", "-f", "haproxy.cfg"])
            stack.callback(process.wait)
            stack.callback(process.terminate)

        monkeypatch.setattr("wms_ops.targets.host.door.control", start)
        found = Door(tmp_path / "door", "127.0.0.1", free_port(), free_port(), os.getuid())
        found.certificate(None)
        found.open(free_port())
        yield found
