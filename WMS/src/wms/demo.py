"""`make demo`: a model learns to find the reading strip on synthetic meters, and draws it on unseen ones."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from wms.config import load_config
from wms.data.synthetic import write_dataset
from wms.errors import run_main
from wms.files import write_atomic
from wms.inference.cli import main as predict
from wms.paths import ROOT

TRAINING_SEED, UNSEEN_SEED = 1, 2
UNSEEN = 6


def main(argv: Sequence[str] | None = None) -> int:
    """Draw meters, train, predict unseen ones, show where the pictures are. Raises WmsError."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "demo", help="where everything goes")
    parser.add_argument("--photos", type=int, default=240, help="synthetic photos to learn from")
    parser.add_argument("--config", type=Path, default=ROOT / "WMS/configs/demo.yaml", help="recipe")
    arguments = parser.parse_args(argv)
    folder: Path = arguments.folder
    started = time.monotonic()
    training, unseen = folder / "photos", folder / "unseen"
    _draw(training, arguments.photos, TRAINING_SEED)
    _draw(unseen, UNSEEN, UNSEEN_SEED)
    config = load_config(arguments.config).with_changes(
        data__folder=str(training),
        data__splits_file=str(folder / "splits.jsonl"),
        data__cache_folder=str(folder / "cache"),
    )

    from wms.training.pipeline import run_training
    from wms.training.request import Request

    result = run_training(config, Request(runs=folder / "runs"))
    if result is None:  # a process beside the first, under torchrun
        return 0
    masks = folder / "masks"
    code = predict(
        ["--input", str(unseen / "images"), "--output", str(masks), "--model", str(result.model), "--overlay"]
    )
    picture = _contact_sheet(sorted(masks.glob("*_overlay.jpg")), folder / "unseen.png")
    minutes = (time.monotonic() - started) / 60
    print(f"\nTest Dice {result.test_dice:.3f}, IoU {result.test_iou:.3f} after {minutes:.1f} minutes.")
    print(f"The strips it found on {UNSEEN} photos that it never saw: {picture}")
    print(f"How it learned, best and worst photos: {result.report}")
    return code


def _draw(folder: Path, count: int, seed: int) -> None:
    """Photos and masks, drawn once; a set that an interrupted demo left incomplete is completed."""
    if len(list((folder / "masks").glob("*.png"))) >= count:
        return
    write_dataset(folder, count, seed=seed, size=320)
    print(f"Drew {count} synthetic water meters in {folder}.")


def _contact_sheet(pictures: Sequence[Path], path: Path, side: int = 320) -> Path:
    """The pictures side by side, three in a row, in one PNG."""
    rows = -(-len(pictures) // 3)
    sheet = Image.new("RGB", (3 * side, rows * side), "white")
    for index, name in enumerate(pictures):
        with Image.open(name) as image:
            image.thumbnail((side, side))
            left = index % 3 * side + (side - image.width) // 2
            top = index // 3 * side + (side - image.height) // 2
            sheet.paste(image, (left, top))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(temporary := path.with_suffix(".tmp.png"))
    write_atomic(path, temporary.read_bytes())
    temporary.unlink()
    return path


if __name__ == "__main__":
    raise SystemExit(run_main(main))
