"""The split records of two branches that are joined: their union would hold one scene in train and in test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from wms_ops.base.layout import SPLITS
from wms_ops.dataset.settings import data_settings
from wms_ops.dataset.versions import file_at
from wms_ops.git.command import Git

if TYPE_CHECKING:
    from wms.data.splits import Assignment


def join_splits(git: Git, kept: str, joined: str) -> tuple[str | None, int]:
    """The text of the split record of `kept` with the photos that only `joined` has recorded, both commits.

    Photos of `kept` never move. Photos of `joined` that are alike to a photo of `kept` in another split take that
    split, as they would if they were pushed now; the second value counts them. The text is None without any record.
    The recipe of `kept` says from when on photos are alike. Raises SplitError for a damaged record, ConfigError for a
    damaged recipe.
    """
    from wms.data.split_join import join_records
    from wms.data.splits import record_line

    text = file_at(git, kept, SPLITS)
    other = _entries(git, joined)
    if text is None and not other:
        return None, 0
    bits = data_settings(git, kept).near_duplicate_bits
    added = join_records(_entries(git, kept), other, near_duplicate_bits=bits)
    before = {entry.sha256: entry.split for entry in other}
    moved = sum(before[entry.sha256] != entry.split for entry in added)
    whole = text or ""
    whole += "" if whole.endswith("\n") or not whole else "\n"
    return whole + "".join(f"{record_line(entry)}\n" for entry in added), moved


def told(moved: int) -> str:
    """The sentence about photos that a join moved; "" for none."""
    if not moved:
        return ""
    from wms.text import counted

    return (
        f" {counted(moved, 'photo')} of the joined side looked almost like photos that are kept in another split: they "
        "share that split now, or are used nowhere."
    )


def _entries(git: Git, commit: str) -> Sequence[Assignment]:
    from wms.data.splits import SplitRecord

    with TemporaryDirectory(prefix="wms-splits-") as folder:
        path = Path(folder) / Path(SPLITS).name
        path.write_text(file_at(git, commit, SPLITS) or "", encoding="utf-8", newline="\n")
        return SplitRecord(path).entries
