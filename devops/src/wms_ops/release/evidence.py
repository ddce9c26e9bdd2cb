"""Collects the evidence for a model's lineage: files, the ledger, Git, the run's folder, MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wms.errors import LedgerError, ModelNotFoundError, WmsError
from wms.files import parse_json, sha256_bytes
from wms.registry.anchors import NOBODY, Witnesses
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.lineage import (
    CARD,
    CONFIG,
    DATA,
    FILES,
    METADATA,
    ORIGIN,
    SCORES,
    WEIGHTS,
    Copy,
    LineageEvidence,
    RegistryFacts,
)
from wms.registry.mlflow_store import ModelRegistry, RunInfo
from wms.registry.shipped import ANCHOR, read_shipped
from wms.text import counted
from wms_ops.git.command import Git
from wms_ops.release.upstream import fetch_model_tag


def collect(
    models: Path, *, repo: Path, runs: Path, registry: ModelRegistry | None, witnesses: Witnesses = NOBODY
) -> LineageEvidence:
    """Collect the evidence about the model in `models`.

    `repo` is a clone with model-metadata.json, `runs` the folder of training runs; `registry` is asked if given, and
    the `witnesses` of the ledger.
    A registry that doesn't answer is a reason why a link isn't checked, no error. Raises ModelNotFoundError if
    `models` holds no model at all, LedgerError if then the ledger is damaged, too.
    """
    files = {name: (models / name).read_bytes() for name in FILES if (models / name).is_file()}
    if not files:
        Ledger(models).entries()  # `wms sync`, the advice below, refuses a damaged ledger
        raise ModelNotFoundError(f"{models} holds no model; bring Production here with `wms sync`.")
    entries, trouble = read_ledger(models)
    card = _card(files)
    entry = None if trouble else _entry_of(entries, files, card)
    facts, run, no_registry = _ask(registry, entry)
    found, no_commit = _find_commit(Git(repo), str(entry.git_commit if entry else card.get("git_commit")), entry)
    metadata = repo / METADATA
    return LineageEvidence(
        models=str(models),
        files=files,
        entry=entry,
        newest=entries[-1] if entries and not trouble else None,
        ledger_error=trouble,
        ledger_text=f"its chain of {counted(len(entries), 'entry')} is sound",
        metadata=metadata.read_bytes() if metadata.is_file() else None,
        **_vouched(models, entries, entry, witnesses),
        recorded=entry.files if entry else {},
        origin=_origin(runs, str(run.name if run else card.get("run")), entry, registry if run else None),
        commit_found=found,
        no_commit=no_commit,
        registry=facts,
        no_registry=no_registry,
    )


def _vouched(
    models: Path, entries: Sequence[LedgerEntry], entry: LedgerEntry | None, witnesses: Witnesses
) -> dict[str, str]:
    """The witnesses of the model's entry: main, the bucket's anchors, and the anchor beside the model's files."""
    if entry is None:
        return {"no_witness": "there is no ledger entry to look up"}
    where = str(Ledger(models).history)
    try:
        shipped = read_shipped(models)
        if shipped is not None and shipped not in entries:
            return {"not_vouched": f"{ANCHOR} in {models} is about entry {shipped.seq}, which {where} doesn't have"}
        merged = witnesses.merged(entries, where)
        places = [witnesses.main.where] if witnesses.main and entry.seq <= merged else []
        try:
            if witnesses.check_all(entries, where, entry) and witnesses.bucket:
                places.append(witnesses.bucket.where)
        except LedgerError:
            raise
        except WmsError as error:  # no keys, no network: main alone has to do
            if not places:
                return {"no_witness": str(error).rstrip(".")}
    except LedgerError as error:
        return {"not_vouched": str(error)}
    if not places:
        return {}
    also = f", and {ANCHOR} beside the model names the entry" if shipped == entry else ""
    return {"vouched": f"entry {entry.seq} is known to {' and '.join(places)}{also}"}


