"""A relay before an AWS server that carries requests there and loses some of the answers, as a bad network does."""

from __future__ import annotations

import http
import http.client
import re
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from http_in_thread import HttpInThread

_BUCKET = re.compile(r"/[^/?]+/?")
_OF_ONE_LINK = frozenset({"connection", "transfer-encoding", "content-length"})


class LostAnswers(HttpInThread):
    """Loses the good answers to the first `times` requests of each of `actions`; `lost` lists what it lost."""

    def __init__(self, endpoint: str, actions: Iterable[str], *, times: int = 1) -> None:
        self._left = dict.fromkeys(actions, times)
        self._lock = threading.Lock()
        self.lost: list[str] = []
        there, relay = urlsplit(endpoint).netloc, self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                upstream = http.client.HTTPConnection(there, timeout=60)
                try:
                    upstream.request(self.command, self.path, body, dict(self.headers))
                    given = upstream.getresponse()
                    content = given.read()
                finally:
                    upstream.close()
                self.close_connection = True
                target = self.headers.get("X-Amz-Target", "")
                if given.status == http.HTTPStatus.OK and relay.loses(self.command, self.path, target, body):
                    return
                self.send_response_only(given.status, given.reason)
                for name, value in given.getheaders():
                    if name.lower() not in _OF_ONE_LINK:
                        self.send_header(name, value)
                # The answer to HEAD tells the length of what it leaves out.
                length = given.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
                if length is not None:
                    self.send_header("Content-Length", length)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, format: str, *args: object) -> None:
                pass

        super().__init__(Handler)

    def loses(self, method: str, path: str, target: str, body: bytes) -> bool:
        """Whether to lose the answer to a form with its Action, JSON with its target, or S3's CreateBucket."""
        action = target.rpartition(".")[2] or parse_qs(body.decode("latin-1")).get("Action", [""])[0]
        if method == "PUT" and _BUCKET.fullmatch(path):
            action = "CreateBucket"
        with self._lock:
            if not self._left.get(action):
                return False
            self._left[action] -= 1
            self.lost.append(action)
            return True
