"""A local cloud's state: one frozen value, kept as one JSON file that is replaced whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import Field

from wms.records import StoredRecord
from wms_ops.machine.types import CloudState

STATE: Final = "state.json"


class ServerRecord(StoredRecord):
    """A server that was begun: `pid` is 0 until known, `phase` RUNNING after its first answer. Time: ISO 8601."""

    pid: int = 0
    started_at: str
    phase: CloudState = CloudState.STARTING


class Served(StoredRecord):
    """A release that is or was served by the process `pid` at `port`; its files lie in the folder `name`."""

    version: int
    weights_sha256: str
    port: int
    pid: int = 0
    started_at: str

    @property
    def name(self) -> str:
        """The name of the release's folder."""
        return f"{self.weights_sha256[:12]}-v{self.version}"

    def is_release_of(self, other: Served) -> bool:
        """Whether `other` is the same version of the same weights, in any process."""
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
        """A copy with another server of this role, or without a server for None."""
        others = {name: other for name, other in self.servers.items() if name != role}
        return self.model_copy(update={"servers": others | ({role: server} if server else {})})

    @property
    def pids(self) -> frozenset[int]:
        """The pids of all processes that are to stay; a release that is being deployed isn't among them."""
        known = [*self.servers.values(), self.current]
        return frozenset(entry.pid for entry in known if entry is not None and entry.pid)
