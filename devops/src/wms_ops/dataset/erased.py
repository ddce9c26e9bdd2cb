"""Tombstones: the records of erased photos, in the bucket and in Git, without any pixel.

A record in the bucket comes before any deletion, so that a killed erasure can be finished, and stays for good: it
explains the gap that older commits and the ledger's data versions have, and refuses the same content later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Set
from typing import Final, Literal

from pydantic import Field

from wms.data.manifest import stem_of
from wms.records import StoredRecord
from wms_ops.base.errors import DataConflictError, PipelineError
from wms_ops.base.layout import ERASED
from wms_ops.storage.remote import S3Remote

FOLDER: Final = "wms/erasures/"
"""Where the records lie below the remote's prefix."""


class Erasure(StoredRecord):
    """The record of an erased photo and its mask; `contents` are the MD5s of all files that the name ever had.

    `kept` are those of `contents` that another photo has, too, and that weren't erased for that reason. `marks` are
    hashes of the other MD5s, and of the MD5s that those files have without private metadata; a former version marked
    kept contents as well. `date` is UTC, ISO 8601.
    """

    name: str
    contents: list[str] = Field(default_factory=list)
    kept: list[str] = Field(default_factory=list)
    marks: list[str]
    date: str
    reason: str
    by: str = ""
    state: Literal["open", "done"] = "open"

    @property
    def gone(self) -> frozenset[str]:
        """The MD5s of the files that are erased, or are to be."""
        return frozenset(self.contents).difference(self.kept)

    @property
    def text(self) -> str:
        """The tombstone as words, to follow "was"."""
        done = "marked for erasure" if self.state == "open" and self.contents else "erased"
        return f"{done} on {self.date[:10]}{f' by {self.by}' if self.by else ''} ({self.reason})"

    @property
    def line(self) -> str:
        """The tombstone as Git keeps it: who, when, why, and hashes of the contents' hashes."""
        return self.model_dump_json(exclude={"contents", "kept", "state"})


def mark_of(md5: str) -> str:
    """Return the hash by which a tombstone knows a content, without telling the content's own hash."""
    return hashlib.sha256(f"erased {md5}".encode()).hexdigest()


def read_erasures(store: S3Remote) -> tuple[Erasure, ...]:
    """Return all records of a store. Raises PipelineError for a damaged record, and the store's errors."""
    found = ((name, store.read_note(name)) for name in store.notes(FOLDER))
    return tuple(
        Erasure.parse(content.decode("utf-8", "replace"), f"{store.config.url}/{name}", PipelineError, "restore it")
        for name, content in found
        if content is not None
    )


def write_erasure(store: S3Remote, erasure: Erasure) -> None:
    """Keep a record in the store."""
    name = hashlib.sha256(erasure.name.encode()).hexdigest()[:24]
    store.write_note(f"{FOLDER}{name}.json", erasure.model_dump_json(indent=1).encode())


def explain_gap(store: S3Remote, missing: Set[str]) -> str:
    """Return the sentence on files that are missing because a photo was erased; "" where none was."""
    gone = {one.name: one for one in read_erasures(store) if one.gone & missing}
    explained = {md5 for one in gone.values() for md5 in one.gone}
    if not gone:
        return ""
    told = "; ".join(f"{name} was {one.text}" for name, one in list(gone.items())[:3])
    rest = len(set(missing) - explained)
    more = f" {rest} more files are missing for another reason." if rest else ""
    return f"{told}: this version of the data set can't be had whole any more.{more}"


def tombstones(text: str) -> tuple[Erasure, ...]:
    """Return the tombstones that Git keeps in a file of this text. Raises PipelineError for a damaged line."""
    return tuple(Erasure.parse(line, ERASED, PipelineError, "restore it from Git") for line in text.splitlines())


def refuse_erased(
    erasures: Iterable[Erasure], photos: Iterable[tuple[str, str]], held: Mapping[str, str] | None = None
) -> None:
    """Raise DataConflictError for photos, each (file name, MD5), whose content was erased.

    Masks are never refused: another photo may have the same one, such as an empty mask. `held` are the files of main's
    photos; a content that one of them has under another name than the erased one wasn't erased.
    """
    marks = {mark: one for one in erasures for mark in one.marks}
    for name, md5 in photos:
        found = marks.get(mark_of(md5))
        if found is None or ((held or {}).get(name) == md5 and stem_of(name) != found.name):
            continue
        raise DataConflictError(
            f"{name} has the content of {found.name}, which was {found.text}, so nothing was taken: remove it from "
            "your commits."
        )
