"""Rebuilds a lost, cut or edited ledger from all entries that are still found anywhere. Pure: values in, values out.

Each entry carries its own hash and that of the entry before. So entries from any source can be put in order, and a
changed one is none: its hash doesn't fit. Where two entries follow the same one, the more trusted source decides.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from wms.errors import LedgerError
from wms.files import canonical_json, parse_json
from wms.registry.ledger import FIRST, LedgerEntry, parse_entry


class Trust(IntEnum):
    """How far a source of entries is trusted: one write in the registry decides, and a clone's files come last."""

    FILES = 0
    GIT = 1
    REGISTRY = 2


@dataclass(frozen=True)
class Found:
    """A sound entry, the place where it was found, for sentences, and how far that place is trusted."""

    entry: LedgerEntry
    where: str
    trust: Trust


@dataclass(frozen=True)
class Recovery:
    """The rebuilt ledger; `sources` names the place of each entry; `beyond` are entries whose predecessor is lost.

    `rivals` are entries that lost against another one in the same place; `unproven` are the newest entries as far as
    the clone's own files alone have them: nothing that follows an unproven entry is in a source of more trust.
    """

    entries: tuple[LedgerEntry, ...] = ()
    sources: tuple[str, ...] = ()
    beyond: tuple[LedgerEntry, ...] = ()
    rivals: tuple[Found, ...] = ()
    unproven: tuple[LedgerEntry, ...] = ()

    @property
    def text(self) -> str:
        """The content of production_history.jsonl."""
        return "".join(f"{entry.line}\n" for entry in self.entries)


def entries_in(content: bytes, where: str, trust: Trust) -> Iterator[Found]:
    """Yield the sound entries among the lines of a history, or the one in a production_current.json."""
    with contextlib.suppress(ValueError):
        if isinstance(whole := parse_json(content), dict):
            content = canonical_json(whole).encode()
    for line in content.splitlines():
        with contextlib.suppress(LedgerError, UnicodeDecodeError):
            yield Found(parse_entry(line.decode(), where), where, trust)


def rebuild(found: Iterable[Found]) -> Recovery:
    """Put entries in order, from the ledger's beginning on.

    Raises LedgerError where two sources of the same trust contradict each other: then a person has to choose.
    """
    best: dict[str, Found] = {}
    for one in found:
        if one.entry.hash not in best or one.trust > best[one.entry.hash].trust:
            best[one.entry.hash] = one
    after: dict[str, list[Found]] = {}
    for one in best.values():
        after.setdefault(one.entry.previous_hash, []).append(one)
    chain: list[Found] = []
    rivals: list[Found] = []
    while following := after.pop(chain[-1].entry.hash if chain else FIRST, None):
        chosen, *others = sorted(following, key=lambda one: -one.trust)
        if others and others[0].trust == chosen.trust:
            raise LedgerError(
                f"Entry {chosen.entry.seq} of the ledger is one thing in {chosen.where} and another in "
                f"{others[0].where}, so nothing was changed; set MLFLOW_TRACKING_URI, whose registry decides."
            )
        chain.append(chosen)
        rivals += others
    led = list(rivals)
    while led:  # what follows a rival is lost with it, and isn't an entry whose predecessor is missing
        led += after.pop(led.pop().entry.hash, [])
    last = chain[-1].entry.seq if chain else 0
    beyond = sorted((one.entry for rest in after.values() for one in rest if one.entry.seq > last), key=_number)
    proven = max((number for number, one in enumerate(chain, start=1) if one.trust > Trust.FILES), default=0)
    entries = tuple(one.entry for one in chain)
    return Recovery(entries, tuple(one.where for one in chain), tuple(beyond), tuple(rivals), entries[proven:])


def _number(entry: LedgerEntry) -> int:
    return entry.seq
