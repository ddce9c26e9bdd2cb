"""The file of several attempts beside their runs, and what each run's own metadata says of the attempt.

The file holds what is done. The runs' metadata says the same and counts: where the two differ, one of them was edited.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from wms.config import RunConfig
from wms.errors import DivergedError, TrackingError
from wms.files import object_in, write_atomic
from wms.json_text import to_json
from wms.records import StoredRecord
from wms.regular import read_regular
from wms.training.request import ATTEMPT, Request
from wms.training.run_folder import METADATA

PREFIX: Final = "attempts_"
DECIDED: Final = "attempts"
"""The key in a run's metadata of the finished choice."""
AWAY: Final = "bring its content back from a copy, or move the file away and start new attempts without --resume"


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

    @property
    def tried(self) -> list[dict[str, Any]]:
        """What came of each attempt."""
        return [one.model_dump(exclude={"failure"} if not one.failure else None) for one in self.tries]

    def told(self) -> dict[str, Any]:
        """The choice for a run's metadata: how many were tried, each with its validation Dice, and which was chosen."""
        count, chosen = len(self.tries), self.best.run
        return {"count": count, "chosen": chosen, "chosen_by": "validation Dice", "tried": self.tried}


class Group:
    """The file of a training's attempts, which the first process reads and writes."""

    def __init__(self, path: Path, record: Attempts) -> None:
        self.path, self.record = path, record

    @classmethod
    def begin(cls, root: Path, config: RunConfig) -> Group:
        stamp, seeds = f"{datetime.now(UTC):%Y%m%d_%H%M%S}", range(config.seed, config.seed + config.training.attempts)
        group = cls(
            root / f"{PREFIX}{stamp}_{config.hash[:8]}.json",
            Attempts(config_hash=config.hash, tries=tuple(Try(seed=seed) for seed in seeds)),
        )
        root.mkdir(parents=True, exist_ok=True)
        group._write()
        return group

    @classmethod
    def read(cls, path: Path) -> Group:
        """The attempts in a file. Raises TrackingError for a damaged file."""
        try:
            content = read_regular(path)
        except OSError as error:
            raise TrackingError(f"Can't read {path}: {error.strerror}; {AWAY}.") from error
        return cls(path, Attempts.parse(content, str(path), TrackingError, AWAY))

    def keep(self, number: int, **values: object) -> None:
        """Record news of an attempt."""
        tries = list(self.record.tries)
        tries[number] = tries[number].changed(**values)
        self.record = self.record.changed(tries=tuple(tries))
        self._write()

    def end(self, number: int, **values: object) -> None:
        """Record an attempt's end, in its run's own metadata first."""
        one = self.record.tries[number].changed(**values)
        if known := self.metadata(one):
            own = {"number": number + 1, "count": len(self.record.tries), **_end_of(one)}
            text = to_json({**known, ATTEMPT: own}, indent=2) + "\n"
            write_atomic(self.path.parent / one.run / METADATA, text)
        self.keep(number, **values)

    def metadata(self, one: Try) -> dict[str, Any]:
        """The metadata of an attempt's run; empty without a run."""
        return object_in(self.path.parent / one.run / METADATA) if one.run else {}

    def is_done(self, number: int) -> bool:
        """Whether nothing is left to train; an end that the run's own metadata doesn't confirm is trained up to again.

        After the choice a run's folder may be gone.
        """
        known, one = [self.metadata(one) for one in self.record.tries], self.record.tries[number]
        is_decided = any(DECIDED in metadata for metadata in known)
        return one.is_done and (is_decided or _end_in(known[number]) is not None)

    def confirm(self) -> None:
        """Raise TrackingError where the runs' own metadata tell of another end of an attempt, or of another choice."""
        for one in self.record.tries:
            known = self.metadata(one)
            decided, end = known.get(DECIDED), _end_in(known)
            if decided is not None and part_of(decided, "tried") != self.record.tried:
                chosen = part_of(decided, "chosen")
                raise TrackingError(
                    f"{self.path} and {one.run}/{METADATA} tell of different attempts: one of the two was changed. "
                    f"Validation chose {chosen}, and a finished choice stays: bring the content back from a copy, or "
                    f"continue the chosen run alone with its seed and `--resume {chosen}`."
                )
            if one.is_done and end is not None and end != _end_of(one):
                raise TrackingError(
                    f"{self.path} says of {one.run} validation Dice {one.val_dice}, but {one.run}/{METADATA} says "
                    f"{end['val_dice']}: one of the two files was changed; {AWAY}."
                )

    def begun(self, number: int) -> str:
        """The name of an attempt's run if that can be continued; else empty."""
        name = self.record.tries[number].run
        run = self.path.parent / name
        usable = name and object_in(run / METADATA) and (run / "checkpoints" / "index.json").is_file()
        return name if usable else ""

    def _write(self) -> None:
        write_atomic(self.path, self.record.model_dump_json(indent=2) + "\n")


def read_groups(request: Request, wanted: str) -> list[Group]:
    """The readable attempts beside the runs, oldest first; a damaged file is skipped with a note.

    Raises TrackingError for a damaged file that has `wanted`, the name of a run or the like, in its name or content.
    """
    groups = []
    for path in sorted(request.runs.glob(f"{PREFIX}*.json")):
        try:
            groups.append(Group.read(path))
        except TrackingError as error:
            if _names(path, wanted):
                raise
            reason, _, _ = str(error).rpartition("; ")
            request.show(f"warning: {reason}; it is left out, so move it away, or bring its content back from a copy.")
    return groups


def _names(path: Path, wanted: str) -> bool:
    with contextlib.suppress(OSError):  # what can't be read names nothing
        return wanted in path.stem or wanted.encode() in read_regular(path)
    return False


def _end_of(one: Try) -> dict[str, Any]:
    return {"val_dice": one.val_dice, "failure": one.failure}


def _end_in(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """The end of an attempt in its run's metadata; None before the end."""
    own = metadata.get(ATTEMPT)
    return {key: part_of(own, key) for key in ("val_dice", "failure")} if part_of(own, "failure") is not None else None


def part_of(values: Any, key: str) -> Any:
    """A value of a JSON object; None for other JSON."""
    return values.get(key) if isinstance(values, dict) else None
