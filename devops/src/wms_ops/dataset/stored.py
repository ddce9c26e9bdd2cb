"""The bytes that are kept of a photo or mask: every way into the data set leads through here."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from wms.data.manifest import DataSet
from wms.project import project
from wms_ops.base.errors import DamagedBlobError, MissingBlobError
from wms_ops.dataset.plan import NewFile

if TYPE_CHECKING:
    from wms_ops.storage.remote import S3Remote


def as_stored(name: str, content: bytes) -> bytes:
    """Return the bytes to keep of the photo or mask `name`; bytes that are kept already stay as they are.

    Two files are the same photo if these bytes are equal, whatever bytes a person's own copy has: places, serial
    numbers and names are left out, unless wms.toml says keep_metadata = true.

    >>> as_stored("meter.jpg", b"bytes")
    b'bytes'
    """
    return stored(name, content)[0]


def stored(name: str, content: bytes, known: Collection[str] = ()) -> tuple[bytes, bool]:
    """As `as_stored`, and whether a place was left out. Content whose MD5 is `known` stays as it was stored once."""
    del name  # the content decides
    if project().keep_metadata or (known and md5_of(content) in known):
        return content, False
    from wms.data.private import stripped

    done = stripped(content)
    return done.content, done.place


def as_held(store: S3Remote, version: DataSet, kind: str, file: NewFile, folder: Path) -> NewFile:
    """Return a file to be merged as `version` has it, if that differs by private metadata only; else `file` itself.

    The file in folder/KIND changes with it. Raises the store's errors; a blob that is missing makes no difference.
    """
    manifest = version.images if kind == "images" else version.masks
    target = folder / kind / file.name
    old = manifest.files.get(file.name)
    if old is None or old == file.md5:
        return file
    try:
        store.read_blob(old, target.with_name(f"{file.name}.held"))
    except (MissingBlobError, DamagedBlobError):
        return file
    content = target.with_name(f"{file.name}.held").read_bytes()
    target.with_name(f"{file.name}.held").unlink()
    if md5_of(as_stored(file.name, content)) != file.md5:
        return file
    target.write_bytes(content)
    return NewFile(file.name, old, len(content), file.place)


def md5_of(content: bytes) -> str:
    """Return the MD5 under which the store keeps these bytes."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def without_places(count: int) -> str:
    """Return the sentence for a person whose photos named places."""
    photos, themselves = ("1 photo", "its place isn't") if count == 1 else (f"{count} photos", "their places aren't")
    return (
        f"{photos} carried GPS: {themselves} stored. Pixels and your own files stay as they are; "
        "keep_metadata = true in wms.toml stores photos with all metadata."
    )
