"""Only the newest verdict of a run counts: refused, killed, stopped, failed, overtaken - then no older one promotes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gate_runs import GateRuns, one_sentence
from servers import gateway

from wms.config import RunConfig, load_config
from wms.errors import CannotDecideError, RegistryUnreachableError, WmsError, run_main
from wms.registry.history import from_registry
from wms.registry.ledger import Ledger
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.types import VERDICT_FILE
from wms_ops.commands.promote import PROMOTE
from wms_ops.gate.decide import decide
from wms_ops.release.listing import runs_that_wait

pytest_plugins = ["gate_fixtures"]


@pytest.fixture
def improved(runs: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> GateRuns:
    """The good run has the verdict "improved" over the weak one, which is Production; tmp_path/photos is a copy."""
    runs.produce(None)  # no version that another test left
    runs.produce(runs.weak)
    shutil.copytree(runs.folder / "photos", tmp_path / "photos")
    assert runs.gate(runs.good) == 0
    capsys.readouterr()
    return runs


def lose_a_test_photo(runs: GateRuns, photos: Path) -> None:
    item = next(item for item in runs.items() if item.split == "test")
    (photo,) = (photos / "images").glob(f"{item.stem}.*")
    photo.unlink()


def promote(run_id: str, tmp_path: Path, *more: str) -> int:
    where = ["--ledger", str(tmp_path / "models"), "--metadata", str(tmp_path / "model-metadata.json")]
    return run_main(PROMOTE, [run_id, "--yes", *more, *where])


def recipe_of(runs: GateRuns, photos: Path) -> RunConfig:
    config = load_config(runs.folder / "good" / "small.yaml")
    places = {"folder": photos, "splits_file": runs.folder / "splits.jsonl", "cache_folder": photos.parent / "cache"}
    return config.with_changes(**{f"data__{name}": str(place) for name, place in places.items()})


def compare(runs: GateRuns, photos: Path, on_progress: Callable[[], object], uri: str | None = None) -> None:
    """The gate in this process; `on_progress` is called while it scores."""
    registry = ModelRegistry(uri or runs.server.uri)
    decide(
        registry,
        runs.good,
        recipe_of(runs, photos),
        ledger=runs.folder / "ledger",
        on_progress=lambda _done, _total: on_progress(),
    )


def test_a_refusal_takes_the_older_verdict_away(
    improved: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, page = improved, tmp_path / "page.html"
    options = ("--data", tmp_path / "photos", "--splits", runs.folder / "splits.jsonl", "--html", page)
    assert runs.gate(runs.good, *options) == 0
    assert page.exists()
    lose_a_test_photo(runs, tmp_path / "photos")
    assert runs.gate(runs.good, *options) == 91
    assert not page.exists(), "a page of the older verdict would still say that it improved"
    capsys.readouterr()
    assert promote(runs.good, tmp_path) == 91
    sentence = one_sentence(capsys.readouterr().err)
    assert "newest word about run" in sentence and '"cannot decide", and only the newest counts' in sentence
    assert f"wms gate --run {runs.good}" in sentence
    assert [version.run_id for version in runs.registry.versions()] == [runs.weak]
    for path in (VERDICT_FILE, "gate/report.json"):
        assert json.loads(runs.registry.read_artifact(runs.good, path))["decision"] == "cannot decide"
    # A person may go past it, and that is on record.
    assert promote(runs.good, tmp_path, "--force", "the photo is gone for good") == 0
    (entry,) = Ledger(tmp_path / "models").entries()
    assert entry.verdict == "forced: the photo is gone for good (gate: cannot decide)"


def test_a_dry_run_that_would_refuse_takes_it_away_too(improved: GateRuns, tmp_path: Path) -> None:
    runs = improved
    lose_a_test_photo(runs, tmp_path / "photos")
    options = ("--data", tmp_path / "photos", "--splits", runs.folder / "splits.jsonl")
    assert runs.gate(runs.good, *options, recipe=runs.recipe_with(mode="dry-run")) == 0
    assert promote(runs.good, tmp_path) == 91


def stopped() -> None:
    raise KeyboardInterrupt


def crashed() -> None:
    raise ZeroDivisionError


@pytest.mark.slice("verdicts that are cut", of=2)
@pytest.mark.parametrize(
    ("interrupt", "error"), [(stopped, KeyboardInterrupt), (crashed, ZeroDivisionError)], ids=["Ctrl-C", "a bug"]
)
def test_a_gate_that_ends_half_way_leaves_no_verdict(
    improved: GateRuns,
    interrupt: Callable[[], None],
    error: type[BaseException],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(error):
        compare(improved, tmp_path / "photos", interrupt)
    assert promote(improved.good, tmp_path) == 91
    assert '"undecided"' in one_sentence(capsys.readouterr().err)


KILLED = """
import os, signal, sys
from pathlib import Path
from wms.config import load_config
from wms.registry.mlflow_store import ModelRegistry
from wms_ops.gate.decide import decide
uri, run, recipe, photos, splits, ledger = sys.argv[1:]
config = load_config(Path(recipe)).with_changes(
    data__folder=photos, data__splits_file=splits, data__cache_folder=photos + "-cache")
