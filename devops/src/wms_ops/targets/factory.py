"""Which implementation of the cloud a name means, and which one a clone has."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wms.errors import UsageError
from wms_ops.machine.room import S3
from wms_ops.targets.local import LocalCloud
from wms_ops.targets.protocol import Cloud

NAMES: Final = ("local", "aws")
PLACE: Final = Path(".loop") / "cloud"
"""Where a clone's local cloud lies."""

AWS_PLACE: Final = Path(".loop") / "aws"
CHOICE: Final = "WMS_CLOUD"
"""Names the cloud that a clone uses; without it it's the local one."""


def open_cloud(name: str, folder: Path, show: Callable[[str], None] = print) -> Cloud:
    """The cloud called `name`, with its state in `folder`; nothing is started. Raises UsageError."""
    if name == "aws":
        from wms_ops.targets.aws.cloud import open_aws

        return open_aws(folder, show)
    if name != "local":
        raise UsageError(f"There is no cloud {name!r}; choose one of: {', '.join(NAMES)}.")
    return LocalCloud(folder, show)


def cloud_of(repo: Path, show: Callable[[str], None] = print) -> Cloud | None:
    """The cloud that a clone has been used with, for somebody who only borrows it; None if there is none.

    With WMS_CLOUD=aws that is the one at AWS. Raises UsageError for another name.
    """
    if (name := os.environ.get(CHOICE, "local")) != "local":
        return open_cloud(name, repo / AWS_PLACE, show)
    folder = repo / PLACE
    if not folder.is_dir():
        return None
    cloud = LocalCloud(folder, show)
    return _Borrowed(folder, show, store_ran=any(one.role == S3 for one in cloud.room.find()))


@dataclass(frozen=True)
class _Borrowed(LocalCloud):
    """A local cloud that is left as it was found: a store that didn't run before is stopped, too."""

    store_ran: bool = False

    def down(self) -> None:
        """End MLflow, the service and all commands. Raises CloudError if anything is left."""
        if self.store_ran:
            super().down()
        else:
            self.close()
