"""What the tests of the registry share: runs without a training, and promoters that can be killed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from wms.registry.ledger import Ledger
from wms.registry.mlflow_calls import _settings
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.promotion import PromotionClient
from wms.registry.types import VERDICT_FILE, GateVerdict, Means

DATA = "".join(
    json.dumps({"stem": f"m{i}", "image_sha256": f"{i:064x}", "mask_sha256": f"{i:064x}", "split": split}) + "\n"
    for i, split in enumerate(["train", "train", "train", "val", "test"])
)

# Forks once for each job, so that one import of MLflow serves hundreds of processes. All of a round go off at once.
PROMOTERS = """
import json, os, signal, sys, traceback
from pathlib import Path
import mlflow, requests, wms.registry.facts
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from wms.errors import WmsError
from wms.registry import promotion
from wms.registry.adoption import propose_adoption
from wms.registry.ledger import Ledger

def work(job):
    def step(name):
        if name == job.get("kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)
    folder = Path(job["folder"])
    desk = promotion.PromotionClient(job["uri"], Ledger(folder), folder / "model-metadata.json", job["model"], step)
    try:
        if job.get("rollback"):
            found = promotion.propose_rollback(desk)
        elif job.get("adopt"):
            found = propose_adoption(desk, job["adopt"])
        else:
            found = promotion.propose(desk, job["run_id"], force=job.get("force"))
        if isinstance(found, promotion.Proposal):
            found = promotion.execute(desk, found, who=job.get("who", "tester"))
        return 0, found.text
    except WmsError as error:
        return error.exit_code, str(error)
    except BaseException:
        return 1, traceback.format_exc()

print("ready", flush=True)
for line in sys.stdin:
    children = []
    for job in json.loads(line):
        gate_read, gate = os.pipe()
        result, answer = os.pipe()
        if (pid := os.fork()) == 0:
            os.close(gate)
            os.read(gate_read, 1)
            code, text = work(job)
            os.write(answer, json.dumps([code, text]).encode())
            os._exit(0)
        os.close(gate_read)
        os.close(answer)
        children.append((pid, gate, result))
    for _, gate, _ in children:
        os.write(gate, b"g")
    answers = []
    for pid, gate, result in children:
        with open(result, "rb") as stream:
            content = stream.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(gate)
        answers.append(json.loads(content) if status == 0 else [status, "killed"])
    print(json.dumps(answers), flush=True)
"""


class Promoters:
    """Processes that promote or roll back, each born for one job."""

    def __init__(self) -> None:
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", PROMOTERS]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ)

    def __call__(self, *jobs: dict[str, Any]) -> list[tuple[int, str]]:
        """Do the jobs at the same time; the exit code and the text of each, -9 for one that killed itself."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(jobs) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        while line == "ready\n":
            line = self.process.stdout.readline()
        return [(code, text) for code, text in json.loads(line)]

    def close(self) -> None:
        self.process.communicate(timeout=60)


@dataclass
class Shop:
    """One registered model of its own, on a server that others use, with a ledger of its own."""

    uri: str
    folder: Path
    model: str

    @property
    def promotions(self) -> PromotionClient:
        return PromotionClient(self.uri, Ledger(self.folder), self.folder / "model-metadata.json", self.model)

    @cached_property
    def registry(self) -> ModelRegistry:
        return ModelRegistry(self.uri, model=self.model)

    def run(self, dice: float = 0.9, *, champion: int | None = None, improved: bool = True, **more: Any) -> str:
        """A finished run with tiny artifacts and a verdict; returns its id. `gate=False`: without a verdict."""
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self.uri)
        known = client.get_experiment_by_name(self.model)
        where = known.experiment_id if known else client.create_experiment(self.model)
        version = hashlib.sha256(DATA.encode()).hexdigest()
        tags = {"data_version": version, "git_commit": "c" * 40, "config_hash": "d" * 64, "git_dirty": "False"}
        run_id = str(client.create_run(where, tags=tags, run_name=more.get("name")).info.run_id)
        weights, onnx = f"weights of {run_id}".encode(), f"onnx of {run_id}".encode()
        card = {"weights_sha256": _sha(weights), "onnx_sha256": _sha(onnx)}
        files = {
            "model/production.pth": weights,
            "model/production.onnx": onnx,
            "model/production.json": json.dumps(card).encode(),
            "data.jsonl": DATA.encode(),
            "metadata.json": b'{"finished_at": "2026-11-20T10:00:00+00:00"}',
        }
        for path, content in files.items():
            if path not in more.get("without", ()):
                self.registry.write_artifact(run_id, path, content)
        for name, value in (("final_test_dice", dice), ("final_test_iou", dice / (2 - dice))):
            client.log_metric(run_id, name, value, synchronous=True)
        with _settings(60):
            client.set_terminated(run_id, more.get("status", "FINISHED"))
        if more.get("gate", True):
            self.judge(run_id, dice, champion=champion, improved=improved)
        return run_id

    def judge(self, run_id: str, dice: float, *, champion: int | None, improved: bool = True, **more: Any) -> None:
        """Store a verdict of the gate with a run."""
        verdict = GateVerdict(
            decision="improved" if improved else "not improved",
            run_id=run_id,
            weights_sha256=more.get("weights_sha256", _sha(f"weights of {run_id}".encode())),
            challenger=Means(dice=dice, iou=dice / (2 - dice)),
            champion=Means(dice=0.5, iou=1 / 3) if champion else Means(dice=0, iou=0),
            champion_version=champion,
            test_images=5,
            test_version="e" * 64,
            reasons=() if improved else ("Dice 0.80 is below Production's 0.90",),
            card_sha256=more.get("card_sha256", ""),
            decided_at=more.get("decided_at", datetime.now(UTC).isoformat(timespec="seconds")),
        )
        self.registry.write_artifact(run_id, VERDICT_FILE, verdict.model_dump_json().encode())

    def job(self, run_id: str | None, **more: Any) -> dict[str, Any]:
        """A job for `Promoters`: promote a run, or roll back where it's None; `adopt=N` adopts, `force` forces."""
        plain = {"uri": self.uri, "folder": str(self.folder), "model": self.model}
        return {**plain, **({"run_id": run_id} if run_id else {"rollback": True}), **more}

    def snapshot(self) -> dict[str, Any]:
        """All that a promotion leaves, in the registry and on disk, but for times and the hashes over them."""
        promotions = self.promotions
        varying = {"promoted", "promoted_at", "at", "hash", "previous_hash"}
        varying |= {"run_id", "weights_sha256", "onnx_sha256", "files"}  # two models of a comparison differ there

        def plain(values: dict[str, Any]) -> dict[str, Any]:
            return {key: value for key, value in values.items() if key not in varying}

        chain = promotions.entries.read()
        history = promotions.ledger.entries()
        assert history == chain.entries, "the ledger in Git and the registry's are not the same"
        return {
            "versions": [(v.version, v.aliases, plain(v.tags)) for v in promotions.registry.versions()],
            "history": [plain(entry.model_dump(mode="json")) for entry in history],
            "current": plain(json.loads(promotions.ledger.newest.read_text())),
            "metadata": plain(json.loads(promotions.metadata.read_text())),
            "settled": chain.settled,
            "files": sorted(path.name for path in self.folder.iterdir()),
        }


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
