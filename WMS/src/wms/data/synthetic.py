"""Synthetic water-meter photos with exact masks, for demos and tests that may not hold real photos.

    wms data draw FOLDER --count 120 --seed 0

writes FOLDER/images/*.jpg and FOLDER/masks/*.png. A mask is white (255) where the reading strip is, black (0)
elsewhere, and as large as the upright image. The same seed always writes the same files.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from rich.console import Console
from rich.progress import Progress

from wms.command import Command, new_folder, number, whole
from wms.data.masks import black_white
from wms.data.synthetic_drawing import Strip, draw_face, plan_strip
from wms.data.synthetic_scene import draw_background, photograph
from wms.errors import DataNotFoundError, PairingError, UsageError, from_os_error
from wms.links import remove_files
from wms.start import run_renamed

Matrix = NDArray[np.float64]

ASPECTS = ((4, 3), (3, 4), (1, 1))
MASK_FORMATS = ("png", "jpg", "bmp")
MIN_SIZE = 64
OVERSAMPLING = 2
ORIENTATION_TAG = 0x0112
# EXIF orientation -> how the upright view has to be turned for storing, so that a viewer turns it back
STORED_AS = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


@dataclass(frozen=True)
class SyntheticMeter:
    """A photo: `image` RGB, `mask` L (0 and 255 only), upright and of equal size; `reading` "00123.456"."""

    image: Image.Image
    mask: Image.Image
    reading: str


def draw_meter(seed: int | Sequence[int], *, size: int = 512, difficulty: float = 1.0) -> SyntheticMeter:
    """Draw a water meter.

    `seed` decides everything; `size` is the longer side in pixels; `difficulty` runs from 0 (upright, sharp,
    evenly lit) to 1 (like real photos) and somewhat beyond. Raises UsageError for a size below 64.
    """
    if size < MIN_SIZE:
        raise UsageError(f"A synthetic photo of {size} pixels is too small; choose a size of {MIN_SIZE} or more.")
    rng = np.random.default_rng(seed)
    wide, high = ASPECTS[int(rng.integers(len(ASPECTS)))]
    width, height = size * wide // max(wide, high), size * high // max(wide, high)
    strip = plan_strip(rng)
    matrix, angle, radius = _place(rng, strip, width, height, difficulty)
    centre = (float(matrix[0, 2]), float(matrix[1, 2]))
    zoom = OVERSAMPLING
    scene = draw_background(
        rng, (width * zoom, height * zoom), (centre[0] * zoom, centre[1] * zoom), radius * zoom, angle
    )
    face = draw_face(rng, strip, int(min(1200, max(120, 2 * zoom * radius))), difficulty)
    _paste_face(scene, face, np.diag((zoom, zoom, 1.0)) @ matrix)
    image = photograph(rng, scene.reduce(zoom), centre, radius, difficulty)
    mask = _draw_mask(_project(matrix, _corners(*strip.box)), (width, height))
    whole = len(strip.digits) - strip.fraction
    return SyntheticMeter(image, mask, f"{strip.digits[:whole]}.{strip.digits[whole:]}")


def _corners(left: float, top: float, right: float, bottom: float) -> Matrix:
    return np.array(((left, top), (right, top), (right, bottom), (left, bottom)), dtype=np.float64)


def _project(matrix: Matrix, points: Matrix) -> Matrix:
    """Points (n, 2) in face units as points (n, 2) in pixels."""
    flat = np.column_stack((points, np.ones(len(points)))) @ matrix.T
    return np.asarray(flat[:, :2] / flat[:, 2:], dtype=np.float64)


def _place(
    rng: np.random.Generator, strip: Strip, width: int, height: int, difficulty: float
) -> tuple[Matrix, float, float]:
    """Choose the dial's position: 3x3 matrix from face units to pixels, angle in radians, radius in pixels."""
    if rng.random() < 0.12 * min(1.0, difficulty):
        angle = float(rng.uniform(-math.pi, math.pi))
    else:
        angle = math.radians(float(np.clip(rng.normal(0, 11 * difficulty + 1), -25, 25)))
    turn = _rotation(angle)
    tilt_axis = _rotation(float(rng.normal(0, 0.2) + rng.choice((0.0, math.pi / 2))))
    squash = 1 - float(rng.uniform(0, 0.35)) * min(1.0, difficulty)
    view = tilt_axis @ np.diag((1.0, squash, 1.0)) @ tilt_axis.T @ turn
    view[2, :2] = rng.uniform(-0.12, 0.12, 2) * min(1.0, difficulty)
    outline = _project(view, _corners(*strip.box))
    coverage = float(np.clip(rng.lognormal(math.log(0.023), 0.5), 0.006, 0.075))
    radius = math.sqrt(coverage * width * height / _area(outline))
    low, high = outline.min(axis=0), outline.max(axis=0)
    frame = np.array((width, height), dtype=np.float64)
    radius = min(radius, float(np.min(0.94 * frame / (high - low))))
    wanted = frame * (0.5 + rng.normal(0, 0.09, 2))
    centre = np.clip(wanted, 0.02 * frame - low * radius, 0.98 * frame - high * radius)
    move = np.array(((radius, 0, centre[0]), (0, radius, centre[1]), (0, 0, 1.0)))
    return move @ view, angle, radius


