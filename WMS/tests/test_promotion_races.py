"""Two processes promote at once, again and again: one wins, one is told so, and nothing is doubled or lost."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import mlflow_on_postgres
from registry_workshop import Promoters, Shop
from servers import MlflowServer

from wms.registry.chain import ENTRY, SUFFIX
from wms.registry.mlflow_store import ModelRegistry
from wms.settings import CheckSettings

pytest_plugins = ["registry_fixtures"]
ROUNDS = 25 if CheckSettings.read().wms_whole_matrices else 8
"""On each database; `make prove-matrices` runs the 25."""


@pytest.fixture(scope="module")
def on_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """An MLflow server over PostgreSQL."""
    with mlflow_on_postgres(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.mark.slice("races of promotions", of=2)
@pytest.mark.parametrize("backend", ["SQLite", "PostgreSQL"])
def test_two_promotions_at_once(
    backend: str,
    request: pytest.FixtureRequest,
    promoters: Promoters,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fixture = "mlflow_of_session" if backend == "SQLite" else "on_postgres"
    server: MlflowServer = request.getfixturevalue(fixture)
    model = f"model-{uuid.uuid4().hex[:8]}"
    one, two = (Shop(server.uri, tmp_path / clone, model) for clone in ("one clone", "another clone"))
    champion: int | None = None
    runs = [one.run(0.9) for _ in range(3)]
    winners: list[int] = []
    for _ in range(ROUNDS):
        first, second, *_ = runs
        for run_id in (first, second):
            one.judge(run_id, 0.9, champion=champion)
        answers = promoters(one.job(first, who="one"), two.job(second, who="two"))
        assert sorted(code for code, _ in answers) == [0, 93], answers
        winner = 0 if answers[0][0] == 0 else 1
        loser = answers[1 - winner][1]
        assert "Production is version" in loser
        assert "\n" not in loser
        winners.append(winner)
        found = one.registry.alias("production")
        assert found is not None
        assert found.run_id == runs[winner]
        champion = found.version
        runs = [runs[2], runs[1 - winner], runs[winner]]  # the two that aren't Production race next
    chain = one.promotions.entries.read()
    assert [entry.who for entry in chain.entries] == ["one" if winner == 0 else "two" for winner in winners]
    assert [entry.from_version for entry in chain.entries[1:]] == [entry.to_version for entry in chain.entries[:-1]]
    for shop in (one, two):
        shop.promotions.settle()
        assert shop.snapshot()["history"] == one.snapshot()["history"]
    written = [v for v in ModelRegistry(server.uri, model=model + SUFFIX).versions() if ENTRY in v.tags]
    statuses = Counter(version.tags.get("status") for version in one.registry.versions())
    assert statuses["production"] == 1
    with capsys.disabled():
        print(
            f"\n{ROUNDS} races on {backend}: the first won {winners.count(0)}, the second {winners.count(1)}; "
            f"{len(written)} entries written, {len(chain.entries)} count; tags {dict(statuses)}"
        )


@pytest.mark.slice("races of promotions", of=2)
def test_five_promotions_of_one_run_are_one(mlflow_of_session: MlflowServer, promoters: Promoters, shop: Shop) -> None:
    run_id = shop.run(0.9)
    answers = promoters(*(shop.job(run_id) for _ in range(5)))
    assert [code for code, _ in answers] == [0] * 5, answers
    assert sum("already" not in text for _, text in answers) == 1
    assert len(shop.promotions.ledger.entries()) == 1
    assert shop.snapshot()["settled"]


@pytest.mark.slice("races of promotions", of=2)
def test_of_equal_entries_the_first_counts(promoters: Promoters, shop: Shop) -> None:
    promoters(shop.job(shop.run(0.9)))
    (entry,) = shop.promotions.entries.read().entries
    chain, counts = shop.promotions.entries.add(entry)  # as another process does in the same second
    assert chain.entries == (entry,)
    assert not counts
