"""A registry and a ledger that lost their end, alone or together: nobody goes back to an older Production."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry_workshop import Shop

from wms.errors import LedgerError
from wms.registry import promotion
from wms.registry.chain import SUFFIX
from wms.registry.ledger import Ledger
from wms.registry.metadata import baseline, read_metadata
from wms.registry.plan import Proposal
from wms.registry.promotion import PromotionOutcome, repair

pytest_plugins = ["registry_fixtures"]


def promote(shop: Shop, champion: int | None = None) -> PromotionOutcome:
    found = promotion.propose(shop.promotions, shop.run(0.9, champion=champion))
    assert isinstance(found, Proposal)
    return promotion.execute(shop.promotions, found, who="Ann")


def cut(ledger: Ledger, kept: int) -> None:
    entries = ledger.entries()[:kept]
    ledger.history.write_text("".join(f"{entry.line}\n" for entry in entries), encoding="utf-8")
    ledger.write_current(entries[-1])


def test_a_ledger_taken_back_while_mlflow_is_newer_gets_its_end_again(shop: Shop) -> None:
    promote(shop)
    promote(shop, 1)
    ledger = shop.promotions.ledger
    whole = ledger.entries()
    cut(ledger, 1)
    assert baseline(shop.uri, ledger, shop.model)["version"] == 2
    with pytest.raises(LedgerError, match=r"ends with entry 1 of .*model-metadata\.json tells of a later promotion"):
        read_metadata(shop.promotions.metadata, ledger)
    done = repair(shop.promotions)
    assert done is not None and done.entry == whole[-1]
    assert ledger.entries() == whole and read_metadata(shop.promotions.metadata, ledger) is not None


def test_a_registry_whose_ledger_lost_its_end_is_refused_by_the_versions_tags(shop: Shop, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    promote(shop)
    entry = promote(shop, 1).entry
    before = shop.snapshot()
    client = MlflowClient(tracking_uri=shop.uri)
    (last,) = [one for one in client.search_model_versions(f"name='{shop.model}{SUFFIX}'") if one.version in (2, "2")]
    client.delete_model_version(shop.model + SUFFIX, last.version)
    cut(shop.promotions.ledger, 1)
    for ledger in (shop.promotions.ledger, Ledger(tmp_path / "another clone")):
        with pytest.raises(LedgerError, match=r"ledger at .* entry 1, but the tags of version 2 tell of entry 2"):
            baseline(shop.uri, ledger, shop.model)
    for change in (repair, promotion.propose_rollback):
        with pytest.raises(LedgerError, match=r"versions of the ledger; bring them back with .*`wms restore`"):
            change(shop.promotions)
    alias = shop.registry.alias("production")
    assert alias is not None and alias.version == 2
    shop.promotions.entries.add(entry)
    assert repair(shop.promotions) is not None
    assert shop.snapshot() == before
