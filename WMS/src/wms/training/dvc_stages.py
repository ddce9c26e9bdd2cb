"""The stages of dvc.yaml: `python -m wms.training.dvc_stages prepare|train|evaluate`.

Each stage is a function from files to files over the same code as train.py; DVC decides which stages run. Only the
stages that compute with PyTorch import it: the first stage would otherwise take four times as long.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wms.config import RunConfig, load_config
from wms.data.manifest import Pointer
from wms.data.pairs import Sample
from wms.data.qa import validate_data
from wms.data.splits import SplitRecord
from wms.data.versions import DataItem, data_version
from wms.errors import DataNotFoundError, DataQualityError, ResumeMismatchError, TrackingError, run_main
from wms.files import canonical_json, parse_json, sha256_text, write_atomic
from wms.git import answer
from wms.json_text import to_json
from wms.metrics import FINAL_DICE, FINAL_IOU
from wms.paths import from_root
from wms.regular import read_regular
from wms.text import counted
from wms.training.prepare import PreparedData, hash_samples, load_samples, split_samples


def prepare(config: RunConfig, output: Path) -> dict[str, Any]:
    """Check, hash and decode every pair of the data set, and record the splits of new photos.

    Writes `output`, JSON that is the same for equal data: `images`, `splits` (images of each), `splits_sha256` (over
    each image's split), `data_version` and `test_version` (over all pairs and over those of the test split). Returns
    the content. Raises DataNotFoundError if photos were lost, DataQualityError if the data check refuses photos, and
    the errors of `load_samples` and `split_samples`.
    """
    refuse_lost_files(config.data.folder)
    refuse_bad_files(config)
    data = split_samples(load_samples(config, quiet=False), config)
    facts: dict[str, Any] = {
        "images": len(data.items),
        "splits": dict(sorted(Counter(item.split for item in data.items).items())),
        "splits_sha256": sha256_text(canonical_json({item.image_sha256: item.split for item in data.items})),
        "data_version": data.version,
        "test_version": data_version(item for item in data.items if item.split == "test"),
    }
    write_atomic(output, to_json(facts, indent=2) + "\n")
    return facts


def describe(facts: Mapping[str, Any]) -> str:
    """The result of `prepare` as a sentence."""
    counts = ", ".join(f"{count} {name}" for name, count in facts["splits"].items())
    return f"{facts['images']} pairs ({counts}), data version {facts['data_version'][:8]}."


def refuse_bad_files(config: RunConfig) -> None:
    """Run the data check; files that passed before aren't read again. Raises DataQualityError."""
    splits = config.data.splits_file
    report = validate_data(config.data.folder, splits_file=splits if splits.exists() else None, config=config.data)
    if errors := report["errors"]:
        raise DataQualityError(
            f"The data check refuses {config.data.folder}, {len(errors)} errors: {errors[0]} See all of them: "
            f"`wms data check {config.data.folder} --html qa.html`."
        )


def evaluate(
    config: RunConfig, candidate: Path, *, test_version: str, metrics: Path, scores: Path, device: str = "auto"
) -> dict[str, float]:
    """Score a candidate on the prepared test split, as the candidate's run did.

    `config` is the candidate's with this machine's paths, `test_version` comes from `prepare`. Writes `metrics` (mean
    and median Dice, mean IoU, number of images) and `scores` (a row per photo, worst first) and returns the metrics.
    Raises the errors of `frozen_test_split` and `load_candidate`.
    """
    from wms.training.candidate import load_candidate
    from wms.training.distributed import Processes
    from wms.training.pipeline import score_test

    samples = frozen_test_split(config, test_version)
    _, weights = load_candidate(candidate)
    found = score_test(config, PreparedData({"test": samples}, (), test_version), weights, Processes.join(device))
    dice = [score.dice for score in found]
    summary = {
        FINAL_DICE: statistics.fmean(dice),
        FINAL_IOU: statistics.fmean(score.iou for score in found),
        "median_test_dice": statistics.median(dice),
        "test_images": len(found),
    }
    worst_first = sorted(found, key=lambda score: (score.dice, score.stem))
    rows = [{"rank": rank, **asdict(score)} for rank, score in enumerate(worst_first, start=1)]
    write_atomic(scores, to_json(rows, indent=1) + "\n")
    write_atomic(metrics, to_json(summary, indent=2) + "\n")
    return summary


def frozen_test_split(config: RunConfig, version: str) -> tuple[Sample, ...]:
    """The data set's recorded test split, sorted by stem; decodes and records nothing.

    Raises ResumeMismatchError if the split's version isn't `version`, and the errors of `find_pairs` and `SplitRecord`.
    """
    splits = {entry.sha256: entry.split for entry in SplitRecord(config.data.splits_file).entries}
    samples = tuple(s for s in hash_samples(config.data.folder, config) if splits.get(s.image_sha256) == "test")
    found = data_version(DataItem(s.pair.stem, s.image_sha256, s.mask_sha256, "test") for s in samples)
    if not samples or found != version:
        raise ResumeMismatchError(
            f"The test split of {config.data.folder} isn't the one that was prepared (version {found[:8]}, not "
            f"{version[:8]}); run `dvc repro` again."
        )
    return samples


def refuse_lost_files(folder: Path) -> None:
    """Raise DataNotFoundError if `folder` has fewer photos or masks than its last commit says.

    DVC trusts the folder: before this stage starts, DVC has written the smaller number into images.dvc and masks.dvc.
    Without Git or a committed pointer the check is skipped.
    """
    for kind in ("images", "masks"):
        pointer = folder / f"{kind}.dvc"
        committed = _committed(pointer)
        wanted = Pointer.parse(committed, f"{pointer} in HEAD").nfiles if committed else None
        present = sum(path.is_file() for path in (folder / kind).rglob("*"))
        if wanted is not None and present < wanted:
            raise DataNotFoundError(
                f"{folder / kind} holds {present} of {wanted} files. Bring them back with `git checkout HEAD -- "
                f"{folder}` and `dvc pull`; if they are to be removed, commit {pointer.name} first."
            )


def _committed(path: Path) -> str | None:
    """The file's content in the last commit; None without a repository or a committed file."""
    content = answer(path.parent, "cat-file", "blob", f"HEAD:./{path.name}")
    return None if content is None else content.decode("utf-8", "replace")


def _read_prepared(path: Path) -> dict[str, Any]:
    try:
        facts = parse_json(read_regular(path))
        return {"data_version": str(facts["data_version"]), "test_version": str(facts["test_version"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrackingError(f"{path} can't be read ({error!r}); run `dvc repro --force prepare`.") from error


def build_parser() -> argparse.ArgumentParser:
    """The command line; every path is relative to the working directory, which DVC sets to dvc.yaml's folder."""
    parser = argparse.ArgumentParser(prog="python -m wms.training.dvc_stages", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    paths = {
        "prepare": ("config", "data", "splits", "output"),
        "train": ("config", "data", "splits", "prepared", "runs", "output"),
        "evaluate": ("candidate", "data", "splits", "prepared", "metrics", "scores"),
    }
    for stage, names in paths.items():
        command = stages.add_parser(stage)
        for name in names:
            command.add_argument(f"--{name}", type=Path, required=True)
        if stage != "prepare":
            command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one stage. Raises WmsError."""
    asked = build_parser().parse_args(argv)
    if asked.stage == "prepare":
        print(describe(prepare(_here(load_config(asked.config), asked), asked.output)))
        return 0

    from wms.training.candidate import load_candidate, train_candidate

    if asked.stage == "train":
        config = _here(load_config(asked.config), asked)
        version = _read_prepared(asked.prepared)["data_version"]
        run = train_candidate(config, asked.output, runs=asked.runs, data_version=version, device=asked.device)
        print(f"{asked.output} holds the model of {run}.")
    else:
        config = _here(load_candidate(asked.candidate)[0], asked)
        version = _read_prepared(asked.prepared)["test_version"]
        files = {"metrics": asked.metrics, "scores": asked.scores}
        summary = evaluate(config, asked.candidate, test_version=version, device=asked.device, **files)
        dice, iou, count = (summary[key] for key in (FINAL_DICE, FINAL_IOU, "test_images"))
        print(f"Test Dice {dice:.4f}, IoU {iou:.4f} on {counted(int(count), 'photo')}.")
    return 0


def _here(recipe: RunConfig, asked: argparse.Namespace) -> RunConfig:
    """The recipe with this machine's paths."""
    return recipe.with_changes(
        data__folder=str(asked.data),
        data__splits_file=str(asked.splits),
        data__cache_folder=str(from_root(recipe.data.cache_folder)),
    )


if __name__ == "__main__":
    sys.exit(run_main(main))
