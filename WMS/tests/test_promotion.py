"""Promotions and rollbacks on a real MLflow server: what they leave, killed anywhere, and what they refuse."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from registry_workshop import Promoters, Shop
from servers import MlflowServer

from wms.errors import (
    CannotDecideError,
    LedgerError,
    LineageError,
    ModelDamagedError,
    ModelNotFoundError,
    NotImprovedError,
    PromotionLostError,
    UsageError,
    WmsError,
)
from wms.registry import promotion
from wms.registry.chain import SUFFIX
from wms.registry.ledger import Ledger
from wms.registry.metadata import ModelMetadata
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.promotion import STEPS, PromotionOutcome

pytest_plugins = ["registry_fixtures"]


def promote(shop: Shop, run_id: str, force: str | None = None) -> PromotionOutcome:
    proposal = promotion.propose(shop.promotions, run_id, force=force)
    return (
        proposal
        if isinstance(proposal, PromotionOutcome)
        else promotion.execute(shop.promotions, proposal, who="Ann", github_run="g")
    )


def roll_back(shop: Shop, version: int | None = None) -> PromotionOutcome:
    proposal = promotion.propose_rollback(shop.promotions, version, reason="too dark")
    return (
        proposal if isinstance(proposal, PromotionOutcome) else promotion.execute(shop.promotions, proposal, who="Bob")
    )


def state(shop: Shop) -> tuple[int | None, int | None]:
    """The versions of the aliases production and previous."""
    found = {name: version.version for version in shop.registry.versions() for name in version.aliases}
    return found.get("production"), found.get("previous")


def test_promoted_twice_rolled_back_and_forth(shop: Shop) -> None:
    first = shop.run(0.8)
    assert promote(shop, first).changed
    assert state(shop) == (1, None)
    second = shop.run(0.9, champion=1)
    assert promote(shop, second).changed
    assert state(shop) == (2, 1)
    before = shop.snapshot()
    again = promote(shop, second)
    assert not again.changed
    assert "already" in again.text
    assert shop.snapshot() == before
    assert [version.tags["status"] for version in shop.registry.versions()] == ["archived", "production"]

    assert roll_back(shop).changed
    assert state(shop) == (1, 2)
    assert not roll_back(shop).changed  # repeated, it doesn't return to what was left
    assert state(shop) == (1, 2)
    assert roll_back(shop, 2).changed
    assert state(shop) == (2, 1)
    entries = shop.promotions.ledger.entries()
    assert [(e.action, e.from_version, e.to_version, e.who) for e in entries] == [
        ("promote", None, 1, "Ann"),
        ("promote", 1, 2, "Ann"),
        ("rollback", 2, 1, "Bob"),
        ("rollback", 1, 2, "Bob"),
    ]
    assert entries[2].verdict == "rollback: too dark"
    assert entries[2].metrics.dice == 0.8
    assert entries[1].baseline.dice == 0.5  # what the gate measured, not what the first run logged


def test_metadata_says_what_the_contract_names(shop: Shop) -> None:
    run_id = shop.run(0.8)
    promote(shop, run_id)
    values = json.loads(shop.promotions.metadata.read_text())
    assert ModelMetadata.model_validate(values).model_version == 1
    assert {key: values[key] for key in ("run_id", "baseline", "trained_at", "github_run")} == {
        "run_id": run_id,
        "baseline": {"dice": 0.0, "iou": 0.0},
        "trained_at": "2026-11-20T10:00:00+00:00",
        "github_run": None,
    }
    assert (values["training_data_count"], values["training_split_count"]) == (5, 3)
    assert values["metrics"] == {"dice": 0.8, "iou": pytest.approx(0.8 / 1.2)}
    tags = shop.registry.versions()[0].tags
    assert tags["verdict"] == "improved"
    assert (float(tags["dice"]), tags["git_commit"], len(tags["data_version"])) == (0.8, "c" * 40, 64)


@pytest.mark.slice("promotions", of=2)
@pytest.mark.parametrize("rollback", [False, True], ids=["promotion", "rollback"])
def test_killed_after_any_step(
    mlflow_of_session: MlflowServer,
    tmp_path: Path,
    promoters: Promoters,
    capsys: pytest.CaptureFixture[str],
    rollback: bool,
) -> None:
    def all_at_once(run_id: str | None, kill: bool = False) -> list[tuple[int, str]]:
        jobs = [shop.job(run_id, **({"kill_at": step} if kill else {})) for step, shop in shops.items()]
        return promoters(*jobs)

    # A model for each step and an undisturbed one; a run can be a version of all of them.
    shops = {
        step: Shop(mlflow_of_session.uri, tmp_path / step, f"model-{uuid.uuid4().hex[:8]}")
        for step in ("undisturbed", *STEPS)
    }
    maker = shops["undisturbed"]
    runs = [maker.run(0.8), maker.run(0.85, champion=1)]
    before, last = (runs, None) if rollback else (runs[:1], runs[1])
    for run_id in before:
        assert {code for code, _ in all_at_once(run_id)} == {0}
    killed = all_at_once(last, kill=True)
    assert [code for code, _ in killed] == [0, *[-9] * len(STEPS)], killed
    left = {step: state(shop) for step, shop in shops.items()}
    wanted = shops["undisturbed"].snapshot()
    assert wanted["settled"]
    rows = []
    for (step, shop), (code, text) in zip(shops.items(), all_at_once(last), strict=True):
        assert code == 0, text
        assert shop.snapshot() == wanted, step
        by = "first" if "already" in text else "second"
        fault = "none   " if shop is maker else "SIGKILL"
        rows.append(f"  {step:11} {fault}  left production={left[step][0]} previous={left[step][1]}; ")
        rows[-1] += f"decided by the {by} run, complete after the second"
    with capsys.disabled():
        kind = "rollback" if rollback else "promotion"
        print(f"\nkill matrix of a {kind}: step, fault, state after the second run\n" + "\n".join(rows))


@pytest.mark.slice("promotions", of=2)
def test_another_promotion_finishes_what_was_killed(shop: Shop, promoters: Promoters) -> None:
    first, second, third = shop.run(0.8), shop.run(0.85, champion=1), shop.run(0.9, champion=2)
    promote(shop, first)
    ((code, _),) = promoters(shop.job(second, kill_at="tags"))
    assert code == -9
    assert state(shop) == (1, None)
    assert promote(shop, third).changed
    assert state(shop) == (3, 2)
    assert [entry.to_version for entry in shop.promotions.ledger.entries()] == [1, 2, 3]


@pytest.mark.slice("promotions", of=2)
def test_a_clone_that_lacks_entries_catches_up(shop: Shop, tmp_path: Path) -> None:
    promote(shop, shop.run(0.8))
    other = Shop(shop.uri, tmp_path / "clone", shop.model)
    other.folder.mkdir()
    (other.folder / "production_history.jsonl").write_bytes((shop.folder / "production_history.jsonl").read_bytes())
    promote(shop, shop.run(0.85, champion=1))
    assert promote(other, shop.run(0.9, champion=2)).changed
    assert [entry.to_version for entry in other.promotions.ledger.entries()] == [1, 2, 3]
    assert not promote(shop, other.promotions.ledger.entries()[-1].run_id).changed  # and so does the first one
    assert shop.snapshot()["metadata"] == other.snapshot()["metadata"]


@pytest.mark.slice("promotions", of=2)
def test_a_ledger_of_another_registry_is_refused(shop: Shop, tmp_path: Path) -> None:
    promote(shop, shop.run(0.8))
    stranger = Shop(shop.uri, shop.folder, "model-that-knows-nothing")
    with pytest.raises(LedgerError, match="knows 0 only"):
        promote(stranger, shop.run(0.9))
    twin = Shop(shop.uri, tmp_path / "twin", f"{shop.model}-twin")
    promote(twin, twin.run(0.8))
    with pytest.raises(LedgerError, match=r"Entry 1 of .* isn't the one"):
        promote(Shop(shop.uri, twin.folder, shop.model), shop.run(0.9, champion=1))


@pytest.mark.slice("promotions", of=2)
def test_an_alias_moved_by_hand_stops_promotions_until_it_is_repaired(shop: Shop) -> None:
    promote(shop, shop.run(0.8))
    promote(shop, shop.run(0.85, champion=1))
    shop.registry.set_alias("production", 1)
    late = shop.run(0.9, champion=2)
    with pytest.raises(LedgerError, match=r"is at version 1.*wms restore"):
        promote(shop, late)
    done = promotion.repair(shop.promotions)
    assert done is not None
    assert state(shop) == (2, 1)
    assert promote(shop, late).changed


@pytest.mark.slice("promotions", of=2)
def test_a_version_deleted_from_the_ledger_is_noticed(shop: Shop) -> None:
    from mlflow import MlflowClient

    promote(shop, shop.run(0.8))
    promote(shop, shop.run(0.85, champion=1))
    MlflowClient(tracking_uri=shop.uri).delete_model_version(shop.model + SUFFIX, "1")
    with pytest.raises(LedgerError, match="somebody deleted a version of the ledger"):
        promote(shop, shop.run(0.9, champion=2))


@pytest.mark.slice("promotions", of=2)
def test_production_from_before_the_ledger_is_taken_over(shop: Shop) -> None:
    old = shop.registry.register(shop.run(0.7))
    shop.registry.set_alias("production", old.version)
    assert promote(shop, shop.run(0.8, champion=old.version)).changed
    assert state(shop) == (2, 1)
    assert [version.tags["status"] for version in shop.registry.versions()] == ["archived", "production"]
    assert roll_back(shop).changed
    assert state(shop) == (1, 2)


def test_confirmed_too_late_it_is_lost(shop: Shop) -> None:
    slow = promotion.propose(shop.promotions, shop.run(0.8))
    assert not isinstance(slow, PromotionOutcome)
    promote(shop, shop.run(0.85))
    with pytest.raises(PromotionLostError, match="Production is version 1, promoted by Ann"):
        promotion.execute(shop.promotions, slow, who="Bob")
    assert len(shop.promotions.ledger.entries()) == 1
    assert [version.version for version in shop.registry.versions()] == [1]


REFUSED: dict[str, tuple[type[WmsError], dict[str, object]]] = {
    "not improved": (NotImprovedError, {"improved": False}),
    "no verdict": (CannotDecideError, {"gate": False}),
    "compared with another champion": (PromotionLostError, {"champion": 7}),
    "a failed run": (ModelNotFoundError, {"status": "FAILED"}),
    "no weights": (ModelNotFoundError, {"without": ("model/production.pth",)}),
    "no list of images": (ModelNotFoundError, {"without": ("data.jsonl",)}),
}


@pytest.mark.slice("promotions", of=2)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_changes_nothing(shop: Shop, case: str) -> None:
    error, more = REFUSED[case]
    run_id = shop.run(0.8, **more)  # type: ignore[arg-type]
    with pytest.raises(error) as caught:
        promote(shop, run_id)
    assert str(caught.value).count("\n") == 0
    assert shop.registry.versions() == ()
    assert not shop.folder.exists()


@pytest.mark.slice("promotions", of=2)
def test_damage_is_refused(shop: Shop) -> None:
    run_id = shop.run(0.8)
    shop.judge(run_id, 0.8, champion=None, weights_sha256="0" * 64)
    with pytest.raises(CannotDecideError, match="about another model"):
        promote(shop, run_id)
    shop.registry.write_artifact(run_id, "gate/verdict.json", b'{"decision": "maybe"}')
    with pytest.raises(CannotDecideError, match=r"verdict\.json .* is damaged"):
        promote(shop, run_id)
    shop.registry.write_artifact(run_id, "data.jsonl", b"")
    with pytest.raises(LineageError):
        promote(shop, run_id)
    shop.registry.write_artifact(run_id, "model/production.onnx", b"something else")
    with pytest.raises(ModelDamagedError, match=r"production\.onnx"):
        promote(shop, run_id)
    with pytest.raises(ModelDamagedError):
        promote(shop, run_id, force="never mind")


@pytest.mark.slice("promotions", of=2)
def test_forced_by_a_person_it_is_on_record(shop: Shop) -> None:
    promote(shop, shop.run(0.9))
    worse = shop.run(0.8, champion=1, improved=False)
    assert promote(shop, worse, force="the old one can't read blue meters").changed
    entry = shop.promotions.ledger.entries()[-1]
    assert entry.verdict == "forced: the old one can't read blue meters (gate: not improved)"
    assert entry.metrics.dice == 0.8


@pytest.mark.slice("promotions", of=2)
def test_a_forced_promotion_says_what_its_verdict_was_about(shop: Shop) -> None:
    first, late, early = shop.run(0.8), shop.run(0.85, champion=1), shop.run(0.7)
    promote(shop, first)
    promote(shop, shop.run(0.9, champion=1))
    promote(shop, late, force="a demonstration")
    promote(shop, early, force="another")
    shop.judge(other := shop.run(0.8, gate=False), 0.8, champion=4, weights_sha256="0" * 64)
    promote(shop, other, force="a third")
    shop.judge(tried := shop.run(0.9, gate=False), 0.9, champion=4, decided_at="2026-11-01T00:00:00+00:00")
    roll_back(shop)
    promote(shop, tried, force="a fourth")
    told = [entry.verdict for entry in shop.promotions.ledger.entries() if entry.verdict.startswith("forced")]
    assert told == [
        "forced: a demonstration (gate: improved against version 1, which isn't Production any more)",
        "forced: another (gate: improved, when nothing was Production)",
        "forced: a third (gate: improved, about another model)",
        "forced: a fourth (gate: improved, before a rollback)",
    ]


def test_rollbacks_that_lead_nowhere(shop: Shop) -> None:
    with pytest.raises(UsageError, match="Nothing was ever promoted"):
        roll_back(shop)
    promote(shop, shop.run(0.8))
    with pytest.raises(UsageError, match="is the first Production"):
        roll_back(shop)
    with pytest.raises(ModelNotFoundError, match="no version 9"):
        roll_back(shop, 9)
    assert not roll_back(shop, 1).changed
    assert isinstance(shop.registry, ModelRegistry)
    assert len(Ledger(shop.folder).entries()) == 1
