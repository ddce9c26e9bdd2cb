"""Several attempts with one seed each, of which validation alone chooses: the chosen one alone is shown the test set.

The more models are tried on the same test photos, the more of the best one's score is luck. So no other attempt is
ever scored there, and the chosen run says of how many it was the best. A file beside the runs holds what is done; a
killed training is continued from that file and ends with the same choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from wms.config import RunConfig
from wms.errors import DivergedError, NothingToResumeError, ResumeMismatchError, TrackingError, WmsError
from wms.files import object_in, write_atomic
from wms.json_text import to_json
from wms.records import StoredRecord
from wms.regular import read_regular
from wms.training.distributed import Processes
from wms.training.mlflow_sync import hand_over, open_sync
from wms.training.request import Attempt, Request
from wms.training.run_folder import METADATA, find_run

PREFIX: Final = "attempts_"


class Try(StoredRecord):
    """A seed: the folder of its run, empty before its beginning, and its best validation Dice, None before its end.

    `failure` says why training this seed came to no model; such a seed has no Dice.
    """

    seed: int
    run: str = ""
    val_dice: float | None = None
    failure: str = ""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to train."""
        return self.val_dice is not None or bool(self.failure)


class Attempts(StoredRecord):
    """All attempts of a training, in the order of their seeds; `config_hash` is that of the recipe with its number."""

    config_hash: str
    tries: tuple[Try, ...]

    @property
    def best(self) -> Try:
        """The attempt with the highest validation Dice; of equal ones the first. Raises DivergedError without any."""
        scored = [one for one in self.tries if one.val_dice is not None]
        if not scored:
            raise DivergedError(f"Each of {len(self.tries)} attempts failed; the first: {self.tries[0].failure}")
        return max(scored, key=lambda one: one.val_dice or 0.0)

    def told(self) -> dict[str, Any]:
        """The choice for a run's metadata: how many were tried, each with its validation Dice, and which was chosen."""
        tried = [one.model_dump(exclude={"failure"} if not one.failure else None) for one in self.tries]
        return {"count": len(self.tries), "chosen": self.best.run, "chosen_by": "validation Dice", "tried": tried}


@dataclass(frozen=True)
class Trained:
    """A finished attempt: the folder of its run, and its best validation Dice."""

    run: Path
    val_dice: float


Train = Callable[[RunConfig, Request, Processes], Trained | None]
"""Trains one attempt and scores no test image; gives None in all processes but the first."""


class _Group:
    """The file of a training's attempts, which the first process reads and writes."""

    def __init__(self, path: Path, record: Attempts) -> None:
        self.path, self.record = path, record

    @classmethod
    def begin(cls, root: Path, config: RunConfig) -> _Group:
        stamp, seeds = f"{datetime.now(UTC):%Y%m%d_%H%M%S}", range(config.seed, config.seed + config.training.attempts)
        group = cls(
            root / f"{PREFIX}{stamp}_{config.hash[:8]}.json",
            Attempts(config_hash=config.hash, tries=tuple(Try(seed=seed) for seed in seeds)),
        )
        root.mkdir(parents=True, exist_ok=True)
        group._write()
        return group

    @classmethod
    def read(cls, path: Path) -> _Group:
        return cls(path, Attempts.parse(read_regular(path), str(path), TrackingError, "start a new training"))

    def keep(self, number: int, **values: object) -> None:
        """Record news of an attempt."""
        tries = list(self.record.tries)
        tries[number] = tries[number].changed(**values)
        self.record = self.record.changed(tries=tuple(tries))
        self._write()

    def begun(self, number: int) -> str:
        """The name of an attempt's run if that can be continued; else empty."""
        name = self.record.tries[number].run
        run = self.path.parent / name
        usable = name and object_in(run / METADATA) and (run / "checkpoints" / "index.json").is_file()
        return name if usable else ""

    def _write(self) -> None:
        write_atomic(self.path, self.record.model_dump_json(indent=2) + "\n")


