"""The data check as an HTML page that needs no network: each problem with thumbnails and the mask drawn over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wms.config import DataConfig
from wms.data.images import read_small
from wms.data.masks import black_white
from wms.data.qa.listing import match
from wms.data.qa.names import shown
from wms.data.qa.problems import Problem
from wms.data.qa.reading import mask_strip
from wms.data.qa.validate import Checked
from wms.errors import WmsError
from wms.pages import render
from wms.pictures import data_uri, encoded

PER_CHECK: Final = 12
"""Problems per check that are shown with thumbnails; the others are only counted."""
PER_PROBLEM: Final = 4
_SIDE: Final = 240  # pixels of a thumbnail's long side
_TINT: Final = np.array((255, 40, 40), dtype=np.float32)


def render_html(folder: Path, checked: Checked, config: DataConfig) -> str:
    """The page of a finished check of `folder`; reads at most PER_CHECK x PER_PROBLEM pairs of each check."""
    partners = _partners(checked)
    sections = [
        {
            "check": problems[0].check,
            "severity": problems[0].severity,
            "count": len(problems),
            "hidden": max(0, len(problems) - PER_CHECK),
            "problems": [_shown(folder, problem, partners, config) for problem in problems[:PER_CHECK]],
        }
        for problems in by_check(checked.problems)
    ]
    return render(Path(__file__).with_name("qa.html.j2"), {"report": checked.report, "sections": sections})


def by_check(problems: Iterable[Problem]) -> list[Sequence[Problem]]:
    """Problems grouped by check, in the given order."""
    found: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        found.setdefault((problem.severity, problem.check), []).append(problem)
    return list(found.values())


def _partners(checked: Checked) -> dict[str, tuple[str, str]]:
    """File -> (image file, mask file); "" for a partner that is missing."""
    return {file: pair for pair in match(checked.facts.images, checked.facts.masks) for file in pair}


def _shown(
    folder: Path, problem: Problem, partners: Mapping[str, tuple[str, str]], config: DataConfig
) -> dict[str, Any]:
    pairs: dict[tuple[str, str], None] = {}
    for file in problem.files:
        alone = (file, "") if file.startswith("images/") else ("", file)
        pairs[partners.get(file, alone)] = None
    thumbnails = [
        {"uri": uri, "name": shown(image or mask)}
        for image, mask in list(pairs)[:PER_PROBLEM]
        if (uri := _thumbnail(folder, image, mask, config)) is not None
    ]
    return {"text": problem.text, "thumbnails": thumbnails}


def _thumbnail(folder: Path, image: str, mask: str, config: DataConfig) -> str | None:
    """A data URI: the photo with the mask in red, either alone if the other can't be read, or None."""
    limit = config.max_megapixels
    photo = _read(folder, image, lambda path: read_small(path, _SIDE, limit))
    white = _read(folder, mask, lambda path: black_white(mask_strip(path, limit)))
    if photo is None and white is None:
        return None
    picture = photo if photo is not None else np.repeat(white[:, :, None], 3, axis=2)  # type: ignore[index]
    small = Image.fromarray(picture)
    small.thumbnail((_SIDE, _SIDE))
    if photo is not None and white is not None:
        # A mask of another size is stretched over the photo, which shows best where the labeller drew.
        cover = np.asarray(Image.fromarray(white).resize(small.size), dtype=np.float32)[:, :, None] / 255 * 0.5
        mixed = np.asarray(small, dtype=np.float32) * (1 - cover) + _TINT * cover
        small = Image.fromarray(mixed.round().astype(np.uint8))
    return data_uri(encoded(small, quality=80))


def _read(folder: Path, file: str, read: Callable[[Path], NDArray[np.uint8]]) -> NDArray[np.uint8] | None:
    path = folder / file
    if not file or not path.is_file() or path.is_symlink():
        return None
    try:
        return read(path)
    except (WmsError, OSError):
        return None
