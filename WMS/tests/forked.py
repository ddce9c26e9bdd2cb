"""Runs of a script that share the seconds in which Python imports PyTorch: each is a process of its own, forked.

A server imports what training imports and forks for each run. The script runs in the child from its first line, with
its own arguments, variables, folder and output, and is killed and waited for as any process. Where an operating system
can't fork, runs are subprocesses. What an interpreter does before the script's first line is test_start.py's business.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# The second line is what PyTorch's first optimiser and the first drawing import.
_LOADED = (
    *("wms.training.cli", "wms.training.train", "wms.training.mlflow_sync"),
    *("torch._dynamo", "matplotlib.figure", "matplotlib.backends.backend_agg"),
)
_HEAD = struct.Struct("!I")


class Forked:
    """A running child: what `subprocess.Popen` has that tests use. A negative returncode is a signal's number."""

    def __init__(self, pid: int, answers: socket.socket) -> None:
        self.pid, self._answers = pid, answers
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._read(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises TimeoutExpired."""
        code = self._read(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _read(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._answers.settimeout(timeout)
            try:
                content = self._answers.recv(_HEAD.size)
            except (BlockingIOError, TimeoutError):
                return None
            if not content:
                raise ConnectionError("the server of forked runs is gone")
            self.returncode = os.waitstatus_to_exitcode(_HEAD.unpack(content)[0])
            self._answers.close()
        return self.returncode


class Server:
    """The process that forks; started at the first run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(
        self, command: Sequence[str], env: Mapping[str, str], stdout: int, stderr: int, folder: Path | None = None
    ) -> Forked:
        """Run a script, `command[0]` its path; its output goes to the two file descriptors."""
        told = {"command": list(command), "env": dict(env), "folder": str(folder or Path.cwd())}
        mine, theirs = socket.socketpair()
        with theirs, self._lock:
            server = self._connect()
            content = json.dumps(told).encode()
            socket.send_fds(server, [_HEAD.pack(len(content))], [stdout, stderr, theirs.fileno()])
            server.sendall(content)
        (pid,) = _HEAD.unpack(_receive(mine, _HEAD.size))
        return Forked(pid, mine)

    def _connect(self) -> socket.socket:
        if self._socket is None or self._process is None or self._process.poll() is not None:
            mine, theirs = socket.socketpair()
            environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=environ
                )
            self._socket = mine
            atexit.register(self._process.kill)
        return self._socket


def _receive(source: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        piece = source.recv(count - len(content))
        if not piece:
            raise ConnectionError("the other end is gone")
        content += piece
    return content


def serve(server: socket.socket) -> None:
    """Fork a child for each request until the other end is closed."""
    for name in _LOADED:
        __import__(name)
    running: dict[int, socket.socket] = {}
    server.settimeout(0.01)  # a poll's pause: children that ended are reported in between
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        _report(running)
        try:
            head, fds, _, _ = socket.recv_fds(server, _HEAD.size, 3)
        except TimeoutError:
            continue
        if not head:
            return
        server.settimeout(None)
        told = json.loads(_receive(server, _HEAD.unpack(head)[0]))
        server.settimeout(0.01)
        answers = socket.socket(fileno=fds[2])
        pid = os.fork()
        if pid == 0:
            server.close()
            answers.close()
            for one in running.values():
                one.close()
            _run(told, fds[0], fds[1])
            return
        for fd in fds[:2]:
            os.close(fd)
        answers.sendall(_HEAD.pack(pid))
        running[pid] = answers


def _report(running: dict[int, socket.socket]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with running.pop(pid) as answers:
                answers.sendall(_HEAD.pack(status))


def _run(told: dict[str, Any], stdout: int, stderr: int) -> None:
    """The child's work; it ends as an interpreter does, with what is registered for its end."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(told["env"])
    os.chdir(told["folder"])
    sys.argv = list(told["command"])
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name="__main__")


SERVER = Server()


def run(command: Sequence[str], env: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a script to its end and capture what it says. Raises TimeoutExpired, and the run is killed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = SERVER.start(command, env, out.fileno(), err.fileno())
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode("utf-8", "replace"))
    return subprocess.CompletedProcess(command, code, *said)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
