"""The bytes that are kept of a photo or mask: every way into the data set or a data branch leads through here."""

from __future__ import annotations


def as_stored(name: str, content: bytes) -> bytes:
    """Return the bytes to keep of the photo or mask `name`; bytes that are kept already stay as they are.

    Two files are the same photo if these bytes are equal, whatever bytes a person's own copy has.

    >>> as_stored("meter.jpg", b"bytes")
    b'bytes'
    """
    del name  # every format is kept byte for byte
    return content
