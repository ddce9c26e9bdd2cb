"""The client's side of the message queue: sends requests to the host, follows them, and fetches their results."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from wms.errors import WmsError
from wms.files import sha256_file
from wms.registry.ledger import CURRENT, HISTORY
from wms.registry.lineage import DOCUMENTS, FILES
from wms.registry.shipped import ANCHOR
from wms_ops.base.errors import CloudError
from wms_ops.base.poll import poll
from wms_ops.base.signals import ended_by_sigterm
from wms_ops.machine.types import ModelRelease
from wms_ops.storage.bucket import Bucket
from wms_ops.targets.host.archive import MOST_BYTES, pack
from wms_ops.targets.host.backup import BackupNote
from wms_ops.targets.host.commit import pack_commit
from wms_ops.targets.host.listener import Listener
from wms_ops.targets.host.messages import (
    FOLDER,
    PYTHON,
    Alive,
    BackupRequest,
    DeployRequest,
    JobAnswer,
    Keys,
    Request,
    RollBackRequest,
    RunRequest,
)
from wms_ops.targets.host.transfer import outgoing, unpack

Say = Callable[[str], None]
FILES_SENT: Final = "files.tar.gz"
COMMIT_SENT: Final = "commit.pack"
RESULT: Final = "result.tar.gz"
MODEL, LEDGER = "model", "ledger"
RELEASE: Final = frozenset(
    (*(f"{MODEL}/{name}" for name in (*FILES, *DOCUMENTS, ANCHOR)), f"{LEDGER}/{HISTORY}", f"{LEDGER}/{CURRENT}")
)
"""The names of a release's files in its archive."""

_IS_PYTHON: Final = re.compile(r"python[0-9.]*(\.exe)?", re.IGNORECASE)


def new_job() -> str:
    """A job's name, which sorts by time."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True)
class MessageQueue:
    """The message queue of one launch. After `dead_s` seconds without a sign of life the client gives the host up.

    Every method raises CloudError, with the exit code of the host's own error if the host answered with an error, and
    the errors of the store.
    """

    objects: Bucket
    launch_id: str
    poll_s: float = 2.0
    dead_s: float = 90.0
    cancel_s: float = 15.0

    def alive(self) -> Alive | None:
        """The host's newest sign of life, at any age; None before the first."""
        found = self.objects.get(self._keys.alive)
        with contextlib.suppress(ValidationError):
            return Alive.model_validate_json(found.content) if found else None
        return None

    def run(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        environ: Mapping[str, str] | None = None,
        show: Say = lambda _: None,
        job: str | None = None,
    ) -> int:
        """Run a command on the host in a copy of `folder`, of which Git's files travel; returns the exit code.

        Of this machine's variables only those in `environ` go along. The output is appended to `log` and shown line by
        line; of the files that the command changed or made, data comes back (`returns` in transfer.py). An exception
        here cancels the command on the host. With the name of a `job` that was begun before, that job is followed, and
        no command starts twice. Raises UnsafeFileError for a result with a forbidden file, GitError for a `folder`
        outside of a clone.
        """
        job = job or new_job()
        folder = folder.absolute()
        with tempfile.TemporaryDirectory(prefix="wms-queue-") as temporary, ended_by_sigterm():
            if self._answer(job) is None and self.objects.facts(self._keys.request(job)) is None:
                files, sent, commit = outgoing(folder), Path(temporary, FILES_SENT), Path(temporary, COMMIT_SENT)
                pack({name: folder / name for name in files}, sent)
                request = RunRequest(
                    argv=tuple(_word(word, folder, first=number == 0) for number, word in enumerate(command)),
                    environ={name: _word(value, folder) for name, value in (environ or {}).items()},
                    workspace=_workspace(folder),
                    files=files,
                    commit=pack_commit(folder, commit),
                )
                self._send(job, request, sent, *([commit] if request.commit else []))
            answer = self._follow(job, Listener(log, show))
            if answer.has_files:
                self._take_result(job, answer, folder, Path(temporary, RESULT))
        self._forget(job)
        if answer.code is None:
            raise CloudError("The host answered without an exit code; look at its log.")
        return answer.code

    def deploy(self, release: ModelRelease) -> None:
        """Serve a release behind the instance's public port once it's healthy; else the release before is served on."""
        names = {f"{MODEL}/{name}": release.model / name for name in (*FILES, *DOCUMENTS, ANCHOR)}
        names |= {f"{LEDGER}/{name}": release.ledger / name for name in (HISTORY, CURRENT)}
        with tempfile.TemporaryDirectory(prefix="wms-queue-") as temporary:
            archive = Path(temporary, FILES_SENT)
            pack({name: path.resolve() for name, path in names.items() if path.is_file()}, archive)
            self._ask(DeployRequest(version=release.version, weights_sha256=release.weights_sha256), archive)

    def roll_back(self) -> int | None:
        """Serve the release from before the newest `deploy`; returns its version, None if no release is served now."""
        return self._ask(RollBackRequest()).version

    def backup(self) -> BackupNote:
        """Back up MLflow's database now."""
        note = self._ask(BackupRequest()).backup
        if note is None:
            raise CloudError("The host answered without a backup; look at its log.")
        return note

    @property
    def _keys(self) -> Keys:
        return Keys(self.launch_id)

    def _take_result(self, job: str, answer: JobAnswer, folder: Path, archive: Path) -> None:
        """Put a job's result into the folder; a refused archive stays in the bucket for inspection."""
        key = self._keys.of(job, RESULT)
        facts = self.objects.facts(key)
        if facts is None or facts.size > MOST_BYTES or not self.objects.download(key, archive):
            raise CloudError(f"The result of job {job} isn't in the mailbox, or is too large; run it again.")
        if answer.result_sha256 not in ("", sha256_file(archive)):
            raise CloudError(f"The result of job {job} isn't what the host has sent; run it again.")
        where = f"It lies in s3://{self.objects.name}/{key}; don't trust that instance any more, end it with `down`."
        unpack(archive, folder, title=f"The result of job {job}", advice=where)

    def _ask(self, request: Request, *files: Path) -> JobAnswer:
        job = new_job()
        self._send(job, request, *files)
        answer = self._follow(job, None)
        self._forget(job)
        return answer

    def _send(self, job: str, request: Request, *files: Path) -> None:
        for path in files:
            self.objects.upload(self._keys.of(job, path.name), path)
        # The request last: the host starts as soon as it finds one, and needs the files then.
        self.objects.put_if(self._keys.request(job), request.model_dump_json().encode(), None)

    def _follow(self, job: str, listener: Listener | None) -> JobAnswer:
        """Wait for the answer. An exception here cancels the job."""
        pulse = _Pulse(self.dead_s)

        def look() -> list[JobAnswer]:
            answer = self._answer(job)
            self._hear(job, listener, answer)
            return [] if answer is None else [answer]

        def waiting(*_: object) -> None:
            if pulse.is_due(self.poll_s):
                pulse.feel(self.alive())

        try:
            return _checked(poll(look, None, pause_s=self.poll_s, waiting=waiting)[0])
        except CloudError:
            raise  # the host has answered with an error, or is dead
        except BaseException:
            with contextlib.suppress(WmsError):
                self._cancel(job)
            raise

    def _hear(self, job: str, listener: Listener | None, answer: JobAnswer | None) -> None:
        while listener is not None:
            piece = self.objects.get(self._keys.piece(job, listener.pieces))
            if piece is None:
                if answer is not None:
                    listener.close()
                return
            try:
                listener.hear(piece.content)
            except CloudError:
                with contextlib.suppress(WmsError):
                    self._cancel(job)
                raise

    def _answer(self, job: str) -> JobAnswer | None:
        found = self.objects.get(self._keys.of(job, "answer.json"))
        if found is None:
            return None
        answer = JobAnswer.parse(found.content, f"The host's answer to job {job}", CloudError, "run it again")
        if answer.job not in ("", job):
            raise CloudError(
                f"The answer to job {job} is that to {answer.job[:40]!r}; look at who writes to the bucket."
            )
        return answer

    def _cancel(self, job: str) -> None:
        """Tell the host, and give it a moment to end the command."""
        self.objects.put(self._keys.of(job, "cancel"), b"")
        poll(lambda: self._answer(job), self.cancel_s, pause_s=self.poll_s)

    def _forget(self, job: str) -> None:
        """Delete the job's objects, the request first: without the others a request would look new."""
        self.objects.delete([self._keys.request(job)])
        self.objects.delete(self.objects.names(self._keys.of(job)))


