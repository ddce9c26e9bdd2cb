"""Which target a name means, and which one a clone uses.

A target is a module, or a package's module, that has two things: `FOLDER`, the name of its folder in the loop's, and
`open_target(folder, show)`, which returns a `Cloud` and starts nothing. TARGETS names it; nothing else has to know it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from wms.errors import UsageError
from wms_ops.targets.protocol import Cloud

TARGETS: Final = {
    "local": "wms_ops.targets.local",
    "aws": "wms_ops.targets.aws.cloud",
}
"""The module of each target; it's imported when the target is chosen."""

LOOP: Final = Path(".loop")
"""Where a clone's loop lies, with a folder for each target in it."""

CHOICE: Final = "WMS_CLOUD"
"""Names the target that a clone uses; without it that is the local one."""


def open_cloud(name: str, folder: Path, show: Callable[[str], None] = print) -> Cloud:
    """The target called `name`, with its state in `folder`; nothing is started. Raises UsageError, ConfigError."""
    cloud: Cloud = _module(name).open_target(folder, show)
    return cloud


def cloud_in(loop: Path, show: Callable[[str], None] = print, name: str | None = None) -> Cloud:
    """The target called `name`, else as WMS_CLOUD names it, its state in its folder below `loop`. Raises likewise."""
    name = name or os.environ.get(CHOICE) or "local"
    return open_cloud(name, loop / _module(name).FOLDER, show)


def cloud_of(repo: Path, show: Callable[[str], None] = print) -> Cloud | None:
    """The target that a clone has been used with, for a command that only borrows it; None if there is none.

    Raises as `open_cloud` does.
    """
    return cloud_in(repo / LOOP, show).borrowed()


def _module(name: str) -> Any:
    if name not in TARGETS:
        raise UsageError(f"There is no cloud {name!r}; choose one of: {', '.join(TARGETS)}.")
    return import_module(TARGETS[name])
