"""Whether two models may be compared on a set of test images: decided from each model's training data. Pure.

The SHA-256 of an image's content identifies the image, so renaming a photo hides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from wms.data.splits import Split
from wms.data.versions import DataItem

SEEN: Final = ("train", "val")
"""Splits that a model has learned from: validation chose its best epoch."""


def test_images(items: Sequence[DataItem]) -> tuple[DataItem, ...]:
    """The test split of a run's data, sorted by content."""
    return tuple(sorted((item for item in items if item.split == "test"), key=lambda item: item.image_sha256))


def leaks(test: Sequence[DataItem], items: Sequence[DataItem], who: str) -> list[str]:
    """A sentence if the model `who`, trained on `items`, has seen test images; else none."""
    wanted = {item.image_sha256: item.stem for item in test}
    seen = sorted({wanted[item.image_sha256] for item in items if item.split in SEEN and item.image_sha256 in wanted})
    if not seen:
        return []
    return [
        f"{who} was trained on {_named(seen)}, which {_is(seen)} in the test set; train it again on splits that "
        "keep test images apart."
    ]


def moved(test: Sequence[DataItem], champion: Sequence[DataItem]) -> list[str]:
    """A sentence if the test set lacks some of the champion's own test images; new test images are allowed."""
    now = {item.image_sha256 for item in test}
    gone = sorted(item.stem for item in champion if item.split == "test" and item.image_sha256 not in now)
    if not gone:
        return []
    return [
        f"the test split changed under the Production model: {_named(gone)} {_is(gone)} no longer in the challenger's "
        "test set; train the challenger on the whole data set, or set gate.mode to off for this one promotion."
    ]


def contradictions(test: Sequence[DataItem], items: Sequence[DataItem], record: Mapping[str, Split]) -> list[str]:
    """Sentences if the split record contradicts the challenger's run."""
    found = []
    other = sorted(item.stem for item in test if record.get(item.image_sha256) != "test")
    if other:
        found.append(
            f"the split record doesn't hold {_named(other)} as test, but the challenger's run did; bring the record "
            "that it was trained with (--splits), or train again."
        )
    frozen = sorted(item.stem for item in items if item.split in SEEN and record.get(item.image_sha256) == "test")
    if frozen:
        found.append(
            f"the split record holds {_named(frozen)} as test, but the challenger was trained on "
            f"{'it' if len(frozen) == 1 else 'them'}; train again with this record."
        )
    return found


def redrawn(test: Sequence[DataItem], champion: Sequence[DataItem]) -> tuple[str, ...]:
    """Stems of test images whose mask differs from the mask in the champion's run."""
    before = {item.image_sha256: item.mask_sha256 for item in champion if item.split == "test"}
    changed = (i.stem for i in test if before.get(i.image_sha256, i.mask_sha256) != i.mask_sha256)
    return tuple(sorted(changed))


def _named(stems: Sequence[str]) -> str:
    shown = ", ".join(stems[:3])
    return shown if len(stems) <= 3 else f"{shown} and {len(stems) - 3} more"


def _is(stems: Sequence[str]) -> str:
    return "is" if len(stems) == 1 else "are"
