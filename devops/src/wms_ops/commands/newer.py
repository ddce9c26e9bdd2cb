"""Whether the registry knows later promotions than a clone, for doctor and status: a quick request, never an error."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wms.errors import RegistryUnreachableError
from wms.loopback import scheme_of
from wms.project import project
from wms.registry.chain import Chain, RegistryLedger
from wms.registry.ledger import LedgerEntry
from wms.registry.mlflow_calls import shown
from wms.settings import TrackingSettings
from wms_ops.commands.advice import reason
from wms_ops.commands.parallel import ask_all

PULL: Final = "git pull"
_LIMIT_S: Final = 5.0


@dataclass(frozen=True)
class RegistryView:
    """The registry's Production where later than the clone's, and the words about that or about the silence."""

    version: int | None
    text: str


def import_client() -> None:
    """Import MLflow's client if a registry is named, outside of the threads that ask the registry."""
    if TrackingSettings.read().mlflow_tracking_uri:
        importlib.import_module("mlflow.tracking")


def ask_registry(repo: Path, entries: Sequence[LedgerEntry]) -> RegistryView | None:
    """Compare a clone's entries with the registry's; None without a registry, or where the clone isn't behind."""
    uri = TrackingSettings.read().mlflow_tracking_uri
    if not uri:
        return None
    found = ask_all({"registry": lambda _: _chain(uri)}, repo, _LIMIT_S)["registry"]
    if not isinstance(found, Chain):
        why = reason(found) if isinstance(found, Exception) else f"no answer within {_LIMIT_S:.0f} s"
        return RegistryView(
            None, f"by the ledger of this clone, for the registry at {shown(uri)} can't be asked: {why}"
        )
    here = tuple(entries)
    if found.head is None or len(found.entries) <= len(here) or found.entries[: len(here)] != here:
        return None
    text = f"the registry at {shown(uri)} knows version {found.head.to_version} as Production since {found.head.at}"
    return RegistryView(found.head.to_version, f"{text}: this clone is behind, run `{PULL}`")


def _chain(uri: str) -> Chain:
    from wms_ops.machine.answers import why_silent

    # The registry's own calls wait a minute for a server that starts; this screen doesn't.
    if scheme_of(uri) in ("http", "https") and (silence := why_silent(uri)):
        raise RegistryUnreachableError(f"it doesn't answer ({silence})")
    return RegistryLedger(uri, project().model).read()
