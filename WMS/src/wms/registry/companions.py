"""What a version gets beside the model's own files: those for `mlflow.pyfunc`, and its model card. Safe to repeat.

The whole card, with pictures of the worst photos, is the run's artifact `card/`. The card to be published lies beside
the model in `model/`, from where `wms sync`, a release and a deployment take it: that one shows the photos only if
wms.toml says `publish_photos`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from wms.data.versions import DataItem, read_items
from wms.errors import CannotDecideError, ModelNotFoundError, RegistryError, TrackingError, WmsError
from wms.files import parse_json, sha256_bytes
from wms.project import project
from wms.registry.chain import Chain
from wms.registry.gate_types import GateReport
from wms.registry.ledger import LedgerEntry
from wms.registry.lineage import CARD, CONFIG, DATA, DOCUMENTS, MODEL_CARD, MODEL_CARD_PAGE, WORST_PHOTOS, WORST_SLICES
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.verdicts import REPORT_FILE

if TYPE_CHECKING:
    from wms.registry.card_records import CardRecords

WHOLE: Final = "card"
"""The folder of a run's artifacts with the whole card."""

PICTURE: Final = f"gate/{WORST_PHOTOS}"
"""The artifact with the worst photos, which the gate draws: only the gate has the photos."""


def complete(registry: ModelRegistry, version: int) -> str:
    """Add the files for `mlflow.pyfunc` to a registered version; a sentence, with its space, where that fails.

    Older code registered versions without these files. The model's own files stay as they are.
    """
    found = next((one for one in registry.versions() if one.version == version), None)
    if found is None:  # deleted since the proposal, which `carry_out` reports
        return ""
    run = registry.run(found.run_id)
    try:
        if found.source in (f"{run.artifact_uri}/model", f"runs:/{run.run_id}/model"):
            registry.describe(run.run_id)
            return ""
        reason = f"MLflow loads it from {found.source}, not from its run"
    except RegistryError as error:  # a way back must not depend on a store that takes no file
        reason = str(error).rstrip(".")
    return f" mlflow.pyfunc may be unable to load version {version}, for no MLmodel could be added: {reason}."


def write_cards(registry: ModelRegistry, chain: Chain) -> str:
    """Write the card of the chain's newest version, after a rollback also that of the version left behind.

    Returns a sentence, with its space, where that fails: a promotion, and above all a way back, doesn't depend on it.
    """
    head = chain.head
    if head is None:
        return ""
    left = head.from_version if head.action == "rollback" else None
    try:
        for entry in (head, chain.about(left) if left is not None else None):
            if entry is not None:
                _write(registry, chain, entry)
    except WmsError as error:
        return f" Its model card wasn't written ({str(error).rstrip('.')}); `wms restore` tries again."
    return ""


def read_documents(registry: ModelRegistry, run_id: str) -> dict[str, bytes]:
    """Return the published card's files by the names of DOCUMENTS; those that a run lacks are left out."""
    paths = {f"model/{name}": name for name in DOCUMENTS}
    absent = registry.absent_artifacts(run_id, tuple(paths))
    return {name: registry.read_artifact(run_id, path) for path, name in paths.items() if path not in absent}


def _write(registry: ModelRegistry, chain: Chain, entry: LedgerEntry) -> None:
    """Write both forms of a version's card; the page, whose presence says that all is there, last."""
    from wms.registry.card_slices import draw_slices, thirds
    from wms.registry.card_text import to_html, to_markdown
    from wms.registry.model_card import describe

    pictures, records = {}, _records(registry, chain, entry)
    if records.report and (parts := thirds(records.report)):
        pictures[WORST_SLICES] = draw_slices(parts)
    worst = _optional(registry, entry.run_id, PICTURE) if records.report else None
    for folder, shows in ((WHOLE, True), ("model", project().publish_photos)):
        card = describe(records.with_photos(has=worst is not None, shows=shows))
        shown = pictures | ({WORST_PHOTOS: worst} if worst is not None and shows else {})
        files = shown | {
            MODEL_CARD: to_markdown(card, shown).encode(),
            MODEL_CARD_PAGE: to_html(card, shown).encode(),
        }
        for name, content in files.items():
            registry.write_artifact(entry.run_id, f"{folder}/{name}", content)


def _records(registry: ModelRegistry, chain: Chain, entry: LedgerEntry) -> CardRecords:
    from wms.registry.card_records import CardRecords

    run = registry.run(entry.run_id)
    return CardRecords(
        model=registry.model,
        version=entry.to_version,
        entries=chain.entries,
        run_name=run.name,
        tags=run.tags,
        metadata=_object(registry, run.run_id, "metadata.json"),
        recipe=_object(registry, run.run_id, CONFIG),
        card=_object(registry, run.run_id, f"model/{CARD}"),
        items=_items(registry, entry),
        report=_report(registry, entry),
    )


def _report(registry: ModelRegistry, entry: LedgerEntry) -> GateReport | None:
    """The newest report of the gate, if a verdict was reached and is about the promoted weights."""
    content = _optional(registry, entry.run_id, REPORT_FILE)
    try:
        found = GateReport.parse(content or b"", REPORT_FILE, CannotDecideError, "run the gate again")
    except CannotDecideError:
        return None
    return found if found.verdict.weights_sha256 == entry.weights_sha256 and found.images else None


def _items(registry: ModelRegistry, entry: LedgerEntry) -> tuple[DataItem, ...]:
    content = _optional(registry, entry.run_id, DATA)
    if content is None or sha256_bytes(content) != entry.data_version:
        return ()
    try:
        return tuple(read_items(content.splitlines(), DATA))
    except TrackingError:
        return ()


def _object(registry: ModelRegistry, run_id: str, path: str) -> dict[str, Any]:
    try:
        values: Any = parse_json(_optional(registry, run_id, path) or b"")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _optional(registry: ModelRegistry, run_id: str, path: str) -> bytes | None:
    with contextlib.suppress(ModelNotFoundError):
        return registry.read_artifact(run_id, path)
    return None
