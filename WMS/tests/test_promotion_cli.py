"""promote-model.py, update-model-metadata.py and get-baseline-metrics.py as people and workflows start them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from registry_workshop import Shop
from servers import free_port

from wms.errors import run_main
from wms.registry.metadata import NOTHING_PROMOTED
from wms_ops.commands import promote as cli

pytest_plugins = ["registry_fixtures"]
SCRIPTS = Path(__file__).resolve().parents[2] / "devops" / "scripts"


class Commands:
    """The commands in this process, their files in a folder of the test's own."""

    def __init__(self, shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
        self.shop, self.capsys = shop, capsys
        self.baseline_files = ["--ledger", str(shop.folder), "--model", shop.model]
        self.files = [*self.baseline_files, "--metadata", str(shop.folder / "model-metadata.json")]

    def _run(self, main: Callable[[Sequence[str] | None], int], *arguments: str) -> tuple[int, str]:
        code = run_main(main, arguments)
        out, err = self.capsys.readouterr()
        assert "Traceback" not in err
        return code, out + err

    def promote(self, *arguments: str) -> tuple[int, str]:
        return self._run(cli.PROMOTE, *arguments, *self.files)

    def metadata(self) -> tuple[int, str]:
        return self._run(cli.METADATA_FILE, *self.files)

    def baseline(self) -> dict[str, Any]:
        code, text = self._run(cli.BASELINE, *self.baseline_files)
        assert code == 0, text
        return dict(json.loads(text))


@pytest.fixture
def commands(shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shop.uri)
    monkeypatch.setenv("GITHUB_ACTOR", "ann")
    for name in ("GITHUB_OUTPUT", "GITHUB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return Commands(shop, capsys)


def test_a_promotion_and_a_rollback_by_command(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shop = commands.shop
    nothing = commands.baseline()
    assert nothing["note"].startswith("There is no Production model")
    del nothing["note"]
    assert nothing == {"version": None, "run_id": None, "dice": 0.0, "iou": 0.0}
    first = shop.run(0.8, name=f"run_20261121_{shop.model}")
    assert commands.promote(f"run_20261121_{shop.model}", "--yes")[0] == 0
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "team/meters")
    monkeypatch.setenv("GITHUB_RUN_ID", "77")
    second = shop.run(0.9, champion=1)
    code, text = commands.promote(second, "--yes")
    assert code == 0
    assert "Production is version 1 now; Dice 0.5000 -> 0.9000" in text
    assert f"Version 2 (run {second}) is Production, instead of version 1." in text
    assert (tmp_path / "output").read_text() == f"version=2\nrun_id={second}\nchanged=true\n"
    metadata = json.loads((shop.folder / "model-metadata.json").read_text())
    assert metadata["github_run"] == 77
    assert shop.promotions.ledger.entries()[-1].github_run == "https://github.example/team/meters/actions/runs/77"
    assert [entry.who for entry in shop.promotions.ledger.entries()] == ["ann", "ann"]
    assert commands.baseline() == {"version": 2, "run_id": second, "dice": 0.9, "iou": pytest.approx(0.9 / 1.1)}
    code, text = commands.promote("--version", "2")
    assert (code, "Production already" in text) == (0, True)

    assert commands.promote("--rollback", "--yes", "--reason", "reads sevens as ones")[0] == 0
    assert commands.baseline()["version"] == 1
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert commands.baseline() == {"version": 1, "run_id": first, "dice": 0.8, "iou": pytest.approx(0.8 / 1.2)}
    (shop.folder / "model-metadata.json").write_text("{}")
    assert commands.metadata()[0] == 0
    assert json.loads((shop.folder / "model-metadata.json").read_text())["model_version"] == 1
    assert shop.promotions.ledger.entries()[-1].verdict == "rollback: reads sevens as ones"


def test_a_file_changed_by_hand_stops_every_change_until_it_is_written_anew(commands: Commands) -> None:
    shop = commands.shop
    path = shop.promotions.metadata
    shop.folder.mkdir()
    path.write_text(NOTHING_PROMOTED)
    assert commands.promote(shop.run(0.8), "--yes")[0] == 0
    second = shop.run(0.9, champion=1)
    before = shop.snapshot()
    sound = path.read_text()
    for text, field in ((sound.replace("0.8,", "0.99,"), "metrics"), (sound[:-5], "its content")):
        assert text != sound
        path.write_text(text)
        for words in ((second, "--yes"), ("--rollback", "--yes"), ("--adopt", "1", "--yes")):
            code, said = commands.promote(*words)
            assert (code, field in said, str(path) in said) == (41, True, True), said
            assert said.startswith("error: ") and said.count("\n") == 1
        assert commands.baseline()["version"] == 1
        assert path.read_text() == text
        assert (commands.metadata() if field == "metrics" else commands.promote("--repair"))[0] == 0
        assert shop.snapshot() == before
    assert commands.promote(second, "--yes")[0] == 0


def test_the_files_word_is_never_taken_for_production(commands: Commands) -> None:
    """A null version beside a promoted model, and an invented version beside none: the registry is asked."""
    shop = commands.shop
    shop.folder.mkdir()
    invented = json.loads(NOTHING_PROMOTED) | {"model_version": 7, "run_id": "a" * 32, "trained_at": ""}
    invented |= {"metrics": {"dice": 1.0, "iou": 1.0}, "baseline": {"dice": 0.0, "iou": 0.0}, "training_data_count": 1}
    shop.promotions.metadata.write_text(json.dumps(invented))
    assert commands.baseline()["version"] is None
    assert commands.promote(shop.run(0.8), "--yes")[0] == 0
    assert json.loads(shop.promotions.metadata.read_text())["model_version"] == 1
    shop.promotions.metadata.write_text(NOTHING_PROMOTED)
    assert commands.baseline()["version"] == 1
    assert commands.promote("--version", "1", "--yes")[0] == 0
    assert json.loads(shop.promotions.metadata.read_text())["model_version"] == 1


def test_files_of_a_fresh_clone_are_written_from_the_registry(commands: Commands) -> None:
    shop, path = commands.shop, commands.shop.promotions.metadata
    shop.folder.mkdir()
    path.write_text('{"model_version": null')
    code, text = commands.promote(shop.run(0.7), "--yes")
    assert (code, "write it anew with `wms versions metadata`" in text) == (41, True)
    assert commands.metadata() == (0, f"{path} was damaged; now it says that no model is Production yet.\n")
    assert path.read_text() == NOTHING_PROMOTED
    code, text = commands.metadata()
    assert (code, "Nothing was ever promoted" in text) == (40, True)
    commands.promote(shop.run(0.8), "--yes")
    before = shop.snapshot()
    for path in (shop.promotions.ledger.history, shop.promotions.ledger.newest, shop.promotions.metadata):
        path.unlink()
    assert commands.metadata()[0] == 0
    assert shop.snapshot() == before


def test_refused_by_the_gate_and_forced(commands: Commands) -> None:
    run_id = commands.shop.run(0.8, improved=False)
    code, text = commands.promote(run_id, "--yes")
    assert (code, text) == (
        90,
        f"error: The gate didn't let run {run_id} pass: Dice 0.80 is below Production's 0.90.\n",
    )
    assert commands.promote(run_id, "--yes", "--force", "a demonstration")[0] == 0
    assert commands.shop.promotions.ledger.entries()[0].verdict == "forced: a demonstration (gate: not improved)"


NONSENSE = {
    "nothing": ((), "Give a run or --version N"),
    "two things": (("a-run", "--version", "1"), "A run and --version N exclude each other"),
    "a run to roll back": (("a-run", "--rollback"), "--rollback goes with"),
    "a forced rollback": (("--rollback", "--force", "x"), "--rollback goes with"),
    "repair and more": (("--repair", "--version", "1"), "--repair stands alone"),
    "an empty reason": (("a-run", "--force", " "), "needs a reason"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, words = NONSENSE[case]
    assert run_main(cli.PROMOTE, arguments) == 2
    assert words in capsys.readouterr().err


def test_an_unknown_run_and_an_unknown_version(commands: Commands) -> None:
    code, text = commands.promote("run_20200101_000000_00000000")
    assert (code, "was it logged to this server?" in text) == (40, True)
    code, text = commands.promote("--version", "7")
    assert (code, "has no version 7" in text) == (40, True)
    code, text = commands.promote("--repair")
    assert (code, "nothing to repair" in text) == (0, True)


def script(name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / name), *arguments]
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **variables}
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120, check=False, cwd="/")


def test_the_scripts_start_without_being_installed(tmp_path: Path) -> None:
    done = script("get-baseline-metrics.py", "--ledger", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["version"] is None
    done = script("update-model-metadata.py", "--ledger", str(tmp_path))
    assert done.returncode == 40, done.stderr
    done = script("promote-model.py", "a-run")
    assert done.returncode == 2
    assert done.stderr.startswith("error: MLFLOW_TRACKING_URI isn't set")
    assert list(tmp_path.iterdir()) == []


def test_no_zeros_from_a_registry_that_is_gone(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    variables = {"MLFLOW_TRACKING_URI": address, "WMS_MLFLOW_TIMEOUT": "1"}
    done = script("get-baseline-metrics.py", "--ledger", str(tmp_path), **variables)
    assert (done.returncode, done.stdout) == (92, "")
    assert done.stderr.startswith(f"error: The model registry at {address} doesn't answer")
    assert done.stderr.count("\n") == 1
