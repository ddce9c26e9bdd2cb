"""An MLflow server as an instance runs it: SQLite, files passed through the server, a password."""

from __future__ import annotations

import base64
import http.client
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from wms_ops.machine.password import USER

PASSWORD = "p@ss/w:rd%20"  # noqa: S105 - of the test's own server


@dataclass(frozen=True)
class GuardedMlflow:
    """The server's address, and the folder whose `artifacts` hold all that clients may write."""

    uri: str
    folder: Path

    def send(
        self, method: str, path: str, body: bytes | None = None, *, kind: str = "application/json"
    ) -> tuple[int, str]:
        """Status and text of a request with the right password; the path goes out as it is, byte by byte."""
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(self.uri).port or 0, timeout=60)
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        try:
            connection.request(method, path, body, {"Content-Type": kind, "Authorization": f"Basic {login}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
