"""The demo's photos: drawn water meters, or real photos from a folder."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from wms.data.pairs import find_pairs
from wms.data.qa.cli import COMMAND as check_data
from wms.data.synthetic import shuffle_masks, write_dataset
from wms.errors import DataNotFoundError, UsageError

SIZE: Final = 320  # pixels of a drawn photo's longer side
UNSEEN: Final = 6


class PhotoSource(Protocol):
    """Three sets of pairs, each written into a folder with images/ and masks/, and unlabelled photos."""

    @property
    def name(self) -> str:
        """The photos' name on the page."""
        ...

    def first(self, folder: Path) -> int:
        """Write the first set; returns its number of pairs."""
        ...

    def more(self, folder: Path) -> int:
        """Write more good pairs."""
        ...

    def bad(self, folder: Path) -> int:
        """Write photos with the masks of other photos."""
        ...

    def unseen(self, folder: Path) -> int:
        """Write photos that no model is trained on."""
        ...


@dataclass(frozen=True)
class DrawnPhotos:
    """Synthetic meters; `counts` are the pairs of the three sets."""

    counts: tuple[int, int, int] = (40, 50, 60)
    size: int = SIZE
    difficulty: float = 0.5
    name: str = "synthetic meters"

    def first(self, folder: Path) -> int:
        return self._draw(folder, self.counts[0], seed=11)

    def more(self, folder: Path) -> int:
        return self._draw(folder, self.counts[1], seed=12)

    def bad(self, folder: Path) -> int:
        count = self._draw(folder, self.counts[2], seed=13)
        shuffle_masks(folder, seed=5)
        return count

    def unseen(self, folder: Path) -> int:
        return self._draw(folder, UNSEEN, seed=14)

    def _draw(self, folder: Path, count: int, seed: int) -> int:
        return len(write_dataset(folder, count, seed=seed, size=self.size, difficulty=self.difficulty))


@dataclass(frozen=True)
class RealPhotos:
    """A folder with base/ and new/, each with images/ and masks/: base in two halves, new with swapped masks."""

    root: Path
    name: str = "real photos"

    def __post_init__(self) -> None:
        for part in ("base", "new"):
            if not (self.root / part / "images").is_dir():
                raise DataNotFoundError(
                    f"{self.root / part} has no images/: set WMS_REAL_DATA to a folder with base/ and new/, each with "
                    "images/ and masks/."
                )

    def first(self, folder: Path) -> int:
        return self._copy("base", folder, 0, 2)

    def more(self, folder: Path) -> int:
        return self._copy("base", folder, 1, 2)

    def bad(self, folder: Path) -> int:
        count = self._copy("new", folder, 0, 1)
        shuffle_masks(folder, seed=5)
        return count

    def unseen(self, folder: Path) -> int:
        return self._copy("new", folder, 0, 1, limit=UNSEEN)

    def _copy(self, part: str, folder: Path, start: int, step: int, limit: int | None = None) -> int:
        """Copy every `step`-th pair; masks that aren't black and white are repaired, as a user would do."""
        pairs = find_pairs(self.root / part)[start::step][:limit]
        for pair in pairs:
            for kind, source in (("images", pair.image), ("masks", pair.mask)):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                shutil.copy(source, folder / kind / source.name)
        with contextlib.redirect_stdout(io.StringIO()):
            check_data([str(folder), "--fix"])
        return len(pairs)


def put_into(inbox: Path, drawn: Path, prefix: str) -> Sequence[Path]:
    """Copy a set of pairs into the inbox; the prefix keeps the names of several sets apart."""
    if not prefix:
        raise UsageError("Photos of several sets need a prefix for their names.")
    copied = []
    for kind in ("images", "masks"):
        target = inbox / kind
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted((drawn / kind).iterdir()):
            copied.append(Path(shutil.copy(path, target / f"{prefix}_{path.name}")))
    return copied
