"""What the tests of forged ledgers share: a place for anchors in memory, and an attacker at each place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from registry_workshop import Shop

from wms.registry import promotion
from wms.registry.anchors import AnchorPlace, MainHistory, Witnesses
from wms.registry.chain import ENTRY, SUFFIX
from wms.registry.ledger import LedgerEntry, LedgerRecord, link
from wms.registry.plan import Proposal
from wms.registry.promotion import PromotionClient

MAIN = "main at origin"


@dataclass
class Drawer:
    """An AnchorPlace in memory; an attacker may change `kept`."""

    kept: dict[str, bytes] = field(default_factory=dict)
    where: str = "s3://bucket/wms/anchors/model"

    def names(self) -> Sequence[str]:
        return sorted(self.kept)

    def read(self, name: str) -> bytes | None:
        return self.kept.get(name)

    def create(self, name: str, content: bytes) -> bool:
        return self.kept.setdefault(name, content) is content


def client(shop: Shop, bucket: AnchorPlace | None, main: Sequence[LedgerEntry] | None = None) -> PromotionClient:
    """The promotions of a clone whose witnesses are these."""
    history = None if main is None else MainHistory(tuple(main), MAIN)
    return replace(shop.promotions, witnesses=Witnesses(history, bucket))


def promote(desk: PromotionClient, run_id: str, force: str | None = None) -> LedgerEntry:
    found = promotion.propose(desk, run_id, force=force)
    assert isinstance(found, Proposal)
    return promotion.execute(desk, found, who="Ann").entry


def forged(shop: Shop, entry: LedgerEntry | LedgerRecord, last: LedgerEntry | None, **lies: Any) -> LedgerEntry:
    """Put a forged entry, whose hashes fit, into the registry, as anybody with MLflow's password can."""
    from mlflow import MlflowClient

    values = {**entry.model_dump(), **lies}
    values = {key: value for key, value in values.items() if key not in ("seq", "hash", "previous_hash")}
    made = link(LedgerRecord.model_validate(values), last)
    MlflowClient(shop.uri).create_model_version(
        shop.model + SUFFIX, f"runs:/{made.run_id}/model", made.run_id, tags={ENTRY: made.line, "done": "true"}
    )
    return made


def wipe(shop: Shop) -> None:
    """Delete every version of the ledger in MLflow."""
    from mlflow import MlflowClient

    server = MlflowClient(shop.uri)
    for version in server.search_model_versions(f"name='{shop.model + SUFFIX}'"):
        server.delete_model_version(version.name, version.version)


def fresh(shop: Shop, name: str) -> Shop:
    """The same registry with an empty clone."""
    return Shop(shop.uri, shop.folder.with_name(name), shop.model)
