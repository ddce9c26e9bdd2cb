"""What a rollback or an old verdict may not bring in: unknown versions, exchanged files, a rejected model."""

from __future__ import annotations

import hashlib
import json

import pytest
from registry_workshop import Shop

from wms.errors import CannotDecideError, ModelDamagedError, PromotionLostError, UsageError
from wms.registry import promotion
from wms.registry.plan import SMOKE
from wms.registry.promotion import PromotionOutcome

pytest_plugins = ["registry_fixtures"]


def promote(shop: Shop, run_id: str, **more: str) -> PromotionOutcome:
    proposal = promotion.propose(shop.promotions, run_id, **more)
    return (
        proposal if isinstance(proposal, PromotionOutcome) else promotion.execute(shop.promotions, proposal, who="Ann")
    )


def roll_back(shop: Shop, version: int | None = None, reason: str = "too dark") -> PromotionOutcome:
    proposal = promotion.propose_rollback(shop.promotions, version, reason=reason)
    return (
        proposal if isinstance(proposal, PromotionOutcome) else promotion.execute(shop.promotions, proposal, who="Bob")
    )


def production(shop: Shop) -> int | None:
    return shop.promotions.settle().production


def exchange(shop: Shop, run_id: str) -> str:
    """Put another model into a run, with a card that fits it; returns the card's SHA-256."""
    card = {}
    for name, key in (("production.pth", "weights_sha256"), ("production.onnx", "onnx_sha256")):
        content = f"foreign {name}".encode()
        shop.registry.write_artifact(run_id, f"model/{name}", content)
        card[key] = hashlib.sha256(content).hexdigest()
    return write_card(shop, run_id, card)


def write_card(shop: Shop, run_id: str, card: dict[str, str]) -> str:
    content = json.dumps(card).encode()
    shop.registry.write_artifact(run_id, "model/production.json", content)
    return hashlib.sha256(content).hexdigest()


def test_a_rollback_leads_only_to_what_was_production(shop: Shop) -> None:
    promote(shop, shop.run(0.8))
    promote(shop, shop.run(0.9, champion=1))
    shop.registry.register(shop.run(0.99, champion=2, improved=False), {})
    with pytest.raises(UsageError, match=r"Version 3 never was Production.*wms promote --version 3"):
        roll_back(shop, 3)
    assert production(shop) == 2


def test_a_rollback_to_exchanged_files_is_refused(shop: Shop) -> None:
    first = shop.run(0.8)
    promote(shop, first)
    promote(shop, shop.run(0.9, champion=1))
    exchange(shop, first)
    with pytest.raises(ModelDamagedError, match="another model now than the one that was promoted"):
        roll_back(shop)
    assert production(shop) == 2


def test_a_verdict_from_before_a_rollback_promotes_nothing(shop: Shop) -> None:
    promote(shop, shop.run(0.8))
    second = shop.run(0.9, champion=1)
    promote(shop, second)
    roll_back(shop)
    shop.judge(second, 0.9, champion=1, decided_at="2026-11-20T11:00:00+00:00")
    with pytest.raises(PromotionLostError, match=r"rolled back at .*wms gate"):
        promote(shop, second)
    assert production(shop) == 1
    assert promote(shop, second, force="it was the camera").changed


def test_a_model_whose_deployment_failed_may_be_tried_again(shop: Shop) -> None:
    promote(shop, shop.run(0.8))
    second = shop.run(0.9, champion=1)
    shop.judge(second, 0.9, champion=1, decided_at="2026-11-20T11:00:00+00:00")
    promote(shop, second)
    roll_back(shop, reason=f"{SMOKE}the service at port 1 doesn't answer")
    assert promote(shop, second).changed and production(shop) == 2


def test_a_verdict_counts_for_the_very_files_that_were_scored(shop: Shop) -> None:
    run_id = shop.run(0.8, gate=False)
    card = {
        "weights_sha256": hashlib.sha256(f"weights of {run_id}".encode()).hexdigest(),
        "onnx_sha256": hashlib.sha256(f"onnx of {run_id}".encode()).hexdigest(),
    }
    scored = write_card(shop, run_id, card)
    shop.judge(run_id, 0.8, champion=None, card_sha256=scored)
    content = b"another onnx of the same weights"
    shop.registry.write_artifact(run_id, "model/production.onnx", content)
    write_card(shop, run_id, card | {"onnx_sha256": hashlib.sha256(content).hexdigest()})
    with pytest.raises(CannotDecideError, match="about another model"):
        promote(shop, run_id)
    shop.registry.write_artifact(run_id, "model/production.onnx", f"onnx of {run_id}".encode())
    write_card(shop, run_id, card)
    assert promote(shop, run_id).changed
