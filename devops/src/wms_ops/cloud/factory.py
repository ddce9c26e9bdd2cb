"""Which implementation of the cloud a name means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from wms.errors import UsageError
from wms_ops.cloud.local import LocalCloud
from wms_ops.cloud.protocol import Cloud

NAMES: Final = ("local",)


def open_cloud(name: str, folder: Path, show: Callable[[str], None] = print) -> Cloud:
    """The cloud called `name`, with its state in `folder`; nothing is started. Raises UsageError."""
    if name != "local":
        raise UsageError(f"There is no cloud {name!r}; choose one of: {', '.join(NAMES)}.")
    return LocalCloud(folder, show)
