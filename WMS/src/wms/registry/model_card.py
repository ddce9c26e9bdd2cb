"""The model card of a version: what the records tell of its use, data, labels, scores, limits, parent and cost. Pure.

Equal records give equal cards, so that a promotion that was killed and repeated writes the same card.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from wms.registry.card_records import COST_TAG, ESTIMATE_TAG, SOURCES_TAG, UNKNOWN, CardRecords
from wms.registry.card_scores import limits_of, scores_of, worst_of
from wms.registry.card_text import CardSection, Line, ModelCard, Table, given, line
from wms.registry.ledger import LedgerEntry


def describe(records: CardRecords) -> ModelCard:
    """Return the card of a version. Raises IndexError for a version that never was Production."""
    return ModelCard(
        line("Model card: {model}, version {version}", model=records.model, version=records.version),
        (
            _overview(records),
            _USE,
            _history(records),
            _data(records),
            _labels(records),
            scores_of(records),
            worst_of(records),
            limits_of(records),
            _training(records),
        ),
    )


_USE: Final = CardSection(
    "Use",
    (
        line(
            "The model marks the reading strip, the row of digits, on a photo of a water meter. Its mask is meant for "
            "cutting out the strip before the digits are read, by a person or by another program."
        ),
    ),
    listed=(
        line("Not for reading the digits: the mask says where they are, not what they say."),
        line("Not for bills without a check: a wrong mask looks like a right one."),
        line("Not for other meters, video, or photos unlike those it was tested on: nothing is known about them."),
    ),
)


def _overview(records: CardRecords) -> CardSection:
    entry = records.promotion
    facts = {
        "run": f"{records.run_name} ({entry.run_id})",
        "weights, SHA-256": entry.weights_sha256,
        "ONNX file, SHA-256": entry.onnx_sha256,
        "data version": entry.data_version,
        "recipe": entry.config_hash,
        "Git commit": entry.git_commit,
        "trained": entry.trained_at or UNKNOWN,
        **({"chosen on validation": f"from {entry.attempts} attempts"} if entry.attempts else {}),
    }
    return CardSection("Model", (_facts(facts),))


def _history(records: CardRecords) -> CardSection:
    """How the version became Production, its parent, and every rollback to it or away from it."""
    entry, parents = records.promotion, {one.to_version: one for one in records.entries}
    parent = parents.get(entry.from_version) if entry.from_version is not None else None
    if entry.from_version is None:
        told = line("It has no parent: nothing was Production before.")
    else:
        run = UNKNOWN if parent is None else parent.run_id
        told = line("Its parent is version {version}, run {run}.", version=entry.from_version, run=run)
    return CardSection("Promotion and parent", (_how(entry), told), tuple(_moves(records)))


def _how(entry: LedgerEntry) -> Line:
    if entry.action == "rollback":
        text = "Production by a rollback of {who} at {at}: {verdict}. The ledger has no promotion of it."
    elif entry.verdict.startswith("forced"):
        text = "Forced past the gate by {who} at {at}: {verdict}."
    elif entry.verdict.startswith("adopted"):
        text = "Was Production before the ledger began; taken over by {who} at {at}: {verdict}."
    elif entry.from_version is None:
        text = "Promoted by {who} at {at} as the first training, which had nothing to beat. Gate: {verdict}."
    else:
        text = "Promoted by {who} at {at}. Gate: {verdict}."
    return line(text, who=entry.who or UNKNOWN, at=entry.at, verdict=entry.verdict)


def _moves(records: CardRecords) -> Iterator[Line]:
    for entry in records.entries:
        values = {"at": entry.at, "who": entry.who or UNKNOWN, "verdict": entry.verdict}
        if entry.action != "rollback" or records.version not in (entry.from_version, entry.to_version):
            continue
        if entry.to_version == records.version:
            yield line("At {at} Production went back to this version, by {who}: {verdict}.", **values)
        else:
            to = entry.to_version
            yield line("At {at} Production left this version for version {to}, by {who}: {verdict}.", **values, to=to)


def _data(records: CardRecords) -> CardSection:
    entry, counts = records.promotion, Counter(item.split for item in records.items)
    if not counts:
        return CardSection("Data", (line("The list of photos isn't recorded with the run."),))
    splits = {name: str(counts.get(name, 0)) for name in ("train", "val", "test")}
    rows = _facts({"photos in all": str(len(records.items)), **{f"in {name}": n for name, n in splits.items()}})
    text = "Data version {version}: the SHA-256 of the list of all photos and masks, `data.jsonl` of the run."
    return CardSection("Data", (line(text, version=entry.data_version), rows))


def _labels(records: CardRecords) -> CardSection:
    sources = records.tags.get(SOURCES_TAG)
    told = (
        line("Photos and masks were brought, replaced or removed by: {sources}.", sources=sources)
        if sources
        else (line("Who brought photos and masks isn't recorded with the run; `wms data log` lists it from Git."))
    )
    rest = line(
        "Which program drew the masks isn't recorded, nor what `wms data import` converted or `--fix` changed before "
        "the photos were pushed. The data check looks at each mask's size and values, not at what it marks."
    )
    return CardSection("How the labels came about", (told, rest))


def _training(records: CardRecords) -> CardSection:
    machine, recipe = records.metadata.get("machine"), records.recipe
    seconds, memory = records.metadata.get("duration_s"), records.metadata.get("peak_memory_mib")
    facts = {
        "recipe": str(recipe.get("name", UNKNOWN)),
        "stages": _stages(recipe.get("training")),
        "parameters": str(records.card.get("parameters", UNKNOWN)),
        "seed": str(recipe.get("seed", UNKNOWN)),
        "machine": _machine(machine) if isinstance(machine, Mapping) else UNKNOWN,
        "training time": UNKNOWN if seconds is None else f"{seconds} s",
        "most memory": UNKNOWN if memory is None else f"{memory} MiB",
        "cost of the instance until the promotion": _usd(records.tags.get(COST_TAG)),
        "estimate before the start": _usd(records.tags.get(ESTIMATE_TAG)),
    }
    return CardSection("Training and cost", (_facts(facts), line("`wms cost report` has the costs of all versions.")))


def _stages(training: object) -> str:
    stages = training.get("stages", ()) if isinstance(training, Mapping) else ()
    told = (f"{one.get('epochs')} epochs at {one.get('size')} pixels" for one in stages if isinstance(one, Mapping))
    return ", ".join(told) or UNKNOWN


def _machine(machine: Mapping[str, Any]) -> str:
    cores, memory = machine.get("cores", UNKNOWN), machine.get("memory_gib", UNKNOWN)
    return f"{machine.get('processor', UNKNOWN)}, {cores} cores, {memory} GiB"


def _usd(text: str | None) -> str:
    return f"{text} USD" if text else UNKNOWN


def _facts(facts: Mapping[str, str]) -> Table:
    return Table(("", ""), tuple((line(name), given(value)) for name, value in facts.items()))
