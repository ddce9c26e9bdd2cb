"""Durable files: replaced whole or not at all, appended line by line, hashed by content.

A process may be killed at any moment. The file then holds the old content, the new content, or a torn last line that
`cut_torn_tail` removes; never a mixture of old and new.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from wms.errors import TrackingError, from_os_error, refuse_special
from wms.regular import open_regular, read_regular

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_BLOCK_BYTES = 64 * 1024


def write_atomic(path: Path, data: bytes | str, *, private: bool = False) -> None:
    """Replace `path` by `data` (text is written as UTF-8) so that a reader sees the old or the new content.

    Missing folders are created; only the owner can read a `private` file, from the first byte on. Raises DiskFullError
    or UnwritableError, also for a folder or a device at `path`; no temporary file is left behind.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    # In the same folder, because os.replace is atomic only within one file system.
    temporary = path.parent / f".{path.name[:100]}.{uuid.uuid4().hex}.tmp"
    try:
        refuse_special(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o600 if private else 0o666
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - the name under which its guarantee is documented
        _sync_folder(path.parent)
    except OSError as error:
        raise from_os_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Delete a file; an absent file is no error. Raises UnwritableError, also for a folder or a device."""
    try:
        refuse_special(path)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise from_os_error(error, path) from error


def append_line(path: Path, line: str) -> None:
    """Append one line to `path`, as `append_lines` does."""
    append_lines(path, [line])


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Append `lines`, each with a newline, to `path` and wait until all are on the disk.

    A single O_APPEND write keeps lines of several processes apart. Missing folders are created. Raises ValueError if a
    line holds a newline; DiskFullError or UnwritableError if the write fails, after which the file may end in a torn
    line: see `cut_torn_tail`.
    """
    if any("\n" in line for line in lines):
        raise ValueError("A line to append must not contain a newline.")
    content = "".join(f"{line}\n" for line in lines).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags, 0o666)
        try:
            # A short write happens on a nearly full disk only; the second call then reports why.
            while content:
                content = content[os.write(descriptor, content) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            _sync_folder(path.parent)
    except OSError as error:
        raise from_os_error(error, path) from error


def cut_torn_tail(path: Path) -> int:
    """Cut off a last line of the JSON-lines file `path` that has no newline or isn't JSON.

    A killed `append_line` leaves such a line. Call this function while no other process appends. Returns the number of
    bytes removed; 0 for a sound, empty or absent file. Raises UnwritableError.
    """
    try:
        with open_regular(path, "r+b") as stream:
            size = stream.seek(0, os.SEEK_END)
            start = _last_line_start(path)
            stream.seek(start)
            last = stream.read()
            if not last or (last.endswith(b"\n") and is_json(last)):
                return 0
            stream.truncate(start)
            os.fsync(stream.fileno())
            return size - start
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise from_os_error(error, path) from error


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Each line of the JSON-lines file `path` as (line number from 1, value); see `read_lines`."""
    return ((number, parse_json(line)) for number, line in read_lines(path))


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each line of the JSON-lines file `path` as (line number from 1, bytes); no lines if the file is absent.

    A torn last line (see `cut_torn_tail`) is skipped, because another process may still be writing. Raises
    TrackingError with file and line for any other line that isn't JSON.
    """
    try:
        lines = read_regular(path).split(b"\n")
    except FileNotFoundError:
        return
    torn = lines.pop()  # the text after the last newline: empty, or a torn line
    for number, line in enumerate(lines, start=1):
        if is_json(line):
            yield number, line
        elif number == len(lines) and not torn:
            return
        else:
            raise TrackingError(
                f"{path}, line {number} is damaged: it isn't JSON. Restore the file, or delete that line."
            )


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, 64 hexadecimal digits. Raises OSError if the file can't be read."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def object_in(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty for an absent or damaged file, and for other content."""
    try:
        values: Any = parse_json(read_regular(path))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def read_verified(path: Path, sha256: str) -> bytes:
    """The content of a file whose SHA-256 is known. Raises TrackingError if the file is absent or damaged."""
    try:
        content = read_regular(path)
    except OSError as error:
        raise TrackingError(f"Can't read {path}: {error.strerror}; restore the file.") from error
    found = sha256_bytes(content)
    if found != sha256:
        raise TrackingError(
            f"{path} is damaged: its SHA-256 should be {sha256[:12]}..., but is {found[:12]}...; restore the file."
        )
    return content


def lines_holding(content: bytes, needle: str) -> Iterator[bytes]:
    """Each line of `content` in which `needle` occurs, found without splitting the other lines."""
    wanted = needle.encode("utf-8")
    at = content.find(wanted)
    while at >= 0:
        begin, end = content.rfind(b"\n", 0, at) + 1, content.find(b"\n", at)
        yield content[begin : end if end >= 0 else len(content)]
        at = content.find(wanted, end) if end >= 0 else -1


def sha256_bytes(content: bytes) -> str:
    """The SHA-256 of `content`, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_text(text: str) -> str:
    """The SHA-256 of `text` as UTF-8, 64 hexadecimal digits."""
    return sha256_bytes(text.encode("utf-8"))


def canonical_json(obj: object) -> str:
    """`obj` as JSON text that is equal for equal values: sorted keys, no spaces, no escapes but JSON's.

    Raises TypeError for a value that JSON doesn't know and ValueError for NaN and infinities.
    """
    return json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)  # noqa: TID251


def parse_json(content: bytes | str) -> Any:
    """The value of a JSON text that comes from outside of the process. Raises ValueError if `content` isn't JSON.

    >>> parse_json("[" * 200_000)
    Traceback (most recent call last):
    ValueError: it is nested too deeply
    """
    try:
        return json.loads(content)  # noqa: TID251 - the only place
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a run. Raises TrackingError for a damaged file."""
    try:
        values = parse_json(read_regular(path))
    except (OSError, ValueError) as error:
        raise TrackingError(f"{path} is damaged ({error}); start a new run.") from error
    if not isinstance(values, dict):
        raise TrackingError(f"{path} is damaged: it isn't a JSON object; start a new run.")
    return values


@contextlib.contextmanager
def exclusive_lock(path: Path, *, wait: bool = True, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock file `path` during the `with` block; other processes and threads wait for it.

    If another process holds the lock, `waiting` is called before the wait; without `wait`, BlockingIOError is raised.
    The operating system drops the lock of a killed process. The lock file stays: after a deletion, two processes could
    lock two different files of the same name. Raises DiskFullError or UnwritableError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise from_os_error(error, path) from error
    try:
        try:
            _lock(descriptor, wait=False)
        except BlockingIOError:
            if not wait:
                raise
            waiting()
            _lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)  # closing also releases the lock


def _lock(descriptor: int, wait: bool) -> None:
    if sys.platform == "win32":
        while True:
            try:
                # LK_LOCK gives up after ten tries of one second each.
                msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
                return
            except OSError as error:
                if not wait:
                    raise BlockingIOError(str(error)) from error
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _last_line_start(path: Path) -> int:
    """The offset of the last line, found from the end so that a long file isn't read."""
    with path.open("rb") as stream:
        end = stream.seek(0, os.SEEK_END) - 1  # the last byte may be the last line's own newline
        while end > 0:
            begin = max(0, end - _BLOCK_BYTES)
            stream.seek(begin)
            found = stream.read(end - begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            end = begin
    return 0


def is_json(line: bytes) -> bool:
    """Whether a line is a complete JSON value."""
    try:
        parse_json(line)
    except ValueError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut; Windows can't open folders, and needs no such call."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
