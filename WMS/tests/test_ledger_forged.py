"""A forged ledger, whose hashes all fit, counts for nothing: each attack with the attack's own code."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from anchor_drawer import MAIN, Drawer, client, forged, fresh, promote, wipe
from registry_workshop import Shop
from servers import MlflowServer

from wms.errors import LedgerError
from wms.registry import promotion
from wms.registry.anchors import MainHistory, Witnesses
from wms.registry.backing import require_transitions
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.plan import Proposal

pytest_plugins = ["registry_fixtures"]

HIGH = {"dice": 0.9999, "iou": 0.9998}


def refused(shop: Shop, bucket: Drawer | None, main: tuple[LedgerEntry, ...] | None = None, why: str = "") -> str:
    """A clone that settles is told why the ledger doesn't count, and takes nothing over."""
    versions = {one.version: one.aliases for one in shop.registry.versions()}
    before = shop.promotions.ledger.entries()
    with pytest.raises(LedgerError, match=why) as caught:
        client(shop, bucket, main).settle(trust_alias=False)
    assert caught.value.exit_code == 94
    assert shop.promotions.ledger.entries() == before
    assert {one.version: one.aliases for one in shop.registry.versions()} == versions
    return str(caught.value)


@pytest.mark.attack("a forged registry entry", "an entry with Dice 0.9999 appended in MLflow", "no anchor")
def test_an_entry_appended_to_the_registry_is_nobody_s(shop: Shop) -> None:
    bucket = Drawer()
    first = promote(client(shop, bucket), shop.run(0.8))
    lie = forged(shop, first, first, from_version=1, to_version=1, metrics=HIGH, at="2026-11-28T10:00:00+00:00")
    said = refused(shop, bucket, why="Entry 2 .* isn't backed: neither main nor s3://bucket")
    assert shop.model in said
    refused(fresh(shop, "another clone"), bucket, why="isn't backed")
    refused(shop, bucket, (first,), why=f"neither {MAIN} nor s3://bucket")
    # Also where no second place exists, the verdict doesn't say so.
    assert lie.metrics.dice == 0.9999
    refused(shop, None, why="another model, baseline or score")


@pytest.mark.slice("forged ledgers", of=2)
@pytest.mark.attack("a forged registry entry", "the whole chain rewritten in MLflow", "no anchor; main contradicts")
def test_a_chain_that_was_rewritten_as_a_whole_in_mlflow(shop: Shop) -> None:
    bucket = Drawer()
    desk = client(shop, bucket)
    first = promote(desk, shop.run(0.8))
    second = promote(desk, shop.run(0.9, champion=1))
    wipe(shop)
    last = forged(shop, first, None, metrics=HIGH)
    forged(shop, second, last, to_version=1, run_id=first.run_id, weights_sha256=first.weights_sha256)
    clone = fresh(shop, "clone")
    refused(clone, bucket, why="Entry 1 .* isn't backed")
    refused(clone, bucket, (first, second), why="isn't backed")
    refused(clone, None, why="isn't backed")
    wipe(shop)  # the first entry stays as it was, the second is a lie
    forged(shop, first, None)
    forged(shop, second, first, metrics=HIGH)
    refused(clone, bucket, (first, second), why=f"Entry 2 .* isn't the one that {MAIN} has")
    wipe(shop)
    forged(shop, first, None)
    for version in shop.registry.versions():  # the tags that tell of entries are MLflow's, too
        shop.registry.set_version_tags(version.version, {"ledger_entry": "1", "promoted": first.at})
    refused(clone, bucket, (first, second), why=f"ends with entry 1, but {MAIN} has entry 2")


@pytest.mark.slice("forged ledgers", of=2)
def test_a_chain_that_was_rewritten_in_the_bucket_alone(shop: Shop) -> None:
    bucket = Drawer()
    first = promote(client(shop, bucket), shop.run(0.8))
    other = fresh(shop, "other")
    other.model += "-b"
    elsewhere = Drawer()
    promote(client(other, elsewhere), other.run(0.9))
    bucket.kept = elsewhere.kept  # anchors of another, sound chain
    refused(fresh(shop, "clone"), bucket, why="isn't backed")
    assert client(shop, bucket, (first,)).settle().production == 1  # main vouches
    promote(client(shop, bucket, (first,)), shop.run(0.9, champion=1))
    assert len(bucket.kept) == 3  # what main vouches for is anchored again


