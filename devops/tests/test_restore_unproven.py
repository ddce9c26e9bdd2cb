"""A hand-written entry of the ledger makes no model Production, and a vouched-for entry comes back."""

from __future__ import annotations

from functools import partial

import pytest
from registry_clone import baseline, commit, delete, promote, snapshot, wms
from registry_workshop import Shop

from wms.errors import INTERRUPTED, LedgerError
from wms.registry.chain import SUFFIX
from wms.registry.ledger import Ledger, LedgerEntry, link
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.promotion import PromotionClient
from wms_ops.commands import restore

pytest_plugins = ["registry_clone"]


def forge(shop: Shop, **more: object) -> LedgerEntry:
    """An entry whose hashes fit, written by hand into both files; it makes version 1 Production."""
    ledger = Ledger(shop.folder)
    first, *_, last = ledger.entries()
    values = {"who": "Eve", "to_version": 1, "from_version": last.to_version, "run_id": first.run_id}
    forged = link(last.model_copy(update={**values, "at": "2099-01-01T00:00:00+00:00", **more}), last)
    with ledger.history.open("a") as stream:
        stream.write(f"{forged.line}\n")
    ledger.write_current(forged)
    return forged


def production(shop: Shop) -> int | None:
    found = ModelRegistry(shop.uri, model=shop.model).alias("production")
    return found.version if found else None


@pytest.mark.parametrize("gone", [(), (1, 2)])
def test_a_hand_written_entry_makes_no_model_production(
    clone: Shop, gone: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the registry lost entries that its versions' tags still tell of."""
    promote(clone, 2)
    commit(clone)
    forge(clone)
    delete(clone, *gone)
    before = Ledger(clone.folder).history.read_bytes()
    for more in (["--dry-run"], []):
        capsys.readouterr()
        assert wms(clone, "restore", *more) == LedgerError.exit_code
        said = capsys.readouterr().err
        assert "Entry 3 (version 1, promoted by Eve at 2099-01-01T00:00:00+00:00)" in said, said
        assert "Production would change from version 2 to version 1" in said and "--force" in said
        assert "git restore" in said and said.count("\n") == 1, said
    assert (production(clone), Ledger(clone.folder).history.read_bytes()) == (2, before)
    assert wms(clone, "restore", "--dry-run", "--force") == 0
    said = capsys.readouterr().out
    assert "Production changes from version 2 to version 1 (entry 3, promoted by Eve" in said, said
    left = 3 - 2 + len(gone)
    assert f"{'1 entry of the ledger goes' if left == 1 else f'{left} entries of the ledger go'} to" in said, said
    assert production(clone) == 2
    assert wms(clone, "restore", "--force") == 0
    assert production(clone) == 1, "a person took the responsibility"


def test_an_entry_that_the_tags_of_its_version_tell_of_comes_back_without_a_commit(
    clone: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(clone, 2)
    before = snapshot(clone)
    delete(clone, 2)
    forged = forge(clone)
    assert wms(clone, "restore") == LedgerError.exit_code, "the tags tell of entry 2 only"
    said = capsys.readouterr().err
    assert f"Entry {forged.seq} (" in said and "Entry 2" not in said
    ledger = Ledger(clone.folder)
    first, second, _ = ledger.entries()
    ledger.history.write_text(f"{first.line}\n{second.line}\n")
    ledger.write_current(second)
    assert wms(clone, "restore") == 0
    assert snapshot(clone) == before
    assert baseline(clone) == 0


def test_a_killed_restore_of_a_ledger_that_was_never_committed_goes_on(
    clone: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server then has the first entries already, and vouches for the others by the tags of the versions."""
    from mlflow import MlflowClient

    promote(clone, 3)
    chain = snapshot(clone)["chain"]
    client = MlflowClient(clone.uri)
    for name in (clone.model, clone.model + SUFFIX):
        client.delete_registered_model(name)

    def cut_off(step: str) -> None:
        if step == "entry":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(restore, "PromotionClient", partial(PromotionClient, step=cut_off))
        assert wms(clone, "restore") == INTERRUPTED
    assert len(clone.promotions.entries.read().entries) == 1
    assert baseline(clone) == LedgerError.exit_code, "nobody takes version 1 for Production meanwhile"
    assert wms(clone, "restore") == 0
    assert (snapshot(clone)["chain"], production(clone)) == (chain, 3)
