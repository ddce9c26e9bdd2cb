"""Maps a target's name to its implementation, and finds the target of a clone.

A target is a module with two names: `FOLDER`, its folder within the loop's, and `open_target(folder, show)`, which
returns a `Cloud` and starts nothing. Only TARGETS has to know a new target.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from wms.errors import UsageError
from wms_ops.base.layout import LOOP
from wms_ops.base.settings import LoopSettings
from wms_ops.targets.protocol import Cloud

TARGETS: Final = {
    "local": "wms_ops.targets.local",
    "aws": "wms_ops.targets.aws.cloud",
}
"""The module of each target, imported once the target is chosen."""

CHOICE: Final = "WMS_CLOUD"
"""Names the target of a clone; unset means the local target."""


def open_cloud(name: str, folder: Path, show: Callable[[str], None] = print) -> Cloud:
    """The target called `name`, with its state in `folder`; no process starts. Raises UsageError, ConfigError.

    >>> open_cloud("local", Path(".loop/cloud")).name
    'local'
    """
    cloud: Cloud = _module(name).open_target(folder, show)
    return cloud


def cloud_in(loop: Path, show: Callable[[str], None] = print, name: str | None = None) -> Cloud:
    """The target called `name`, else that of WMS_CLOUD, with its state below `loop`. Raises as `open_cloud` does."""
    name = name or chosen_target()
    return open_cloud(name, loop / _module(name).FOLDER, show)


def chosen_target() -> str:
    """The target that WMS_CLOUD names, without the variable the local target. Raises UsageError for an unknown name."""
    name = LoopSettings.read().wms_cloud
    if name not in TARGETS:
        raise UsageError(f"{CHOICE} is {name!r}, but no target has that name; choose one of: {', '.join(TARGETS)}.")
    return name


def cloud_of(repo: Path, show: Callable[[str], None] = print) -> Cloud | None:
    """The target that a clone has used, for a command that only borrows it; None for a clone without a target.

    Raises as `open_cloud` does.
    """
    return cloud_in(repo / LOOP, show).borrowed()


def _module(name: str) -> Any:
    if name not in TARGETS:
        raise UsageError(f"There is no cloud {name!r}; choose one of: {', '.join(TARGETS)}.")
    return import_module(TARGETS[name])
