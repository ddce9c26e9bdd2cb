"""`wms promote --adopt VERSION`: a ledger begins with what is Production already; killed, raced, refused."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from registry_workshop import Promoters, Shop
from servers import MlflowServer
from test_first_training import by_hand, client_of, command, promote, stage, staged, without_its_ledger

from wms.errors import (
    LedgerError,
    LineageError,
    ModelDamagedError,
    ModelNotFoundError,
    PromotionLostError,
    UsageError,
    WmsError,
    run_main,
)
from wms.registry import promotion
from wms.registry.adoption import propose_adoption
from wms.registry.ledger import Ledger
from wms.registry.promotion import STEPS, PromotionOutcome
from wms_ops.commands import promote as cli

pytest_plugins = ["registry_fixtures"]


@pytest.mark.parametrize(
    ("prepare", "version"), [(staged, 2), (by_hand, 1), (without_its_ledger, 1)], ids=["stage", "by hand", "lost"]
)
def test_a_version_is_adopted_and_the_next_run_is_compared_with_it(
    shop: Shop,
    prepare: Callable[[Shop], None],
    version: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare(shop)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shop.uri)
    monkeypatch.setenv("GITHUB_ACTOR", "ann")
    adopt = (cli.PROMOTE, shop, "--adopt", str(version))
    assert command(*adopt) == 2, "without a terminal it needs --yes"
    assert "There is no terminal to ask on; add --yes." in capsys.readouterr().err
    assert shop.promotions.entries.read().entries == ()
    assert command(*adopt, "--yes", "--reason", "it serves since May") == 0
    said = capsys.readouterr().out
    assert f"Adopt version {version} (run " in said and "the ledger begins with it" in said
    snapshot = shop.snapshot()
    assert snapshot["settled"]
    (entry,) = shop.promotions.ledger.entries()
    assert (entry.from_version, entry.to_version, entry.who) == (None, version, "ann")
    assert entry.verdict == "adopted: it serves since May"
    assert entry.action == "promote", "the word that older code reads"
    found = shop.registry.alias("production")
    assert found is not None
    assert (found.version, found.tags["status"], found.tags["ledger_entry"]) == (version, "production", "1")
    assert command(*adopt) == 0, "done before, so nobody is asked"
    assert "Production already" in capsys.readouterr().out
    assert shop.snapshot() == snapshot
    assert command(cli.BASELINE, shop) == 0
    assert json.loads(capsys.readouterr().out)["version"] == version
    assert promote(shop, shop.run(0.9, champion=version)).entry.from_version == version


def test_an_alias_that_was_set_by_hand_is_adopted_where_it_is(shop: Shop) -> None:
    by_hand(shop)
    other = shop.registry.register(shop.run(0.8, gate=False)).version
    shop.registry.set_alias("production", other)
    with pytest.raises(UsageError, match=f"The alias production is at version {other}; adopt that one"):
        propose_adoption(shop.promotions, 1)
    assert not isinstance(propose_adoption(shop.promotions, other), PromotionOutcome)


def foreign(shop: Shop) -> None:
    shop.registry.register(shop.run(0.7, gate=False, without=("model/production.json", "data.jsonl")))


def without_a_run(shop: Shop) -> None:
    client = client_of(shop)
    client.create_registered_model(shop.model)
    client.create_model_version(shop.model, "s3://somewhere/model", await_creation_for=0)


def deleted_run(shop: Shop) -> None:
    run_id = shop.run(0.7, gate=False)
    shop.registry.register(run_id)
    client_of(shop).delete_run(run_id)


def other_weights(shop: Shop) -> None:
    shop.registry.register(shop.run(0.7, gate=False), {"weights_sha256": "0" * 64})


def other_images(shop: Shop) -> None:
    run_id = shop.run(0.7, gate=False)
    shop.registry.register(run_id)
    shop.registry.write_artifact(run_id, "data.jsonl", b"")


def another_staged(shop: Shop) -> None:
    by_hand(shop)
    stage(shop, shop.registry.register(shop.run(0.8, gate=False)).version)


def with_a_ledger(shop: Shop) -> None:
    shop.registry.register(shop.run(0.7, gate=False))
    promote(shop, shop.run(0.8), force="a test")


def with_a_ledger_here(shop: Shop) -> None:
    by_hand(shop)
    twin = Shop(shop.uri, shop.folder, f"{shop.model}-twin")
    promote(twin, twin.run(0.8))


REFUSED: dict[str, tuple[Callable[[Shop], None], type[WmsError], str]] = {
    "another project's": (
        foreign,
        ModelNotFoundError,
        r"lacks model/production\.json, data\.jsonl\..* `wms promote RUN --force REASON`",
    ),
    "no run": (without_a_run, ModelNotFoundError, r"names no run.*--force REASON"),
    "its run was deleted": (deleted_run, ModelNotFoundError, "mlflow runs restore"),
    "other weights": (other_weights, ModelDamagedError, "promoted with other weights than its run"),
    "other images": (other_images, LineageError, "isn't the list of data version"),
    "another one is staged": (another_staged, UsageError, "Version 2 is in the stage Production of MLflow 2"),
    "no such version": (lambda _: None, ModelNotFoundError, "has no version 1"),
    "a ledger has begun": (with_a_ledger, UsageError, r"version 2 is Production.*wms rollback --version 1"),
    "a ledger has begun here": (with_a_ledger_here, LedgerError, "knows 0 only"),
}


@pytest.mark.slice("adoptions", of=2)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_adopted_stays_as_it_is(shop: Shop, case: str) -> None:
    prepare, error, words = REFUSED[case]
    prepare(shop)
    before = shop.registry.versions(), shop.promotions.entries.read(), Ledger(shop.folder).entries()
    with pytest.raises(error, match=words) as caught:
        propose_adoption(shop.promotions, 1)
    assert "\n" not in str(caught.value)
    assert (shop.registry.versions(), shop.promotions.entries.read(), Ledger(shop.folder).entries()) == before


@pytest.mark.parametrize("more", [["a-run"], ["--version", "1"], ["--rollback"], ["--repair"], ["--force", "x"]])
def test_adopting_goes_alone(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(cli.PROMOTE, ["--adopt", "1", *more]) == 2
    assert capsys.readouterr().err in (
        "error: --adopt VERSION goes alone, or with --reason TEXT.\n",
        "error: --repair stands alone.\n",
    )


@pytest.mark.slice("adoptions", of=2)
def test_killed_after_any_step(mlflow_of_session: MlflowServer, tmp_path: Path, promoters: Promoters) -> None:
    shops = {
        step: Shop(mlflow_of_session.uri, tmp_path / step, f"model-{uuid.uuid4().hex[:8]}")
        for step in ("undisturbed", *STEPS)
    }
    maker = shops["undisturbed"]
    run_id = maker.run(0.8, gate=False)
    for shop in shops.values():
        shop.registry.register(run_id)

    def all_at_once(kill: bool = False) -> list[int]:
        jobs = [shop.job(None, adopt=1, **({"kill_at": step} if kill else {})) for step, shop in shops.items()]
        for job in jobs:
            job.pop("rollback")
        return [code for code, _ in promoters(*jobs)]

    # Nothing was Production, so "previous" is heard where no alias has to be taken away.
    assert all_at_once(kill=True) == [0, *[-9] * len(STEPS)]
    assert set(all_at_once()) == {0}
    wanted = maker.snapshot()
    assert wanted["settled"]
    for step, shop in shops.items():
        assert shop.snapshot() == wanted, step


@pytest.mark.slice("adoptions", of=2)
@pytest.mark.parametrize("first", ["adoption", "promotion"])
def test_of_an_adoption_and_a_forced_promotion_one_wins(shop: Shop, tmp_path: Path, first: str) -> None:
    """Both were confirmed while nothing was decided, in two clones."""
    by_hand(shop)
    other = Shop(shop.uri, tmp_path / "another clone", shop.model)
    proposals = [
        (shop, propose_adoption(shop.promotions, 1), "one"),
        (other, promotion.propose(other.promotions, shop.run(0.9), force="a race"), "two"),
    ]
    for count, (mine, proposal, who) in enumerate(proposals if first == "adoption" else reversed(proposals)):
        assert not isinstance(proposal, PromotionOutcome)
        if count == 0:
            assert promotion.execute(mine.promotions, proposal, who=who).changed
            continue
        with pytest.raises(PromotionLostError):
            promotion.execute(mine.promotions, proposal, who=who)
    (entry,) = shop.promotions.entries.read().entries
    assert entry.who == ("one" if first == "adoption" else "two")
    found = shop.registry.alias("production")
    assert found is not None
    assert found.version == entry.to_version


@pytest.mark.slice("adoptions", of=2)
def test_two_adoptions_of_one_version_are_one(promoters: Promoters, shop: Shop) -> None:
    by_hand(shop)
    answers = promoters(*(shop.job("unused", adopt=1) for _ in range(3)))
    assert [code for code, _ in answers] == [0, 0, 0], answers
    assert len(shop.promotions.ledger.entries()) == 1
    assert shop.snapshot()["settled"]
