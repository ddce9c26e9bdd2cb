"""A Git server over HTTP, as companies have one, for tests: it wants certain headers, and perhaps a password."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Sequence
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from http_in_thread import HttpInThread


class GitOverHttp(HttpInThread):
    """Serves the bare repositories in `folder`; `requests` collects each request's headers."""

    def __init__(self, folder: Path, wanted: Sequence[str], *, opens: str = "") -> None:
        self.requests: list[Message] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.headers)
                sent = [f"{name}: {value}" for name, value in self.headers.items()]
                if any(line not in sent for line in wanted):
                    self.send_error(403)
                    return
                told = self.headers.get("Authorization", "")
                if opens and not base64.b64decode(told.removeprefix("Basic ")).endswith(f":{opens}".encode()):
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="git"')
                    self.end_headers()
                    return
                self._answer(_run(folder, self, self._body()))

            do_POST = do_GET

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def _answer(self, told: bytes) -> None:
                head, _, body = told.partition(b"\r\n\r\n")
                lines = [line.decode().split(": ", 1) for line in head.split(b"\r\n")]
                status = next((value for name, value in lines if name == "Status"), "200 OK")
                self.send_response(int(status.split()[0]))
                for name, value in lines:
                    if name != "Status":
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Keep the tests' output clean."""

        super().__init__(Handler)


def _run(folder: Path, request: BaseHTTPRequestHandler, body: bytes) -> bytes:
    path, _, query = request.path.partition("?")
    gateway = {
        "GIT_PROJECT_ROOT": str(folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REMOTE_USER": "me",  # whom git lets push
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": request.command,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(folder),
    }
    return subprocess.run(["git", "http-backend"], input=body, env=gateway, capture_output=True, check=True).stdout