def _rotation(angle: float) -> Matrix:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array(((cosine, -sine, 0.0), (sine, cosine, 0.0), (0.0, 0.0, 1.0)))


def _area(polygon: Matrix) -> float:
    """The shoelace formula: the area of a polygon (n, 2)."""
    x, y = polygon.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _paste_face(scene: Image.Image, face: Image.Image, matrix: Matrix) -> None:
    """Warp the dial by `matrix` (face units to pixels of the scene) and paste the result over the scene."""
    around = np.linspace(0, math.tau, 48, endpoint=False)
    outline = _project(matrix, np.column_stack((np.cos(around), np.sin(around))))
    left, top = (max(0, int(value) - 4) for value in outline.min(axis=0))
    right, bottom = (min(limit, int(value) + 5) for limit, value in zip(scene.size, outline.max(axis=0), strict=True))
    half = face.width / 2
    to_texture = np.array(((half, 0, half), (0, half, half), (0, 0, 1.0)))
    shift = np.array(((1.0, 0, left), (0, 1.0, top), (0, 0, 1.0)))
    # Pillow asks for the way back: from a pixel of the scene to a pixel of the dial.
    inverse = to_texture @ np.linalg.inv(matrix) @ shift
    coefficients = (inverse / inverse[2, 2]).ravel()[:8].tolist()
    layer = face.transform(
        (right - left, bottom - top), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
    )
    scene.paste(layer, (left, top), layer)


def _draw_mask(outline: Matrix, size: tuple[int, int]) -> Image.Image:
    """White where at least half of a pixel lies inside the outline, black elsewhere."""
    fine = 4
    large = Image.new("L", (size[0] * fine, size[1] * fine), 0)
    # Pillow's integer coordinates name pixel centres, the outline's name corners: hence the half.
    ImageDraw.Draw(large).polygon((outline * fine - 0.5).ravel().tolist(), fill=255)
    shares = np.asarray(large.reduce(fine))
    return Image.fromarray(black_white(shares >= 128))


