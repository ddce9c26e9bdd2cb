"""A model that was really trained, logged and promoted: its lineage with MLflow, and MLflow on a sleeping instance."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from github_fake import FakeGitHub, fake_github
from mlflow_runs import wait_for
from s3_server import S3Server
from servers import Gateway, MlflowServer, free_port, gateway
from small import environment, only_run, photos, train_command, write_recipe

from wms.errors import run_main
from wms.files import sha256_file
from wms.registry import history_cli, promotion
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.lineage import FILES, require_whole
from wms.registry.lineage_links import check_lineage
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.plan import Proposal
from wms_ops.commands import sync
from wms_ops.commands import versions as check
from wms_ops.commands.promote import PROMOTE
from wms_ops.git.command import Git
from wms_ops.machine.answers import wait_for_mlflow
from wms_ops.machine.types import CloudState, Endpoints
from wms_ops.release.evidence import collect
from wms_ops.storage.config import RemoteConfig
from wms_ops.targets.protocol import Cloud
from wms_ops.targets.sleeping import ask_to_stop


class Scene:
    """A clone whose Production was trained there, and the MLflow server that has it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clone = folder, folder / "clone"
        self.server = MlflowServer(folder / "mlflow")

    @property
    def models(self) -> Path:
        return self.clone / "models"

    @property
    def where(self) -> list[str]:
        return ["--models", str(self.models), "--repo", str(self.clone)]

    def train_and_promote(self) -> LedgerEntry:
        git = Git(self.clone, {"user.name": "Ada", "user.email": "ada@example.org"})
        self.clone.mkdir()
        git("init", "--quiet")
        git("commit", "--quiet", "--allow-empty", "-m", "Start")
        photos(self.folder, 20)
        write_recipe(self.folder, training={"stages": [{"size": 32, "epochs": 1}], "batch_size": 4})
        variables = environment(MLFLOW_TRACKING_URI=self.server.uri)
        subprocess.run(train_command(self.folder), cwd=self.clone, env=variables, check=True, capture_output=True)
        registry = ModelRegistry(self.server.uri)
        promotions = promotion.PromotionClient(self.server.uri, Ledger(self.models), self.clone / "model-metadata.json")
        run = registry.find_run(only_run(self.folder / "runs").name)
        proposal = promotion.propose(promotions, run.run_id, force="the first one")
        assert isinstance(proposal, Proposal)
        return promotion.execute(promotions, proposal, who="Ada").entry


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    found = Scene(tmp_path_factory.mktemp("scene"))
    try:
        found.server.start()
        found.train_and_promote()
        yield found
    finally:
        found.server.kill()


@pytest.fixture
def entry(scene: Scene) -> LedgerEntry:
    found = Ledger(scene.models).current()
    assert found is not None
    return found


