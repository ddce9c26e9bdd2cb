"""A tiny GitHub API on a Unix socket, for the real `gh`: releases with assets, and files of the main branch."""

from __future__ import annotations

import base64
import json
import os
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from s3_server import require_tool

HOST = "github.localhost"
REPO = "acme/meters"


class FakeGitHub:
    """What the API knows: releases by tag (asset name -> content) and files by path; `requests` were answered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.releases: dict[str, dict[str, bytes]] = {}
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.socket = folder / "s"
        self.refuse_with: int | None = None

    @property
    def environ(self) -> dict[str, str]:
        """Variables that lead `gh` here, with no file of the user's."""
        return {
            "GH_HOST": HOST,
            "GH_TOKEN": "x",
            "GH_REPO": f"{HOST}/{REPO}",
            "GH_CONFIG_DIR": str(self.folder / "config"),
        }

    def answer(self, path: str) -> tuple[int, bytes, str]:
        """Status, body and content type."""
        self.requests.append(path)
        if self.refuse_with is not None:
            message = {401: "Bad credentials"}.get(self.refuse_with, "Something went wrong")
            return self.refuse_with, json.dumps({"message": message}).encode(), "application/json"
        if path == "/graphql":  # gh asks there for a draft once there is no published release
            return 200, b'{"data": {"repository": {"release": null}}}', "application/json"
        base = f"/repos/{REPO}"
        where = path.partition("?")[0].removeprefix(base)
        if where.startswith("/releases/tags/") and (tag := where.rpartition("/")[2]) in self.releases:
            return 200, json.dumps(self._release(tag)).encode(), "application/json"
        if where.startswith("/releases/assets/"):
            tag, name = base64.urlsafe_b64decode(where.rpartition("/")[2]).decode().split("\n")
            return 200, self.releases[tag][name], "application/octet-stream"
        if where.startswith("/contents/") and (content := self.files.get(where.removeprefix("/contents/"))) is not None:
            return 200, content, "application/vnd.github.raw"
        return 404, b'{"message": "Not Found"}', "application/json"

    def _release(self, tag: str) -> dict[str, Any]:
        url = f"http://api.{HOST}/repos/{REPO}/releases"
        assets = [
            {
                "name": name,
                "size": len(content),
                "state": "uploaded",
                "url": f"{url}/assets/" + base64.urlsafe_b64encode(f"{tag}\n{name}".encode()).decode(),
            }
            for name, content in self.releases[tag].items()
        ]
        return {"id": 1, "tag_name": tag, "draft": False, "prerelease": False, "assets": assets, "url": f"{url}/1"}


@contextmanager
def fake_github() -> Iterator[FakeGitHub]:
    """A running fake, and `gh` told of its socket."""
    gh = require_tool("gh")
    # A socket's path has at most 107 characters; a test's own folder may be deeper than that.
    with tempfile.TemporaryDirectory(prefix="gh-") as folder, _serving(FakeGitHub(Path(folder))) as fake:
        command = [str(gh), "config", "set", "http_unix_socket", str(fake.socket)]
        subprocess.run(command, env={**os.environ, **fake.environ}, check=True, capture_output=True)
        yield fake


@contextmanager
def _serving(fake: FakeGitHub) -> Iterator[FakeGitHub]:

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body, kind = fake.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _serve

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
