"""Commands on the host: each in the copy of its client's folder, with output sent on during the run."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wms.errors import WmsError
from wms.files import sha256_file
from wms_ops.base.errors import CloudError
from wms_ops.machine.commands import run_command
from wms_ops.machine.environment import plain_environ
from wms_ops.machine.workspace import Workspace
from wms_ops.targets.host.archive import pack
from wms_ops.targets.host.jobs import Job
from wms_ops.targets.host.message_queue import COMMIT_SENT, FILES_SENT, RESULT
from wms_ops.targets.host.messages import FOLDER, PYTHON, JobAnswer, RunRequest
from wms_ops.targets.host.transfer import adopt, incoming

TREE: Final = "tree"
_LARGEST_PIECE: Final = 2**20


@dataclass
class Runner:
    """Runs commands below `folder`; `environ` gives the variables that lead to this host's MLflow and to AWS."""

    folder: Path
    environ: Callable[[], Mapping[str, str]] = field(repr=False)
    poll_s: float
    show: Callable[[str], None]
    _locks: dict[str, threading.Lock] = field(default_factory=dict, repr=False)
    _jobs: dict[str, Job] = field(default_factory=dict, repr=False)

    def run(self, job: Job) -> JobAnswer:
        """Run a command; an earlier command in the same folder is ended first: its client is gone."""
        request = job.request
        if not isinstance(request, RunRequest):
            raise CloudError(f"{request.kind} isn't a command.")
        before = self._jobs.get(request.workspace)
        if before is not None:
            before.cancelled.set()
        with self._locks.setdefault(request.workspace, threading.Lock()):
            self._jobs[request.workspace] = job
            workspace = Workspace(self.folder / request.workspace, self.show)
            tree = workspace.folder / TREE
            with contextlib.ExitStack() as stack:
                files = stack.enter_context(job.sent(FILES_SENT))
                commit = stack.enter_context(job.sent(COMMIT_SENT)) if request.commit else None
                adopt(files, tree, request.files, commit=request.commit, pack=commit)
            log = workspace.folder / "command.log"
            log.unlink(missing_ok=True)
            with _sending(job, workspace, log, self.poll_s) as sender:
                code = self._command(workspace, request, tree, log)
            sha256 = "" if job.cancelled.is_set() else _send_back(job, request, tree)
            return JobAnswer(code=code, pieces=sender.pieces, has_files=bool(sha256), result_sha256=sha256)

    def end_old_ones(self) -> None:
        """End commands that an earlier agent has left. Raises CloudError."""
        for folder in self.folder.iterdir() if self.folder.is_dir() else ():
            workspace = Workspace(folder, self.show)
            workspace.end(workspace.find())

    def _command(self, workspace: Workspace, request: RunRequest, tree: Path, log: Path) -> int:
        first, *rest = (word.replace(FOLDER, str(tree)) for word in request.argv)
        command = [sys.executable if first == PYTHON else first, *rest]
        return run_command(
            workspace,
            command,
            folder=tree,
            log=log,
            begin=contextlib.nullcontext,
            environ=lambda: self._variables(request, tree),
            show=lambda _: None,
        )

    def _variables(self, request: RunRequest, tree: Path) -> dict[str, str]:
        given = {name: value.replace(FOLDER, str(tree)) for name, value in request.environ.items()}
        ours = {**plain_environ(), **self.environ()}
        # The client's path names folders of its own machine, too; without the host's path imports might fail.
        path = [*given.get("PYTHONPATH", "").split(os.pathsep), *ours.get("PYTHONPATH", "").split(os.pathsep)]
        present = [entry for entry in path if entry and Path(entry).is_dir()]
        return {**ours, **given, "PYTHONPATH": os.pathsep.join(dict.fromkeys(present))}


def _send_back(job: Job, request: RunRequest, tree: Path) -> str:
    """Upload the command's files that the client may take; returns the archive's SHA-256, "" without files."""
    names = incoming(tree, request.files)
    if not names:
        return ""
    with tempfile.TemporaryDirectory(prefix="wms-result-") as temporary:
        result = Path(temporary, RESULT)
        pack({name: tree / name for name in names}, result)
        job.objects.upload(job.keys.of(job.name, RESULT), result)
        return sha256_file(result)


class _Sender:
    """Sends new output of a log to the client."""

    def __init__(self, job: Job, log: Path) -> None:
        self._job, self._log, self._sent, self.pieces = job, log, 0, 0

    def send(self) -> None:
        """Send the new output. Raises the store's errors."""
        while self._log.exists():
            with self._log.open("rb") as stream:
                stream.seek(self._sent)
                piece = stream.read(_LARGEST_PIECE)
            if not piece:
                return
            self._job.objects.put(self._job.keys.piece(self._job.name, self.pieces), piece)
            self.pieces += 1
            self._sent += len(piece)


@contextlib.contextmanager
def _sending(job: Job, workspace: Workspace, log: Path, poll_s: float) -> Iterator[_Sender]:
    sender, done = _Sender(job, log), threading.Event()

    def turn() -> None:
        while not done.wait(poll_s if not job.cancelled.is_set() else 0.05):
            try:
                sender.send()
                if job.is_cancelled():
                    workspace.end(workspace.find())
            except WmsError as error:  # the next turn tries again
                workspace.show(f"Job {job.name}: {error}")

    thread = threading.Thread(target=turn, name=f"log of {job.name}", daemon=True)
    thread.start()
    try:
        yield sender
    finally:
        done.set()
        thread.join()
    sender.send()
