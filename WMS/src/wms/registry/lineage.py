"""The chain from a production.pth to its origin: each link is compared with its neighbours, by hash.

    production.pth - production.onnx - production.json - ledger - anchor - model-metadata.json
        - data.jsonl (the data version) - config.json - test_scores.json - Git commit - registry

Pure: `wms_ops.release.evidence` collects the bytes. A link without evidence is "not checked", never "holds".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from wms.errors import LineageError
from wms.files import sha256_bytes
from wms.registry.ledger import LedgerEntry

State = Literal["holds", "broken", "not checked"]

WEIGHTS, ONNX, CARD = FILES = ("production.pth", "production.onnx", "production.json")
"""The files of a model, as `wms.inference` writes them; the card is placed last."""

MODEL_CARD, MODEL_CARD_PAGE = "MODEL_CARD.md", "MODEL_CARD.html"
WORST_SLICES, WORST_PHOTOS = "worst-slices.png", "worst-photos.jpg"
DOCUMENTS: Final = (MODEL_CARD, MODEL_CARD_PAGE, WORST_SLICES, WORST_PHOTOS)
"""The files of a model's card for people, beside FILES; each may be absent, and no hash in the ledger covers them."""

METADATA: Final = "model-metadata.json"
DATA, CONFIG, SCORES = ORIGIN = ("data.jsonl", "config.json", "test_scores.json")
"""The artifacts in which a run keeps its own origin."""


@dataclass(frozen=True)
class Link:
    """A link of the chain: its name, its state, and in a few words the comparison or the defect."""

    name: str
    state: State
    text: str


@dataclass(frozen=True)
class Copy:
    """A copy of a file: its location, for sentences, and its content."""

    where: str
    content: bytes


@dataclass(frozen=True)
class RegistryFacts:
    """MLflow's facts about the ledger entry's version and run; `weights_sha256` is of the run's own artifact."""

    run_id: str
    run_name: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    weights_sha256: str | None


@dataclass(frozen=True)
class LineageEvidence:
    """All evidence about a model; missing parts are None or empty.

    `entry` is the ledger's newest record of these weights, else of the card's, else of Production; `newest` is
    Production's. Both are None in an empty ledger and where `ledger_error` says why it can't be read. `recorded` has
    the SHA-256 of the card and of ORIGIN's files as far as the entry keeps them. `vouched` names the places beside the
    registry that have the entry, empty for the reason `no_witness`; `not_vouched` is a contradiction. `commit_found`
    and `registry` are None if the lookup was impossible, for the reasons `no_commit` and `no_registry`.
    """

    models: str
    files: Mapping[str, bytes]
    entry: LedgerEntry | None
    newest: LedgerEntry | None
    ledger_error: str | None = None
    ledger_text: str = ""
    metadata: bytes | None = None
    vouched: str = ""
    not_vouched: str | None = None
    no_witness: str = "neither main nor the bucket could be asked"
    recorded: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, Sequence[Copy]] = field(default_factory=dict)
    commit_found: bool | None = None
    no_commit: str = "there is no Git repository here"
    registry: RegistryFacts | None = None
    no_registry: str = "MLFLOW_TRACKING_URI isn't set"


def fingerprints(files: Mapping[str, bytes]) -> dict[str, str]:
    """The SHA-256 of the card and of a run's own files, as a ledger entry keeps them."""
    return {name: sha256_bytes(files[name]) for name in (CARD, *ORIGIN) if name in files}


def require_whole(links: Sequence[Link]) -> None:
    """Raise LineageError that names each broken link."""
    broken = [link for link in links if link.state == "broken"]
    if broken:
        names = ", ".join(link.name for link in broken)
        raise LineageError(
            f"The chain is broken at {names}: {broken[0].text}. Restore the files with "
            "`wms sync --force` and `git checkout`, or find out who changed them."
        )


def find_entries(entries: Sequence[LedgerEntry], text: str) -> tuple[LedgerEntry, ...]:
    """Find the entries whose version is `text`, or whose commit, config, data, run or weights begin with `text`.

    Hashes need 6 digits or more.
    """
    keys = ("git_commit", "config_hash", "data_version", "run_id", "weights_sha256")
    if text.removeprefix("v").isdecimal() and len(text) < 6:
        return tuple(entry for entry in entries if entry.to_version == int(text.removeprefix("v")))
    if len(text) < 6:
        return ()
    return tuple(entry for entry in entries if any(str(getattr(entry, key)).startswith(text) for key in keys))


def iter_table(links: Sequence[Link]) -> Iterator[str]:
    """Yield the chain as text, a line for each link."""
    marks = {"holds": "ok", "broken": "BROKEN", "not checked": "not checked here"}
    width = max(len(link.name) for link in links)
    for link in links:
        yield f"{link.name:<{width}}  {marks[link.state]}: {link.text}."