@pytest.mark.slice("forged ledgers", of=2)
def test_an_entry_in_the_clone_s_file_alone(shop: Shop) -> None:
    bucket = Drawer()
    first = promote(client(shop, bucket), shop.run(0.8))
    lie = first.model_dump(exclude={"seq", "hash", "previous_hash"})
    shop.promotions.ledger.append(type(first).__base__.model_validate({**lie, "metrics": HIGH}))
    with pytest.raises(LedgerError, match="has 2 entries, but the registry"):
        client(shop, bucket).settle()


@pytest.fixture(scope="module")
def twice(
    mlflow_of_session: MlflowServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Shop, LedgerEntry, LedgerEntry]:
    """A registered model with two promotions, whose ledger in MLflow a test may replace."""
    shop = Shop(mlflow_of_session.uri, tmp_path_factory.mktemp("twice"), f"model-{uuid.uuid4().hex[:8]}")
    first = promote(client(shop, None), shop.run(0.8))
    return shop, first, promote(client(shop, None), shop.run(0.9, champion=1))


LIES: dict[str, tuple[Callable[[LedgerEntry, LedgerEntry], dict[str, Any]], str]] = {
    "a verdict about another run": (lambda _, other: {"run_id": other.run_id}, "is of run .* not of the entry's run"),
    "other weights": (lambda _, other: {"weights_sha256": other.weights_sha256}, "has the weights_sha256"),
    "another ONNX file": (lambda _, __: {"onnx_sha256": "0" * 64}, "has the onnx_sha256"),
    "other data": (lambda _, __: {"data_version": "0" * 64}, "has the data_version"),
    "another card": (lambda _, __: {"files": {"production.json": "0" * 64}}, "production.json .* isn't the one"),
    "another baseline": (lambda _, __: {"from_version": 7}, "says that version 7 was Production"),
    "a better score": (lambda _, __: {"metrics": HIGH}, "about another model, baseline or score"),
    "a second adoption": (lambda _, __: {"verdict": "adopted: trust me"}, "only a ledger's first entry adopts"),
    "weights of another version": (
        lambda first, _: {"to_version": 1, "run_id": first.run_id},
        "gives version 1 another weights_sha256 than entry 1",
    ),
    "a rollback to what never was": (
        lambda _, __: {"action": "rollback", "verdict": "rollback"},
        "rolls back to version 2, which never was Production",
    ),
    "a rollback from elsewhere": (
        lambda first, _: {"action": "rollback", "from_version": 3, "to_version": 1, "run_id": first.run_id},
        "says that version 3 was Production",
    ),
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.attack(
    "a forged registry entry",
    "an entry with another run's verdict, files or data",
    "evidence compared by hash",
)
def test_an_entry_counts_with_its_evidence_only(
    twice: tuple[Shop, LedgerEntry, LedgerEntry], tmp_path: Path, name: str
) -> None:
    lies, why = LIES[name]
    shop, first, second = twice
    clone = replace(fresh(shop, name), folder=tmp_path)
    clone.promotions.ledger.append(first)
    wipe(shop)
    forged(shop, first, None)
    forged(shop, second, first, **lies(first, first))
    refused(clone, None, why=why)


def test_the_true_entry_counts(twice: tuple[Shop, LedgerEntry, LedgerEntry], tmp_path: Path) -> None:
    shop, first, second = twice
    wipe(shop)
    forged(shop, first, None)
    forged(shop, second, first)
    assert client(replace(shop, folder=tmp_path), None).settle().chain.entries == (first, second)


@pytest.mark.attack("a forged registry entry", "a forged rollback", "no anchor")
def test_a_forged_rollback_has_no_anchor(shop: Shop) -> None:
    bucket = Drawer()
    desk = client(shop, bucket)
    first = promote(desk, shop.run(0.8))
    second = promote(desk, shop.run(0.9, champion=1))
    lies = {"action": "rollback", "verdict": "rollback: believe me", "from_version": 2, "to_version": 1}
    forged(shop, first, second, **lies)
    refused(shop, bucket, (first, second), why="Entry 3 .* isn't backed")


@pytest.mark.slice("forged ledgers", of=2)
@pytest.mark.parametrize("attack", ["overwritten", "deleted", "replayed", "named after another"])
@pytest.mark.attack(
    "a forged registry entry",
    "anchors overwritten, deleted, replayed, misnamed",
    "write once; its content must be its name's",
)
def test_an_anchor_that_was_tampered_with(shop: Shop, attack: str) -> None:
    bucket, other = Drawer(), Drawer()
    first = promote(client(shop, bucket), shop.run(0.8))
    another = fresh(shop, "another project")
    another.model += "-b"
    promote(client(another, other), another.run(0.9))
    ((name, content),) = bucket.kept.items()
    ((foreign, replay),) = other.kept.items()
    bucket.kept = {
        "overwritten": {name: content.replace(b'"dice":0.8', b'"dice":0.9')},
        "deleted": {},
        "replayed": {foreign: replay},
        "named after another": {name: replay},
    }[attack]
    why = "was overwritten" if attack in ("overwritten", "named after another") else "isn't backed"
    said = refused(fresh(shop, "clone"), bucket, (), why=why)
    assert "s3://bucket/wms/anchors/model" in said
    assert client(fresh(shop, "clone"), Drawer(), (first,)).settle().production == 1  # what main has stays


@pytest.mark.slice("forged ledgers", of=2)
def test_entries_that_were_deleted_at_the_end_are_known_to_their_anchors(shop: Shop) -> None:
    bucket = Drawer()
    desk = client(shop, bucket)
    first = promote(desk, shop.run(0.8))
    second = promote(desk, shop.run(0.9, champion=1))
    promote(desk, shop.run(0.95, champion=2))
    for version in shop.registry.versions():  # the tags that tell of entries are MLflow's, too
        shop.registry.set_version_tags(version.version, {"ledger_entry": "1", "promoted": first.at})
    wipe(shop)
    forged(shop, first, None)
    refused(fresh(shop, "clone"), bucket, why="has the anchor of entry 3: somebody deleted")
    forged(shop, second, first)  # one announced entry after the end is a killed promotion
    assert client(fresh(shop, "clone"), bucket).settle(trust_alias=False).production == 2


class Killed(BaseException):
    """A kill between two steps."""


@pytest.mark.slice("forged ledgers", of=2)
@pytest.mark.parametrize("moment", ("registered", "anchored", "added", "tags", "done"))
def test_a_kill_anywhere_leaves_a_promotion_that_the_next_run_finishes(shop: Shop, moment: str) -> None:
    bucket = Drawer()
    promote(client(shop, bucket), shop.run(0.8))
    run_id = shop.run(0.9, champion=1)

    def step(name: str) -> None:
        if name == moment:
            raise Killed

    with pytest.raises(Killed):
        promote(replace(client(shop, bucket), step=step), run_id)
    clone = fresh(shop, "clone") if moment in ("added", "tags") else shop
    desk = client(clone, bucket)
    found = promotion.propose(desk, run_id)
    if isinstance(found, Proposal):
        promotion.execute(desk, found, who="Bob")
    chain = desk.entries.read()
    assert (len(chain.entries), chain.settled, chain.entries[-1].run_id) == (2, True, run_id)
    assert desk.ledger.entries() == chain.entries
    client(fresh(shop, "reader"), bucket).settle()
    assert len(bucket.kept) == (3 if moment == "anchored" else 2)  # the killed one's anchor vouches for nothing


def test_the_samples_of_older_formats_are_backed_by_main() -> None:
    entries = Ledger(Path(__file__).with_name("samples") / "v1").entries()
    require_transitions(entries, "the samples")
    bucket = Drawer()
    with pytest.raises(LedgerError, match="isn't backed"):
        Witnesses(MainHistory((), MAIN), bucket).check(entries, "the registry")
    known = Witnesses(MainHistory(entries, MAIN), bucket)
    known.check(entries, "the registry")
    known.catch_up(entries, "the registry")
    known.catch_up(entries, "the registry")
    assert len(bucket.names()) == len(entries)
    Witnesses(None, bucket).check(entries, "the registry")


@pytest.mark.slice("forged ledgers", of=2)
def test_a_ledger_of_older_code_gets_its_anchors_from_main(shop: Shop) -> None:
    first = promote(client(shop, None), shop.run(0.8))  # as older code: without an anchor
    bucket = Drawer()
    refused(shop, bucket, (), why="isn't backed: neither")
    second = promote(client(shop, bucket, (first,)), shop.run(0.9, champion=1))
    assert [name[:6] for name in bucket.names()] == ["000001", "000002"]
    assert client(fresh(shop, "clone"), bucket).settle().chain.entries == (first, second)
