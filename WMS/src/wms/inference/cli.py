"""`wms predict`: a mask for every photo in a folder."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from wms.command import Command, any_path, is_own, whole
from wms.data.heic import read_own_photo
from wms.data.qa.names import shown
from wms.errors import DiskFullError, UnwritableError, UsageError, WmsError
from wms.files import write_atomic
from wms.inference.overlay import draw_outline
from wms.inference.photos import Left, find_photos
from wms.inference.predictor import PREDICTED, Predictor, mask_file
from wms.pictures import encoded, titled

# From this file, not from where the user stands: the command works in every folder.
_WMS: Final = Path(__file__).resolve().parents[3]
INPUT: Final = _WMS / "data" / "predictions" / "photos_to_predict"
OUTPUT: Final = _WMS / "data" / "predictions" / "predicted_masks"
MODELS: Final = _WMS / "models"

_OWN: Final = re.compile(titled(PREDICTED) + rb"|\xff\xd8.{0,200}?" + PREDICTED.encode(), re.DOTALL)
"""How each mask and overlay of this command begins: no other file is replaced."""

_PLAIN_SECONDS: Final = 5.0


def run(options: argparse.Namespace) -> int:
    """Write a mask for each photo; returns 0, or the exit code of the first photo that has no mask in the end.

    A photo that can't be read stops no other; a list at the end names every file that wasn't predicted, and why.
    Raises UsageError, DataNotFoundError, ModelNotFoundError or ModelDamagedError before any work, and DiskFullError or
    UnwritableError when no mask can be written.
    """
    _refuse_nonsense(options)
    photos, left = find_photos(options.input, options.output)
    _refuse_foreign(photos, options.output, with_overlay=options.overlay)
    predictor = Predictor(options.model, threads=options.threads)
    started = time.perf_counter()
    failed: list[Left] = []
    with _Progress(len(photos)) as progress:
        for path in photos:
            try:
                image = read_own_photo(path)
                mask = predictor.predict(image, options.threshold)
                _write(options.output, path.stem, image, mask, with_overlay=options.overlay)
            except DiskFullError:
                raise
            except WmsError as error:
                if isinstance(error, UnwritableError) and not _is_writable(options.output):
                    raise
                progress.say(f"error: {error}")
                failed.append(Left(path, str(error).removeprefix(f"{path} "), error.exit_code))
            progress.step()
    seconds = time.perf_counter() - started
    done = len(photos) - len(failed)
    total = len(photos) + sum(one.exit_code != 0 for one in left)
    print(
        f"Predicted {done} of {total} photos in {seconds:.1f} s "
        f"({done / seconds:.1f} images/s); the masks are in {options.output}."
    )
    return _list([*failed, *left])


def _list(missed: list[Left]) -> int:
    if missed:
        print("Not predicted:")
    for one in missed:
        print(f"  {shown(one.path.name)}: {one.reason.rstrip('.')}.")
    return next((one.exit_code for one in missed if one.exit_code), 0)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a prediction."""
    parser.add_argument(
        "--input", type=any_path, default=INPUT, help="folder with the photos, or one photo (default: %(default)s)"
    )
    parser.add_argument("--output", type=any_path, default=OUTPUT, help="folder for the masks (default: %(default)s)")
    parser.add_argument(
        "--model", type=any_path, default=MODELS, help="folder of the model, or its .onnx file (default: %(default)s)"
    )
    parser.add_argument("--overlay", action="store_true", help="also write each photo with the strip outlined")
    parser.add_argument("--threshold", type=float, help="a pixel above this probability is strip (default: its own)")
    parser.add_argument(
        "--threads", type=whole(1, 1024), help="threads for one prediction (default: ONNX Runtime decides)"
    )


def _refuse_nonsense(options: argparse.Namespace) -> None:
    if options.threshold is not None and not 0 < options.threshold < 1:
        raise UsageError(f"--threshold {options.threshold:g} isn't between 0 and 1; try 0.5.")


def _is_writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK)


def _write(folder: Path, stem: str, image: NDArray[np.uint8], mask: NDArray[np.bool_], *, with_overlay: bool) -> None:
    write_atomic(folder / f"{stem}.png", mask_file(mask))
    if with_overlay:
        outlined = Image.fromarray(draw_outline(image, mask))
        write_atomic(folder / f"{stem}_overlay.jpg", encoded(outlined, comment=PREDICTED.encode()))


def _refuse_foreign(photos: Sequence[Path], folder: Path, *, with_overlay: bool) -> None:
    """Raise UsageError for a file that a prediction would replace and none has written: a drawn mask, a photo."""
    ends = (".png", "_overlay.jpg") if with_overlay else (".png",)
    for path in (folder / f"{photo.stem}{end}" for photo in photos for end in ends):
        try:
            may_replace = is_own(path, _OWN)
        except OSError as error:
            raise UnwritableError(f"Can't read {path}: {error.strerror}.") from error
        if not may_replace:
            raise UsageError(
                f"{shown(str(path))} is there already and isn't a prediction of this command, so nothing was changed: "
                "move it away, or name another folder by --output."
            )


class _Progress(Progress):
    """A bar with an estimate in a terminal; a line every few seconds in a log."""

    def __init__(self, total: int) -> None:
        columns = (TextColumn("Predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        super().__init__(*columns, console=Console(stderr=True, emoji=False), disable=not sys.stderr.isatty())
        self._total, self._done, self._bar = total, 0, self.add_task("Predicting", total=total)
        self._started = self._spoke = time.monotonic()

    def step(self) -> None:
        self.advance(self._bar)
        self._done += 1
        now = time.monotonic()
        if self.disable and self._done < self._total and now - self._spoke >= _PLAIN_SECONDS:
            self._spoke = now
            left = (now - self._started) / self._done * (self._total - self._done)
            self.say(f"Predicted {self._done} of {self._total} photos; about {left:.0f} s left.")

    def say(self, text: str) -> None:
        # A path may hold square brackets, which rich would take for markup.
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


COMMAND: Final = Command("Mark the reading strip of the water meter on every photo of a folder.", declare, run)
