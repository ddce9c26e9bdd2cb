"""A small GitHub API on a Unix socket, for the real `gh`: files of main, releases and, in a module beside, pulls."""

from __future__ import annotations

import base64
import json
import os
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, unquote

from s3_server import require_tool

from wms_ops.pulls import gh_again

HOST = "github.localhost"
REPO = "acme/meters"
BASE = f"/repos/{REPO}"

Reply = tuple[int, Any]
"""Status, and bytes or what is sent as JSON."""


def refusal(status: int, message: str, *errors: str) -> Reply:
    return status, {"message": message, "errors": [{"code": "custom", "message": error} for error in errors]}


NOT_FOUND = refusal(404, "Not Found")


class FakeGitHub:
    """What the API knows: releases by tag (asset name -> content), drafts by id (tag, assets), files by path.

    `requests` are the paths that were asked for, `calls` the methods and paths of what wasn't GET.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.releases: dict[str, dict[str, bytes]] = {}
        self.drafts: dict[int, tuple[str, dict[str, bytes]]] = {}
        self.files: dict[str, bytes] = {}
        self.workflows: dict[str, set[str]] = {}  # main's files with the inputs of their workflow_dispatch
        self.dispatched: list[tuple[str, str, dict[str, str]]] = []  # file, ref, inputs
        self.requests: list[str] = []
        self.calls: list[str] = []
        self.socket = folder / "s"
        self.refuse_with: int | None = None
        self.read_only = False
        self.trouble: list[tuple[int, str, dict[str, str]]] = []  # status, message and headers of the next answers
        self.digests = True  # GitHub has told them since 2025
        self.spoil: Callable[[bytes], bytes] = bytes  # what becomes of an uploaded file
        self.more: Callable[[str, str, dict[str, str], Any], Reply] | None = None  # answers the rest
        self._last_id = 0
        self._lock = threading.RLock()

    @property
    def environ(self) -> dict[str, str]:
        """Variables that lead `gh` here, with no file of the user's."""
        return {
            "GH_HOST": HOST,
            "GH_TOKEN": "x",
            "GH_REPO": f"{HOST}/{REPO}",
            "GH_CONFIG_DIR": str(self.folder / "config"),
        }

    def answer(self, method: str, path: str, body: bytes) -> Reply:
        """What the API says."""
        with self._lock:
            self.requests.append(path)
            where, _, query = path.partition("?")
            where = unquote(where.removeprefix(BASE))
            asked = {name: values[0] for name, values in parse_qs(query).items()}
            if method != "GET":
                self.calls.append(f"{method} {where}")
            if self.refuse_with is not None:
                message = {401: "Bad credentials"}.get(self.refuse_with, "Something went wrong")
                return refusal(self.refuse_with, message)
            if self.read_only and method != "GET" and where != "/graphql":
                return refusal(403, "Resource not accessible by integration")
            return self._answer(method, where, asked, body)

    def _answer(self, method: str, where: str, asked: dict[str, str], body: bytes) -> Reply:
        if where.startswith("/releases"):
            return self._releases(method, where.removeprefix("/releases"), asked, body)
        if where.startswith("/actions/workflows/") and method == "POST":
            return self._dispatch(where.removeprefix("/actions/workflows/").removesuffix("/dispatches"), body)
        if where.startswith("/contents/") and where.removeprefix("/contents/") in self.files:
            return 200, self.files[where.removeprefix("/contents/")]
        if self.more:
            return self.more(method, where, asked, json.loads(body) if body else None)
        if where == "/graphql":  # gh asks there for a draft once there is no published release
            return 200, {"data": {"repository": {"release": None}}}
        return NOT_FOUND

    def _dispatch(self, name: str, body: bytes) -> Reply:
        if name not in self.workflows:
            return NOT_FOUND
        asked = json.loads(body)
        if asked["ref"] != "main":
            return refusal(422, f"No ref found for: {asked['ref']}")
        if more := sorted(set(asked["inputs"]) - self.workflows[name]):
            return refusal(422, f"Unexpected inputs provided: {json.dumps(more)}")
        if fewer := sorted(self.workflows[name] - set(asked["inputs"])):
            return refusal(422, f"Required input '{fewer[0]}' not provided")
        self.dispatched.append((name, asked["ref"], asked["inputs"]))
        return 204, b""

    def _releases(self, method: str, where: str, asked: dict[str, str], body: bytes) -> Reply:
        if where.startswith("/assets/"):
            return self._asset(method, where.rpartition("/")[2])
        if where.endswith("/assets") and method == "POST":
            return self._upload(int(where.split("/")[1]), asked["name"], body)
        if where.startswith("/tags/"):
            tag = where.removeprefix("/tags/")
            return (200, self._release(tag)) if tag in self.releases else NOT_FOUND
        if where == "" and method == "POST":
            self._last_id += 1
            data = json.loads(body)
            assert data["draft"], "a release that people see before it is whole"
            self.drafts[self._last_id] = (data["tag_name"], {})
            return 201, self._release(self._last_id)
        if where == "":
            every = [self._release(key) for key in (*self.drafts, *self.releases)]
            start = (int(asked["page"]) - 1) * int(asked["per_page"])
            return 200, every[start : start + int(asked["per_page"])]
        return self._one_release(method, int(where.strip("/")), body)

    def _one_release(self, method: str, number: int, body: bytes) -> Reply:
        tag = next((tag for tag in self.releases if _id(tag) == number), None)
        if method == "GET" and tag:
            return 200, self._release(tag)
        if number not in self.drafts:
            return NOT_FOUND
        if method == "DELETE":
            del self.drafts[number]
            return 204, b""
        if method == "PATCH" and json.loads(body)["draft"] is False:
            tag = self.drafts[number][0]
            if tag in self.releases:
                return refusal(422, "Validation Failed", "already_exists")
            self.releases[tag] = self.drafts.pop(number)[1]
            return 200, self._release(tag)
        return 200, self._release(number)

    def _asset(self, method: str, code: str) -> Reply:
        key, name = json.loads(base64.urlsafe_b64decode(code))
        assets = self._assets(key)
        if assets is None or name not in assets:
            return NOT_FOUND
        if method == "DELETE":
            del assets[name]
            return 204, b""
        return 200, assets[name]

    def _upload(self, number: int, name: str, body: bytes) -> Reply:
        assets = self._assets(number)
        if assets is None:
            assets = next((self.releases[tag] for tag in self.releases if _id(tag) == number), None)
        if assets is None:
            return NOT_FOUND
        if name in assets:
            return refusal(422, "Validation Failed", "already_exists")
        assets[name] = self.spoil(body)
        return 201, {}

    def _assets(self, key: int | str) -> dict[str, bytes] | None:
        return self.releases.get(key) if isinstance(key, str) else self.drafts.get(key, (None, None))[1]

    def _release(self, key: int | str) -> dict[str, Any]:
        """A published release by its tag, a draft by its number."""
        url = f"http://api.{HOST}{BASE}/releases"
        assets = [
            {
                "name": name,
                "size": len(content),
                "state": "uploaded",
                "digest": f"sha256:{sha256(content).hexdigest()}" if self.digests else None,
                "url": f"{url}/assets/" + base64.urlsafe_b64encode(json.dumps([key, name]).encode()).decode(),
            }
            for name, content in (self._assets(key) or {}).items()
        ]
        number, tag = (key, self.drafts[key][0]) if isinstance(key, int) else (_id(key), key)
        return {
            **{"id": number, "tag_name": tag, "draft": isinstance(key, int), "prerelease": False, "assets": assets},
            **{"url": f"{url}/{number}", "html_url": f"http://{HOST}/{REPO}/releases/tag/{tag}"},
            "upload_url": f"http://uploads.{HOST}{BASE}/releases/{number}/assets{{?name,label}}",
        }


