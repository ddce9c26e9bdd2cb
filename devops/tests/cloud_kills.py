"""Commands of the cloud at AWS that are killed, cancelled or lose their credentials at a named step; and what is left.

A command runs in a process of its own. "kill" is SIGKILL to that process alone: its Terraform goes on. "cancel" is what
GitHub does: SIGINT, after 7.5 seconds SIGKILL to the process and all that it has started. "expired": from this step on
AWS refuses the credentials, Terraform's too. "throttled": from this step on AWS refuses each third request as too many
(or each of another number), which only makes the command slower.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from aws_gate import Gate
from aws_yard import Yard

from wms_ops.targets.aws.launch import STEPS as UP_STEPS
from wms_ops.targets.aws.teardown import STEPS as DOWN_STEPS

STORING = "storing"
"""In the middle of Terraform's first apply of what lasts, in an account without anything."""

LAUNCHING = "launching"
"""In the middle of Terraform's apply: the instance has just been asked for."""

SWEEPING = "sweeping"
"""In the middle of the sweep."""

WAYS = ("kill", "cancel", "expired", "throttled")
CANCEL_S = 7.5
LIMIT_S = 240.0
_MID = {STORING: "aws_subnet.public[", LAUNCHING: "aws_instance.this: Creating", SWEEPING: "Deleting "}
UP_POINTS = (
    *UP_STEPS[: UP_STEPS.index("store")],
    STORING,
    *UP_STEPS[UP_STEPS.index("store") : UP_STEPS.index("applied")],
    LAUNCHING,
    *UP_STEPS[UP_STEPS.index("applied") :],
)
DOWN_POINTS = (*DOWN_STEPS[: DOWN_STEPS.index("swept")], SWEEPING, *DOWN_STEPS[DOWN_STEPS.index("swept") :])


@dataclass(frozen=True)
class Outcome:
    """How the disturbed command ended (None: it was never reached), what it left, and how long the second one took."""

    verb: str
    at: str
    how: str
    code: int | None
    left: dict[str, int]
    after: dict[str, int]
    second_code: int
    second_s: float

    @property
    def bad(self) -> bool:
        """Whether it left anything, or didn't end as it should."""
        unfinished = self.how == "throttled" and self.code != 0
        return bool(self.after) or self.second_code != 0 or self.code is None or unfinished

    @property
    def line(self) -> str:
        """One line of the table."""
        left = ", ".join(f"{count} {name}" for name, count in self.left.items()) or "nothing"
        after = ", ".join(f"{count} {name}" for name, count in self.after.items()) or "nothing"
        return (
            f"{self.verb:5}{self.at:13}{self.how:11}ended with {self.code!s:5}left {left}; the teardown of another "
            f"machine ended with {self.second_code} after {self.second_s:.1f} s: {after} left"
        )


def disturbed(yard: Yard, gate: Gate, verb: str, at: str, how: str, *, throttled_each: int = 3) -> Outcome:
    """Disturb `up` or `down` at a step; then a teardown job, elsewhere, with the same holder and good credentials."""
    if at == STORING:
        yard.aws.reset()
    if verb == "down":
        assert run(yard, "up", folder="laptop").returncode == 0
    code = _disturb(yard, gate, verb, at, how, throttled_each=throttled_each)
    gate.mode, gate.every = "", 1
    left = yard.left()
    started = time.monotonic()
    second = run(yard, "down", folder="runner")
    seconds = time.monotonic() - started
    return Outcome(verb, at, how, code, left, yard.left(), second.returncode, seconds)


def run(yard: Yard, verb: str, folder: str) -> subprocess.CompletedProcess[str]:
    """A command that nobody disturbs, to its end."""
    command = [sys.executable, __file__, json.dumps({"verb": verb, "folder": str(yard.folder / folder)})]
    try:
        return subprocess.run(command, env=_environ(yard), capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        said = b"\n".join(part for part in (error.stdout, error.stderr) if isinstance(part, bytes))
        raise AssertionError(f"{verb} didn't end:\n{said.decode(errors='replace')}") from None


def _disturb(yard: Yard, gate: Gate, verb: str, at: str, how: str, *, throttled_each: int) -> int | None:
    job = {"verb": verb, "folder": str(yard.folder / "laptop"), "at": at, "how": how}
    command = [sys.executable, __file__, json.dumps(job)]
    environ = {**_environ(yard), **gate.environ}
    process = subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    reached = False
    for line in process.stdout:
        if line.startswith("@reached"):
            reached = True
            break
    if reached and how in ("expired", "throttled"):
        gate.mode, gate.every = how, 1 if how == "expired" else throttled_each
        process.stdin.write("go\n")
        process.stdin.flush()
    elif reached and how == "cancel":
        process.send_signal(signal.SIGINT)
        try:
            process.wait(CANCEL_S)
        except subprocess.TimeoutExpired:
            for one in [*_started_by(yard), psutil.Process(process.pid)]:
                if one.is_running():
                    one.kill()
    try:
        process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # else the command would go on in the next test's account
        raise
    return process.returncode if reached else None


def _started_by(yard: Yard) -> Iterator[psutil.Process]:
    """Terraform and its providers, which GitHub kills with the job."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("TF_DATA_DIR", "").startswith(str(yard.folder / "laptop")):
                yield process
        except (psutil.Error, OSError):
            continue


def _environ(yard: Yard) -> dict[str, str]:
    path = os.pathsep.join([*(part for part in sys.path if part), os.environ.get("PYTHONPATH", "")])
    return {**yard.environ, "PYTHONPATH": path}


def main(job: dict[str, str]) -> int:
    """The command itself, in its own process."""
    from wms.errors import run_main
    from wms_ops.targets.aws.cloud import open_aws

    def reach(name: str) -> None:
        if name != job.get("at"):
            return
        print("@reached", flush=True)
        if job["how"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif job["how"] == "cancel":
            signal.pause()
        else:
            sys.stdin.readline()

    def show(text: str) -> None:
        print(text, flush=True)
        for name, words in _MID.items():
            if text.startswith(words) and job.get("at") == name:
                reach(name)

    faulthandler.dump_traceback_later(LIMIT_S - 20, exit=False)  # where it hangs, if it does
    cloud = open_aws(Path(job["folder"]), show, environ=os.environ)
    cloud = replace(cloud, context=replace(cloud.context, step=reach))

    def work(_: object) -> int:
        if job["verb"] == "up":
            cloud.up()
        else:
            cloud.down()
        return 0

    return run_main(work)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
