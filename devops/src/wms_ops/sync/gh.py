"""One small wrapper around `gh`: what this project asks of GitHub, and its failures in one sentence."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from wms.errors import ModelNotFoundError, UsageError
from wms_ops.errors import AccessDeniedError, StoreUnreachableError

_LIMIT_S = 600
_NO_LOGIN = 4  # gh's exit code
_ABSENT = ("release not found", "no assets match", "http 404", "not found (http 404)")
_REFUSED = ("http 401", "http 403", "bad credentials")


@dataclass(frozen=True)
class GitHub:
    """The repository on GitHub that the clone `folder` belongs to; GH_REPO and GH_HOST name another."""

    folder: Path

    def download_release(self, tag: str, pattern: str, target: Path) -> None:
        """Download a release's assets whose names fit `pattern` into the folder `target`.

        Raises ModelNotFoundError where there is no such release or asset, and the errors of `read_file`.
        """
        self._run("release", "download", tag, "--pattern", pattern, "--dir", str(target), "--clobber", what=tag)

    def read_file(self, path: str, branch: str) -> bytes:
        """A file's content on a branch, without a fetch.

        Raises ModelNotFoundError where there is none, UsageError without gh, AccessDeniedError without a login,
        StoreUnreachableError if GitHub doesn't answer.
        """
        address = f"repos/{{owner}}/{{repo}}/contents/{path}?ref={branch}"
        return self._run("api", "-H", "Accept: application/vnd.github.raw", address, what=path)

    def _run(self, *arguments: str, what: str) -> bytes:
        quiet = {**os.environ, "GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
        try:
            done = subprocess.run(
                ["gh", *arguments], cwd=self.folder, capture_output=True, timeout=_LIMIT_S, env=quiet, check=False
            )
        except FileNotFoundError as error:
            raise UsageError(
                "gh isn't installed; get it from https://cli.github.com, or use sync_model_aws.py with AWS credentials."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise StoreUnreachableError(f"GitHub took more than {_LIMIT_S} s over {what}; run it again.") from error
        if done.returncode:
            raise _error(done, what)
        return done.stdout


def _error(done: subprocess.CompletedProcess[bytes], what: str) -> Exception:
    said = " ".join(done.stderr.decode("utf-8", "replace").split())[:300].rstrip(".")
    low = said.lower()
    if done.returncode == _NO_LOGIN or any(word in low for word in _REFUSED):
        return AccessDeniedError(f"GitHub refuses to hand out {what} ({said}); run `gh auth login`.")
    if any(word in low for word in _ABSENT):
        return ModelNotFoundError(f"GitHub has no {what} ({said}).")
    return StoreUnreachableError(f"GitHub can't be asked for {what}: {said or 'gh failed'}; run it again.")
