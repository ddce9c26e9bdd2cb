"""A wheelhouse: a folder with every file of some groups for machines like this one, which install without a network."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Collection
from pathlib import Path
from typing import Final

from wms.errors import InstallError
from wms.files import parse_json, write_atomic
from wms.install.environment import Environment
from wms.json_text import to_json
from wms.libraries import TOOLS, lock_of

_LABEL: Final = "wheelhouse.json"


def make(environment: Environment, groups: Collection[str], digest: str, folder: Path) -> None:
    """Fetch every file of the groups into the folder. Raises InstallError, DiskFullError or UnwritableError."""
    environment.make()
    if not environment.record():
        environment.add_tools()
    for lock in (TOOLS, *map(lock_of, sorted(groups))):
        print(f"Fetching what {lock.name} names ...", flush=True)
        # What comes as sources stays so: a wheel that is built here would have another hash than the lock's.
        words = ("--no-deps", "--require-hashes", "--no-build-isolation", "--dest", str(folder))
        environment.run(environment.pip("download", *words, "--requirement", str(environment.root / lock)))
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith((".whl", ".gz", ".zip")))
    label = {"groups": sorted(groups), "digest": digest, "machine": _machine(), "files": names}
    write_atomic(folder / _LABEL, to_json(label))
    print(f"{folder} holds {len(names)} files; WMS_OFFLINE={folder} installs {' '.join(sorted(groups))} from them.")


def check(folder: Path, groups: Collection[str], digest: str) -> None:
    """Raise InstallError with the reason if the folder can't install the groups on this machine."""
    wanted = " ".join(sorted(groups))
    again = f"make one by `make wheelhouse FOR='{wanted}' DIR=...` on a machine like this with a network"
    try:
        label = parse_json((folder / _LABEL).read_bytes())
        made, names = set(label["groups"]), list(map(str, label["files"]))
        machine, locks = str(label["machine"]), str(label["digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InstallError(f"WMS_OFFLINE names {folder}, which is no wheelhouse; {again}.") from error
    if machine != _machine():
        raise InstallError(f"The wheelhouse {folder} was made for {machine}, and this is {_machine()}; {again}.")
    if lacking := set(groups) - made:
        raise InstallError(f"The wheelhouse {folder} was made without {' and '.join(sorted(lacking))}; {again}.")
    if made == set(groups) and locks != digest:
        raise InstallError(f"The wheelhouse {folder} was made for another version of this project; {again}.")
    if gone := [name for name in names if not (folder / name).is_file()]:
        raise InstallError(f"The wheelhouse {folder} lacks {gone[0]}, one of {len(gone)} files; {again}.")


def _machine() -> str:
    return f"Python {sys.version_info.major}.{sys.version_info.minor} on {sysconfig.get_platform()}"