def _id(tag: str) -> int:
    return int(sha256(tag.encode()).hexdigest()[:7], 16) + 1_000_000


@contextmanager
def fake_github() -> Iterator[FakeGitHub]:
    """A running fake, and `gh` told of its socket."""
    gh = require_tool("gh")
    # A socket's path has at most 107 characters; a test's own folder may be deeper than that.
    with tempfile.TemporaryDirectory(prefix="gh-") as folder, _serving(FakeGitHub(Path(folder))) as fake:
        command = [str(gh), "config", "set", "http_unix_socket", str(fake.socket)]
        subprocess.run(command, env={**os.environ, **fake.environ}, check=True, capture_output=True)
        with mock.patch.object(gh_again, "PAUSES_S", [0.0, 0.0]):
            yield fake


@contextmanager
def _serving(fake: FakeGitHub) -> Iterator[FakeGitHub]:

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            status, said = fake.answer(self.command, self.path, self._body())
            headers: dict[str, str] = {}
            if fake.trouble:
                status, message, headers = fake.trouble.pop(0)
                said = {"message": message}
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/octet-stream" if said is body else "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if body:  # gh has gone already after a 204
                self.wfile.write(body)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve

        def address_string(self) -> str:
            return "a Unix socket"

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    with Server(str(fake.socket), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join(10)