class _Pulse:
    """Whether the host lives, by changes of its sign of life: two machines' clocks needn't agree."""

    def __init__(self, dead_s: float) -> None:
        self._dead_s = dead_s
        self._beat: int | None = None
        self._felt = self._looked = time.monotonic()

    def is_due(self, poll_s: float) -> bool:
        """Whether to read the sign of life again."""
        return time.monotonic() - self._looked >= max(poll_s, self._dead_s / 20)

    def feel(self, alive: Alive | None) -> None:
        """Note a sign of life. Raises CloudError for a host that is dead or about to be."""
        self._looked = time.monotonic()
        if alive is not None and alive.beat != self._beat:
            self._beat, self._felt = alive.beat, self._looked
        if alive is not None and alive.phase == "stopping":
            raise CloudError("The instance is shutting down, so it didn't finish this; start another one with `up`.")
        silent = self._looked - self._felt
        if silent >= self._dead_s:
            raise CloudError(
                f"The instance has given no sign of life for {silent:.0f} s; look at it with `status`, end it with "
                "`down`, and run this again."
            )


def _checked(answer: JobAnswer) -> JobAnswer:
    if answer.error is not None:
        error = CloudError(answer.error)
        error.exit_code = answer.exit_code
        raise error
    return answer


def _workspace(folder: Path) -> str:
    """The name of a folder's copy on the host: the same for each command in that folder."""
    return hashlib.sha256(os.fsencode(f"{platform.node()}:{folder.resolve()}")).hexdigest()[:16]


def _word(text: str, folder: Path, *, first: bool = False) -> str:
    """A command's word for the host: this machine's Python and folder become the host's own."""
    path = Path(text)
    if first and path.is_absolute() and _IS_PYTHON.fullmatch(path.name):
        return PYTHON
    return re.sub(re.escape(str(folder)) + r"(?![\w.-])", lambda _: FOLDER, text)
