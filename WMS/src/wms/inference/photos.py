"""Finds the photos of a folder to predict, and names every other entry: none is passed over in silence."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wms.data.kinds import HEAD_BYTES, HEIC_SUFFIXES, SUFFIXES, advice
from wms.errors import DataNotFoundError, NotAnImageError, PairingError, UsageError
from wms.regular import open_regular

_TWINS, _FOLDER = PairingError.exit_code, NotAnImageError.exit_code


@dataclass(frozen=True, slots=True)
class Left:
    """An entry that isn't predicted: a sentence on the reason, and the exit code, 0 for a file without a picture."""

    path: Path
    reason: str
    exit_code: int


def find_photos(source: Path, output: Path) -> tuple[list[Path], list[Left]]:
    """The photos of a folder, or a single photo, and what else lies there; hidden files and `output` don't count.

    Raises DataNotFoundError if there is no photo, UsageError if masks would replace photos.
    """
    if source.is_file():
        entries: Iterable[Path] = [source]
    elif source.is_dir():
        if source.resolve() == output.resolve():
            raise UsageError(f"Photos and masks share {source}, where a.png would replace a.png; use two folders.")
        entries = _entries(source, output)
    else:
        raise DataNotFoundError(f"{source} isn't a folder or a photo; create the folder and put the photos there.")
    photos, left = [], []
    for path in entries:
        reason = _left_out(path)
        if reason is None:
            photos.append(path)
        else:
            left.append(reason)
    photos, twins = _without_twins(photos)
    if not photos and not any(one.exit_code for one in (*twins, *left)):
        raise DataNotFoundError(f"No photo in {source}; put some there ({', '.join(sorted(SUFFIXES))}).")
    return photos, [*twins, *left]


def _entries(folder: Path, output: Path) -> list[Path]:
    here, results = folder.resolve(), output.resolve()
    try:
        return sorted(
            path for path in folder.iterdir() if not path.name.startswith(".") and here / path.name != results
        )
    except OSError as error:
        raise DataNotFoundError(f"Can't list {folder}: {error.strerror}; change its permissions.") from error


def _left_out(path: Path) -> Left | None:
    """The reason why an entry can't be a photo; None for one that is named like a photo and is a file."""
    suffix = path.suffix.lower()
    is_named = suffix in SUFFIXES or suffix in HEIC_SUFFIXES
    try:
        if path.is_dir():
            return Left(
                path, "a folder; predict it by --input of its own, or move its photos up", _FOLDER if is_named else 0
            )
        with open_regular(path) as file:  # raises for a pipe or a device
            if is_named:
                return None
            told = advice(path.name, file.read(HEAD_BYTES))
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        reason = getattr(error, "strerror", None) or "links lead in a circle"
        return Left(path, f"can't be read: {reason}", DataNotFoundError.exit_code)
    if told is None:
        return Left(path, "not a photo by its name and content", 0)
    return Left(path, told, NotAnImageError.exit_code)


def _without_twins(photos: list[Path]) -> tuple[list[Path], list[Left]]:
    """The photos whose masks have names of their own, and those that would share a mask's name."""
    # Windows and macOS would also write a.png and A.png to one file.
    claimed: dict[str, list[Path]] = {}
    for path in photos:
        claimed.setdefault(unicodedata.normalize("NFC", path.stem).casefold(), []).append(path)
    twins = [
        Left(path, f"{same[0].name} and {same[1].name} would both become {path.stem}.png; rename one of them", _TWINS)
        for same in claimed.values()
        if len(same) > 1
        for path in same
    ]
    return [same[0] for same in claimed.values() if len(same) == 1], twins
