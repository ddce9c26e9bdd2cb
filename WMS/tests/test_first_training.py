"""What is no first training: a registry with a past that no ledger tells, and one that can't be asked."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from registry_workshop import Promoters, Shop
from servers import Gateway, serving

from wms.errors import LedgerError, ModelNotFoundError, RegistryError, run_main
from wms.registry import promotion
from wms.registry.chain import SUFFIX, RegistryLedger
from wms.registry.history import stage_in_registry
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.promotion import PromotionClient, PromotionOutcome
from wms.registry.standing import read_standing
from wms_ops.commands import promote as cli
from wms_ops.git.command import Git
from wms_ops.release.upstream import current_production

pytest_plugins = ["registry_fixtures"]


def client_of(shop: Shop):  # type: ignore[no-untyped-def]
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=shop.uri)


def promote(shop: Shop, run_id: str, force: str | None = None) -> PromotionOutcome:
    found = promotion.propose(shop.promotions, run_id, force=force)
    return found if isinstance(found, PromotionOutcome) else promotion.execute(shop.promotions, found, who="Ann")


def stage(shop: Shop, version: int) -> None:
    """As MLflow 2 promoted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client_of(shop).transition_model_version_stage(shop.model, str(version), "Production")


def staged(shop: Shop) -> None:
    shop.registry.register(shop.run(0.7, gate=False))
    stage(shop, shop.registry.register(shop.run(0.8, gate=False)).version)


def by_hand(shop: Shop) -> None:
    shop.registry.register(shop.run(0.7, gate=False), {"dice": "0.7"})


def without_its_ledger(shop: Shop) -> None:
    """Both ledgers are gone, and so is the alias; the tags of the promotion are left."""
    promote(shop, shop.run(0.7))
    client_of(shop).delete_registered_model(shop.model + SUFFIX)
    shop.registry.delete_alias("production")
    forget(shop)


def without_alias(shop: Shop) -> None:
    promote(shop, shop.run(0.7))
    shop.registry.delete_alias("production")


def without_alias_in_another_clone(shop: Shop) -> None:
    without_alias(shop)
    forget(shop)


def without_its_version(shop: Shop) -> None:
    promote(shop, shop.run(0.7))
    client_of(shop).delete_model_version(shop.model, "1")


def emptied(shop: Shop) -> None:
    """The registry is a new one, or the wrong one; the ledger here is whole."""
    promote(shop, shop.run(0.7))
    for name in (shop.model, shop.model + SUFFIX):
        client_of(shop).delete_registered_model(name)


def without_its_history(shop: Shop) -> None:
    """The clone's history was deleted; the file of its newest entry tells that there was one."""
    emptied(shop)
    shop.promotions.ledger.history.unlink()


def forget(shop: Shop) -> None:
    for path in shop.folder.iterdir():
        path.unlink()


PASTS: dict[str, tuple[Callable[[Shop], None], str]] = {
    "a stage of MLflow 2": (staged, r"version 2 in the stage Production of MLflow 2.*`wms promote --adopt 2`"),
    "registered by hand": (by_hand, r"has version 1 of .*no first training.*`wms promote --adopt 1`"),
    "both ledgers lost": (without_its_ledger, r"has version 1 of .*`wms promote --adopt 1`"),
    "alias deleted": (without_alias, r"is gone, but by the ledger version 1.*`wms restore`"),
    "alias deleted, a fresh clone": (without_alias_in_another_clone, r"is gone, .*`wms restore`"),
    "version deleted": (without_its_version, r"is gone, but by the ledger version 1"),
    "registry emptied": (emptied, r"has 1 entries, but the registry at .* knows 0 only.*--adopt VERSION"),
    "registry emptied, history deleted": (without_its_history, r"has no entry, but production_current.json"),
}


def command(main: Callable[[Sequence[str] | None], int], shop: Shop, *arguments: str) -> int:
    where = ["--ledger", str(shop.folder), "--model", shop.model]
    if main is not cli.BASELINE:
        where += ["--metadata", str(shop.folder / "model-metadata.json")]
    return run_main(main, [*arguments, *where])


@pytest.mark.parametrize("past", PASTS)
def test_a_past_without_production_is_no_first_training(
    shop: Shop, past: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare, words = PASTS[past]
    prepare(shop)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shop.uri)
    before = shop.registry.versions()
    capsys.readouterr()
    assert command(cli.BASELINE, shop) == 94
    told = capsys.readouterr()
    assert told.out == "", "no zeros"
    challenger = shop.run(0.6)  # its verdict says that nothing was Production
    with pytest.raises(LedgerError, match=words) as caught:
        promote(shop, challenger)
    assert told.err == f"error: {caught.value}\n"
    assert command(cli.METADATA_FILE, shop) == 94
    promotions = shop.promotions
    with pytest.raises(LedgerError, match=words):
        read_standing(promotions.registry, promotions.entries, promotions.ledger)
    assert shop.registry.versions() == before


