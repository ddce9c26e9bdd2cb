"""Anchors of the ledger: places beside the registry that vouch for entries, so that one writer can't forge a ledger.

A chain of hashes shows an edited entry, but whoever writes to the registry may write a whole new chain, or append an
entry that fits. So an entry counts only if it is on main, where it came by a reviewed merge, or if the bucket holds its
anchor: the entry itself under `<number>-<hash>.json`, written by a promotion before the entry is added to the registry,
and never again. An anchor without its entry vouches for nothing: a promotion was killed, or lost a race.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from wms.errors import LedgerError
from wms.registry.ledger import LedgerEntry, parse_entry

_NAME: Final = re.compile(r"(?P<seq>\d{6,})-(?P<hash>[0-9a-f]{64})\.json")


class AnchorPlace(Protocol):
    """A place that keeps an object under a name once and for all."""

    @property
    def where(self) -> str:
        """The place in sentences, such as "s3://bucket/prefix/wms/anchors/model"."""
        ...

    def names(self) -> Sequence[str]:
        """The names of all anchors."""
        ...

    def read(self, name: str) -> bytes | None:
        """The content under a name; None if there is none."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """Keep `content` under `name` unless the name is taken; return whether it was free."""
        ...


@dataclass(frozen=True)
class MainHistory:
    """The ledger's entries on main as last fetched, and the name of that place in sentences."""

    entries: tuple[LedgerEntry, ...]
    where: str


