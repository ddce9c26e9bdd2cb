"""The tables of `wms versions`: versions with their stage and aliases, and runs that aren't a version yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wms.json_text import to_json
from wms.metrics import FINAL_DICE, FINAL_IOU
from wms.names import tell
from wms.registry.history import production_of, stage_in_registry, stage_of
from wms.registry.ledger import LedgerEntry
from wms.registry.mlflow_store import ModelRegistry, ModelVersion
from wms.registry.types import decision_now
from wms.registry.verdicts import read_verdict
from wms.tables import Column, print_table
from wms_ops.base.text import decimals

WAITING: Final = 10
"""Number of newest runs considered for the second table."""

_VERSIONS: Final = (
    Column("version", justify="right"),
    Column("stage"),
    Column("aliases"),
    Column("run id", later=True),
    Column("Dice", justify="right"),
    Column("IoU", justify="right"),
    Column("verdict", later=True, wraps=True, least=16),
    Column("since"),
)
_RUNS: Final = (
    Column("run"),
    Column("Dice", justify="right"),
    Column("IoU", justify="right"),
    Column("gate", wraps=True),
    Column("since"),
)

Row = tuple[str, ...]


def print_versions(
    entries: Sequence[LedgerEntry], registry: ModelRegistry | None, *, damage: str = "", as_json: bool = False
) -> None:
    """Print versions, newest last: the registry's versions with the waiting runs, or the ledger's versions.

    `damage` is a sentence about the ledger that shouldn't be missed. The JSON form is an object with `source`,
    `versions` and `waiting`, whose keys are the tables' headings, and `damage` if there is any.
    Raises RegistryUnreachableError or RegistryError.
    """
    if registry is None:
        rows, source = from_ledger(entries), "the ledger (MLFLOW_TRACKING_URI isn't set)"
        waiting: list[Row] = []
    else:
        versions = registry.versions()
        rows, source = from_registry(versions, entries), f"MLflow at {registry.server}"
        waiting = runs_that_wait(registry, versions)
    if as_json:
        found = {"source": source, "versions": _named(_VERSIONS, rows), "waiting": _named(_RUNS, waiting)}
        print(to_json(found | ({"damage": damage} if damage else {}), indent=2))
        return
    if rows:
        print_table(_VERSIONS, rows, caption=f"From {source}.")
    else:
        print(f"No version yet, by {source}.")
    if waiting:
        print_table(_RUNS, waiting, title="Runs that were never promoted")
    if damage:
        tell(damage)


def _named(columns: Sequence[Column], rows: Sequence[Row]) -> list[dict[str, str]]:
    return [{column.heading.replace(" ", "_"): cell for column, cell in zip(columns, row, strict=True)} for row in rows]


def from_registry(versions: Sequence[ModelVersion], entries: Sequence[LedgerEntry]) -> list[Row]:
    """A row for each version of the registry, completed by the ledger."""
    newest = {entry.to_version: entry for entry in entries}
    rows: list[Row] = []
    for version in versions:
        entry = newest.get(version.version)
        names = str(version.version), stage_in_registry(version), ", ".join(version.aliases), version.run_id
        # A restore registers a version anew, and a rollback changes nothing about it: only the ledger has its time.
        rows.append((*names, *_scores(entry), _minute(entry.at if entry else version.created_at)))
    return rows


def from_ledger(entries: Sequence[LedgerEntry]) -> list[Row]:
    """A row for each version that was ever Production."""
    newest = {entry.to_version: entry for entry in entries}
    return [
        (str(number), stage_of(number, entries), "-", entry.run_id, *_scores(entry), _minute(entry.at))
        for number, entry in sorted(newest.items())
    ]


def runs_that_wait(registry: ModelRegistry, versions: Sequence[ModelVersion]) -> list[Row]:
    """A row for each of the newest finished runs that isn't a version, newest last."""
    known, production = {version.run_id for version in versions}, production_of(versions)
    rows: list[Row] = []
    for run in reversed(registry.newest_runs(WAITING)):
        if run.run_id not in known:
            dice, iou = (run.metrics.get(name) for name in (FINAL_DICE, FINAL_IOU))
            found = read_verdict(registry, run.run_id)
            verdict = decision_now(found, production) if found else "not asked"
            rows.append((run.name, decimals(dice, "-"), decimals(iou, "-"), verdict, _minute(run.ended_at or "")))
    return rows


def _scores(entry: LedgerEntry | None) -> Row:
    if entry is None:
        return "-", "-", ""
    return decimals(entry.metrics.dice, "-"), decimals(entry.metrics.iou, "-"), entry.verdict


def _minute(at: str) -> str:
    """A time without its seconds, UTC as everywhere."""
    return at.replace("T", " ")[:16]
