"""Archives that travel through the bucket: packed from plain files, unpacked member by member, all or none.

Any writer to the bucket decides what an archive holds, not only the program at the other end.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

from wms.errors import from_os_error
from wms.names import first_collision, reason_against
from wms_ops.base.errors import CloudError, UnsafeFileError
from wms_ops.targets.host.tar_reader import BLOCK, DamagedArchiveError, TarReader

MOST_FILES: Final = 50_000
"""Files in one archive. This repository has some 600, a run some 20; data sets don't travel this way."""

MOST_BYTES: Final = 8 * 2**30
"""Bytes of one archive, packed and unpacked: many times a run with its checkpoints, and far less than a disk."""

STAGING: Final = ".wms-archive-"
"""The prefix of the folders in which files wait until all of them are checked."""

_PLAIN, _PROGRAM = 0o644, 0o755


@dataclass(frozen=True)
class Rules:
    """How an archive is unpacked, and which members are allowed.

    `title` names the archive in sentences, and `advice` is the sentence behind a refusal. `refuses` gives the reason
    against a plain name, None for a name that may be written. With `programs`, executable files stay executable. With
    `replaces`, a link, a file or a folder in a file's way is removed; else nothing is written.
    """

    title: str
    advice: str
    refuses: Callable[[str], str | None]
    programs: bool = False
    replaces: bool = False
    most_bytes: int = MOST_BYTES
    most_files: int = MOST_FILES

    def refusal(self, name: str, reason: str) -> UnsafeFileError:
        """The error for a member."""
        return UnsafeFileError(f"{self.title} holds {name[:200]!r}, which {reason}; nothing was written. {self.advice}")

    def check(self, name: str) -> None:
        """Raise UnsafeFileError for a name that may not be written."""
        if reason := reason_against(name) or self.refuses(name):
            raise self.refusal(name, reason)


def pack(files: Mapping[str, Path], target: Path) -> None:
    """Write plain files into one archive, under these names; equal files give equal bytes.

    Raises UnsafeFileError for a name that no reader would take, DiskFullError, UnwritableError.
    """
    rules = Rules("What is sent", "Rename it, then run this again.", lambda _: None)
    for name in files:
        rules.check(name)
    try:
        # A time in gzip's header would change the hash of equal files.
        with (
            gzip.GzipFile(target, "wb", compresslevel=1, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for name, path in sorted(files.items()):
                with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as stream:  # noqa: PTH123
                    status = os.fstat(stream.fileno())
                    entry = tarfile.TarInfo(name)  # without owner and times: they would tell about this machine
                    entry.size = status.st_size
                    entry.mode = _PROGRAM if status.st_mode & 0o100 else _PLAIN
                    archive.addfile(entry, stream)
    except OSError as error:
        raise from_os_error(error, target) from error


@contextlib.contextmanager
def staged(source: Path, folder: Path, rules: Rules) -> Iterator[dict[str, Path]]:
    """All files of an archive by their names, each checked, in a temporary folder in `folder` under neutral names.

    Raises UnsafeFileError for a member that `rules` forbid, CloudError for a damaged archive, DiskFullError,
    UnwritableError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=folder) as staging:
            with gzip.open(source) as stream:
                files = _stage(TarReader(cast(BinaryIO, stream), _unpacked(rules), rules.refusal), Path(staging), rules)
            yield files
    except (DamagedArchiveError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CloudError(f"{rules.title} can't be unpacked ({error}); run it again.") from error
    except OSError as error:
        raise from_os_error(error, folder) from error


def put(files: Mapping[str, Path], folder: Path, rules: Rules) -> None:
    """Move staged files into `folder`, each whole; no link in `folder` is followed.

    Raises UnsafeFileError for an obstacle, before any file is moved; DiskFullError, UnwritableError.
    """
    try:
        for name in files if not rules.replaces else ():
            if reason := _obstacle(folder, name):
                raise rules.refusal(name, reason)
        for name, source in files.items():
            target = folder / name
            if rules.replaces:
                _remove_obstacles(folder, target)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)  # noqa: PTH105 - replaces an existing file
    except OSError as error:
        raise from_os_error(error, folder) from error


def is_plain(folder: Path, name: str) -> bool:
    """Whether `name` is a regular file below `folder`, with no link on the way to the file."""
    parts = name.split("/")
    try:
        above = (folder.joinpath(*parts[:count]).lstat() for count in range(1, len(parts)))
        return all(stat.S_ISDIR(status.st_mode) for status in above) and stat.S_ISREG(
            folder.joinpath(name).lstat().st_mode
        )
    except (OSError, ValueError):
        return False


def _unpacked(rules: Rules) -> int:
    """The most bytes of an unpacked archive: headers, more for long names, and padding to records of 20 blocks."""
    return rules.most_bytes + rules.most_files * 6 * BLOCK + 20 * BLOCK


def _stage(reader: TarReader, staging: Path, rules: Rules) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for member in reader:
        rules.check(member.name)
        if member.name in files:
            raise rules.refusal(member.name, "is in it twice")
        if len(files) >= rules.most_files:
            raise rules.refusal(member.name, f"is one more than the {rules.most_files:,} files that are allowed")
        path = staging / str(len(files))  # a number: the member's name reaches the disk only after all checks
        with path.open("xb") as stream:
            for piece in reader.content():
                stream.write(piece)
        path.chmod(_PROGRAM if member.is_program and rules.programs else _PLAIN)
        files[member.name] = path
    if collision := first_collision(files):
        raise rules.refusal(collision[0], f"can't be kept beside {collision[1]!r}")
    return files


def _obstacle(folder: Path, name: str) -> str | None:
    """The reason why a file can't be written without following a link or losing a folder."""
    parts = name.split("/")
    for count in range(1, len(parts) + 1):
        path = folder.joinpath(*parts[:count])
        try:
            is_folder = stat.S_ISDIR(path.lstat().st_mode)
        except FileNotFoundError:
            return None
        if count == len(parts):
            return f"would replace the folder {path}" if is_folder else None
        if not is_folder:
            return f"would be written through {path}, a link or a file"
    return None


def _remove_obstacles(folder: Path, target: Path) -> None:
    """Remove obstacles: a folder may have become a file, or the other way round."""
    for parent in reversed(target.parents):
        if folder in parent.parents and (parent.is_symlink() or parent.is_file()):
            parent.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
