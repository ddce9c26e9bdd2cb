"""A project with a real MLflow (SQLite, files in S3), a bucket and an origin, for tests that lose one of them."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from servers import MlflowServer
from small import environment, only_run, photos, train_command, write_recipe
from workshop import Workshop

from wms.config_gate import GateConfig
from wms.registry import promotion
from wms.registry.gate_settings import GateSettings
from wms.registry.gate_tries import LOGGED, TryLog
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.plan import Proposal
from wms.registry.promotion import PromotionClient
from wms.registry.restored import RunIds
from wms.registry.types import GateVerdict, Means
from wms_ops.release.publish import publish_model
from wms_ops.release.sources import MlflowSource

# Rebuilds the server again and again, killed at another step each time, and at last to its end. One import of MLflow.
KILLED = """
import os, signal, sys
from pathlib import Path
import mlflow
from wms.registry.ledger import Ledger
from wms.registry.promotion import PromotionClient
from wms_ops.restore.mlflow import Sources, plan_mlflow
from wms_ops.restore.plan import carry_out
from wms_ops.restore.stores import open_artifacts
from wms_ops.storage.config import read_remote

uri, ledger, clone, place, *moments = sys.argv[1:]
for moment in moments:
    name, _, count = moment.partition(":")
    if (pid := os.fork()) == 0:
        left = [int(count)]
        def step(done):
            left[0] -= done == name
            if left[0] == 0:
                os.kill(os.getpid(), int(signal.SIGKILL))
        books = Ledger(Path(ledger))
        client = PromotionClient(uri, books, Path(clone) / "model-metadata.json", step=step)
        sources = Sources(lambda: open_artifacts(place, read_remote(Path(clone))))
        carry_out([plan_mlflow(client, books.entries(), client.entries.read(), sources)], print)
        os._exit(0)
    print(moment, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@dataclass
class Yard:
    """A clone with two promoted models and a rollback: versions 1 and 3 were Production, version 2 never was."""

    shop: Workshop
    clone: Path
    server: MlflowServer
    trained: str = ""

    @property
    def models(self) -> Path:
        return self.clone / "WMS" / "models"

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.models)

    @property
    def place(self) -> str:
        return self.server.artifacts

    @property
    def registry(self) -> ModelRegistry:
        return ModelRegistry(self.server.uri)

    @property
    def promotions(self) -> PromotionClient:
        return PromotionClient(self.server.uri, self.ledger, self.clone / "model-metadata.json")

    @property
    def arguments(self) -> list[str]:
        """Arguments that lead `wms restore` here."""
        named = {"--ledger": self.models, "--metadata": self.clone / "model-metadata.json", "--repo": self.clone}
        return [*(str(word) for pair in named.items() for word in pair), "--artifacts", self.place]

    def build(self) -> None:
        """Train once, and promote: version 1, version 3 from a copy of the run, and back to version 1."""
        work = self.shop.folder / "work"
        work.mkdir()
        photos(work, 12)
        write_recipe(work, training={"stages": [{"size": 32, "epochs": 1}], "batch_size": 4})
        variables = environment(MLFLOW_TRACKING_URI=self.server.uri)  # the ledger's commit is the clone's
        subprocess.run(train_command(work), cwd=self.clone, env=variables, check=True, capture_output=True)
        registry = self.registry
        self.trained = registry.find_run(only_run(work / "runs").name).run_id
        self._promote(self.trained)
        registry.register(self.copy())  # a version that never became Production
        last = self.copy()
        entry = self._promote(last)
        publish_model(self.shop.store(), dict(MlflowSource(registry).fetch(entry)))
        self._log_verdict(last)
        back = promotion.propose_rollback(self.promotions, reason="reads sevens as ones")
        assert isinstance(back, Proposal)
        promotion.execute(self.promotions, back, who="Ada")
        self.shop.commit(self.clone, "Promote")
        self.shop.run("git", "push", "--quiet", "--no-verify", "origin", "HEAD:main", where=self.clone)

    def _log_verdict(self, run_id: str) -> None:
        """A verdict that the entry of the next promotion names; the run's tag that names it, too, goes with MLflow."""
        dice, settings = Means(dice=0.5, iou=0.4), GateSettings.of(GateConfig(), 64, "a recipe")
        verdict = GateVerdict(
            decision="not improved",
            run_id=run_id,
            weights_sha256="w",
            challenger=dice,
            champion=dice,
            champion_version=1,
            test_images=5,
            test_version="t",
            decided_at="2026-11-28T12:00:00+00:00",
            settings=settings,
        )
        TryLog(self.registry).add(verdict)

    def copy(self) -> str:
        """Another run with the trained run's files, scores and tags; returns its id."""
        from mlflow import MlflowClient
        from mlflow.artifacts import download_artifacts

        client = MlflowClient(self.server.uri)
        source = client.get_run(RunIds(lambda: client).present(self.trained))
        made = client.create_run(
            source.info.experiment_id,
            run_name=source.info.run_name,
            tags={key: value for key, value in source.data.tags.items() if not key.startswith(("mlflow.", "wms."))},
        ).info.run_id
        for name, value in source.data.metrics.items():
            client.log_metric(made, name, value, synchronous=True)
        for name, text in source.data.params.items():
            client.log_param(made, name, text, synchronous=True)
        target = self.shop.folder / "copies" / made
        target.mkdir(parents=True)
        client.log_artifacts(
            made, download_artifacts(run_id=source.info.run_id, tracking_uri=self.server.uri, dst_path=str(target))
        )
        client.set_terminated(made)
        return str(made)

    def _promote(self, run_id: str) -> LedgerEntry:
        proposal = promotion.propose(self.promotions, run_id, force="no gate in this test")
        assert isinstance(proposal, Proposal)
        return promotion.execute(self.promotions, proposal, who="Ada").entry

    def lose_mlflow(self) -> None:
        """Kill the server and delete its database; an empty one answers at the same address."""
        self.server.kill()
        for path in self.server.folder.glob("mlflow.db*"):
            path.unlink()
        self.server.start()

    def state(self) -> dict[str, Any]:
        """All that the registry says about versions and promoted runs, but for times of creation."""
        runs = {}
        for run_id in {entry.run_id for entry in self.ledger.entries()}:
            run = self.registry.run(run_id)
            tags = {key: value for key, value in run.tags.items() if not key.startswith(("mlflow.", "wms.", LOGGED))}
            scores = {key: round(value, 9) for key, value in run.metrics.items() if key.startswith("final_test_")}
            runs[run_id] = (run.name, run.status, tags, run.params, scores)
        versions = {one.version: (one.run_id, one.aliases, one.tags) for one in self.registry.versions()}
        chain = self.promotions.entries.read()
        return {"runs": runs, "versions": versions, "chain": chain.entries, "settled": chain.settled}

    def killed(self, *moments: str) -> dict[str, int]:
        """Rebuild the server in processes that die after a step, such as "run:1"; the exit code of each."""
        command = [sys.executable, "-c", KILLED, self.server.uri, self.models, self.clone, self.place, *moments]
        variables = environment(**self.shop.environ)
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, env=variables, timeout=170, check=False
        )
        print(done.stderr)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = (line.rsplit(" ", 1) for line in done.stdout.splitlines() if line.split(" ")[0] in moments)
        return {moment: int(code) for moment, code in lines}


KILL = -int(signal.SIGKILL)


def variables_of(yard: Yard) -> dict[str, str]:
    """The variables that lead a command in this process to the yard."""
    return {**yard.shop.s3.environ, "MLFLOW_TRACKING_URI": yard.server.uri, "WMS_MLFLOW_TIMEOUT": "30"}


def tell(capsys: pytest.CaptureFixture[str], what: str, said: str) -> None:
    """Print how long a restore took, past pytest's capturing: the figures of docs/restore.md."""
    (line,) = [line for line in said.splitlines() if line.startswith("The restore took")]
    with capsys.disabled():
        print(f"\n{what}: {line}")
