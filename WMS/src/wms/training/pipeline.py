"""A complete training run: data, splits, datasets, model, training, evaluation, export, each a named stage."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from wms.config import RunConfig
from wms.data.versions import DATA_MANIFEST, DataVersionManager, manifest_text
from wms.errors import ResumeMismatchError
from wms.files import read_object, write_atomic
from wms.inference.export import export_model
from wms.json_text import to_json
from wms.metrics import DICE, FINAL_DICE, FINAL_IOU, IOU
from wms.settings import PatienceSettings
from wms.training.checkpoint import CheckpointManager
from wms.training.console import training_progress
from wms.training.distributed import Processes, pick_precision
from wms.training.evaluation import CaseScore, evaluate, mean_of, trained
from wms.training.loop import Trainer
from wms.training.memory import peak_bytes
from wms.training.mlflow_sender import Status
from wms.training.mlflow_sync import MlflowSync, hand_over, open_sync
from wms.training.position import Progress
from wms.training.prepare import PreparedData, load_samples, split_samples
from wms.training.report import write_report
from wms.training.report_cases import choose_cases
from wms.training.request import Request
from wms.training.run_folder import METADATA, create_run_directory, describe_run, find_run
from wms.training.stages import MLOpsPipeline, PipelineStage, StageContext
from wms.training.tracker import ExperimentTracker, read_metrics


class TrainingRun:
    """The state that the stages of a run share: config, folder, processes, tracker."""

    def __init__(self, config: RunConfig, request: Request, processes: Processes) -> None:
        self.request, self.processes = request, processes
        self.started = time.monotonic()
        # On resume the decisions are the original run's; paths may have changed since.
        self.config = config
        if request.resume:
            self.run_dir, _ = find_run(request.runs, request.resume_name, config)
        else:
            self.run_dir = create_run_directory(request.runs, config)
            if request.attempt:
                request.attempt.begun(self.run_dir.name)
        self.tracker: ExperimentTracker | None = None
        self.sync: MlflowSync | None = None

    # ---- stages

    def load_data(self, _: StageContext) -> object:
        return load_samples(self.config, quiet=self.request.quiet)

    def splits(self, context: StageContext) -> PreparedData:
        data = split_samples(context.result("load_data"), self.config)
        self.processes.wait()  # the others read what this one has decoded and recorded
        known = self._known_metadata()
        if known and known["data_version"] != data.version:
            raise ResumeMismatchError(
                f"{self.run_dir.name} began with other data (version {known['data_version'][:8]}, now "
                f"{data.version[:8]}); bring that data back, or start a new run without --resume."
            )
        return data

    def datasets(self, context: StageContext) -> PreparedData:
        """Record which images this run sees, and open the run's metadata and tracker."""
        data: PreparedData = context.result("splits")
        config = self.config
        metadata = self._known_metadata() or describe_run(
            config,
            data_version=data.version,
            device=str(self.processes.device),
            precision=str(pick_precision(config.training.precision, self.processes.device)).removeprefix("torch."),
            processes=self.processes.world,
        )
        if self.request.attempt:
            metadata = {**self.request.attempt.about, **metadata}
        DataVersionManager(self.run_dir.parent).record(
            self.run_dir.name, data.items, config.augmentation.model_dump(mode="json"), metadata["git_commit"]
        )
        # The images that the model saw, for later comparisons: this file's SHA-256 is the data version.
        write_atomic(self.run_dir / "artifacts" / DATA_MANIFEST, manifest_text(data.items))
        write_atomic(self.run_dir / METADATA, to_json(metadata, indent=2) + "\n")
        counts = ", ".join(f"{len(members)} {name}" for name, members in data.splits.items())
        self.request.show(f"{self.run_dir.name}: {counts} images, data version {data.version[:8]}")
        if empty := [s.pair.mask.name for members in data.splits.values() for s in members if not s.has_strip]:
            self.request.show(
                f"warning: empty masks, whose photos aren't scored: {', '.join(empty[:5])}, {len(empty)} in all"
            )
        self.sync = open_sync(self.run_dir, self.config, metadata)
        self.tracker = ExperimentTracker(self.run_dir, self.sync)
        return data

    def model(self, context: StageContext) -> Trainer:
        data: PreparedData = context.result("datasets")
        store = self.checkpoints(data.version)
        trainer = Trainer(self.config, data.splits, self.processes, tracker=self.tracker, checkpoints=store)
        if self.request.resume:
            trainer.resume(store.load())
        return trainer

    def train(self, context: StageContext) -> dict[str, Tensor]:
        trainer: Trainer = context.result("model")
        watch, attempt = self.request.watch, self.request.attempt
        title = f"Training {self.config.name}" + (f", {attempt.text.lower()}" if attempt else "")
        with training_progress(title, quiet=self.request.quiet) as observe:

            def both(progress: Progress) -> None:
                observe(attempt.overall(progress) if attempt else progress)
                if watch:
                    watch(trainer, progress)

            trainer.observe = both
            return trainer.fit()

    def evaluate(self, context: StageContext) -> list[CaseScore]:
        """Score the best weights on the test split, once."""
        data, weights = context.result("datasets"), context.result("train")
        trainer: Trainer = context.result("model")
        scores = score_test(self.config, data, weights, self.processes)
        position = trainer.at
        if self.tracker:
            means = {name: mean_of(scores, name) for name in (DICE, IOU, "loss")}
            self.tracker.log("test", means, step=position.step, epoch=position.best_epoch)
        rows = [vars(score) for score in scores]
        write_atomic(self.run_dir / "artifacts" / "test_scores.json", to_json(rows, indent=1) + "\n")
        return scores

    def export(self, context: StageContext) -> Path:
        scores: list[CaseScore] = context.result("evaluate")
        metadata = self._known_metadata() or {}
        about: dict[str, object] = {
            "run": self.run_dir.name,
            "config_hash": self.config.hash,
            "data_version": str(metadata.get("data_version")),
            "git_commit": str(metadata.get("git_commit")),
            FINAL_DICE: f"{mean_of(scores, DICE):.6f}",
            FINAL_IOU: f"{mean_of(scores, IOU):.6f}",
        }
        if told := metadata.get("attempts"):  # the best of several knows it wherever it goes
            about["attempts"] = told["count"]
        folder = self.run_dir / "artifacts" / "model"
        export_model(
            context.result("train"),
            folder,
            model=self.config.model,
            input_size=self.config.input_size,
            threshold=self.config.evaluation.threshold,
            mirror=self.config.evaluation.mirror,
            second_look=self.config.evaluation.second_look,
            detail=self.config.data.cache_size,
            one_strip=self.config.evaluation.one_strip,
            about=about,
        )
        return folder

    def report(self, context: StageContext) -> Path:
        data, weights = context.result("datasets"), context.result("train")
        scores: list[CaseScore] = context.result("evaluate")
        trainer: Trainer = context.result("model")
        metadata = (self._known_metadata() or {}) | {
            "command_seconds": round(time.monotonic() - self.started, 1),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "duration_s": round(trainer.at.seconds, 1),
            "peak_memory_mib": round(peak_bytes() / 2**20),
        }
        page = write_report(
            self.run_dir,
            title=f"{self.config.name}: {self.run_dir.name}",
            config=self.config.model_dump(mode="json"),
            metadata=metadata,
            metrics=read_metrics(self.run_dir),
            cases=choose_cases(self.config, data.splits["test"], weights, scores, self.processes.device),
            summary={
                FINAL_DICE: mean_of(scores, DICE),
                FINAL_IOU: mean_of(scores, IOU),
                "best_epoch": trainer.at.best_epoch,
            },
        )
        # Written last: a run with this date is complete.
        write_atomic(self.run_dir / METADATA, to_json(metadata, indent=2) + "\n")
        return page

    # ---- around them

    def checkpoints(self, version: str) -> CheckpointManager:
        """The run's checkpoint store, bound to the config and the data version."""
        identity = {"config": self.config.hash, "data version": version}
        return CheckpointManager(self.run_dir / "checkpoints", identity, keep_every=self.config.training.keep_every)

    def close(self, status: Status) -> None:
        """Hand all data to MLflow, or say how to send unsent data later."""
        if self.tracker:
            self.tracker.close()
        if self.sync and self.request.attempt and status == "FINISHED":
            self.sync.close(PatienceSettings.read().wms_mlflow_wait)  # the run's end is told after the choice
        elif self.sync:
            self.request.show(hand_over(self.sync, self.run_dir, status))

    def discard_if_unstarted(self) -> None:
        """Remove a new run's folder if the run failed before `datasets`, so that no half-written folder stays."""
        if not self.request.resume and not (self.run_dir / METADATA).exists():
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _known_metadata(self) -> dict[str, Any] | None:
        path = self.run_dir / METADATA
        return read_object(path) if path.exists() else None


