"""A third target, for tests: a server in a shed that is paid by the second. It's registered by one line of a table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

from wms_ops.base.errors import CloudError
from wms_ops.cost.prices import Choice
from wms_ops.cost.sessions import EndedBy, Purpose, Session, begin
from wms_ops.machine.answers import wait_for_mlflow, why_silent
from wms_ops.machine.environment import plain_environ
from wms_ops.machine.processes import draw_ports, end, find, mark_of, spawn
from wms_ops.machine.types import CloudState, Endpoints, ModelRelease

FOLDER: Final = "shed"
SERVER: Final = """
import http.server, sys
class Api(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"{}")
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Api).serve_forever()
"""


@dataclass(frozen=True)
class Shed:
    """A `Cloud` whose instance is one process that answers as MLflow's API does."""

    folder: Path
    show: Callable[[str], None] = field(default=print, repr=False)
    run_id: str = ""
    name: str = "shed"
    billed: bool = True
    needs_account: bool = True

    def choice(self) -> Choice:
        return Choice(instance_type="m6i.xlarge", minutes=60)

    def sessions(self, since: datetime | None = None) -> Sequence[Session]:
        return [Session.model_validate_json(path.read_bytes()) for path in sorted(self.folder.glob("*.session"))]

    def note(self, change: Callable[[Session], Session], since: datetime) -> None:
        for session in self.sessions(since):
            if session.run == self.run_id:
                self._write(change(session))

    def for_run(self, run_id: str) -> Shed:
        return replace(self, run_id=run_id)

    def borrowed(self) -> Shed | None:
        return self if self.folder.is_dir() else None

    def storage_up(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def status(self) -> CloudState:
        if not self._processes():
            return CloudState.ABSENT
        return CloudState.RUNNING if why_silent(self._address()) is None else CloudState.STARTING

    def endpoints(self) -> Endpoints | None:
        return Endpoints(self._address()) if self._processes() else None

    def environ(self) -> Mapping[str, str]:
        return {"MLFLOW_TRACKING_URI": self._address()} if self._processes() else {}

    def up(self) -> Endpoints:
        if not self._processes():
            (port,) = draw_ports(1)
            (self.folder / "port").write_text(str(port))
            now = datetime.now(UTC)
            self._write(
                begin(
                    self.choice(), launch_id="shed-1", environment="shed", now=now, purpose=Purpose.PIPELINE,
                    run=self.run_id,
                ).launched(now)
            )  # fmt: skip
            spawn(
                [sys.executable, "-c", SERVER, str(port)], mark=mark_of(self.folder), role="mlflow",
                folder=self.folder, environ=plain_environ(), log=self.folder / "log",
            )  # fmt: skip
        return Endpoints(self._address())

    def wait(self, limit_s: float = 900.0) -> None:
        wait_for_mlflow(self._address(), limit_s, self.show)

    def down(self) -> None:
        if end((one.process for one in find(mark_of(self.folder))), 5):
            raise CloudError("The shed's server doesn't end.")
        for session in self.sessions():
            self._write(session.ended(datetime.now(UTC), EndedBy.DOWN))

    def run(self, command: Sequence[str], **_: object) -> NoReturn:
        raise CloudError("The shed runs no commands.")

    def deploy(self, release: ModelRelease) -> NoReturn:
        raise CloudError("The shed serves no model.")

    def roll_back(self) -> None:
        return None

    def _address(self) -> str:
        return f"http://127.0.0.1:{(self.folder / 'port').read_text()}"

    def _processes(self) -> list[object]:
        return [one.process for one in find(mark_of(self.folder))]

    def _write(self, session: Session) -> None:
        (self.folder / f"{session.launch_id}.session").write_text(session.model_dump_json())


open_target = Shed
