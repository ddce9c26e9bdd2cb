"""The host's side of the message queue: takes each request once, works in a thread per request, and answers."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from wms.errors import WmsError
from wms_ops.base.errors import CloudError
from wms_ops.storage.bucket import Bucket
from wms_ops.targets.host.message_queue import COMMIT_SENT, FILES_SENT
from wms_ops.targets.host.messages import REQUEST, JobAnswer, Keys, Request


@dataclass(frozen=True)
class Job:
    """A request that the host has taken; `cancelled` is set once the client no longer wants the result."""

    name: str
    request: Request
    objects: Bucket
    keys: Keys
    cancelled: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def sent(self, name: str) -> Iterator[Path]:
        """The object `name` that came with the request, as a temporary file. Raises CloudError for a missing object."""
        with tempfile.TemporaryDirectory(prefix="wms-job-") as temporary:
            path = Path(temporary, name)
            if not self.objects.download(self.keys.of(self.name, name), path):
                raise CloudError(f"The {name} of this job isn't in the mailbox; run it again.")
            yield path

    def is_cancelled(self) -> bool:
        """Whether the host or the client has cancelled the job."""
        if not self.cancelled.is_set() and self.objects.facts(self.keys.of(self.name, "cancel")) is not None:
            self.cancelled.set()
        return self.cancelled.is_set()


Handler = Callable[[Job], JobAnswer]


@dataclass
class Jobs:
    """All jobs of one launch. `handlers` maps a request's kind to the function that does the work."""

    objects: Bucket
    launch_id: str
    handlers: Mapping[str, Handler]
    show: Callable[[str], None] = print
    _running: dict[str, tuple[Job, threading.Thread]] = field(default_factory=dict, repr=False)

    @property
    def count(self) -> int:
        """How many jobs are running."""
        return sum(thread.is_alive() for _, thread in list(self._running.values()))

    def give_up_old_ones(self) -> None:
        """Answer the jobs that an earlier agent had begun: they ended with that agent. Raises the store's errors."""
        for name in self._waiting():
            if self.objects.facts(self._keys.of(name, "answer.json")) is not None:
                self.objects.delete([self._keys.request(name)])
            elif self.objects.facts(self._keys.of(name, "taken")) is not None:
                self._finish(name, JobAnswer(error="The host's agent was started anew meanwhile; run this again."))

    def take(self) -> None:
        """Begin all requests that arrived since the last call. Raises the store's errors."""
        self._running = {name: (job, thread) for name, (job, thread) in self._running.items() if thread.is_alive()}
        for name in self._waiting():
            found = self.objects.get(self._keys.request(name))
            if name in self._running or found is None:
                continue
            if not self.objects.put_if(self._keys.of(name, "taken"), b"", None):
                continue  # taken already; the answer is just being written
            try:
                request = REQUEST.validate_json(found.content)
            except ValidationError:
                self._finish(name, JobAnswer(error="The host doesn't understand this request; its code is older."))
                continue
            self.show(f"Job {name}: {request.kind}.")
            job = Job(name, request, self.objects, self._keys)
            thread = threading.Thread(target=self._work, args=(job,), name=f"job {name}", daemon=True)
            self._running[name] = (job, thread)
            thread.start()

    def cancel_all(self) -> None:
        """Cancel all running jobs, without waiting."""
        for job, _ in list(self._running.values()):
            job.cancelled.set()

    def join(self, seconds: float) -> None:
        """Wait at most `seconds` for each running job."""
        for _, thread in list(self._running.values()):
            thread.join(seconds)

    @property
    def _keys(self) -> Keys:
        return Keys(self.launch_id)

    def _waiting(self) -> list[str]:
        return [PurePosixPath(key).stem for key in self.objects.names(self._keys.inbox)]

    def _work(self, job: Job) -> None:
        try:
            answer = self.handlers[job.request.kind](job)
        except WmsError as error:
            answer = JobAnswer(error=str(error), exit_code=error.exit_code)
        except Exception:  # one job's bug must not leave its client waiting
            traceback.print_exc()
            answer = JobAnswer(error="The host made a mistake; `journalctl -u wms-host` there says which.")
        try:
            self._finish(job.name, answer)
        except WmsError as error:
            self.show(f"Job {job.name} can't be answered: {error}")

    def _finish(self, name: str, answer: JobAnswer) -> None:
        answer = answer.model_copy(update={"job": name})
        self.objects.put(self._keys.of(name, "answer.json"), answer.model_dump_json().encode())
        self.objects.delete(
            [self._keys.request(name), *(self._keys.of(name, sent) for sent in (FILES_SENT, COMMIT_SENT))]
        )
        self.show(f"Job {name} is answered.")