def test_a_ledger_whose_history_was_deleted_has_no_zeros_without_a_server(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(shop, shop.run(0.7))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert command(cli.BASELINE, shop) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 1
    shop.promotions.ledger.history.unlink()
    assert command(cli.BASELINE, shop) == 94
    assert capsys.readouterr().out == ""
    assert command(cli.METADATA_FILE, shop) == 94


def test_a_version_that_a_killed_first_promotion_left_is_none_either(shop: Shop, promoters: Promoters) -> None:
    """It must not stand in the way of another run; with a stage of MLflow 2 it is somebody's Production."""
    ((code, _),) = promoters(shop.job(shop.run(0.8), kill_at="registered"))
    assert code == -9
    assert [version.version for version in shop.registry.versions()] == [1]
    stage(shop, 1)
    with pytest.raises(LedgerError, match="in the stage Production of MLflow 2"):
        promote(shop, shop.run(0.9))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client_of(shop).transition_model_version_stage(shop.model, "1", "None")
    assert promote(shop, shop.run(0.9)).entry.to_version == 2


def test_repair_and_rollback_say_that_there_is_no_entry(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An alias that was set by hand: Production, but not "nothing was ever promoted"."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shop.uri)
    shop.registry.set_alias("production", shop.registry.register(shop.run(0.8, gate=False)).version)
    assert command(cli.BASELINE, shop) == 0
    for main, arguments in (
        (cli.PROMOTE, ("--repair",)),
        (cli.PROMOTE, ("--rollback", "--yes")),
        (cli.METADATA_FILE, ()),
    ):
        capsys.readouterr()
        assert command(main, shop, *arguments) == 94
        assert "begin one with `wms promote --adopt 1`" in capsys.readouterr().err


def test_a_person_may_force_a_model_past_an_unknown_one(shop: Shop) -> None:
    staged(shop)
    with pytest.raises(LedgerError):
        promote(shop, shop.run(0.6))
    assert promote(shop, shop.run(0.6), force="nobody has the old one's files").entry.to_version == 3
    assert promote(shop, shop.run(0.9, champion=3)).entry.from_version == 3


def test_sync_asks_the_registry_before_it_says_that_nothing_was_promoted(shop: Shop, tmp_path: Path) -> None:
    models, git, said = tmp_path / "clone", Git(tmp_path), list[str]()

    def sync() -> LedgerEntry:
        return current_production(models, git, None, said.append, shop.registry)

    with pytest.raises(ModelNotFoundError, match="No model was promoted yet"):
        sync()
    staged(shop)
    with pytest.raises(LedgerError, match=r"wms promote --adopt 2"):
        sync()
    entry = promote(shop, shop.run(0.9), force="the old one's files are lost").entry
    assert sync() == entry
    assert said[-1] == f"The ledger is empty here; taking the one of {shop.uri}."


def test_a_stage_is_shown(shop: Shop) -> None:
    staged(shop)
    assert [stage_in_registry(version) for version in shop.registry.versions()] == ["Candidate", "MLflow 2 Production"]


class Guarded(Gateway):
    """As MLflow's own login answers who may not read a model: a search finds nothing, a question is refused."""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        class Handler(super()._handler()):  # type: ignore[misc]
            def _guarded(self) -> None:
                if "registered-models/get" in self.path:
                    self._answer(403, {"error_code": "PERMISSION_DENIED", "message": "Permission denied"})
                elif "model-versions/search" in self.path:
                    self._answer(200, {})
                else:
                    self._serve()

            def _answer(self, status: int, values: dict[str, str]) -> None:
                content = json.dumps(values).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = _guarded

        return Handler


@contextlib.contextmanager
def guarded(shop: Shop) -> Iterator[str]:
    front = Guarded(int(shop.uri.rsplit(":", 1)[1]))
    with serving(front.server):
        yield front.uri


def test_a_refusal_to_show_the_registry_is_not_an_empty_one(shop: Shop, tmp_path: Path) -> None:
    promote(shop, shop.run(0.8))
    with guarded(shop) as uri:
        with pytest.raises(RegistryError, match="403"):
            ModelRegistry(uri, model=shop.model).versions()
        with pytest.raises(RegistryError, match="403"):
            RegistryLedger(uri, shop.model).read()
        fresh = PromotionClient(uri, Ledger(tmp_path / "fresh"), tmp_path / "m.json", shop.model)
        with pytest.raises(RegistryError, match="403"):
            fresh.settle()