def build_mlops_pipeline(run: TrainingRun) -> MLOpsPipeline:
    """The stages of a run; `datasets` opens metadata and tracker, so that all later stages are tracked.

    One of several attempts has those up to `train`: whether it is worth a look at the test set isn't known yet.
    """
    make = PipelineStage.from_function
    stages = [
        make("load_data", run.load_data),
        make("splits", run.splits, depends_on=("load_data",)),
        make("datasets", run.datasets, depends_on=("splits",)),
        make("model", run.model, depends_on=("datasets",)),
        make("train", run.train, depends_on=("model",)),
    ]
    scoring = [
        make("evaluate", run.evaluate, depends_on=("datasets", "model", "train"), validate=_check_scores),
        make("export", run.export, depends_on=("train", "evaluate")),
        make("report", run.report, depends_on=("datasets", "model", "train", "evaluate")),
    ]
    stages += [] if run.request.attempt else scoring
    return MLOpsPipeline("train", stages, run.run_dir / "stages", folder=run.run_dir)


def score_test(
    config: RunConfig, data: PreparedData, weights: Mapping[str, Tensor], processes: Processes
) -> list[CaseScore]:
    """Score weights on the test split, over all processes."""
    model = trained(config, weights, processes.device)
    return evaluate(model, data.splits["test"], config, size=config.input_size, processes=processes)


def _check_scores(scores: list[CaseScore]) -> None:
    if not scores:
        raise ValueError("no test image was scored")