def write_dataset(
    folder: Path,
    count: int,
    *,
    seed: int,
    size: int = 512,
    difficulty: float = 1.0,
    with_exif: bool = True,
    mask_format: str = "png",
    on_written: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Write `count` photos to folder/images and their masks to folder/masks; return the images' paths.

    Image k depends on (seed, k) only, never on `count`. With `with_exif` every fifth image is stored turned, with a
    matching EXIF orientation. A "jpg" mask isn't strictly black and white, as in many data sets. `on_written` is called
    after each pair. Raises UsageError for bad arguments, UnwritableError or DiskFullError.
    """
    if count < 1:
        raise UsageError(f"Can't write {count} images; choose a count of 1 or more.")
    if not 0 <= difficulty <= 2:
        raise UsageError(f"A difficulty of {difficulty} is out of range; choose one from 0 to 2.")
    if seed < 0:
        raise UsageError(f"A seed of {seed} can't be used; choose 0 or a positive whole number.")
    if mask_format not in MASK_FORMATS:
        raise UsageError(f"Unknown mask format {mask_format!r}; choose one of {', '.join(MASK_FORMATS)}.")
    written = []
    for index in range(count):
        meter = draw_meter((seed, index), size=size, difficulty=difficulty)
        stem = f"meter_{index:04d}_value_{meter.reading.replace('.', '_')}"
        image_path = folder / "images" / f"{stem}.jpg"
        mask_path = folder / "masks" / f"{stem}.{mask_format}"
        orientation = (6, 3, 8)[index // 5 % 3] if with_exif and index % 5 == 2 else 1
        try:
            image_path.parent.mkdir(parents=True, exist_ok=True)
            mask_path.parent.mkdir(parents=True, exist_ok=True)
            _save_photo(meter.image, image_path, orientation)
            meter.mask.save(mask_path)
        except OSError as error:
            raise from_os_error(error, folder) from error
        written.append(image_path)
        if on_written:
            on_written(image_path)
    return written


def _save_photo(image: Image.Image, path: Path, orientation: int) -> None:
    if orientation == 1:
        image.save(path, "JPEG", quality=90)
        return
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    image.transpose(STORED_AS[orientation]).save(path, "JPEG", quality=90, exif=exif)


def shuffle_masks(folder: Path, seed: int) -> None:
    """Give every image of `folder` another image's mask, resized to fit: a data set that teaches a model nothing.

    Deterministic for a seed. Raises DataNotFoundError for fewer than two images, PairingError where a mask
    is missing, UnwritableError or DiskFullError.
    """
    images = sorted((folder / "images").glob("*.*"))
    if len(images) < 2:
        raise DataNotFoundError(
            f"Shuffling masks needs two images or more in {folder / 'images'}; found {len(images)}."
        )
    masks = {path.stem: path for path in sorted((folder / "masks").glob("*.*"))}
    for image in images:
        if image.stem not in masks:
            raise PairingError(f"The image {image.name} has no mask in {folder / 'masks'}; add it and run it again.")
    order = np.random.default_rng(seed).permutation(len(images)).tolist()
    renames = []
    try:
        # Each takes its neighbour's mask in a random circle, so none keeps its own. All are written before any moves.
        for place, index in enumerate(order):
            donor = masks[images[order[place - 1]].stem]
            target = masks[images[index].stem]
            with Image.open(images[index]) as photo, Image.open(donor) as mask:
                fitted = mask.convert("L").resize(ImageOps.exif_transpose(photo).size, Image.Resampling.NEAREST)
            waiting = target.with_name(f".{target.stem}.new{target.suffix}")
            fitted.save(waiting)
            renames.append((waiting, target))
        for waiting, target in renames:
            waiting.replace(target)
    except OSError as error:
        raise from_os_error(error, folder) from error
    finally:
        for waiting, _ in renames:
            waiting.unlink(missing_ok=True)


def _make_room(folder: Path, force: bool) -> None:
    """Refuse a folder that isn't empty; with `force` remove earlier synthetic pairs and keep the rest."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not force:
        raise UsageError(f"The folder {folder} isn't empty; choose another one or add --force to write into it.")
    for part in ("images", "masks"):
        remove_files(folder / part, folder, lambda name: "/" not in name and fnmatch(name, "meter_*_value_*"))


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the drawing."""
    parser.add_argument("folder", type=new_folder, help="where images/ and masks/ are written")
    parser.add_argument("--count", type=whole(1, 1_000_000), default=120, help="number of photos (default: 120)")
    parser.add_argument("--seed", type=whole(0), default=0, help="decides every picture (default: 0)")
    parser.add_argument("--size", type=whole(MIN_SIZE, 4096), default=512, help="longer side in pixels (default: 512)")
    parser.add_argument("--difficulty", type=number(0, 2), default=1.0, help="0 is easy, 1 like real (default: 1)")
    parser.add_argument("--shuffle-masks", action="store_true", help="give every photo another photo's mask")
    parser.add_argument("--force", action="store_true", help="write into a folder that isn't empty")


def run(options: argparse.Namespace) -> int:
    """Draw; returns 0. Raises UsageError for a folder in use, and the errors of write_dataset."""
    _make_room(options.folder, options.force)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("Drawing water meters", total=options.count)
        write_dataset(
            options.folder,
            options.count,
            seed=options.seed,
            size=options.size,
            difficulty=options.difficulty,
            on_written=lambda _: progress.advance(task),
        )
    if options.shuffle_masks:
        shuffle_masks(options.folder, options.seed)
    print(f"Wrote {options.count} synthetic photos and their masks to {options.folder}.")
    return 0


COMMAND = Command((__doc__ or "").split("\n")[0], declare, run)

if __name__ == "__main__":
    sys.exit(run_renamed("wms.data.synthetic", "data", "draw"))
