"""`python -m wms_ops.targets.host`: the agent of an instance, from the database's restore to the last backup.

The agent starts MLflow and the door, keeps the service alive, takes jobs, backs up, and shuts the machine down when the
instance is idle or past its deadline. SIGTERM, which a shutdown sends, makes a last backup.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from wms.errors import WmsError
from wms_ops.base.errors import CloudError
from wms_ops.machine.certificate import show_certificate
from wms_ops.machine.environment import QUIET
from wms_ops.machine.guard import LAST_REQUEST
from wms_ops.machine.password import OWN_USER, read_password
from wms_ops.machine.processes import draw_ports, now
from wms_ops.machine.types import ModelRelease
from wms_ops.machine.workspace import Workspace
from wms_ops.storage.bucket import Bucket
from wms_ops.targets.host import boot, mlflow
from wms_ops.targets.host.archive import Rules, put, staged
from wms_ops.targets.host.backup import BackupNote, Backups, OvertakenError
from wms_ops.targets.host.config import HostConfig, Pace, public_address
from wms_ops.targets.host.credentials import MlflowKeys
from wms_ops.targets.host.door import Door
from wms_ops.targets.host.jobs import Handler, Job, Jobs
from wms_ops.targets.host.message_queue import FILES_SENT, LEDGER, MODEL, RELEASE
from wms_ops.targets.host.messages import Alive, DeployRequest, JobAnswer, Keys
from wms_ops.targets.host.runner import Runner
from wms_ops.targets.host.service import ModelService
from wms_ops.targets.host.units import control, give

FOLDER: Final = Path("/var/lib/wms")
_JOINED_S: Final = 15.0
_RELEASE_RULES: Final = Rules(
    "The release that was sent",
    "Look at who writes to the bucket, then deploy it again.",
    lambda name: None if name in RELEASE else "isn't a release's",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM. Raises CloudError if MLflow can't be started, and the errors of the store."""
    parser = argparse.ArgumentParser(prog="python -m wms_ops.targets.host", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="host.json, as the instance's user data writes it")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where MLflow's database and all else is kept")
    options = parser.parse_args(argv)
    config = HostConfig.load(options.config)
    os.umask(0o077)  # MLflow, a user of its own, reads what is meant for it, and nothing else here
    agent = Agent(config, Pace.of(), options.folder, options.config)
    signal.signal(signal.SIGTERM, lambda *_: agent.stop.set())
    agent.run()
    return 0


def say(text: str) -> None:
    """Print a sentence into the journal, at once."""
    print(text, flush=True)


