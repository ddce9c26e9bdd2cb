"""`wms serve`: a process that serves a model on a port."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from wms.command import Command, any_path, number, whole
from wms.errors import run_main
from wms.serving.limits import RequestLimits


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM; returns 0. Raises UsageError for an address that can't be used."""
    from wms.serving.process import serve  # fastapi and uvicorn, which help and completion do without

    return serve(options)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the service."""
    usual = RequestLimits()
    parser.add_argument("--model", type=any_path, required=True, help="folder of production.onnx, .pth and .json")
    parser.add_argument("--ledger", type=any_path, required=True, help="folder of production_history.jsonl")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=whole(0, 65535), required=True, help="port to listen on; 0: any free one")
    parser.add_argument(
        "--threads", type=whole(1, 1024), help="threads for one prediction (default: ONNX Runtime decides)"
    )
    parser.add_argument(
        "--at-once",
        type=whole(1, 1024),
        default=usual.at_once,
        help="photos predicted at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--waiting",
        type=whole(0, 1_000_000),
        default=usual.waiting,
        help="photos that may wait for it (default: %(default)s)",
    )
    parser.add_argument(
        "--memory", type=whole(128, 1_000_000), help="MiB that the process may take (default: what its container has)"
    )
    most = usual.upload_bytes / 2**20
    parser.add_argument(
        "--max-upload", type=number(0.01, 1024), default=most, help="MiB of one photo (default: %(default)s)"
    )


COMMAND: Final = Command("Serve the promoted model over HTTP until SIGTERM.", declare, run)

if __name__ == "__main__":
    sys.exit(run_main(COMMAND))
