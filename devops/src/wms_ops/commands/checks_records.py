"""The check of `wms doctor` that finds edits by hand in the ledger, production_current.json and model-metadata.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wms.registry.ledger import Ledger, LedgerEntry, values_of
from wms.registry.metadata import NOTHING_PROMOTED, metadata_of
from wms.registry.page import differing, lags
from wms.regular import read_regular
from wms_ops.base.layout import METADATA, MODELS
from wms_ops.commands.advice import remedy_in
from wms_ops.commands.finding import Finding, State
from wms_ops.commands.newer import PULL, ask_registry
from wms_ops.git import records_mend as mend
from wms_ops.git.records import find_fault

DAMAGED: Final = "mend the records first"
_NAME: Final = "records"


def check_records(repo: Path) -> Finding:
    """The files in Git that tell which model is Production: each field must be as a promotion wrote the field.

    A model-metadata.json that lags behind the ledger is no damage as long as Git has the same content.
    """
    if fault := find_fault(repo):
        text = str(fault.error)
        return Finding(_NAME, State.MISSING, text, fault.mend or remedy_in(text))
    ledger = Ledger(repo / MODELS)
    entries = ledger.entries()
    newest = entries[-1] if entries else None
    if text := _edited(repo, entries):
        return Finding(
            _NAME, State.MISSING, text, mend.metadata(repo, ledger) or (mend.ANEW if newest else remedy_in(text))
        )
    if newest and lags(ledger, entries):
        text = f"{ledger.newest} lacks the newest entry, {newest.seq}: a promotion was killed before it wrote the file"
        return Finding(_NAME, State.OPTIONAL, text, mend.page(repo, newest))
    path = repo / METADATA
    if newest and not mend.is_about(content := read_regular(path), newest):
        told = values_of(content)
        tells = f"version {told['model_version']} of {told['promoted_at']}" if told.get("model_version") else "none"
        text = f"{path} lags: the promotion there is {tells}, the ledger's newest is version {newest.to_version} of "
        text += newest.at
        return Finding(_NAME, State.OPTIONAL, text, mend.metadata(repo, ledger) or mend.ANEW)
    text = f"version {newest.to_version} is Production" if newest else "no model was ever promoted"
    view = ask_registry(repo, entries)
    if view and (view.is_refused or view.version is not None):
        behind = Finding(_NAME, State.OPTIONAL, f"by the ledger of this clone {text}, but {view.text}", PULL)
        return Finding(_NAME, State.MISSING, view.text, remedy_in(view.text)) if view.is_refused else behind
    text += f", {view.text}" if view else ""
    torn = "; a killed promotion left a part of a line, which the next one cuts off" if ledger.torn else ""
    return Finding(_NAME, State.FINE, f"the ledger and the files about Production are as written: {text}{torn}")


def _edited(repo: Path, entries: Sequence[LedgerEntry]) -> str:
    """The sentence about a sound model-metadata.json that neither Git nor the newest promotion has written."""
    path = repo / METADATA
    found = mend.plain(read_regular(path))
    committed = mend.content_of(repo, "", METADATA)
    wanted = metadata_of(entries[-1]).text if entries else NOTHING_PROMOTED
    if committed is None or found in (wanted, mend.plain(committed)):
        return ""
    if mend.plain(committed) != wanted and found in (metadata_of(one).text for one in entries):
        return ""  # a promotion that was never committed wrote the file
    fields = differing(values_of(found), values_of(mend.plain(committed)))
    return f"{path} was changed by hand: in Git, another value has {fields}."
