"""The process that serves a model: its port, its log, its memory, and its end at SIGTERM."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import logging
import signal
import socket
import sys
import time
from typing import Final, NoReturn

import uvicorn

from wms.errors import UsageError
from wms.serving.access_log import LOG
from wms.serving.app import create_app
from wms.serving.connections import GuardedProtocol
from wms.serving.limits import RequestLimits
from wms.serving.memory import MIB, mebibytes
from wms.serving.model import NoModel
from wms.serving.service import Service

GRACE_S: Final = 5
"""Seconds that requests under way may still take after SIGTERM."""

_BACKLOG: Final = 128
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # from malloc.h
_ARENAS: Final = 2


def serve(options: argparse.Namespace) -> int:
    """Serve until SIGTERM, then finish the requests under way and return 0.

    Without a model that may be served the process runs all the same, and `GET /health` says why. Raises UsageError
    for an address that can't be used.
    """
    limits = RequestLimits(
        upload_bytes=int(options.max_upload * MIB),
        at_once=options.at_once,
        waiting=options.waiting,
        memory=options.memory and options.memory * MIB,
    )
    with _listen(options.host, options.port) as listener:
        # uvicorn repeats the signal when it's done; without this it would end the process as if it had been killed.
        signal.signal(signal.SIGTERM, _end)
        _log_to_stderr()
        _return_memory()
        service = Service.load(options.model, options.ledger, threads=options.threads, limits=limits)
        _announce(service, options.host, listener.getsockname()[1])
        config = uvicorn.Config(
            create_app(service),
            http=GuardedProtocol,
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """Listen before the model is loaded: early clients wait instead of being refused, a taken port is found at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while attempting")[0].lower()  # Python's own remark
        raise UsageError(
            f"Can't listen on {host}, port {port}: {reason}; stop what listens there, or choose "
            "another --host or --port."
        ) from error


def _end(*_: object) -> NoReturn:
    raise SystemExit(0)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)
    LOG.setLevel(logging.INFO)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # a bad form is the client's business, and told there


def _return_memory() -> None:
    """Make glibc release a photo's memory as soon as the photo is done, rather than keep most of it for the next.

    Measured after two photos of 48 megapixels at once: 410 MiB instead of 1,200 to 1,400 MiB stay, at the same speed.
    A thread's own arena would keep what one photo took, and each takes 64 MiB of address space.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            library = ctypes.CDLL(None)
            library.mallopt(_M_MMAP_THRESHOLD, MIB)
            library.mallopt(_M_ARENA_MAX, _ARENAS)


def _announce(service: Service, host: str, port: int) -> None:
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if isinstance(service.model, NoModel):
        LOG.warning("No model is served at %s: %s", address, service.model.why)
        return
    entry = service.model.entry
    LOG.info("Serving version %d (weights %s...) at %s.", entry.to_version, entry.weights_sha256[:12], address)
    LOG.info("Photos may take %s of memory together.", mebibytes(service.memory or 0))
