"""The wrapper around `gh`: requests to GitHub, repeated where that helps, each failure in one sentence."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wms.errors import ModelNotFoundError, UsageError
from wms.files import parse_json
from wms.json_text import to_json
from wms_ops.base.errors import AccessDeniedError, StoreUnreachableError
from wms_ops.base.settings import LoopSettings
from wms_ops.pulls.gh_again import Transient, headers_of, repeated

REPO = "repos/{owner}/{repo}"
"""The beginning of the API's paths; gh fills in owner and name of the repository."""

_LIMIT_S = 600
_HOST = re.compile(r"(?:\w+://)?(?:[^@/]+@)?([^/:]+)")
_NO_LOGIN = 4  # gh's exit code
_STATUS = re.compile(r"\(HTTP (\d{3})\)")
_ABSENT = ("release not found", "no assets match", "http 404", "not found (http 404)")
_REFUSED = ("http 401", "http 403", "bad credentials")


def is_at_github(url: str) -> bool:
    """Return whether a URL is GitHub's, also by SSH, with a user name, or at the Enterprise host named by GH_HOST."""
    found = _HOST.match(url)
    host = found[1].lower() if found else ""
    return host in ("github.com", "ssh.github.com", LoopSettings.read().gh_host.lower())


@dataclass(frozen=True)
class GhResponse:
    """The API's answer: the status, the JSON, and the reason of a refusal in GitHub's words, on one line."""

    status: int
    data: Any
    words: str = ""

    @property
    def ok(self) -> bool:
        """Whether GitHub carried the request out."""
        return not self.words and self.status < 300


@dataclass(frozen=True)
class GitHub:
    """The repository on GitHub that the clone `folder` belongs to; GH_REPO and GH_HOST name another."""

    folder: Path

    def download_release(self, tag: str, names: Iterable[str], target: Path) -> None:
        """Download a release's assets of exactly these names into the folder `target`.

        Raises ModelNotFoundError for a missing release or asset, and the errors of `read_file`.
        """
        patterns = [word for name in names for word in ("--pattern", name)]
        self._run("release", "download", tag, *patterns, "--dir", str(target), "--clobber", what=tag)

    def read_file(self, path: str, branch: str) -> bytes:
        """Return a file's content on a branch, without a fetch.

        Raises ModelNotFoundError for a missing file, UsageError without gh, AccessDeniedError without a login,
        StoreUnreachableError if GitHub doesn't answer.
        """
        accept = ("-H", "Accept: application/vnd.github.raw")
        return self._run("api", *accept, f"{REPO}/contents/{path}?ref={branch}", what=path)

    def read_asset(self, url: str, what: str) -> bytes:
        """Return a release asset's content by its address in the API, also of a draft. Raises as `read_file` does."""
        return self._run("api", "-H", "Accept: application/octet-stream", url, what=what)

    def ask(self, path: str, *, method: str = "GET", body: Mapping[str, Any] | None = None, what: str) -> GhResponse:
        """Call the REST API; a refusal (4xx) is an answer, too. `what` is named in errors.

        A request that GitHub didn't answer is sent again, unless it may have made something (POST); a limit on requests
        is waited for. Raises UsageError without gh, AccessDeniedError without a login, StoreUnreachableError if GitHub
        goes on failing, or limits the rate of requests for longer.
        """
        given = [] if body is None else ["--input", "-"]
        data = None if body is None else to_json(body).encode()
        words = ("api", "--include", "--method", method, *given, path)
        return repeated(lambda: self._once(words, what, data), may_repeat=method != "POST")

    def send_file(self, url: str, path: Path, what: str) -> GhResponse:
        """POST a file's bytes to an address of the API. Raises as `ask` does."""
        kind = ("-H", "Content-Type: application/octet-stream")
        words = ("api", "--include", "--method", "POST", *kind, "--input", str(path), url)
        return repeated(lambda: self._once(words, what), may_repeat=False)

    def set_secret(self, name: str, environment: str, value: str) -> None:
        """Store a secret of an environment. The value goes by standard input: other users see command lines.

        Raises as `read_file` does.
        """
        self._run("secret", "set", name, "--env", environment, what=f"the secret {name}", data=value.encode())

    def graphql(self, query: str, variables: Mapping[str, Any], what: str) -> GhResponse:
        """Call the GraphQL API. Raises as `ask` does."""
        data = to_json({"query": query, "variables": variables}).encode()
        words = ("api", "graphql", "--include", "--input", "-")
        return repeated(lambda: self._once(words, what, data), may_repeat=True)  # each query here may be sent twice

    def _once(self, arguments: tuple[str, ...], what: str, data: bytes | None = None) -> GhResponse:
        """Send a request. Raises as `ask` does, and Transient for a failure that may pass."""
        done = self._attempt(*arguments, what=what, data=data)
        head, body = headers_of(done.stdout)
        said = done.stderr.decode("utf-8", "replace")
        found = _STATUS.search(said)
        status = int(found[1]) if found else 200
        try:
            content = parse_json(body or b"null")
        except ValueError:
            content = None
        words = _words(content) if done.returncode else ""
        limited = "rate limit" in words.lower() or status == 429
        # A refusal with words is the caller's to judge; a missing login, a limit or a broken server is an error for
        # all.
        if done.returncode and (done.returncode == _NO_LOGIN or status == 401 or status >= 500 or limited or not words):
            error = _error(done, what)
            if limited or status >= 500 or (not found and isinstance(error, StoreUnreachableError)):
                raise Transient(error, limited=limited, headers=head)
            raise error
        return GhResponse(status, content, words)

    def _run(self, *arguments: str, what: str, data: bytes | None = None) -> bytes:
        done = self._attempt(*arguments, what=what, data=data)
        if done.returncode:
            raise _error(done, what)
        return done.stdout

    def _attempt(self, *arguments: str, what: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        quiet = {**os.environ, "GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
        command = ["gh", *arguments]
        try:
            return subprocess.run(
                command,
                cwd=self.folder,
                input=data or b"",
                capture_output=True,
                timeout=_LIMIT_S,
                env=quiet,
                check=False,
            )
        except FileNotFoundError as error:
            raise UsageError(
                "gh isn't installed; get it from https://cli.github.com (`wms sync --from s3` does without it)."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise StoreUnreachableError(f"GitHub took more than {_LIMIT_S} s over {what}; run it again.") from error


def _words(content: Any) -> str:
    """Return GitHub's reason for a refusal from its JSON: the message and the listed errors."""
    if not isinstance(content, dict):
        return ""
    listed = content.get("errors")
    errors = listed if isinstance(listed, list) else [listed] if listed else []
    said = [error.get("message") or error.get("code") if isinstance(error, dict) else error for error in errors]
    parts = [str(part).strip().rstrip(".") for part in (content.get("message"), *said) if part]
    return " ".join(": ".join(dict.fromkeys(parts)).split())[:500]


def _error(done: subprocess.CompletedProcess[bytes], what: str) -> Exception:
    said = " ".join(done.stderr.decode("utf-8", "replace").split())[:300].rstrip(".")
    low = said.lower()
    if "rate limit" in low:
        return StoreUnreachableError(f"GitHub was asked too often ({said}); wait a few minutes and run it again.")
    if done.returncode == _NO_LOGIN or any(word in low for word in _REFUSED):
        return AccessDeniedError(f"GitHub refuses access to {what} ({said}); run `gh auth login`.")
    if any(word in low for word in _ABSENT):
        return ModelNotFoundError(f"GitHub has no {what} ({said}).")
    return StoreUnreachableError(f"GitHub can't be asked for {what}: {said or 'gh failed'}; run it again.")
