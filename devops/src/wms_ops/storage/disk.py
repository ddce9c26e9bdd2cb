"""The disk under an S3 server on this machine: a server that finds no space left answers as one that is busy."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from wms.loopback import is_loopback

FREE_MIB: Final = 200
"""With less free space on the disk the local S3 server takes no more objects."""


def full_disk(endpoint: str) -> str:
    """Return a clause on the full disk of the server that listens at `endpoint`; "" unless its disk is known and full.

    The server's folder is its working directory, which this user sees of the own processes only.
    """
    with contextlib.suppress(ValueError, OSError):
        port = urlsplit(endpoint).port
        if port and is_loopback(endpoint) and (folder := _folder_of(port)):
            free = shutil.disk_usage(folder).free / 2**20
            if free < FREE_MIB:
                return f"only {free:.0f} MiB are free on the disk of {folder}"
    return ""


def _folder_of(port: int) -> Path | None:
    """Return the working directory of the process that listens on a port of this machine."""
    import psutil  # a healthy store needs none

    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:] == (port,)
            if listens and connection.pid:
                return Path(psutil.Process(connection.pid).cwd())
    return None
