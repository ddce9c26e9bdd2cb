"""The messages of the queue: requests, answers, signs of life, and their keys in the bucket.

host/LAUNCH/alive.json           the host's sign of life, written anew every few seconds
host/LAUNCH/inbox/ID.json        a request, until the host has answered
host/LAUNCH/jobs/ID/taken        the host has begun
host/LAUNCH/jobs/ID/files.tar.gz the client's files
host/LAUNCH/jobs/ID/commit.pack  the commit that the client's folder has checked out
host/LAUNCH/jobs/ID/log/N        the command's output, in pieces
host/LAUNCH/jobs/ID/cancel       the client has cancelled the job
host/LAUNCH/jobs/ID/result.tar.gz, answer.json
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from wms.records import StoredRecord
from wms_ops.targets.host.backup import BackupNote

PYTHON: Final = "{python}"
"""As a command's first word: the host's own Python."""

FOLDER: Final = "{folder}"
"""In a command's words and variables: the folder in which the command runs."""


class _Order(BaseModel):
    """Base of the requests. A host refuses a request with an unknown field, instead of doing half of the work."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunRequest(_Order):
    """Run `argv` in the folder `workspace`, made equal to the client's: `files` are names and SHA-256s.

    `commit` is the commit in the pack that was sent, None for a client's folder without a commit.
    """

    kind: Literal["run"] = "run"
    argv: tuple[str, ...] = Field(min_length=1)
    environ: Mapping[str, str] = Field(repr=False)
    workspace: str = Field(pattern=r"^[a-z0-9-]{1,64}$")
    files: Mapping[str, str] = Field(repr=False)
    commit: str | None = Field(default=None, pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")


class DeployRequest(_Order):
    """Serve the release whose files were sent."""

    kind: Literal["deploy"] = "deploy"
    version: int
    weights_sha256: str


class RollBackRequest(_Order):
    """Serve the release from before the newest deployment."""

    kind: Literal["roll-back"] = "roll-back"


class BackupRequest(_Order):
    """Back up MLflow's database now."""

    kind: Literal["backup"] = "backup"


Request = Annotated[RunRequest | DeployRequest | RollBackRequest | BackupRequest, Field(discriminator="kind")]
REQUEST: Final[TypeAdapter[Request]] = TypeAdapter(Request)


class JobAnswer(StoredRecord):
    """The outcome of a request: `error` is a sentence with an `exit_code` after a failure; the rest belongs to a kind.

    `code` is the command's exit code, `pieces` the number of its log's pieces, `has_files` whether files came back, in
    an archive of `result_sha256`. `job` is the answered job. `job` and `result_sha256` are "" from an older host.
    """

    error: str | None = None
    exit_code: int = Field(default=84, ge=1, le=255)  # with 0 a failure would look like a success
    code: int | None = None
    pieces: int = 0
    has_files: bool = False
    result_sha256: str = ""
    job: str = ""
    version: int | None = None
    backup: BackupNote | None = None


class Alive(StoredRecord):
    """The host's sign of life: `beat` grows by 1 each time. Times are UTC, ISO 8601."""

    launch_id: str
    beat: int
    at: str
    phase: Literal["starting", "running", "stopping"]
    jobs: int = 0
    version: int | None = None
    backup_at: str | None = None
    idle_s: float = 0.0
    mlflow_rights: str | None = None
    """The rights behind MLflow's keys, as `credentials.Rights` names them."""


@dataclass(frozen=True)
class Keys:
    """The keys of one launch's message queue."""

    launch_id: str

    @property
    def alive(self) -> str:
        """The key of the sign of life."""
        return f"host/{self.launch_id}/alive.json"

    @property
    def inbox(self) -> str:
        """The prefix of all requests' keys."""
        return f"host/{self.launch_id}/inbox/"

    def request(self, job: str) -> str:
        """The key of a job's request.

        >>> Keys("20261125-153000-ab12cd").request("20261125-154500-0f1e2d3c")
        'host/20261125-153000-ab12cd/inbox/20261125-154500-0f1e2d3c.json'
        """
        return f"{self.inbox}{job}.json"

    def of(self, job: str, name: str = "") -> str:
        """The key of one of a job's objects; without `name` the prefix of all."""
        return f"host/{self.launch_id}/jobs/{job}/{name}"

    def piece(self, job: str, number: int) -> str:
        """The key of a piece of a command's output, from 0."""
        return self.of(job, f"log/{number:08d}")