@pytest.fixture
def mlflow(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server, named in the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", scene.server.uri)
    return scene.server.uri


class LocalCloud:
    """The server as an instance: behind a gateway that answers 503 until `up`, and for two more requests."""

    def __init__(self, front: Gateway) -> None:
        self.front = front
        self.front.refuse_with = 503
        self.calls: list[str] = []
        self.waiting: threading.Thread | None = None

    def status(self) -> CloudState:
        return CloudState.ABSENT if self.front.refuse_with else CloudState.RUNNING

    def up(self) -> Endpoints:
        self.calls.append("up")
        if self.front.refuse_with:
            self.waiting = threading.Thread(target=self._open, args=(len(self.front.refused) + 2,))
            self.waiting.start()
        return Endpoints(self.front.uri)

    def wait(self, limit_s: float = 900.0) -> None:
        wait_for_mlflow(self.front.uri, limit_s, print)

    def environ(self) -> dict[str, str]:
        return {}

    def down(self) -> None:
        self.calls.append("down")
        self.front.refuse_with = 503

    def _open(self, knocks: int) -> None:
        wait_for(lambda: len(self.front.refused) >= knocks)
        self.front.refuse_with = None


@pytest.fixture
def cloud(scene: Scene, mlflow: str) -> Iterator[LocalCloud]:
    with gateway(scene.server.port) as front:
        found = LocalCloud(front)
        yield found
        if found.waiting:
            found.waiting.join(30)


def lineage_states(scene: Scene, uri: str) -> dict[str, tuple[str, str]]:
    found = collect(scene.models, repo=scene.clone, runs=scene.folder / "runs", registry=ModelRegistry(uri))
    return {link.name: (link.state, link.text) for link in check_lineage(found)}


def test_every_link_holds_and_a_changed_tag_breaks_the_registrys(
    scene: Scene, mlflow: str, entry: LedgerEntry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(sync.COMMAND, scene.where) == 0
    assert f"from MLflow at {mlflow}" in capsys.readouterr().out
    assert run_main(check.LIST, ["--lineage", *scene.where, "--runs", str(scene.folder / "runs")]) == 0
    said = capsys.readouterr().out
    assert "10 of 11 links hold, 1 couldn't be checked here" in said  # the ledger was never merged
    assert f"found in {scene.folder / 'runs'}" in said
    assert "and MLflow" in said
    registry = ModelRegistry(mlflow)
    try:
        registry.set_run_tags(entry.run_id, {"data_version": "0" * 64})
        assert lineage_states(scene, mlflow)["registry"][0] == "broken"
    finally:
        registry.set_run_tags(entry.run_id, {"data_version": entry.data_version})
    content = registry.read_artifact(entry.run_id, "test_scores.json")
    try:
        registry.write_artifact(entry.run_id, "test_scores.json", content.replace(b"0.", b"1.", 1))
        broken = {name for name, (state, _) in lineage_states(scene, mlflow).items() if state == "broken"}
        assert broken == {"test_scores.json"}
    finally:
        registry.write_artifact(entry.run_id, "test_scores.json", content)
    unreachable = ModelRegistry(f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("WMS_MLFLOW_TIMEOUT", "1")
    found = check_lineage(collect(scene.models, repo=scene.clone, runs=scene.folder / "none", registry=unreachable))
    require_whole(found)
    assert found[-1].state == "not checked"


def test_the_table_is_complete_with_a_server_and_useful_without(
    scene: Scene, mlflow: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plot = tmp_path / "history.png"
    assert run_main(history_cli.COMMAND, ["--all", "--plot", str(plot), "--models", str(scene.models)]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "Production" in line).split("│")
    cells = [cell.strip() for cell in row]
    assert cells[1:3] == ["1", "Production"]
    assert all(float(cell) >= 0 for cell in cells[3:6])  # Dice, IoU, loss
    assert int(cells[7]) > 0  # images that were trained on
    assert int(cells[8].replace(",", "")) > 0  # parameters
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert run_main(check.LIST, scene.where) == 0
    assert "production" in capsys.readouterr().out
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("WMS_MLFLOW_TIMEOUT", "1")
    assert run_main(history_cli.COMMAND, ["--models", str(scene.models)]) == 0
    said = capsys.readouterr()
    assert "Showing the ledger alone." in said.err
    assert "Production" in said.out


@pytest.fixture
def nothing_at_github(mlflow: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    """A GitHub without the release, no MLflow named, and nobody at the terminal."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with fake_github() as fake:
        for name, value in fake.environ.items():
            monkeypatch.setenv(name, value)
        yield fake


def run_sync(scene: Scene, cloud: Cloud, *more: str) -> int:
    return run_main(lambda argv: sync.run(sync.COMMAND.parser().parse_args(argv), cloud=cloud), [*scene.where, *more])


def test_a_sleeping_instance_is_woken_used_and_stopped(
    scene: Scene, cloud: LocalCloud, nothing_at_github: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in FILES:
        (scene.models / name).unlink(missing_ok=True)
    assert run_sync(scene, cloud) == 0
    said = capsys.readouterr().out
    assert cloud.calls == ["up", "down"]
    assert cloud.status() is CloudState.ABSENT
    for sentence in ("The instance is absent; starting it.", "Waiting for MLflow: 0 of", "Stopping the instance."):
        assert sentence in said
    # The same version again: nothing is downloaded and nothing is started.
    cloud.calls.clear()
    assert run_sync(scene, cloud) == 0
    assert cloud.calls == []
    assert run_sync(scene, cloud, "--force", "--no-stop") == 0
    assert cloud.calls == ["up"]
    assert "keeps running; stop it with" in capsys.readouterr().out
    # It runs now, so it's somebody's, and stays.
    cloud.calls.clear()
    assert run_sync(scene, cloud, "--force") == 0
    assert cloud.calls == ["up"]
    assert cloud.status() is CloudState.RUNNING


def test_no_instance_is_started_because_somebody_forgot_to_log_in(
    scene: Scene, cloud: LocalCloud, nothing_at_github: FakeGitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_at_github.refuse_with = 401
    assert run_sync(scene, cloud, "--force") == 72
    assert cloud.calls == []
    assert "gh auth login" in capsys.readouterr().err


def test_an_instance_whose_mlflow_never_answers_is_stopped(
    scene: Scene, cloud: LocalCloud, nothing_at_github: None, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = Endpoints(f"http://ada:secret@127.0.0.1:{free_port()}")
    cloud.up = lambda: dead  # type: ignore[method-assign]
    assert run_sync(scene, cloud, "--force", "--limit", "1") == 92
    said = capsys.readouterr()
    assert "didn't answer within 1 s" in said.err
    assert "secret" not in said.out + said.err
    assert cloud.calls == ["down"]


@pytest.mark.parametrize(("typed", "stops"), [("\n", True), ("y\n", True), ("n\n", False), ("No\n", False), ("", True)])
def test_the_question_on_a_terminal(typed: str, stops: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pseudo-terminal; where nothing is typed the answer comes by itself."""
    if sys.platform == "win32":
        pytest.skip("there are no pseudo-terminals")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        if typed:
            os.write(ours, typed.encode())
        assert ask_to_stop("Stop? ", seconds=60 if typed else 0.2) is stops
    os.close(ours)


@pytest.fixture
def dvc_remote(s3: S3Server, remote_config: RemoteConfig, mlflow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both stores, MLflow and S3, named in the environment."""
    for name, value in {**s3.environ, "WMS_DVC_URL": remote_config.url}.items():
        monkeypatch.setenv(name, value)


def test_what_a_promotion_publishes_is_brought_from_the_store_without_mlflow(
    scene: Scene,
    entry: LedgerEntry,
    dvc_remote: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = ["--ledger", str(scene.models), "--metadata", str(scene.clone / "model-metadata.json")]
    for words in ("has got the model's files", "has the model's files"):
        assert PROMOTE([entry.run_id, "--yes", "--publish", *files]) == 0
        assert words in capsys.readouterr().out
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    for name in FILES:
        (scene.models / name).unlink(missing_ok=True)
    assert run_main(sync.COMMAND, ["--from", "s3", *scene.where]) == 0
    assert sha256_file(scene.models / "production.pth") == entry.weights_sha256
    assert set(entry.files) == {"production.json", "data.jsonl", "config.json", "test_scores.json"}
    assert sha256_file(scene.models / "production.json") == entry.files["production.json"]


def test_what_a_promotion_publishes_as_a_release_is_brought_by_gh_without_mlflow(
    scene: Scene,
    entry: LedgerEntry,
    nothing_at_github: FakeGitHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", scene.server.uri)
    files = ["--ledger", str(scene.models), "--metadata", str(scene.clone / "model-metadata.json")]
    for words in ("A release on GitHub has got the model's files", "A release on GitHub has the model's files"):
        assert PROMOTE([entry.run_id, "--yes", "--publish-release", *files]) == 0
        assert words in capsys.readouterr().out
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    for name in FILES:
        (scene.models / name).unlink(missing_ok=True)
    assert run_main(sync.COMMAND, scene.where) == 0
    assert "from the releases on GitHub" in capsys.readouterr().out
    assert sha256_file(scene.models / "production.pth") == entry.weights_sha256