def read_ledger(models: Path) -> tuple[tuple[LedgerEntry, ...], str | None]:
    """The ledger's entries, and why the ledger isn't sound, byte for byte; None if sound."""
    ledger = Ledger(models)
    try:
        entries = ledger.entries()
    except LedgerError as error:
        return (), str(error)
    stored = ledger.history.read_bytes() if ledger.history.is_file() else b""
    if stored.replace(b"\r\n", b"\n") != b"".join(f"{entry.line}\n".encode() for entry in entries):
        return entries, f"{ledger.history} isn't as it was written; restore it from Git"
    newest = ledger.newest.read_bytes() if ledger.newest.is_file() else b""
    wanted = entries[-1].page.encode() if entries else b""
    if newest.replace(b"\r\n", b"\n") != wanted:
        return entries, f"{ledger.newest} isn't the newest entry of {ledger.history.name}; restore it from Git"
    return entries, None


def _card(files: dict[str, bytes]) -> dict[str, Any]:
    try:
        card: Any = parse_json(files.get(CARD, b"{}"))
    except ValueError:
        return {}
    return card if isinstance(card, dict) else {}


def _entry_of(entries: tuple[LedgerEntry, ...], files: dict[str, bytes], card: dict[str, Any]) -> LedgerEntry | None:
    """The newest entry with these weights; damaged weights are identified by their card."""
    wanted = [sha256_bytes(files[WEIGHTS])] if WEIGHTS in files else []
    for digest in [*wanted, card.get("weights_sha256")]:
        if found := next((entry for entry in reversed(entries) if entry.weights_sha256 == digest), None):
            return found
    return entries[-1] if entries else None


def _ask(registry: ModelRegistry | None, entry: LedgerEntry | None) -> tuple[RegistryFacts | None, RunInfo | None, str]:
    """MLflow's facts about the entry's version, and its run; else the reason for their absence."""
    if registry is None:
        return None, None, "MLFLOW_TRACKING_URI isn't set"
    if entry is None:
        return None, None, "there is no ledger entry to look up"
    try:
        version = next((one for one in registry.versions() if one.version == entry.to_version), None)
        run = registry.run(entry.run_id)
        try:
            weights = sha256_bytes(registry.read_artifact(entry.run_id, f"model/{WEIGHTS}"))
        except ModelNotFoundError:
            weights = "absent"
    except ModelNotFoundError as error:
        return RegistryFacts("absent", "", {}, {}, None), None, str(error)
    except WmsError as error:
        return None, None, str(error).rstrip(".")
    run_id = version.run_id if version else "absent"
    return RegistryFacts(run_id, run.name, run.tags, run.metrics, weights), run, ""


def _origin(
    runs: Path, run: str, entry: LedgerEntry | None, registry: ModelRegistry | None
) -> dict[str, tuple[Copy, ...]]:
    """All copies of the run's own files, on this disk and in MLflow."""
    folder = runs / run
    candidates = {
        DATA: [folder / "artifacts" / DATA],
        CONFIG: [folder / CONFIG],
        SCORES: [folder / "artifacts" / SCORES],
    }
    if entry:
        candidates[DATA].append(runs / "manifests" / f"{entry.data_version}.jsonl")
    found = {
        name: [Copy(str(path), path.read_bytes()) for path in paths if path.is_file()]
        for name, paths in candidates.items()
    }
    if registry and entry:
        for name in ORIGIN:
            try:
                found[name].append(Copy("MLflow", registry.read_artifact(entry.run_id, name)))
            except WmsError:  # absent, or gone since: then the other copies have to do
                continue
    return {name: tuple(copies) for name, copies in found.items()}


def _find_commit(git: Git, commit: str, entry: LedgerEntry | None) -> tuple[bool | None, str]:
    """Whether the repository has the commit; None and the reason if that can't be determined."""
    if not git.ok("rev-parse", "--git-dir"):
        return None, "there is no Git repository here"
    known = ("cat-file", "-e", f"{commit}^{{commit}}")
    if entry is not None and not git.ok(*known):
        fetch_model_tag(git, entry.to_version)  # a merge by squash leaves nothing else that leads to it
    if git.ok(*known):
        return True, ""
    if git("rev-parse", "--is-shallow-repository") == "true":
        return None, "this clone is shallow; run `git fetch --unshallow`"
    return False, ""
