"""The training loop, in one process or many; after a kill at any step, a resumed run on a CPU has the same result.

Order, augmentation and learning rate are functions of (seed, epoch, step), and a checkpoint holds the rest of the
state, so that a resumed run repeats an uninterrupted run: bit for bit with a fixed number of threads (OMP_NUM_THREADS),
since another number sums gradients in another order.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from wms.config import RunConfig
from wms.data.dataset import EpochBatches, MeterDataset
from wms.data.pairs import Sample
from wms.errors import DivergedError
from wms.losses import enlarge, per_image_loss
from wms.metrics import DICE, IOU, is_strip_logit, measure
from wms.training.checkpoint import CheckpointManager
from wms.training.distributed import Processes, pick_precision
from wms.training.evaluation import evaluate, mean_of
from wms.training.position import Position, Progress, copy_weights, make_optimiser
from wms.training.schedule import Plateau, cosine_rate, progress_at
from wms.training.tracker import ExperimentTracker

Splits = Mapping[str, Sequence[Sample]]


class Trainer:
    """Trains the recipe's network on splits["train"], choosing by splits["val"].

    All processes call the same methods; only the first process has a tracker and a checkpoint store.
    """

    def __init__(
        self,
        config: RunConfig,
        splits: Splits,
        processes: Processes,
        *,
        tracker: ExperimentTracker | None = None,
        checkpoints: CheckpointManager | None = None,
    ) -> None:
        self.config, self.splits, self.processes = config, splits, processes
        self.tracker, self.checkpoints = tracker, checkpoints
        self.observe: Callable[[Progress], None] = lambda _: None
        torch.manual_seed(config.seed)
        layout = torch.channels_last if config.training.channels_last else torch.contiguous_format
        self.model = config.model.build().to(processes.device)
        self.model.to(memory_format=layout)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.model) if config.training.ema_decay else None
        self.wrapped = processes.wrap(self.model)
        self.optimiser = make_optimiser(self.model, config)
        self.plateau = Plateau(config.optimiser.learning_rate)
        self.precision = pick_precision(config.training.precision, processes.device)
        scale = self.precision == torch.float16 and processes.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=scale)  # type: ignore[attr-defined]
        self.at = Position()
        self.best: dict[str, Tensor] = {}
        self.stop = False  # set by an observer to end the run after the present step
        self.validated: dict[str, float] = {}  # the newest validation
        self._saved = time.monotonic()

    @property
    def scored(self) -> nn.Module:
        """The model that is validated and exported: the averaged model if the recipe averages weights."""
        return self.model if self.ema is None else self.ema

    def resume(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint's state."""
        self.model.load_state_dict(state["model"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.plateau = Plateau(**state["plateau"])
        # A checkpoint of an older version lacks the number of pictures with a strip: that version assumed all.
        self.at = Position(**{"with_strip": state["position"]["images"], **state["position"]})
        self.best = dict(state["best"])
        torch.set_rng_state(state["random"]["cpu"])
        if self.processes.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["random"]["cuda"])

    def fit(self) -> dict[str, Tensor]:
        """Train to the end and return the best weights (a state_dict on the CPU). Raises DivergedError."""
        self._saved = time.monotonic()
        while self.at.epoch <= self.config.training.epochs and not self.at.stopped:
            self._epoch()
            if self.stop:
                break
            self._finish_epoch()
        if not self.best:
            self.best = copy_weights(self.scored)
        return self.best

    def _epoch(self) -> None:
        config, at = self.config, self.at
        size = config.training.size_at(at.epoch)
        train = self.splits["train"]
        batches = EpochBatches(
            len(train),
            batch_size=config.training.batch_size,
            seed=config.seed,
            epoch=at.epoch,
            rank=self.processes.rank,
            world=self.processes.world,
            skip=at.batch,
        )
        loader = DataLoader(
            MeterDataset(train, config, size=size, epoch=at.epoch),
            batch_sampler=batches,
            num_workers=config.training.workers,
            pin_memory=self.processes.device.type == "cuda",
        )
        self.wrapped.train()
        done = sum(batches.sizes[: at.batch])
        started = time.monotonic()
        for count, (image, mask) in zip(batches.sizes[at.batch :], loader, strict=True):
            rate = self._rate(at.epoch, done / len(train))
            self.processes.cores.adapt()
            self._step(image, mask, count, rate)
            done += count
            at.batch, at.step = at.batch + 1, at.step + 1
            now = time.monotonic()
            at.seconds, at.epoch_seconds = at.seconds + now - started, at.epoch_seconds + now - started
            started = now
            self.observe(Progress(progress_at(config, at.epoch, done / len(train)), at.epoch))
            self._save(epoch_end=False)
            if self.stop:
                return

    def _step(self, image: Tensor, mask: Tensor, count: int, rate: float) -> None:
        """Take an optimiser step on this process's part of a global batch of `count` images."""
        config, processes = self.config, self.processes
        layout = torch.channels_last if config.training.channels_last else torch.contiguous_format
        image = image.to(processes.device, non_blocking=True, memory_format=layout)
        mask = mask.to(processes.device, non_blocking=True)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(processes.device.type, self.precision, enabled=self.precision != torch.float32):
            logits = self.wrapped(image)
        logits = enlarge(logits, config.loss)
        losses = per_image_loss(logits, mask, config.loss)
        # DDP averages gradients over processes; this makes the average the mean over the global batch.
        self.scaler.scale(losses.sum() * (processes.world / count)).backward()  # type: ignore[no-untyped-call]
        if config.optimiser.gradient_clip:
            # The clip limit is in units of real gradients, so the scaling for half precision is undone first.
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.model.parameters(), config.optimiser.gradient_clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        self._average()
        self._count(losses.detach(), logits.detach(), mask)

    def _average(self) -> None:
        """Update the exponential mean of the weights; a decay that grows at first forgets the random start."""
        if self.ema is None:
            return
        decay = min(self.config.training.ema_decay, (1 + self.at.step) / (10 + self.at.step))
        with torch.no_grad():
            for mean, new in zip(self.ema.state_dict().values(), self.model.state_dict().values(), strict=True):
                if mean.dtype.is_floating_point:
                    mean.lerp_(new, 1 - decay)
                else:
                    mean.copy_(new)  # batch norm counts batches in whole numbers, which have no mean

    def _count(self, losses: Tensor, logits: Tensor, mask: Tensor) -> None:
        truth = mask > 0.5
        strip = truth.flatten(1).any(dim=1)  # augmentation may move the strip out of a picture, which then has no Dice
        found = measure(is_strip_logit(logits)[:, 0], truth[:, 0])
        sums = torch.stack([losses.double().sum(), *(found[name][strip].sum() for name in (DICE, IOU))]).tolist()
        if not math.isfinite(sums[0]):
            raise DivergedError(
                f"The loss became {sums[0]} in epoch {self.at.epoch}, step {self.at.step + 1}; lower "
                "optimiser.learning_rate or set optimiser.gradient_clip, then start a new run."
            )
        self.at.loss, self.at.dice, self.at.iou = (
            old + new for old, new in zip((self.at.loss, self.at.dice, self.at.iou), sums, strict=True)
        )
        self.at.images += len(losses)
        self.at.with_strip += int(strip.sum())

    def _rate(self, epoch: int, share: float) -> float:
        if self.config.schedule.kind == "plateau":
            return self.plateau.rate
        return cosine_rate(self.config, epoch, share)

    def _finish_epoch(self) -> None:
        config, at = self.config, self.at
        size, last = config.training.size_at(at.epoch), at.epoch == config.training.epochs
        loss, dice, iou, images, with_strip = self.processes.total(at.loss, at.dice, at.iou, at.images, at.with_strip)
        rate = self._rate(at.epoch, 1.0)
        # `images` is the proof that each image was seen once an epoch, over all processes.
        trained = {
            "loss": loss / images,
            "dice": dice / max(with_strip, 1),
            "iou": iou / max(with_strip, 1),
            "learning_rate": rate,
            "images": images,
        }
        speed = images / max(at.epoch_seconds, 1e-9)
        self._track("train", {**trained, "size": float(size)})
        self._track("system", {"images_per_s": speed, "train_seconds": at.seconds})
        message = f"epoch {at.epoch:3d} at {size} px  loss {loss / images:.4f}  {speed:.1f} images/s"
        if at.epoch % config.training.evaluate_every == 0 or last or self._last_of_stage():
            message += "  " + self._validate(size)
        self.observe(Progress(progress_at(config, at.epoch, 1.0), at.epoch, message))
        sums: dict[str, Any] = dict.fromkeys(
            ("batch", "loss", "dice", "iou", "images", "with_strip", "epoch_seconds"), 0
        )
        self.at = replace(at, epoch=at.epoch + 1, **sums)
        self._save(epoch_end=True, final=last or at.stopped)

    def _last_of_stage(self) -> bool:
        training = self.config.training
        return training.size_at(self.at.epoch) != training.size_at(self.at.epoch + 1)

    def _validate(self, size: int) -> str:
        at, training = self.at, self.config.training
        extra = [
            name for name, wanted in (("train", training.evaluate_train), ("test", training.evaluate_test)) if wanted
        ]
        for split in extra:
            # Scored and named separately: a recipe may ask for these figures, but they choose no weights.
            self._track(split, {f"scored_{k}": v for k, v in self._score(split, size).items()})
        result = self.validated = self._score("val", size)
        self._track("val", result)
        self.plateau.update(result["loss"], self.config)
        if result["loss"] < at.lowest_loss or size != self.config.training.size_at(at.improved_epoch or 1):
            at.lowest_loss, at.improved_epoch = result["loss"], at.epoch
        # Only validations at the exported resolution count for the best model.
        if result["dice"] > at.best_dice and size == self.config.input_size:
            at.best_dice, at.best_epoch, at.improved_epoch = result["dice"], at.epoch, at.epoch
            self.best = copy_weights(self.scored)
            if self.checkpoints:
                self.checkpoints.save_best(self.best)
        patience = training.early_stopping
        # Dice may stay at zero until a model finds a strip; a falling loss shows that the model learns.
        at.stopped = bool(patience) and at.epoch - at.improved_epoch >= patience
        return f"val Dice {result['dice']:.4f}  IoU {result['iou']:.4f}" + (
            "  best" if at.best_epoch == at.epoch else ""
        )

    def _score(self, split: str, size: int) -> dict[str, float]:
        scores = evaluate(self.scored, self.splits[split], self.config, size=size, processes=self.processes)
        return {name: mean_of(scores, name) for name in ("loss", DICE, IOU)}

    def _track(self, phase: Any, metrics: Mapping[str, float]) -> None:
        if self.tracker:
            self.tracker.log(phase, metrics, step=self.at.step, epoch=self.at.epoch)

    def _save(self, *, epoch_end: bool, final: bool = False) -> None:
        if self.checkpoints is None:
            return
        keep = self.checkpoints.keep_every
        due = time.monotonic() - self._saved >= self.config.training.checkpoint_seconds
        if due or final or (epoch_end and keep and (self.at.epoch - 1) % keep == 0):
            done = self.at.epoch - 1 if epoch_end else self.at.epoch
            self.checkpoints.save(self._state(), epoch=done, step=self.at.step, epoch_end=epoch_end)
            self._saved = time.monotonic()

    def _state(self) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state_all() if self.processes.device.type == "cuda" else []
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else {},
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "plateau": asdict(self.plateau),
            "position": asdict(self.at),
            "best": self.best,
            "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
        }
