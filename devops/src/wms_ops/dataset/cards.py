"""The data set's card, made at each merge from the new photos and the card before: no existing photo is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wms.config import DataConfig
from wms.data.card import CardFacts, DataCard, card_facts, extend, measure
from wms.data.card_page import pictures, render_card, render_markdown
from wms.data.looks import look_of
from wms.data.manifest import DataSet
from wms.data.pairs import find_pairs
from wms.data.splits import Assignment, SplitRecord, assign
from wms.errors import ManifestError, from_os_error
from wms.files import sha256_file, write_atomic
from wms_ops.dataset.plan import MergePlan
from wms_ops.storage.remote import S3Remote


@dataclass(frozen=True)
class CardFiles:
    """A merge's card on this machine: a page with pictures, and Markdown for a pull request."""

    page: Path
    markdown: Path


def write_card(
    store: S3Remote, plan: MergePlan, photos: Path, splits: Path, config: DataConfig, *, folder: Path
) -> CardFiles:
    """Write the card of `plan.result` into `folder`; see `grow_card`. Raises DiskFullError, UnwritableError."""
    card = grow_card(store, plan.base, plan.result, photos, splits=splits, config=config)
    stem = plan.result.images.oid.removesuffix(".dir")
    files = CardFiles(folder / f"{stem}.html", folder / f"{stem}.md")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shown = pictures(photos, [*plan.added, *plan.replaced])
        write_atomic(files.page, render_card(card, shown))
        write_atomic(files.markdown, render_markdown(card))
    except OSError as error:
        raise from_os_error(error, folder) from error
    return files


def grow_card(
    store: S3Remote, before: DataSet, after: DataSet, photos: Path, *, splits: Path, config: DataConfig
) -> DataCard:
    """Return the card of `after`; its figures are kept beside the manifests in the remote, for the next merge.

    `photos` holds the new pairs, `splits` the split record of the base, `config` the recipe's settings. After a base
    without a card, or with a damaged card, the figures start anew: the card then says how many photos it knows. Safe to
    repeat.
    """
    # A repeated run finds its own figures, and so doesn't count the new photos twice.
    earlier = _earlier(store, after.images.oid) or _earlier(store, before.images.oid)
    placed = {entry.sha256: entry.split for entry in decided(photos, splits, config)}
    facts = extend(earlier, measure(photos, placed, config))
    store.write_note(_name(after.images.oid), facts.to_json().encode())
    return card_facts(
        facts,
        before=before.images.files,
        after=after.images.files,
        manifests={kind: manifest.oid for kind, manifest, _ in after},
    )


def _name(oid: str) -> str:
    return f"wms/cards/{oid.removesuffix('.dir')}.json"


def _earlier(store: S3Remote, oid: str) -> CardFacts | None:
    content = store.read_note(_name(oid))
    if content is None:
        return None
    try:
        return CardFacts.from_json(content.decode("utf-8", "replace"), "the card in the remote")
    except ManifestError:
        return None


def decided(photos: Path, record: Path, config: DataConfig) -> tuple[Assignment, ...]:
    """Return the recorded photos and the new ones in their splits: the same pure decision as in training."""
    looks = {
        sha256_file(pair.image): look_of(pair.image, max_megapixels=config.max_megapixels)
        for pair in find_pairs(photos)
    }
    known = SplitRecord(record).entries
    return (*known, *assign(known, looks, near_duplicate_bits=config.near_duplicate_bits))
