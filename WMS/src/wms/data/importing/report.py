"""The report of an import: values for JSON, and a page that shows the masks on the photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wms.data.images import decode_image
from wms.data.importing.plan import Plan
from wms.data.qa.names import shown
from wms.files import write_atomic
from wms.json_text import to_json
from wms.pages import render
from wms.pictures import data_uri, encoded

_TINT: Final = np.array((255, 40, 40), dtype=np.float32)


def values_of(plan: Plan, new: frozenset[str], facts: dict[str, Any]) -> dict[str, Any]:
    """The report as JSON values. `new` are the photos that the folder lacked, `facts` come first."""
    return {
        **facts,
        "class": shown(plan.label),
        "imported": [
            {
                "photo": one.name,
                "mask": one.mask_name,
                "from": shown(one.origin),
                "coverage_%": round(100 * one.share, 3),
                "is_new": one.name in new,
                "warnings": list(one.warnings),
            }
            for one in plan.planned
        ],
        "not_imported": [
            {"photo": shown(one.photo), "from": shown(one.origin), "reason": one.reason} for one in plan.skipped
        ],
        "unlabelled": [shown(name) for name in plan.unlabelled],
    }


def write_report(path: Path, report: dict[str, Any], plan: Plan) -> None:
    """Write the report as JSON if `path` ends in .json, else as a page."""
    if path.suffix.lower() == ".json":
        write_atomic(path, to_json(report, indent=2) + "\n")
        return
    pictures = {
        one.name: _picture(one.picture, decode_image(one.mask, one.mask_name)) for one in plan.planned if one.picture
    }
    write_atomic(path, render(Path(__file__).with_name("import.html.j2"), {"report": report, "pictures": pictures}))


def _picture(photo: Image.Image, marked: NDArray[np.uint8]) -> str:
    """A small photo with the mask in red as a data URI."""
    mask = Image.fromarray(marked).resize(photo.size, Image.Resampling.BOX)
    cover = np.asarray(mask, dtype=np.float32) / 255 * 0.5
    mixed = np.asarray(photo, dtype=np.float32) * (1 - cover) + _TINT * cover
    return data_uri(encoded(Image.fromarray(mixed.round().astype(np.uint8)), quality=80))
