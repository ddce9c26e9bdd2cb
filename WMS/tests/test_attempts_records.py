"""The file of several attempts against the runs' own metadata: neither an edit nor a loss remakes a finished choice.

The attempts here are recorded as a training records them; their networks are left out, because nothing may be trained.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from small import config_in

from wms.config import RunConfig
from wms.errors import DivergedError, ResumeMismatchError, TrackingError
from wms.files import object_in, write_atomic
from wms.json_text import to_json
from wms.training.attempts import Trained, choose, refuse_one_of_several
from wms.training.attempts_file import PREFIX
from wms.training.distributed import Processes
from wms.training.request import Request
from wms.training.run_folder import METADATA, create_run_directory, find_run

DICE = (0.565, 0.118, 0.383)


class Attempts:
    """Three attempts in a folder of runs, whose training is a table of Dice; `trained` are the seeds asked for."""

    def __init__(self, folder: Path, dice: Sequence[float | None] = DICE) -> None:
        self.folder, self.runs, self.dice = folder, folder / "runs", dice
        self.trained, self.said = list[int](), list[str]()

    def config(self, count: int = len(DICE)) -> RunConfig:
        return config_in(self.folder, training={"attempts": count})

    def request(self, resume: bool | str = False, runs: Path | None = None) -> Request:
        name = resume if isinstance(resume, str) else None
        return Request(runs or self.runs, "cpu", bool(resume), name, show=self.said.append)

    def choose(self, resume: bool | str = False) -> str:
        """The chosen run's name."""
        _, request = choose(self.config(), self.request(resume), Processes(torch.device("cpu")), self._train)
        return str(request.resume_name)

    def _train(self, config: RunConfig, request: Request, _: Processes) -> Trained:
        self.trained.append(config.seed)
        attempt = request.attempt
        assert attempt is not None
        if request.resume:
            run, _config = find_run(request.runs, request.resume_name, config)
        else:
            run = create_run_directory(request.runs, config)
            attempt.begun(run.name)
            write_atomic(run / METADATA, to_json({**attempt.about, "config_hash": config.hash}))
            write_atomic(run / "checkpoints/index.json", "[]")
        if (dice := self.dice[attempt.number]) is None:
            raise KeyboardInterrupt if attempt.number == 1 else DivergedError("The loss became nan.")
        return Trained(run, dice)

    @property
    def file(self) -> Path:
        (path,) = self.runs.glob(f"{PREFIX}*.json")
        return path

    def names(self) -> list[str]:
        """The names of the runs, in the order of their seeds."""
        found = sorted(self.runs.glob("run_*"), key=lambda run: int(object_in(run / "config.json")["seed"]))
        return [run.name for run in found]

    def edit(self, old: str, new: str) -> None:
        text = self.file.read_text(encoding="utf-8")
        assert old in text
        self.file.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(("old", "new"), [("0.118", "0.99"), ("0.565", "0.05"), ('"failure": ""', '"failure": "x"')])
def test_an_edited_file_remakes_no_finished_choice(tmp_path: Path, old: str, new: str) -> None:
    done = Attempts(tmp_path)
    chosen = done.choose()
    before = {path: path.read_bytes() for path in done.runs.rglob(METADATA)}
    done.edit(old, new)
    with pytest.raises(TrackingError, match=f"Validation chose {chosen}, and a finished choice stays.*{chosen}`"):
        done.choose(resume=True)
    assert {path: path.read_bytes() for path in done.runs.rglob(METADATA)} == before
    done.edit(new, old)
    assert done.choose(resume=True) == chosen and done.trained == [0, 1, 2], "nothing is trained again"


def test_before_the_choice_too_the_runs_own_dice_counts(tmp_path: Path) -> None:
    killed = Attempts(tmp_path, (0.565, None, 0.383))
    with pytest.raises(KeyboardInterrupt):
        killed.choose()
    killed.edit("0.565", "0.1")
    with pytest.raises(TrackingError, match=r"validation Dice 0\.1, but run_.*/metadata\.json says 0\.565"):
        killed.choose(resume=True)
    killed.edit("0.1", "0.565")
    killed.dice = DICE
    assert killed.choose(resume=True) == killed.names()[0] and killed.trained == [0, 1, 1, 2]


