"""Whether the registry knows later promotions than a clone, for doctor and status: a quick request, never an error."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wms.errors import LedgerError, RegistryUnreachableError, WmsError
from wms.loopback import scheme_of
from wms.project import project
from wms.registry.chain import SUFFIX, Chain, RegistryLedger
from wms.registry.ledger import LedgerEntry
from wms.registry.mlflow_calls import shown
from wms.settings import TrackingSettings
from wms_ops.base.layout import MODELS
from wms_ops.commands.advice import reason
from wms_ops.commands.parallel import ask_all
from wms_ops.gate.witnesses import unbacked

PULL: Final = "git pull"
_LIMIT_S: Final = 5.0
_BUCKET_LIMIT_S: Final = 4.0
"""With _LIMIT_S less than the limit of the screen that shows the answers."""


@dataclass(frozen=True)
class RegistryView:
    """The registry's Production where later than the clone's, and the words about that or about the silence.

    `is_refused` says that nobody vouches for the newest entries, so that no gate and no promotion takes them.
    """

    version: int | None
    text: str
    is_refused: bool = False


def import_client() -> None:
    """Import the clients if a registry is named, outside of the threads that ask the registry and the bucket."""
    if TrackingSettings.read().mlflow_tracking_uri:
        for name in ("mlflow.tracking", "botocore.session"):
            importlib.import_module(name)


def ask_registry(repo: Path, entries: Sequence[LedgerEntry]) -> RegistryView | None:
    """Compare a clone's entries with the registry's, and ask main and the bucket; None where all agree.

    Without a registry the clone's own entries have to be backed.
    """
    uri = TrackingSettings.read().mlflow_tracking_uri
    if not uri:
        return _ask_witnesses(repo, entries)
    found = ask_all({"registry": lambda _: _chain(uri)}, repo, _LIMIT_S)["registry"]
    if not isinstance(found, Chain):
        why = reason(found) if isinstance(found, Exception) else f"no answer within {_LIMIT_S:.0f} s"
        return RegistryView(
            None, f"by the ledger of this clone, for the registry at {shown(uri)} can't be asked: {why}"
        )
    view = _ask_witnesses(repo, found.entries, f"{project().model}{SUFFIX} at {shown(uri)}")
    here = tuple(entries)
    is_behind = found.head is not None and len(found.entries) > len(here) and found.entries[: len(here)] == here
    if found.head is None or not is_behind or (view and view.is_refused):
        return view
    text = f"the registry at {shown(uri)} knows version {found.head.to_version} as Production since {found.head.at}"
    more = f"; {view.text}" if view else ""
    return RegistryView(found.head.to_version, f"{text}: this clone is behind, run `{PULL}`{more}")


def _ask_witnesses(repo: Path, entries: Sequence[LedgerEntry], registry: str = "") -> RegistryView | None:
    """What main and the bucket say against a ledger's entries; None if nothing."""
    asked = {"witnesses": lambda _: (unbacked(entries, repo / MODELS, project().model, registry),)}
    match ask_all(asked, repo, _BUCKET_LIMIT_S)["witnesses"]:
        case (None,):
            return None
        case (WmsError() as error,):
            return RegistryView(None, reason(error), isinstance(error, LedgerError))
        case Exception() as error:
            why = reason(error)
        case _:
            why = f"no answer within {_BUCKET_LIMIT_S:.0f} s"
    return RegistryView(None, f"whether the bucket backs the newest entry of the ledger isn't known: {why}")


def _chain(uri: str) -> Chain:
    from wms_ops.machine.answers import why_silent

    # The registry's own calls wait a minute for a server that starts; this screen doesn't.
    if scheme_of(uri) in ("http", "https") and (silence := why_silent(uri)):
        raise RegistryUnreachableError(f"it doesn't answer ({silence})")
    return RegistryLedger(uri, project().model).read()
