"""Joins the split records of two branches: their union looks complete, and may hold one scene in train and in test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wms.data.splits import Assignment, Split, scenes_of


def join_records(
    kept: Sequence[Assignment], joined: Sequence[Assignment], *, near_duplicate_bits: int
) -> tuple[Assignment, ...]:
    """The assignments of `joined` beside those of `kept`, as they have to be for no scene to lie in two splits. Pure.

    Images of `kept` never move. A group of joined images that is alike to kept images takes their split, or is excluded
    where they lie in two; any other group that lies in two splits by itself is excluded. The rest stays as recorded.
    """
    known = {entry.sha256 for entry in kept}
    fresh = [entry for entry in joined if entry.sha256 not in known]
    groups = scenes_of(kept, [entry.look for entry in fresh], near_duplicate_bits)
    inherited: dict[int, set[Split]] = {}
    own: dict[int, set[Split]] = {}
    for entry, (group, splits) in zip(fresh, groups, strict=True):
        inherited.setdefault(group, set()).update(splits - {"excluded"})
        own.setdefault(group, set()).update({entry.split} - {"excluded"})
    result = []
    for entry, (group, _) in zip(fresh, groups, strict=True):
        wanted = inherited[group] or own[group] or {entry.split}
        split = next(iter(wanted)) if len(wanted) == 1 else "excluded"
        result.append(entry if entry.split == "excluded" else replace(entry, split=split))
    return tuple(result)
