"""`make bench-cloud`: seconds of each step of up and down at an AWS on loopback; `--kills`: disturb every step.

AWS's own waiting - an instance's launch and its end - isn't in the figures: moto answers at once.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from aws_gate import Gate
from aws_server import AwsServer
from aws_yard import Yard
from cloud_kills import DOWN_POINTS, UP_POINTS, WAYS, disturbed

_FIRST = (UP_POINTS[0], DOWN_POINTS[0])
"""Throttling begins here and lasts to the end of the command, so that once for each of both is enough."""


def main() -> int:
    """Measure, print; 1 if a teardown left anything."""
    parser = argparse.ArgumentParser(prog="make bench-cloud", description=__doc__)
    parser.add_argument("--kills", action="store_true", help="SIGKILL, cancel, expired credentials, throttling")
    parser.add_argument("--only", default="", help="with --kills: only what begins so, such as up:launching:kill")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wms-bench-cloud-") as context, AwsServer(Path(context, "aws")) as aws:
        os.environ.update(aws.environ)
        yard = Yard(aws, Path(context, "yard"))
        return _kills(yard, aws, arguments.only) if arguments.kills else _phases(yard)


def _phases(yard: Yard) -> int:
    for title in ("first start, which makes the buckets too", "second start"):
        print(f"\n{title}")
        for verb in ("up", "down"):
            _phase(yard, verb)
    return bool(yard.left())


def _phase(yard: Yard, verb: str) -> None:
    begun = last = time.monotonic()

    def step(name: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= 0.05:
            print(f"  {verb:5}{name:40}{now - last:6.1f} s", flush=True)
        last = now

    cloud = yard.cloud(step=step)
    if verb == "up":
        cloud.up()
    else:
        cloud.down()
    print(f"  {verb:5}{'altogether':40}{time.monotonic() - begun:6.1f} s", flush=True)


def _kills(yard: Yard, aws: AwsServer, only: str) -> int:
    points = [("up", at) for at in UP_POINTS] + [("down", at) for at in DOWN_POINTS]
    table = [(verb, at, how) for verb, at in points for how in WAYS if how != "throttled" or at in _FIRST]
    bad = 0
    with Gate(aws) as gate:
        for row in table:
            if ":".join(row).startswith(only):
                outcome = disturbed(yard, gate, *row)
                bad += outcome.bad
                print(outcome.line, flush=True)
    print(f"{bad} of them left something or didn't end well." if bad else "None of them left anything.")
    return bool(bad)


if __name__ == "__main__":
    raise SystemExit(main())
