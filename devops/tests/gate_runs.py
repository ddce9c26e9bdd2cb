"""Two tiny trainings on a real MLflow server, and runs made from them that something is wrong with."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from servers import MlflowServer
from small import environment, only_run, photos, train_command, write_recipe

from wms.data.versions import DataItem, manifest_text
from wms.errors import run_main
from wms.project import Project
from wms.registry.chain import SUFFIX
from wms.registry.gate_tries import LOGGED
from wms.registry.gate_tries import SUFFIX as VERDICTS
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.types import PRODUCTION, VERDICT_FILE, GateVerdict
from wms.registry.verdicts import begin
from wms_ops.commands.gate import COMMAND as main

Edit = Callable[[Path], object]
Change = Callable[[list[DataItem]], list[DataItem]]

LOOKS = {"second_look": 0.5, "one_strip": True}
WEAK = {"training": {"stages": [{"size": 48, "epochs": 8}], "evaluate_every": 4}, "evaluation": {"threshold": 0.2}}
GOOD = {"training": {"stages": [{"size": 48, "epochs": 40}], "evaluate_every": 10}, "evaluation": LOOKS}
PLAIN = {"rotation": 0.0, "colour": 0.0, "tint": 0.0}

MODEL = Project().model
STRICT = {"min_improvement": 0.9, "min_confidence": 0.95, "max_regression_per_image": 0.5}
"""Settings of the gate by which the good run is refused."""


@dataclass
class GateRuns:
    """A server, a data set, and a weak and a good run that were trained on it."""

    folder: Path
    server: MlflowServer
    weak: str = ""
    good: str = ""

    def __post_init__(self) -> None:
        self.registry = ModelRegistry(self.server.uri)
        photos(self.folder, 40)

    def train(self) -> None:
        """Both trainings, one beside the other."""
        begun = []
        for name, sections in (("weak", WEAK), ("good", GOOD)):
            context = self.folder / name
            context.mkdir()
            for shared in ("photos", "splits.jsonl"):
                (context / shared).symlink_to(self.folder / shared)
            write_recipe(context, model={"channels": [6, 8, 12, 16, 24]}, augmentation=PLAIN, **sections)
            if not begun:  # the first one decides the splits, the second one meets them
                self._start(context, "--quiet", begun)
                while not (self.folder / "splits.jsonl").exists() and begun[0].poll() is None:
                    time.sleep(0.1)  # a poll's pause
            else:
                self._start(context, "--quiet", begun)
        for process in begun:
            output, errors = process.communicate(timeout=240)
            assert process.returncode == 0, f"{process.returncode}: {output}{errors}"
        self.weak, self.good = (
            self.registry.find_run(only_run(self.folder / name / "runs").name).run_id for name in ("weak", "good")
        )

    def _start(self, context: Path, option: str, begun: list[subprocess.Popen[str]]) -> None:
        variables = environment(MLFLOW_TRACKING_URI=self.server.uri)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        begun.append(subprocess.Popen(train_command(context, option), env=variables, **pipes))

    def produce(self, run_id: str | None) -> int | None:
        """Make a run's model Production, or begin with an empty registry; returns its version."""
        from mlflow import MlflowClient
        from mlflow.entities import ViewType

        client = MlflowClient(self.server.uri)
        # What a promotion and the gates of earlier tests have left goes, too.
        empty = (*((MODEL,) if run_id is None else ()), MODEL + SUFFIX, MODEL + VERDICTS)
        for name in empty:
            if client.search_registered_models(f"name='{name}'"):
                client.delete_registered_model(name)
        where = [one.experiment_id for one in client.search_experiments()]
        for run in client.search_runs(where, f"tags.`{LOGGED}` LIKE '%'", ViewType.ALL):
            client.delete_tag(run.info.run_id, LOGGED)
        for run in (self.weak, self.good):
            begin(self.registry, run, "enforce")
        if run_id is None:
            return None
        version = self.registry.register(run_id).version
        self.registry.set_alias(PRODUCTION, version)
        return version

    def artifacts(self, name: str = "good") -> Path:
        return only_run(self.folder / name / "runs") / "artifacts"

    def items(self) -> list[DataItem]:
        lines = (self.artifacts() / "data.jsonl").read_text(encoding="utf-8").splitlines()
        return [DataItem(**json.loads(line)) for line in lines]

    def variant(
        self, name: str, *, edit: Edit = lambda _: None, data: Change | None = None, status: str = "FINISHED"
    ) -> str:
        """A run with the good one's model: `edit` changes its files, `data` the images it says it saw."""
        from mlflow import MlflowClient

        source = self.folder / "variants" / name
        shutil.copytree(self.artifacts() / "model", source / "model")
        items = self.items() if data is None else data(self.items())
        text = manifest_text(items)
        version = hashlib.sha256(text.encode()).hexdigest()
        (source / "data.jsonl").write_text(text, encoding="utf-8")
        change_card(source, data_version=version)
        edit(source)
        client = MlflowClient(self.server.uri)
        experiment = client.get_experiment_by_name("water-meter-segmentation").experiment_id
        run_id = str(client.create_run(experiment, run_name=name, tags={"data_version": version}).info.run_id)
        client.log_artifacts(run_id, str(source))
        if status != "RUNNING":
            client.set_terminated(run_id, status)
        return run_id

    def gate(self, run: str, *more: str | Path, recipe: str = "small.yaml") -> int:
        """The exit code of quality-gate.py in this process."""
        return run_main(main, self.command(run, *more, recipe=recipe))

    def command(self, run: str, *more: str | Path, recipe: str = "small.yaml") -> Sequence[str]:
        options = {
            "--run": run,
            "--config": self.folder / "good" / recipe,
            "--data": self.folder / "photos",
            "--splits": self.folder / "splits.jsonl",
            "--ledger": self.folder / "ledger",
        }
        given = [str(option) for option in more]
        return [*(str(part) for pair in options.items() if pair[0] not in given for part in pair), *given]

    def verdict(self, run_id: str) -> GateVerdict:
        """What the gate left in a run."""
        return GateVerdict.model_validate_json(self.registry.read_artifact(run_id, VERDICT_FILE))

    def recipe_with(self, **gate: object) -> str:
        """The recipe's name with these settings of the gate."""
        path = self.folder / "good" / f"gate_{'_'.join(map(str, gate.values()))}.yaml"
        plain = (self.folder / "good" / "small.yaml").read_text(encoding="utf-8")
        path.write_text(f"{plain}\ngate: {json.dumps(gate)}\n", encoding="utf-8")
        return path.name


def one_sentence(text: str) -> str:
    """What the gate says in the end: one line, no traceback."""
    assert "Traceback" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
    return line


def change_card(folder: Path, **values: object) -> None:
    """Change the card of the model below `folder`; None takes a key away."""
    path = folder / "model" / "production.json"
    card = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps({key: value for key, value in card.items() if value is not None}), encoding="utf-8")


def change_network(folder: Path, value: float) -> None:
    """Set the last bias of the network and write its hash on the card: a sound file with a strange model."""
    import onnx
    from onnx import numpy_helper

    path = folder / "model" / "production.onnx"
    graph = onnx.load(str(path))
    last = graph.graph.node[-1]
    (bias,) = [tensor for tensor in graph.graph.initializer if tensor.name == last.input[2]]
    bias.CopyFrom(numpy_helper.from_array(np.full(tuple(bias.dims), value, dtype=np.float32), bias.name))
    path.write_bytes(graph.SerializeToString())
    change_card(folder, onnx_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
