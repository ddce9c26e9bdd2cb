"""Several attempts with one seed each, of which validation alone chooses: the chosen one alone is shown the test set.

The more models are tried on the same test photos, the more of the best one's score is luck. So no other attempt is
ever scored there, and the chosen run says of how many it was the best. A file beside the runs holds what is done; a
killed training is continued from that file and ends with the same choice. Each run's own metadata says the same of the
run, and counts: a file that was edited or is gone lets no other attempt see the test set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wms.config import RunConfig
from wms.errors import DivergedError, NothingToResumeError, ResumeMismatchError, TrackingError, WmsError
from wms.files import object_in, write_atomic
from wms.json_text import to_json
from wms.training.attempts_file import AWAY, DECIDED, PREFIX, Group, part_of, read_groups
from wms.training.distributed import Processes
from wms.training.mlflow_sync import hand_over, open_sync
from wms.training.request import ATTEMPT, Attempt, Request
from wms.training.run_folder import METADATA, find_run


@dataclass(frozen=True)
class Trained:
    """A finished attempt: the folder of its run, and its best validation Dice."""

    run: Path
    val_dice: float


Train = Callable[[RunConfig, Request, Processes], Trained | None]
"""Trains one attempt and scores no test image; gives None in all processes but the first."""


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
        (is_done, name) = _from_first(processes, group and (group.is_done(number), group.begun(number)))
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
            group.end(number, failure=str(error))
            request.show(f"{attempt.text}, seed {own.seed}, came to no model: {error}")
            continue
        if group and trained:
            group.end(number, run=trained.run.name, val_dice=trained.val_dice)
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

    Continued by itself it would be scored on the test set. Its own metadata says so wherever the run is copied to; the
    files of attempts count for runs without such metadata. Raises TrackingError for a damaged one that names the run.
    """
    folder, _ = find_run(request.runs, request.resume_name, None)
    known = object_in(folder / METADATA)
    if (decided := known.get(DECIDED)) is not None:
        if (chosen := part_of(decided, "chosen")) != folder.name:
            raise ResumeMismatchError(
                f"{folder.name} is one of several attempts, of which validation chose {chosen}: that one alone is "
                f"scored on the test photos. Continue it with its seed and `--resume {chosen}`."
            )
        return
    groups = read_groups(request, folder.name)
    counts = [len(group.record.tries) for group in groups if any(one.run == folder.name for one in group.record.tries)]
    if ATTEMPT in known:
        counts.append(part_of(known[ATTEMPT], "count"))
    if counts:
        raise ResumeMismatchError(
            f"{folder.name} is one of {counts[-1]} attempts, of which validation hasn't chosen yet; continue all of "
            f"them, where their file {PREFIX}*.json lies, with `--attempts {counts[-1]} --resume`."
        )


def _open(config: RunConfig, request: Request) -> Group:
    if not request.resume:
        return Group.begin(request.runs, config)
    name = request.resume_name
    found = [
        group
        for group in read_groups(request, name or config.hash[:8])
        if name is None or name == group.path.stem or any(one.run == name for one in group.record.tries)
    ]
    if not found:
        what = f"no attempts named {name}" if name else "no attempts"
        raise NothingToResumeError(f"{request.runs} holds {what}; start them without --resume.")
    group = found[-1]
    seeds = [one.seed for one in group.record.tries]
    if group.record.config_hash != config.hash:
        raise ResumeMismatchError(
            f"{group.path.stem} began with another recipe ({len(seeds)} attempts from seed {seeds[0]} on, hash "
            f"{group.record.config_hash[:8]}, not {config.hash[:8]}). Resume with that recipe, seed and number of "
            "attempts, or start new ones without --resume."
        )
    if seeds != list(range(config.seed, config.seed + config.training.attempts)):
        raise TrackingError(f"{group.path} is damaged: its seeds aren't the recipe's; {AWAY}.")
    group.confirm()
    return group


def _tell(group: Group, config: RunConfig, request: Request) -> None:
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
        if one.val_dice is None or not (known := group.metadata(one)):
            continue
        # An attempt that wasn't chosen is complete with its last epoch: nothing of it is scored or exported.
        end = {} if one is best else {"finished_at": datetime.now(UTC).isoformat(timespec="seconds")}
        metadata = {**end, **known, DECIDED: told}
        write_atomic(run / METADATA, to_json(metadata, indent=2) + "\n")
        if one is not best and (sync := open_sync(run, config.with_changes(seed=one.seed), metadata)):
            request.show(hand_over(sync, run, "FINISHED"))


def _from_first(processes: Processes, told: Any) -> Any:
    """The first process's value, in every process."""
    return processes.gather([told] if processes.first else [])[0]
