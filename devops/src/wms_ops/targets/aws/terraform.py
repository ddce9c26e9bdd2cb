"""Terraform by python-terraform's command lines: a root module of this repository with a state in S3.

Terraform runs in a separate session and writes to a file. So Ctrl-C reaches Terraform once and through this process. If
this process is killed, Linux interrupts Terraform: Terraform begins nothing more, writes the state, frees the lock, and
starts no resource unseen by the next teardown.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from wms.errors import from_os_error
from wms.files import parse_json, write_atomic
from wms.json_text import to_json
from wms.paths import ROOT
from wms.quiet import QUIET
from wms_ops.base.errors import CloudError, RepeatedRequestError
from wms_ops.base.poll import poll
from wms_ops.base.settings import StoreSettings
from wms_ops.targets.aws.terraform_program import find_terraform
from wms_ops.targets.aws.trouble import explain

ROOTS: Final = ROOT / "infrastructure" / "terraform"
LONGEST_S: Final = 20 * 60.0
LOCK_WAIT: Final = "120s"
_TO_END_S: Final = 120.0
_POLL_S: Final = 0.1
_MARK: Final = "WMS_TERRAFORM_STATE"
_STARTER: Final = "WMS_TERRAFORM_STARTER"
_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG
# Runs Terraform so that the kernel interrupts it when this process dies; the check catches a death before prctl.
_SUPERVISED: Final = f"""
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl({_DEATH_SIGNAL}, signal.SIGINT)
if os.getppid() != int(os.environ["{_STARTER}"]):
    sys.exit(1)
