"""What a local cloud knows of itself: one frozen value, kept as one JSON file that is replaced whole."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import Field

from wms.files import write_atomic
from wms.records import StoredRecord
from wms_ops.base.errors import CloudError
from wms_ops.machine.types import CloudState

STATE: Final = "state.json"


class ServerRecord(StoredRecord):
    """A server that was begun: `pid` is 0 until it's known, `phase` RUNNING once it has answered. Time: ISO 8601."""

    pid: int = 0
    started_at: str
    phase: CloudState = CloudState.STARTING


class Served(StoredRecord):
    """A release that is served, or was, by the process `pid` at `port`; its files lie in the folder `name`."""

    version: int
    weights_sha256: str
    port: int
    pid: int = 0
    started_at: str

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"{self.weights_sha256[:12]}-v{self.version}"

    def is_release_of(self, other: Served) -> bool:
        """Whether the other one is the same version of the same weights, in whatever process."""
        return (self.version, self.weights_sha256) == (other.version, other.weights_sha256)


class CloudRecord(StoredRecord):
    """The whole state. `before` was served before the newest `deploy`, `coming` is being deployed."""

    format: int = Field(default=1, ge=1)
    phase: CloudState = CloudState.ABSENT
    s3_ports: Mapping[str, int] = Field(default_factory=dict)
    mlflow_port: int = 0
    servers: Mapping[str, ServerRecord] = Field(default_factory=dict)
    current: Served | None = None
    before: Served | None = None
    coming: Served | None = None

    def with_server(self, role: str, server: ServerRecord | None) -> CloudRecord:
        """The same with another server of this role, or with none."""
        others = {name: one for name, one in self.servers.items() if name != role}
        return self.model_copy(update={"servers": others | ({role: server} if server else {})})

    @property
    def pids(self) -> frozenset[int]:
        """The numbers of all processes that are to stay; what is being deployed isn't sure of that."""
        known = [*self.servers.values(), self.current]
        return frozenset(one.pid for one in known if one is not None and one.pid)


def read_record(path: Path) -> CloudRecord:
    """The state in a file; that of a cloud which never was where there is none. Raises CloudError."""
    folder = shlex.quote(str(path.parent))
    hint = (
        f"run `wms cloud down --all --target local --folder {folder}`, which ends all processes and forgets that file"
    )
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return CloudRecord()
    except OSError as error:
        raise CloudError(f"{path} can't be read ({error.strerror}); {hint}.") from error
    return CloudRecord.parse(content, str(path), CloudError, hint)


def write_record(path: Path, record: CloudRecord) -> None:
    """Replace the file. Raises DiskFullError, UnwritableError."""
    write_atomic(path, record.model_dump_json(indent=1) + "\n")