def choose(config: RunConfig, request: Request, processes: Processes, train: Train) -> tuple[RunConfig, Request]:
    """Train each attempt that is left, and choose; returns config and request that finish the chosen run.

    With `request.resume` the newest attempts of `request.runs` are continued, or those that `request.resume_name`
    names, by themselves or by a run. Raises NothingToResumeError without such attempts, ResumeMismatchError for those
    of another recipe, DivergedError where no attempt came to a model, and the errors of `train`.
    """
    group = _open(config, request) if processes.first else None
    count = config.training.attempts
    for number in range(count):
        own = config.with_changes(seed=config.seed + number, training__attempts=1)
        (is_done, name) = _from_first(processes, group and (group.record.tries[number].is_done, group.begun(number)))
        if is_done:
            continue
        attempt = Attempt(number, count, lambda run, at=number: group.keep(at, run=run) if group else None)  # type: ignore[misc]
        asked = replace(request, attempt=attempt, resume=bool(name), resume_name=name or None)
        try:
            trained = train(own, asked, processes)
        except WmsError as error:
            # Other processes may not have met this: then all of them have to end.
            if error.exit_code != DivergedError.exit_code or processes.world > 1 or group is None:
                raise
            group.keep(number, failure=str(error))
            request.show(f"{attempt.text}, seed {own.seed}, came to no model: {error}")
            continue
        if group and trained:
            group.keep(number, run=trained.run.name, val_dice=trained.val_dice)
            request.show(f"{attempt.text}, seed {own.seed}: validation Dice {trained.val_dice:.4f}")
    seed, run = _from_first(processes, group and (group.record.best.seed, group.record.best.run))
    if group:
        _tell(group, config, request)
    return (
        config.with_changes(seed=seed, training__attempts=1),
        replace(request, attempt=None, resume=True, resume_name=run),
    )


def refuse_one_of_several(request: Request) -> None:
    """Raise ResumeMismatchError for a run that is one of several attempts and isn't, or not yet, the chosen one.

    Continued by itself it would be scored on the test set.
    """
    folder, _ = find_run(request.runs, request.resume_name, None)
    for group in map(_Group.read, _files(request.runs)):
        tries = group.record.tries
        is_chosen = all(one.is_done for one in tries) and group.record.best.run == folder.name
        if not is_chosen and any(one.run == folder.name for one in tries):
            raise ResumeMismatchError(
                f"{folder.name} is one of {len(tries)} attempts, of which validation chooses; continue all of them "
                f"with `--attempts {len(tries)} --resume`."
            )


def _open(config: RunConfig, request: Request) -> _Group:
    if not request.resume:
        return _Group.begin(request.runs, config)
    name = request.resume_name
    found = [
        group
        for group in map(_Group.read, _files(request.runs))
        if name is None or name == group.path.stem or any(one.run == name for one in group.record.tries)
    ]
    if not found:
        what = f"no attempts named {name}" if name else "no attempts"
        raise NothingToResumeError(f"{request.runs} holds {what}; start them without --resume.")
    group = found[-1]
    if group.record.config_hash != config.hash:
        seeds = [one.seed for one in group.record.tries]
        raise ResumeMismatchError(
            f"{group.path.stem} began with another recipe ({len(seeds)} attempts from seed {seeds[0]} on, hash "
            f"{group.record.config_hash[:8]}, not {config.hash[:8]}). Resume with that recipe, seed and number of "
            "attempts, or start new ones without --resume."
        )
    return group


def _files(root: Path) -> Sequence[Path]:
    return sorted(root.glob(f"{PREFIX}*.json"))


def _tell(group: _Group, config: RunConfig, request: Request) -> None:
    """Write the choice into each attempt's metadata, and end at MLflow those that weren't chosen."""
    told, best = group.record.told(), group.record.best
    others = ", ".join(
        f"{one.val_dice:.4f}" for one in group.record.tries if one is not best and one.val_dice is not None
    )
    request.show(
        f"Chosen on validation from {len(group.record.tries)} attempts: {best.run}, seed {best.seed}, Dice "
        f"{best.val_dice:.4f}{f' (the others: {others})' if others else ''}. It alone is scored on the test photos."
    )
    for one in group.record.tries:
        run = group.path.parent / one.run
        if one.val_dice is None or not (known := object_in(run / METADATA)):
            continue
        # An attempt that wasn't chosen is complete with its last epoch: nothing of it is scored or exported.
        end = {} if one is best else {"finished_at": datetime.now(UTC).isoformat(timespec="seconds")}
        metadata = {**end, **known, "attempts": told}
        write_atomic(run / METADATA, to_json(metadata, indent=2) + "\n")
        if one is not best and (sync := open_sync(run, config.with_changes(seed=one.seed), metadata)):
            request.show(hand_over(sync, run, "FINISHED"))


def _from_first(processes: Processes, told: Any) -> Any:
    """The first process's value, in every process."""
    return processes.gather([told] if processes.first else [])[0]
