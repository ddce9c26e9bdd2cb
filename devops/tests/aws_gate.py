"""A door before moto that can be told to refuse: expired credentials, throttling, or no answer at all."""

from __future__ import annotations

import contextlib
import http.client
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from aws_server import AwsServer

_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[a-z0-9-]+/([a-z0-9-]+)/aws4_request")


class Gate(ThreadingHTTPServer):
    """`mode`: "" lets everything pass, "expired" and "throttled" answer so; `every` refuses only each N-th request."""

    daemon_threads = True

    def __init__(self, aws: AwsServer) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.aws, self.mode, self.every = aws, "", 1
        self.refused = self.passed = 0
        self._count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, name="gate", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()

    @property
    def environ(self) -> dict[str, str]:
        """Leads any AWS client through the gate."""
        return {**self.aws.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server_address[1]}"}

    def verdict(self) -> str:
        """How the next request is answered."""
        with self._lock:
            self._count += 1
            refuses = bool(self.mode) and self._count % self.every == 0
            self.refused += refuses
            self.passed += not refuses
            return self.mode if refuses else ""


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gate

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _handle(self) -> None:
        body = self._body()
        if verdict := self.server.verdict():
            return self._refuse(verdict)
        return self._forward(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _forward(self, body: bytes) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self.server.aws.port, timeout=60)
        dropped = ("transfer-encoding", "content-length", "connection", "expect")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        with contextlib.closing(link):
            link.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
            answer = link.getresponse()
            content = answer.read()
            self._answer(answer.status, answer.getheaders(), content)

    def _refuse(self, verdict: str) -> None:
        code = {"expired": "ExpiredToken", "throttled": "Throttling"}[verdict]
        text = {"expired": "The security token included in the request is expired", "throttled": "Rate exceeded"}[
            verdict
        ]
        found = _SCOPE.search(self.headers.get("Authorization", ""))
        service = found[1] if found else "s3"
        if service == "ec2":
            code = {"expired": "RequestExpired", "throttled": "RequestLimitExceeded"}[verdict]
            content = (
                f"<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors></Response>"
            )
        elif service == "ssm":
            kind = {"expired": "ExpiredTokenException", "throttled": "ThrottlingException"}[verdict]
            content = f'{{"__type": "{kind}", "message": "{text}"}}'
        elif service == "s3":
            code = {"expired": "ExpiredToken", "throttled": "SlowDown"}[verdict]
            content = f"<Error><Code>{code}</Code><Message>{text}</Message></Error>"
        else:
            content = f"<ErrorResponse><Error><Code>{code}</Code><Message>{text}</Message></Error></ErrorResponse>"
        self._answer(503 if verdict == "throttled" else 400, [("Content-Type", "text/xml")], content.encode())

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