def test_a_dice_that_no_run_confirms_is_trained_up_to_again(tmp_path: Path) -> None:
    """Such as that of a lost folder, or of a kill between the two files."""
    killed = Attempts(tmp_path, (0.565, None, 0.383))
    with pytest.raises(KeyboardInterrupt):
        killed.choose()
    shutil.rmtree(killed.runs / killed.names()[0])
    killed.dice = DICE
    killed.choose(resume=True)
    assert killed.trained == [0, 1, 0, 1, 2]


def test_after_the_choice_the_others_folders_may_go(tmp_path: Path) -> None:
    done = Attempts(tmp_path)
    chosen = done.choose()
    for name in {*done.names()} - {chosen}:
        shutil.rmtree(done.runs / name)
    assert done.choose(resume=True) == chosen and done.trained == [0, 1, 2]


def test_a_failed_seed_is_on_record_in_its_run(tmp_path: Path) -> None:
    done = Attempts(tmp_path, (None, 0.118, 0.383))
    done.choose()
    own = object_in(done.runs / done.names()[0] / METADATA)["attempt"]
    assert own == {"number": 1, "count": 3, "val_dice": None, "failure": "The loss became nan."}
    assert done.choose(resume=True) == done.names()[2] and done.trained == [0, 1, 2]


def test_a_file_with_other_seeds_is_damaged(tmp_path: Path) -> None:
    done = Attempts(tmp_path)
    done.choose()
    record = json.loads(done.file.read_bytes())
    done.file.write_text(json.dumps({**record, "tries": record["tries"][:2]}), encoding="utf-8")
    with pytest.raises(TrackingError, match="its seeds aren't the recipe's; bring its content back"):
        done.choose(resume=True)


@pytest.mark.parametrize("where", ["runs", "copied"])
def test_without_the_file_a_run_knows_by_itself_that_it_was_not_chosen(tmp_path: Path, where: str) -> None:
    done = Attempts(tmp_path)
    chosen = done.choose()
    done.file.unlink()
    runs = done.runs if where == "runs" else Path(shutil.copytree(done.runs, tmp_path / where))
    for name in done.names():
        if name == chosen:
            refuse_one_of_several(done.request(name, runs))
            continue
        with pytest.raises(ResumeMismatchError, match=f"of which validation chose {chosen}: that one alone"):
            refuse_one_of_several(done.request(name, runs))


def test_without_the_file_a_run_knows_that_nothing_is_chosen_yet(tmp_path: Path) -> None:
    killed = Attempts(tmp_path, (0.565, None, 0.383))
    with pytest.raises(KeyboardInterrupt):
        killed.choose()
    killed.file.unlink()
    for name in killed.names():
        with pytest.raises(ResumeMismatchError, match=r"is one of 3 attempts.*`--attempts 3 --resume`"):
            refuse_one_of_several(killed.request(name))


def test_metadata_without_sense_is_no_leave_to_score(tmp_path: Path) -> None:
    done = Attempts(tmp_path)
    name = [done.choose(), *done.names()][0]
    path = done.runs / name / METADATA
    for nonsense in ("three", {}, {"chosen": None}):
        write_atomic(path, to_json({**object_in(path), "attempts": nonsense}))
        with pytest.raises(ResumeMismatchError, match="one of several attempts"):
            refuse_one_of_several(done.request(name))


@pytest.mark.parametrize("damage", ["{", "folder"])
def test_a_damaged_file_of_other_attempts_blocks_nothing(tmp_path: Path, damage: str) -> None:
    done = Attempts(tmp_path)
    single = create_run_directory(done.runs, done.config(1))
    chosen = done.choose()
    other = done.runs / f"{PREFIX}20260101_000000_00000000.json"
    other.mkdir() if damage == "folder" else other.write_text(damage)
    refuse_one_of_several(done.request(single.name))
    assert len(done.said) > 1 and other.name in done.said[-1] and "left out, so move it away" in done.said[-1]
    assert done.choose(resume=True) == chosen
    for given in (other.stem, chosen):
        done.said.clear()
        if given == chosen:
            assert done.choose(given) == chosen
        else:
            with pytest.raises(TrackingError, match="move the file away and start new attempts without --resume"):
                done.choose(given)


def test_a_damaged_file_that_names_the_run_is_no_leave_to_score(tmp_path: Path) -> None:
    done = Attempts(tmp_path)
    single = create_run_directory(done.runs, done.config(1))
    other = done.runs / f"{PREFIX}20260101_000000_00000000.json"
    other.write_text(f'{{"tries": [{{"run": "{single.name}"')
    with pytest.raises(TrackingError, match=r"is damaged: .*bring its content back from a copy"):
        refuse_one_of_several(done.request(single.name))
