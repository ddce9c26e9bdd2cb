"""The report of an instance's start: its finished steps, on the disk and in the SSM parameter /wms/ENV/boot.

The bootstrap script runs this file by its path, `boot.py CONFIG FOLDER STEP STATE [SENTENCE]`, with the system's Python
3.9 and no packages, so the file imports the standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

STEPS = {
    "packages": "system packages",
    "environment": "Python packages",
    "agent": "the host agent",
    "restore": "MLflow's database from its backup",
    "mlflow": "MLflow",
    "k3s": "k3s",
}
"""All steps and what they set up. bootstrap.sh, the agent and readers of the report use the names."""

STATES = ("running", "done", "failed")
REPORT = "boot.json"
_LONGEST = 300


def parameter(environment: str) -> str:
    """The SSM parameter that holds an environment's report."""
    return f"/wms/{environment}/boot"


def report(config: Path, folder: Path, step: str, state: str, sentence: str = "") -> bool:
    """Add a step's state to the report; returns whether AWS has it. Raises ValueError for an unknown step or state.

    A report of another launch is replaced: readers tell by `launch_id` whose steps they see.
    """
    if step not in STEPS or state not in STATES:
        raise ValueError(f"{step} {state}: use one of {', '.join(STEPS)} and one of {', '.join(STATES)}.")
    host = json.loads(config.read_text(encoding="utf-8"))
    launch_id = host["launch_id"]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{REPORT}.lock").open("w") as lock:  # the bootstrap script and the agent report at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _known(folder / REPORT, launch_id)
        at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        known[step] = {"step": step, "state": state, "at": at, "sentence": sentence[:_LONGEST]}
        steps = [known[name] for name in (*STEPS, *sorted(known.keys() - STEPS.keys())) if name in known]
        text = json.dumps({"launch_id": launch_id, "steps": steps})
        temporary = folder / f".{REPORT}.{os.getpid()}"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / REPORT)
        return _put(parameter(host["environment"]), text, host["region"])


def _known(path: Path, launch_id: str) -> dict[str, dict[str, str]]:
    with contextlib.suppress(OSError, ValueError, RecursionError, LookupError, TypeError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["launch_id"] == launch_id:
            return {entry["step"]: entry for entry in found["steps"]}
    return {}


def _put(name: str, text: str, region: str) -> bool:
    command = ["aws", "ssm", "put-parameter", "--name", name, "--type", "String", "--overwrite", "--region", region]
    try:
        done = subprocess.run([*command, "--value", text], capture_output=True, text=True, timeout=60, check=False)
        problem = done.stderr.strip() if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        problem = str(error)
    if problem:  # a lost report must not end the start, but the instance's log must have it
        print(f"The boot report didn't reach {name}: {problem[:_LONGEST]}", file=sys.stderr, flush=True)
    return not problem


if __name__ == "__main__":
    report(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
