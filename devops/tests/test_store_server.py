"""The S3 server that the other tests rely on leaves nothing behind, and keeps its data over a restart."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import s3_server
from s3_server import S3Server, remove_sockets
from servers import require_tool

HOLD = """
import sys, time
from pathlib import Path
from s3_server import S3Server
server = S3Server(Path(sys.argv[1]))
server.start()
print(server.process.pid, *server.ports.values(), flush=True)
sys.stdin.read()
"""


def test_restart_with_the_same_data_and_nothing_left_after_a_failure(tmp_path: Path) -> None:
    server = S3Server(tmp_path)
    with pytest.raises(ZeroDivisionError), server:
        server.create_bucket("kept")
        server.client().put_object(Bucket="kept", Key="a/b", Body=b"content")
        endpoint, first = server.endpoint, server.process
        server.kill()
        assert first is not None and not psutil.pid_exists(first.pid)
        server.start()
        assert server.endpoint == endpoint
        assert server.client().get_object(Bucket="kept", Key="a/b")["Body"].read() == b"content"
        second = server.process
        raise ZeroDivisionError
    assert second is not None and not psutil.pid_exists(second.pid)
    assert "Start Seaweed S3 API Server" in server.log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_server_ends_with_a_test_process_that_is_killed(tmp_path: Path) -> None:
    require_tool("weed")
    require_tool("setpriv")
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{HOLD}", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        pid, *ports = map(int, holder.stdout.readline().split())
        server = psutil.Process(pid)
        holder.send_signal(signal.SIGKILL)
        gone, alive = psutil.wait_procs([server], timeout=30)
        remove_sockets(ports)
        assert gone and not alive


def test_a_missing_tool_skips_on_a_laptop_and_fails_where_tools_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WMS_REQUIRE_TOOLS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-tool isn't installed"):
        require_tool("no-such-tool")
    monkeypatch.setenv("WMS_REQUIRE_TOOLS", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-tool"):
        require_tool("no-such-tool")
    assert require_tool("sh").is_file()


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_server, "require_tool", lambda _: require_tool("ls"))
    with pytest.raises(RuntimeError, match=r"(?s)didn't start.*(invalid|unrecognized|illegal) option"):
        S3Server(tmp_path).start()