decide(ModelRegistry(uri), run, config, ledger=Path(ledger),
       on_progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_gate_that_is_killed_leaves_no_verdict(improved: GateRuns, tmp_path: Path) -> None:
    runs = improved
    places = (runs.folder / "good" / "small.yaml", tmp_path / "photos", runs.folder / "splits.jsonl", tmp_path / "none")
    command = [sys.executable, "-c", KILLED, runs.server.uri, runs.good, *map(str, places)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(command, env=environ, check=False, timeout=240).returncode == -signal.SIGKILL
    assert promote(runs.good, tmp_path) == 91
    assert runs.registry.run(runs.good).tags["gate.decision"] == "undecided"
    assert runs.gate(runs.good) == 0, "asked again, it decides"
    assert promote(runs.good, tmp_path) == 0


def test_another_failure_leaves_no_verdict(improved: GateRuns, tmp_path: Path) -> None:
    (tmp_path / "splits.jsonl").write_text("{}\n")
    assert improved.gate(improved.good, "--splits", tmp_path / "splits.jsonl") == 27
    assert promote(improved.good, tmp_path) == 91


CUT: dict[str, tuple[str, ...]] = {
    "everything": (),
    "artifacts": ("mlflow-artifacts",),
    "tags": ("log-batch", "set-tag"),
}


@pytest.mark.slice("verdicts that are cut", of=2)
@pytest.mark.parametrize("what", CUT)
@pytest.mark.parametrize("when", ["before", "while scoring"])
def test_a_verdict_that_could_not_be_stored_whole_does_not_count(
    improved: GateRuns, what: str, when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (what, when) == ("everything", "before"):
        return  # nothing was asked, and nothing could be written
    runs = improved
    monkeypatch.setenv("WMS_MLFLOW_TIMEOUT", "3")
    with gateway(runs.server.port) as front:
        front.refuse_only = CUT[what]

        def cut() -> None:
            front.refuse_with = 503

        if when == "before":
            cut()
        with pytest.raises(RegistryUnreachableError):
            compare(runs, tmp_path / "photos", cut, front.uri)
    monkeypatch.setenv("WMS_MLFLOW_TIMEOUT", "30")
    assert promote(runs.good, tmp_path) == 91


def test_of_two_gates_at_once_the_one_that_began_first_is_not_kept(improved: GateRuns, tmp_path: Path) -> None:
    """The second begins while the first one scores, finds a test photo gone, and refuses."""
    runs, photos = improved, tmp_path / "photos"
    after: list[WmsError] = []

    def meanwhile() -> None:
        if not after:
            shutil.copytree(photos, tmp_path / "fewer")
            lose_a_test_photo(runs, tmp_path / "fewer")
            with pytest.raises(CannotDecideError) as caught:
                compare(runs, tmp_path / "fewer", lambda: None)
            after.append(caught.value)

    with pytest.raises(CannotDecideError, match="Another gate began"):
        compare(runs, photos, meanwhile)
    assert "isn't in" in str(after[0])
    assert promote(runs.good, tmp_path) == 91
    tags = runs.registry.run(runs.good).tags
    assert (tags["gate.decision"], "isn't in" in tags["gate.reason"]) == ("cannot decide", True)


def test_records_of_older_code_mean_what_they_meant(
    improved: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Older code left the verdict in place when it refused, and named no bytes in the tags."""
    from mlflow import MlflowClient

    runs, client = improved, MlflowClient(improved.server.uri)
    older = runs.registry.read_artifact(runs.good, VERDICT_FILE)
    refused = runs.variant("judged-by-older-code")
    runs.registry.write_artifact(refused, VERDICT_FILE, older.replace(runs.good.encode(), refused.encode()))
    runs.registry.write_artifact(refused, "metadata.json", b"{}")
    for name in ("final_test_dice", "final_test_iou"):
        client.log_metric(refused, name, 0.9)
    client.set_tag(refused, "gate.decision", "cannot decide")
    assert promote(refused, tmp_path) == 91
    sentence = one_sentence(capsys.readouterr().err)
    assert "The tag gate.decision says 'cannot decide', but gate/verdict.json is 'improved'" in sentence
    client.set_tag(refused, "gate.decision", "improved")
    runs.registry.register(refused)
    assert from_registry(runs.registry, (), None)[-1].verdict == "gate: improved"


def test_the_tables_show_the_newest(improved: GateRuns, tmp_path: Path) -> None:
    runs = improved
    runs.registry.register(runs.good)

    def shown() -> tuple[str, str]:
        others = [version for version in runs.registry.versions() if version.run_id != runs.good]
        (waits,) = [row[3] for row in runs_that_wait(runs.registry, others) if row[0] == name]
        return from_registry(runs.registry, (), None)[-1].verdict, waits

    name = runs.registry.run(runs.good).name
    assert shown() == ("gate: improved", "improved")
    with pytest.raises(KeyboardInterrupt):
        compare(runs, tmp_path / "photos", stopped)
    assert shown() == ("gate: undecided", "undecided")


def test_the_tables_name_a_baseline_that_is_not_production_any_more(improved: GateRuns) -> None:
    runs = improved
    version = runs.registry.register(runs.good).version
    runs.registry.set_alias("production", version)
    told = "improved against version 1, which isn't Production any more"
    assert from_registry(runs.registry, (), None)[-1].verdict == f"gate: {told}"
