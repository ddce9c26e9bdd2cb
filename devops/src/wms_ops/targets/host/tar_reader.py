"""Reads an untrusted archive: regular files one after another, and nothing else.

Python's own tarfile isn't safe enough: in 3.11.7 an archive can escape the filter "data", and a crafted header makes
tarfile read without an end. This module reads the format of `pack`: ustar headers, with pax headers before long names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from wms_ops.base.errors import UnsafeFileError

BLOCK: Final = 512
_PIECE: Final = 2**20
# A pax header holds one name of at most 1,024 bytes and a few numbers.
_MOST_PAX: Final = 64 * 2**10
_REGULAR: Final = (b"0", b"\0")
_PAX: Final = b"x"
_KINDS: Final = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"5": "a folder"}
_KINDS_MORE: Final = {**_KINDS, b"6": "a pipe", b"S": "a file with holes", b"L": "a long name of GNU's kind"}
# The keys that tarfile writes. Others, such as size and GNU.sparse.name, change the meaning of the next header.
_PAX_KEYS: Final = frozenset({"path", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname"})
_UNREADABLE: Final = "(a name that can't be read)"

Refuse = Callable[[str, str], UnsafeFileError]
"""Makes the error for a member, from its name and the reason."""


class DamagedArchiveError(Exception):
    """The bytes aren't an archive, or not a whole archive."""


@dataclass(frozen=True)
class Member:
    """A regular file: `size` in bytes, and whether the file is executable."""

    name: str
    size: int
    is_program: bool


class TarReader:
    """The members of an unpacked stream, of which at most `most_bytes` are read, whatever the headers say.

    Iterating raises DamagedArchiveError, EOFError and the errors that `refuse` makes.
    """

    def __init__(self, stream: BinaryIO, most_bytes: int, refuse: Refuse) -> None:
        self._stream, self._left, self._most, self._refuse = stream, most_bytes, most_bytes, refuse
        self._waiting = 0  # unread bytes of the newest member's content
        self._name = _UNREADABLE

    def __iter__(self) -> Iterator[Member]:
        """Yield one member after another; unread content is skipped."""
        pax: dict[str, str] = {}
        while any(block := self._take(BLOCK)):
            kind, size = self._checked(block)
            self._name = pax.get("path") or self._plain_name(block)
            if kind == _PAX:
                if pax or size > _MOST_PAX:
                    raise self._refuse(self._name, "has a header that is too long")
                pax = self._pax(self._take(size + -size % BLOCK)[:size])
                continue
            if kind not in _REGULAR:
                raise self._refuse(self._name, f"is {_KINDS_MORE.get(kind, 'of an unknown kind')}")
            self._waiting, pax = size, {}
            yield Member(self._name, size, is_program=bool(_number(block[100:108]) & 0o100))
            for _ in self.content():
                pass
            self._take(-size % BLOCK)
        while rest := self._some(_PIECE):  # to the end, where gzip keeps its checksum
            if any(rest):
                raise DamagedArchiveError("it goes on behind its end")

    def content(self) -> Iterator[bytes]:
        """The newest member's content in pieces."""
        while self._waiting:
            piece = self._some(min(self._waiting, _PIECE))
            if not piece:
                raise EOFError("it ends in the middle of a file")
            self._waiting -= len(piece)
            yield piece

    def _checked(self, block: bytes) -> tuple[bytes, int]:
        if block[257:263] not in (b"ustar\0", b"ustar "):
            raise DamagedArchiveError("a header isn't one")
        # The checksum counts its own eight bytes, 148 to 155, as blanks (POSIX, ustar).
        if sum(block[:148]) + 8 * ord(" ") + sum(block[156:]) != _number(block[148:156]):
            raise DamagedArchiveError("a header's checksum is wrong")
        return block[156:157], _number(block[124:136])

    def _plain_name(self, block: bytes) -> str:
        prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else b""
        return self._decoded(b"/".join(filter(None, (prefix, _text(block[:100])))))

    def _pax(self, content: bytes) -> dict[str, str]:
        found: dict[str, str] = {}
        while content:
            digits, _, rest = content[:8].partition(b" ")
            length = int(digits) if digits.isdigit() else 0
            key, equals, value = content[len(digits) + 1 : length - 1].partition(b"=")
            if not (rest and equals and content[length - 1 : length] == b"\n"):
                raise DamagedArchiveError("an extended header isn't one")
            name = self._decoded(key)
            if name not in _PAX_KEYS or name in found:
                raise self._refuse(self._name, f"has the extended header {name[:40]!r}, which isn't used here")
            found[name] = self._decoded(value)
            content = content[length:]
        return found

    def _decoded(self, text: bytes) -> str:
        try:
            return text.decode()
        except UnicodeDecodeError:
            raise self._refuse(ascii(text[:100]), "isn't a name in UTF-8") from None

    def _take(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        pieces = b""
        while len(pieces) < count:
            piece = self._some(count - len(pieces))
            if not piece:
                raise EOFError("it ends too early")
            pieces += piece
        return pieces

    def _some(self, count: int) -> bytes:
        piece = self._stream.read(count)
        self._left -= len(piece)
        if self._left < 0:
            raise self._refuse(self._name, f"unpacks to more than the {self._most:,} bytes that are allowed")
        return piece


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    """An octal number; other notations are for sizes that this reader forbids, and for negative numbers."""
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise DamagedArchiveError("a number in a header isn't one")
    return int(digits or b"0", 8)