os.execv(sys.argv[1], sys.argv[1:])
"""
_SUPERVISOR: Final = (sys.executable, "-S", "-c", _SUPERVISED) if sys.platform == "linux" else ()
_TOLD: Final = frozenset({"apply_start", "apply_complete", "apply_progress", "apply_errored"})

_UNREADY: Final = re.compile(r"terraform\s+init|Required plugins are not installed|dependency lock file")

Show = Callable[[str], None]
Judge = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Backend:
    """The address of a state; `path_style` is for an S3 server without a host name for each bucket."""

    bucket: str
    key: str
    region: str
    path_style: bool = False

    @property
    def options(self) -> dict[str, str]:
        """The options for -backend-config."""
        plain = {"bucket": self.bucket, "key": self.key, "region": self.region, "use_lockfile": "true"}
        return plain | {"encrypt": "true"} | ({"use_path_style": "true"} if self.path_style else {})


@dataclass(frozen=True)
class Terraform:
    """The root module in `root`; `work` takes plugins, variables and logs."""

    root: Path
    work: Path
    backend: Backend
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    show: Show = field(default=lambda _: None, repr=False)

    def init(self) -> None:
        """Fetch the provider and connect to the state, unless that was done here for the same files and the same state.

        Raises CloudError, and the errors of `explain`.
        """
        done = self._initialised.read_text(encoding="utf-8") if self._initialised.is_file() else ""
        if done != self._digest:
            self._initialised.unlink(missing_ok=True)
            # Read-only: on a platform whose hash the lock file lacks, Terraform would write it into the user's clone.
            pinned = {"lockfile": "readonly"}
            self._run("init", input=False, reconfigure=True, backend_config=self.backend.options, **pinned)
            write_atomic(self._initialised, self._digest)

    def apply(self, variables: Mapping[str, Any], judge: Judge | None = None, *, destroy: bool = False) -> None:
        """Make the root's resources, or destroy all that the state has.

        `judge` gets the plan, as `terraform show -json` has it, before anything is changed, and raises what forbids it;
        then exactly that plan is carried out. Raises as `init` does.
        """
        try:
            self._apply(variables, judge, destroy)
        except _NotInitialisedError:  # somebody has deleted the provider or the lock file; nothing was begun
            self._initialised.unlink(missing_ok=True)
            self.init()
            self._apply(variables, judge, destroy)

    def _apply(self, variables: Mapping[str, Any], judge: Judge | None, destroy: bool) -> None:
        options: dict[str, Any] = {"json": True, **self._with(variables), **({"destroy": True} if destroy else {})}
        if judge is None:
            self._run("apply", auto_approve=True, **options)
            return
        plan = self.work / "plan"
        try:
            self._run("plan", out=str(plan), **options)
            shown = self._run("show", str(plan), json=True).splitlines()
            try:
                found = parse_json(next(line for line in shown if line.startswith("{")))
            except (StopIteration, ValueError) as error:
                told = "nothing" if isinstance(error, StopIteration) else "a part"
                raise CloudError(
                    f"Terraform shows {told} of its plan, so nothing was changed; run this again."
                ) from error
            judge(found)
            self._run("apply", str(plan), json=True, input=False, lock_timeout=LOCK_WAIT)
        finally:
            plan.unlink(missing_ok=True)

    @property
    def _initialised(self) -> Path:
        return self.work / "data" / "wms-initialised"

    @property
    def _digest(self) -> str:
        """The digest of all that `init` depends on."""
        files = {path.name: path.read_text(encoding="utf-8") for path in sorted(self.root.glob("*.tf"))}
        about = {"files": files, "backend": self.backend.options, "program": find_terraform(self.environ)}
        return hashlib.sha256(to_json(about, sort_keys=True).encode()).hexdigest()

    def end_orphan(self) -> None:
        """Wait for the Terraform processes of a killed command for this state; after two minutes kill them.

        They were interrupted when their command ended. A second interrupt would make Terraform forget its newest
        resources.
        """
        found = list(self._orphans())
        if found:
            self.show("Waiting for the Terraform that a killed command has left.")
        for process in found if not _SUPERVISOR else ():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGINT)
        _, alive = psutil.wait_procs(found, timeout=_TO_END_S)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive)

    def _orphans(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError, ValueError):
                found = process.environ()
                if found.get(_MARK) == self._mark and not psutil.pid_exists(int(found[_STARTER])):
                    yield process

    @property
    def _mark(self) -> str:
        """The mark that every Terraform process for this state carries, as do the providers."""
        return f"{StoreSettings.read(self.environ).aws_endpoint_url} s3://{self.backend.bucket}/{self.backend.key}"

    def _with(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        path = self.work / "variables.tfvars.json"
        write_atomic(path, to_json(variables, indent=1, sort_keys=True) + "\n")
        return {"input": False, "lock_timeout": LOCK_WAIT, "var_file": str(path)}

    def _run(self, words: str, *names: str, **options: Any) -> str:
        """Run to the end; returns the output. The options are python-terraform's."""
        program = find_terraform(self.environ)
        # Imported here: the import is slow, and a laptop without Terraform never needs it.
        from python_terraform import IsFlagged
        from python_terraform import Terraform as CommandLines

        flags = {"auto_approve", "json", "destroy", "reconfigure"}
        given = {name: IsFlagged if name in flags and value else value for name, value in options.items()}
        builder = CommandLines(working_dir=str(self.root), terraform_bin_path=program)
        command = builder.generate_cmd_string(words, no_color=IsFlagged, **given)
        command += names
        log = self.work / "logs" / f"{words}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.log"
        code, text = self._watch(command, log)
        if code:
            raise _failure(words, text, log)
        return text

    def _watch(self, command: list[str], log: Path) -> tuple[int, str]:
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as stream:
                process = subprocess.Popen(
                    [*_SUPERVISOR, *command],
                    cwd=self.root,
                    env=self._environ(),
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise from_os_error(error, log) from error
        with _ended(process):
            with log.open("rb") as stream:
                done = poll(
                    process.poll,
                    LONGEST_S,
                    until=lambda code: code is not None,
                    pause_s=_POLL_S,
                    waiting=lambda *_: self._tell(stream),
                )
                self._tell(stream)
            if done is None:
                raise CloudError(
                    f"Terraform didn't finish within {LONGEST_S / 60:.0f} minutes; its output is in {log}. "
                    "Run the same command again."
                )
        return process.returncode, log.read_text(encoding="utf-8", errors="replace")

    def _environ(self) -> dict[str, str]:
        ours = {
            "TF_DATA_DIR": str(self.work / "data"),
            _MARK: self._mark,
            _STARTER: str(os.getpid()),
            "TF_IN_AUTOMATION": "true",
            **QUIET,
            "TF_INPUT": "0",
        }
        return {**self.environ, **ours}

    def _tell(self, stream: Any) -> None:
        """Show Terraform's messages about resources; the last line may not be whole yet."""
        while line := stream.readline():
            if not line.endswith(b"\n"):
                stream.seek(-len(line), os.SEEK_CUR)
                return
            with contextlib.suppress(ValueError, AttributeError):
                event = parse_json(line)
                if event.get("type") in _TOLD:
                    self.show(str(event.get("@message")))


class _NotInitialisedError(CloudError):
    """Terraform refuses to begin without another `init`."""


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Interrupt Terraform once if an exception ends the wait early, and wait until it has stopped."""
    try:
        yield
    except BaseException:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(_TO_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise


def _failure(words: str, text: str, log: Path) -> Exception:
    said = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError, AttributeError):
            event = parse_json(line)
            diagnostic = event.get("diagnostic") or {}
            if diagnostic.get("severity") == "error":
                said.append(f"{diagnostic.get('summary', '')} {diagnostic.get('detail', '')}".strip())
    if said:
        text = "\n\n".join(f"Error: {message}" for message in said)
    if words in ("plan", "apply") and _UNREADY.search(text):
        return _NotInitialisedError(f"Terraform wants another `terraform init`. Its output is in {log}.")
    error = explain(text, f"run `terraform {words}`")
    if type(error) in (CloudError, RepeatedRequestError):
        return type(error)(f"{error} Its output is in {log}.")
    return error
