"""Carries out a training: a run or several attempts, in one process or many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor

from wms.config import RunConfig
from wms.errors import WmsError
from wms.metrics import DICE, IOU
from wms.training.attempts import Trained, choose, refuse_one_of_several
from wms.training.checkpoint import CheckpointManager
from wms.training.distributed import Processes
from wms.training.evaluation import CaseScore, marks_nothing, mean_of
from wms.training.loop import Trainer
from wms.training.memory import keep_freed_memory
from wms.training.mlflow_sender import Status
from wms.training.pipeline import TrainingRun, build_mlops_pipeline, score_test
from wms.training.prepare import PreparedData, load_samples, split_samples
from wms.training.request import Request, TrainingResult
from wms.training.run_folder import find_run, log_to, stop_logging


def run_training(config: RunConfig, request: Request) -> TrainingResult | None:
    """Train on the whole data set, once or in the recipe's attempts; returns None in all processes but the first.

    Raises a WmsError whose exit code tells the kind of failure; the message names the failing stage.

    >>> result = run_training(load_config(recipe), Request(runs=folder))  # doctest: +SKIP
    """
    keep_freed_memory()
    processes = Processes.join(request.device)
    try:
        if config.training.attempts > 1:
            config, request = choose(config, request, processes, train_attempt)
        elif request.resume:
            refuse_one_of_several(request)
        if processes.first:
            return _first(config, request, processes)
        score_test(config, *_follow(config, request, processes), processes)
        return None
    finally:
        processes.leave()


def train_attempt(config: RunConfig, request: Request, processes: Processes) -> Trained | None:
    """Train one of several attempts, without the test set; returns None in all processes but the first."""
    if not processes.first:
        _follow(config, request, processes)
        return None
    run, artifacts = _run(config, request, processes)
    return Trained(run.run_dir, cast(Trainer, artifacts["model"]).at.best_dice)


def _first(config: RunConfig, request: Request, processes: Processes) -> TrainingResult:
    run, found = _run(config, request, processes)
    artifacts = run.run_dir / "artifacts"
    scores = cast(list[CaseScore], found["evaluate"])
    return TrainingResult(
        run.run_dir,
        mean_of(scores, DICE),
        mean_of(scores, IOU),
        artifacts / "model",
        artifacts / "report.html",
        marks_nothing(scores),
    )


def _run(config: RunConfig, request: Request, processes: Processes) -> tuple[TrainingRun, Mapping[str, object]]:
    """Carry out a run's stages; returns the run and the results of the stages."""
    run = TrainingRun(config, request, processes)
    pipeline, handler = build_mlops_pipeline(run), log_to(run.run_dir)
    status: Status = "FAILED"
    try:
        pipeline.run_pipeline()
        status = "FINISHED"
    except (WmsError, OSError, KeyboardInterrupt) as error:
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else status
        run.discard_if_unstarted()
        raise
    finally:
        run.close(status)
        stop_logging(handler)
    return run, pipeline.artifacts


def _follow(config: RunConfig, request: Request, processes: Processes) -> tuple[PreparedData, dict[str, Tensor]]:
    """Train in a process that only computes: the process follows the first process's steps and writes nothing."""
    processes.wait()
    data = split_samples(load_samples(config), config)
    trainer = Trainer(config, data.splits, processes)
    if request.resume:
        run_dir, _ = find_run(request.runs, request.resume_name, config)
        identity = {"config": config.hash, "data version": data.version}
        trainer.resume(CheckpointManager(run_dir / "checkpoints", identity, keep_every=0).load())
    return data, trainer.fit()