def why_end(end: float, idle_s: float, *, now: float, last_used: float, jobs: int) -> str | None:
    """The reason why an instance ends by itself now; None if the instance goes on.

    `end` and `last_used`, the last request, job or start, are seconds since 1970; `idle_s` 0 means that idleness
    ends nothing.

    >>> why_end(1000.0, 60.0, now=500.0, last_used=400.0, jobs=0)
    'Nobody has asked for anything for the idle time'
    """
    if now >= end:
        return "The deadline is near"
    if idle_s > 0 and jobs == 0 and now - last_used >= idle_s:
        return "Nobody has asked for anything for the idle time"
    return None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Print an error instead of raising it."""
    try:
        yield
    except (WmsError, OSError) as error:
        say(f"error: {error}")


class Agent:
    """The agent of one instance. The event `stop` ends `run`."""

    def __init__(self, config: HostConfig, pace: Pace, folder: Path, config_path: Path) -> None:
        self.config, self.pace, self.folder, self._config_path = config, pace, folder, config_path
        self.stop = threading.Event()
        self.objects = Bucket.open(config.mlflow_bucket, config.region)
        self.backups = Backups(
            *(self.objects, config.environment, config.launch_id, mlflow.database_of(folder), say),
            scratch=folder / "scratch",
            give=lambda path: give(path, pace.mlflow_user),
        )
        self.keys = MlflowKeys(
            *(mlflow.access_of(folder), pace.mlflow_user, config.mlflow_bucket, config.region, config.mlflow_role),
            session=config.launch_id,
        )
        self.door = Door(folder / "door", pace.bind, config.mlflow_port, config.service_port, pace.door_user)
        self.service = ModelService(Workspace(folder / "service", say), self.door)
        self.runner = Runner(folder / "work", self.variables, pace.poll_s, say)
        # A client that has its answer reads the sign of life next, which then has to tell what the job has changed.
        changes = {"deploy": self._deploy, "roll-back": self._roll_back, "backup": self._save}
        handlers = {"run": self.runner.run} | {kind: self._with_sign(act) for kind, act in changes.items()}
        self.jobs = Jobs(self.objects, config.launch_id, handlers, say)
        self._lock = threading.Lock()  # one backup at a time
        self._sign_lock = threading.Lock()  # an older sign must not overwrite a newer one
        self._phase: Literal["starting", "running", "stopping"] = "starting"
        self._backup_at: str | None = None
        self._backed_up = time.monotonic()
        self._last_job = self._began = time.time()
        self._beat = 0
        self._over = threading.Event()

    @cached_property
    def password(self) -> str:
        """MLflow's password. Raises CloudError."""
        return read_password(self.config.password_parameter, self.config.region)

    def variables(self) -> dict[str, str]:
        """The variables that lead a command on this host to MLflow and to AWS."""
        return {
            **mlflow.aws_environ(self.config.region),
            **QUIET,
            "MLFLOW_TRACKING_URI": mlflow.url_of(self._mlflow_port),
            "MLFLOW_TRACKING_USERNAME": OWN_USER,
            "MLFLOW_TRACKING_PASSWORD": self.password,
        }

    def run(self) -> None:
        """Start everything, and take turns until `stop` is set."""
        # A thread of its own: restore, deployment and backup take longer than the client's patience.
        heart = threading.Thread(target=self._beats, name="heart", daemon=True)
        heart.start()
        try:
            self._start()
            while not self.stop.wait(self.pace.poll_s):
                self._turn()
        finally:
            self._phase = "stopping"
            self._end()
            self._over.set()
            heart.join(_JOINED_S)

    def _start(self) -> None:
        control("stop", mlflow.UNIT)
        self.runner.end_old_ones()
        with self._step("restore"):
            mlflow.prepare(self.folder, self.pace.mlflow_user)
            note = self.backups.restore()
            self._backup_at = note.at if note else None
        with self._step("mlflow"):
            self.keys.renew()
            (self._mlflow_port,) = draw_ports(1)
            address = public_address()
            shown = self.config.certificate_parameter, self.config.launch_id, self.door.certificate(address)
            show_certificate(*shown, self.config.region)
            environ = mlflow.environ_of(self.config, self._mlflow_port, self.keys.environ(), address)
            mlflow.begin(self.folder, self.pace.mlflow_user, environ, self.password)
            self.door.open(self._mlflow_port)
            mlflow.wait(self._mlflow_port, self.password, say)
        self.service.aim()
        self.service.revive()
        self.jobs.give_up_old_ones()
        self._phase, self._began = "running", time.time()
        say(f"MLflow answers at port {self.config.mlflow_port}.")

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        report = functools.partial(boot.report, self._config_path, self.folder, name)
        report("running")
        try:
            yield
        except BaseException as error:
            report("failed", str(error) or type(error).__name__)
            raise
        report("done")

    def _turn(self) -> None:
        """Take one turn. A failure is printed, and the next turn tries again."""
        turn = (self._keep_alive, self.keys.renew_if_due, self.door.look, self.jobs.take)
        for act in (*turn, self._backup_if_due, self._end_if_due):
            with _told():
                act()

    def _keep_alive(self) -> None:
        if self.jobs.count == 0:  # a deployment is a job, and revives the service itself
            self.service.revive()
            self.service.aim()  # a door that has started anew knows no version

    def _backup_if_due(self) -> None:
        if time.monotonic() - self._backed_up >= self.pace.backup_s:
            self._backed_up = time.monotonic()
            self._backup(only_if_changed=True)

    def _backup(self, *, only_if_changed: bool = False) -> BackupNote | None:
        with self._lock:
            if only_if_changed and not (self.backups.database.exists() and self.backups.changed()):
                return None
            note = self.backups.save()
        self._backup_at, self._backed_up = note.at, time.monotonic()
        say(f"MLflow's database is backed up: {note.key}, {note.size} bytes.")
        return note

    def _end_if_due(self) -> None:
        end, idle_s = self.config.deadline_s - self.pace.margin_s, self.config.idle_minutes * self.pace.minute_s
        if self.jobs.count:
            self._last_job = time.time()
        reason = why_end(end, idle_s, now=time.time(), last_used=self.last_used(), jobs=self.jobs.count)
        if reason is None:
            return
        say(f"{reason}; a last backup, then this machine shuts down.")
        with _told():  # the shutdown makes another backup; the bill ends in any case
            self._backup(only_if_changed=True)
        subprocess.run(["shutdown", "-h", "now"], check=False)

    def last_used(self) -> float:
        """The time of the last request or job, or of the start; seconds since 1970."""
        noted = mlflow.folder_of(self.folder) / LAST_REQUEST
        asked = noted.stat().st_mtime if noted.exists() else 0.0
        return max(self._began, self._last_job, asked, self.door.last_used)

    def _end(self) -> None:
        """End everything; MLflow first, so that the last backup is complete."""
        self.jobs.cancel_all()
        for act in (functools.partial(control, "stop", mlflow.UNIT), self._last_backup, self.service.stop):
            with _told():
                act()
        self.jobs.join(_JOINED_S)
        say("Everything is stopped.")

    def _last_backup(self) -> None:
        try:
            self._backup(only_if_changed=True)
        except OvertakenError as error:
            say(str(error))

    def _beats(self) -> None:
        while True:
            over = self._over.wait(self.pace.alive_s)
            self._give_sign()
            if over:
                return

    def _give_sign(self) -> None:
        """Write the sign of life. A failure is printed, and the next beat tries again."""
        with _told(), self._sign_lock:
            self._beat += 1
            sign = Alive(
                launch_id=self.config.launch_id,
                beat=self._beat,
                at=now(),
                phase=self._phase,
                jobs=self.jobs.count,
                version=self.service.version(),
                backup_at=self._backup_at,
                idle_s=max(0.0, time.time() - self.last_used()),
                mlflow_rights=self.keys.rights,
            )
            self.objects.put(Keys(self.config.launch_id).alive, sign.model_dump_json().encode())

    def _with_sign(self, act: Handler) -> Handler:
        def acted(job: Job) -> JobAnswer:
            answer = act(job)
            self._give_sign()
            return answer

        return acted

    def _deploy(self, job: Job) -> JobAnswer:
        request = job.request
        if not isinstance(request, DeployRequest):
            raise CloudError(f"{request.kind} isn't a deployment.")
        with job.sent(FILES_SENT) as sent:
            files = sent.with_name("files")
            with staged(sent, files, _RELEASE_RULES) as waiting:
                put(waiting, files, _RELEASE_RULES)
            release = ModelRelease(request.version, request.weights_sha256, files / MODEL, files / LEDGER)
            return JobAnswer(version=self.service.deploy(release))

    def _roll_back(self, _: Job) -> JobAnswer:
        return JobAnswer(version=self.service.roll_back())

    def _save(self, _: Job) -> JobAnswer:
        return JobAnswer(backup=self._backup())