@dataclass(frozen=True)
class Witnesses:
    """What vouches for entries beside the registry; None: this place isn't there to be asked."""

    main: MainHistory | None = None
    bucket: AnchorPlace | None = None
    _sound: dict[str, LedgerEntry] = field(default_factory=dict, repr=False, compare=False)
    """Anchors that were read already: an anchor never changes."""

    @property
    def places(self) -> str:
        """The places in a sentence; empty without any."""
        found = [self.main.where] if self.main else []
        return " or ".join([*found, self.bucket.where] if self.bucket else found)

    def merged(self, entries: Sequence[LedgerEntry], where: str) -> int:
        """Return how many of the ledger's first entries main has, too.

        A ledger whose first entry isn't main's was begun anew, after the former registry was lost: main vouches for
        none of it. Raises LedgerError if the ledger in `where` contradicts main, or ends before main does.
        """
        if self.main is None or not entries or not self.main.entries or self.main.entries[0] != entries[0]:
            return 0
        for mine, theirs in zip(entries, self.main.entries, strict=False):
            if mine != theirs:
                raise LedgerError(
                    f"Entry {mine.seq} of {where} isn't the one that {self.main.where} has: one of them was rewritten. "
                    "Main's came by a reviewed merge; `wms restore` shows both and changes nothing."
                )
        if len(self.main.entries) > len(entries):
            raise LedgerError(
                f"{where} ends with entry {len(entries)}, but {self.main.where} has entry {len(self.main.entries)}: "
                "somebody deleted versions of the ledger, or the registry is another one; run `git pull`, then `wms "
                "restore`, which brings them back."
            )
        return len(self.main.entries)

    def check(self, entries: Sequence[LedgerEntry], where: str) -> None:
        """Raise LedgerError for an entry that neither main nor an anchor vouches for.

        The bucket is asked for entries beyond main's only, so that a reader of a merged ledger needs no keys. Without a
        bucket nothing is known of those, nor where main can't be asked and the bucket has no anchor at all. Raises the
        bucket's errors.
        """
        rest = entries[self.merged(entries, where) :]
        if not rest or self.bucket is None:
            return
        names = frozenset(self.bucket.names())
        if self.main is None and not names:  # as where an older code promoted, and main can't be asked
            return
        for entry in rest:
            if (name := name_of(entry)) not in names or self._read(name) != entry:
                raise LedgerError(self._unknown(entry, where))
        self._require_end(entries[-1], names, where)

    def check_all(self, entries: Sequence[LedgerEntry], where: str, one: LedgerEntry) -> bool:
        """Check the entries, and every anchor's own content; return whether `one` has an anchor. Raises as `check`."""
        self.check(entries, where)
        names = self.bucket.names() if self.bucket else ()
        return one in [self._read(name) for name in names]

    def announce(self, entry: LedgerEntry) -> None:
        """Write an entry's anchor, before the entry is added to the registry. Raises LedgerError, the bucket's errors.

        After a kill another process may write the same entry again, which finds its own anchor.
        """
        if self.bucket is None:
            return
        name = name_of(entry)
        if not self.bucket.create(name, anchor_of(entry).encode()) and self._read(name) != entry:
            raise LedgerError(f"{self.bucket.where} lost {name} while it was read; run this again.")

    def catch_up(self, entries: Sequence[LedgerEntry], where: str) -> None:
        """Anchor those entries of a ledger of older code that main vouches for. Raises the bucket's errors."""
        if self.bucket is None or not (known := self.merged(entries, where)):
            return
        present = frozenset(self.bucket.names())
        for entry in entries[:known]:
            if name_of(entry) not in present:
                self.announce(entry)

    def _require_end(self, head: LedgerEntry, names: Iterable[str], where: str) -> None:
        """Raise LedgerError if anchors tell of an entry after the one that a killed promotion may have announced."""
        told = [found for found in map(_NAME.fullmatch, names) if found and int(found["seq"]) > head.seq + 1]
        beyond = {one.hash: one for one in (self._read(found[0]) for found in told) if one}
        announced = {one.hash for one in self._after(head, names)}
        if lost := [one for one in beyond.values() if one.previous_hash in announced]:
            raise LedgerError(
                f"{where} ends with entry {head.seq}, but {self._place} has the anchor of entry {lost[0].seq}: "
                "somebody deleted versions of the ledger; bring them back with `wms restore`."
            )

    def _after(self, head: LedgerEntry, names: Iterable[str]) -> list[LedgerEntry]:
        found = [self._read(name) for name in names if name.startswith(f"{head.seq + 1:06d}-")]
        return [one for one in found if one and one.follows(head)]

    @property
    def _place(self) -> str:
        return self.bucket.where if self.bucket else ""

    def _read(self, name: str) -> LedgerEntry | None:
        """The entry of an anchor; None for another object. Raises LedgerError if the anchor was overwritten."""
        if name in self._sound:
            return self._sound[name]
        told = _NAME.fullmatch(name)
        content = self.bucket.read(name) if told and self.bucket else None
        if told is None or content is None:
            return None
        entry = entry_in(name, content)
        if entry is None:
            raise LedgerError(
                f"The anchor {self._place}/{name} was overwritten: it isn't the entry that its name says. Find out who "
                "writes to the bucket; `wms restore bucket` brings its former version back."
            )
        return self._sound.setdefault(name, entry)

    def _unknown(self, entry: LedgerEntry, where: str) -> str:
        return (
            f"Entry {entry.seq} of {where} (version {entry.to_version}, by {entry.who} at {entry.at}) isn't backed: "
            f"neither {self.main.where if self.main else 'main'} nor {self._place} knows it, and every promotion "
            "leaves an anchor there first. Nothing was changed. If one of you promoted it, merge its ledger into main, "
            "or bring a deleted anchor back by `wms restore bucket`; else delete that version of the ledger in MLflow "
            "and find out who wrote it."
        )


def name_of(entry: LedgerEntry) -> str:
    """The name of an entry's anchor.

    >>> from wms.registry.ledger import LedgerEntry
    >>> name_of(LedgerEntry.model_construct(seq=3, hash="0a1b"))
    '000003-0a1b.json'
    """
    return f"{entry.seq:06d}-{entry.hash}.json"


def entry_in(name: str, content: bytes) -> LedgerEntry | None:
    """The entry in the content of an anchor; None if it isn't the one that the anchor's name says."""
    told = _NAME.fullmatch(name)
    try:
        entry = parse_entry(content.decode().removesuffix("\n"), name)
    except (LedgerError, UnicodeDecodeError):
        return None
    return entry if told and (entry.seq, entry.hash) == (int(told["seq"]), told["hash"]) else None


def anchor_of(entry: LedgerEntry) -> str:
    """The content of an entry's anchor."""
    return f"{entry.line}\n"


NOBODY: Final = Witnesses()
"""No place beside the registry, as for a ledger outside of a clone."""
