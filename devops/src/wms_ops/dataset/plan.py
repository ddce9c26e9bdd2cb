"""Merging as a pure plan: manifests in, manifests out, without disk or network."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wms.data.manifest import DataSet, Manifest, stem_of
from wms.text import counted
from wms_ops.base.errors import DataConflictError, ShrinkError

_SAME_PHOTO = "the same photo is there as {!r}; remove one"
_SAME_NAME = "differs from {!r} only in upper and lower case; rename it"


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be merged: its name in images/ or masks/, its MD5 and its size in bytes."""

    name: str
    md5: str
    size: int
    place: bool = field(default=False, compare=False)
    """Whether the pushed file named a place, which isn't stored."""


@dataclass(frozen=True, slots=True)
class NewPair:
    """A photo and its mask to be merged, of one stem."""

    image: NewFile
    mask: NewFile

    @property
    def stem(self) -> str:
        """The name that both share."""
        return stem_of(self.image.name)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two entries that can't both be in the data set; a person must decide."""

    stem: str
    reason: str


@dataclass(frozen=True)
class MergePlan:
    """The effect of a merge. `result` includes additions and replacements, but no conflicts."""

    base: DataSet
    result: DataSet
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    present: tuple[str, ...]
    conflicts: tuple[Conflict, ...]

    @property
    def summary(self) -> str:
        """The summary line for the user."""
        replaced = f", replaced: {len(self.replaced)}" if self.replaced else ""
        return (
            f"Existing: {len(self.base.images.files)}, new: {len(self.added)}{replaced}, "
            f"total: {len(self.result.images.files)}"
        )


def plan_merge(base: DataSet, new: Iterable[NewPair], *, replace: bool = False) -> MergePlan:
    """Add `new` to `base`: base ∪ additions, with replacements only if `replace`.

    A pair whose photo and mask are in `base` is present; the same stem with other content is a replacement (or, without
    `replace`, a conflict); the same photo under another name, and names that differ only in upper and lower case, are
    conflicts. Raises ManifestError if `base` contradicts itself.

    >>> pair = NewPair(NewFile("meter.jpg", "0" * 32, 9), NewFile("meter.png", "1" * 32, 5))
    >>> plan_merge(DataSet(), [pair]).summary
    'Existing: 0, new: 1, total: 1'
    """
    pairs = dict(base.pairs)
    taken = _Taken(pairs)
    files = {"images": dict(base.images.files), "masks": dict(base.masks.files)}
    grown = {"images": 0, "masks": 0}
    lost_size = False
    added, replaced, present, conflicts = list[str](), list[str](), list[str](), list[Conflict]()
    # Sorted, so that the same pairs in another order give the same plan.
    for pair in sorted(set(new), key=lambda p: (p.stem, p.image.name, p.image.md5, p.mask.name, p.mask.md5)):
        stem, old = pair.stem, pairs.get(pair.stem)
        if old is not None and (old[1], old[3]) == (pair.image.md5, pair.mask.md5):
            present.append(stem)
            continue
        if reason := taken.clash(pair, old, replace):
            conflicts.append(Conflict(stem, reason))
            continue
        if old is not None:
            del files["images"][old[0]], files["masks"][old[2]]
            lost_size = True  # no manifest holds the replaced file's size
        (added if old is None else replaced).append(stem)
        files["images"][pair.image.name], files["masks"][pair.mask.name] = pair.image.md5, pair.mask.md5
        grown["images"] += pair.image.size
        grown["masks"] += pair.mask.size
        pairs[stem] = (pair.image.name, pair.image.md5, pair.mask.name, pair.mask.md5)
        taken.add(stem, pair.image.md5)
    result = DataSet(
        Manifest(files["images"]),
        Manifest(files["masks"]),
        None if lost_size else _plus(base.image_bytes, grown["images"]),
        None if lost_size else _plus(base.mask_bytes, grown["masks"]),
    )
    refuse_shrinking(base, result, replaced=replaced)
    return MergePlan(base, result, tuple(added), tuple(replaced), tuple(present), tuple(conflicts))


def plan_removal(base: DataSet, stems: Sequence[str]) -> DataSet:
    """Return `base` without these stems: the only way to lose an entry. Unknown stems raise DataConflictError."""
    unknown = sorted(set(stems) - base.pairs.keys())
    if unknown:
        raise DataConflictError(f"The data set holds no photo named {unknown[0]!r}; nothing was removed.")
    gone = [base.pairs[stem] for stem in set(stems)]
    images, masks = {row[0] for row in gone}, {row[2] for row in gone}
    return DataSet(
        Manifest({path: md5 for path, md5 in base.images.files.items() if path not in images}),
        Manifest({path: md5 for path, md5 in base.masks.files.items() if path not in masks}),
        None,
        None,
    )


def join(ancestor: DataSet, ours: DataSet, theirs: DataSet) -> tuple[DataSet, tuple[Conflict, ...]]:
    """Merge two versions by stem: a change since `ancestor` by one side counts, and so does the same change by both.

    Returns the joined version and the conflicts (with conflicts, the version must not be published). Commutes but for
    the order of sides. Raises ManifestError if a version contradicts itself.
    """
    images, masks = dict[str, str](), dict[str, str]()
    conflicts = []
    before, mine, other = ancestor.pairs, ours.pairs, theirs.pairs
    for stem in sorted({*before, *mine, *other}):
        base, left, right = before.get(stem), mine.get(stem), other.get(stem)
        if left != right and base not in (left, right):
            conflicts.append(Conflict(stem, "both branches changed it differently; rename one or drop one"))
            continue
        # The side that differs from the ancestor wins; of two equal sides either.
        chosen = right if left == base else left
        if chosen is not None:
            images[chosen[0]], masks[chosen[2]] = chosen[1], chosen[3]
    joined = DataSet(Manifest(images), Manifest(masks), *_joined_bytes(ancestor, ours, theirs))
    conflicts += _twins(joined, ours.pairs.keys() & theirs.pairs.keys())
    return joined, tuple(conflicts)


def refuse_conflicts(conflicts: Sequence[Conflict]) -> None:
    """Raise DataConflictError that names up to five conflicts."""
    if not conflicts:
        return
    shown = "; ".join(f"{conflict.stem}: {conflict.reason}" for conflict in conflicts[:5])
    more = f"; and {len(conflicts) - 5} more" if len(conflicts) > 5 else ""
    raise DataConflictError(f"Nothing was merged, since {len(conflicts)} photos need a decision: {shown}{more}.")


def losses(base: DataSet, result: DataSet) -> tuple[frozenset[str], frozenset[str]]:
    """Return the stems of `base` whose photo or mask `result` lacks, and those with other content in `result`.

    The comparison is by MD5, file by file, so that it also holds for a version whose photos and masks don't fit.
    """
    gone, changed = set[str](), set[str]()
    for (_, before, _), (_, after, _) in zip(base, result, strict=True):
        kept = {(stem_of(path), md5) for path, md5 in after.files.items()}
        names = {stem for stem, _ in kept}
        for path, md5 in before.files.items():
            stem = stem_of(path)
            if (stem, md5) not in kept:
                (changed if stem in names else gone).add(stem)
    return frozenset(gone), frozenset(changed - gone)


def refuse_shrinking(
    base: DataSet, result: DataSet, *, removed: Collection[str] = (), replaced: Collection[str] = ()
) -> None:
    """Raise ShrinkError if a photo or mask of `base` isn't in `result` with the same content.

    Stems in `removed` may be gone and those in `replaced` may have other content. Counts are no measure: a photo lost
    and another added leave the count as before.
    """
    gone, changed = (
        sorted(found - set(meant)) for found, meant in zip(losses(base, result), (removed, replaced), strict=True)
    )
    parts = [f"lose {counted(len(gone), 'photo')} ({gone[0]!r} first)"] if gone else []
    parts += (
        [f"give {counted(len(changed), 'photo')} other content under the same name ({changed[0]!r} first)"]
        if changed
        else []
    )
    if parts:
        raise ShrinkError(
            f"The new version would {' and '.join(parts)}, so it was refused. To remove photos, use `wms data "
            "remove`; to replace some, push them with `git -c wms.replace=true push`."
        )


class _Taken:
    """Names and contents that a new pair may not collide with."""

    def __init__(self, pairs: Mapping[str, tuple[str, str, str, str]]) -> None:
        self.folded = {stem.casefold(): stem for stem in pairs}
        self.photos = {row[1]: stem for stem, row in pairs.items()}

    def add(self, stem: str, md5: str) -> None:
        self.folded[stem.casefold()] = stem
        self.photos[md5] = stem

    def clash(self, pair: NewPair, old: tuple[str, str, str, str] | None, replace: bool) -> str | None:
        """Return the reason why a pair can't go in, or None."""
        twin = self.photos.get(pair.image.md5)
        if twin is not None and twin != pair.stem:
            return _SAME_PHOTO.format(twin)
        namesake = self.folded.get(pair.stem.casefold())
        if namesake is not None and namesake != pair.stem:
            return _SAME_NAME.format(namesake)
        if old is not None and not replace:
            what = "mask" if old[1] == pair.image.md5 else "photo"
            return (
                f"another {what} of this name is there; rename it, or replace on purpose (git -c wms.replace=true push)"
            )
        return None


def _twins(joined: DataSet, settled: Collection[str]) -> list[Conflict]:
    """Return the collisions in a joined version that neither side could see: of stems that not both sides had."""
    names, photos = dict[str, str](), dict[str, str]()
    found = []
    for stem, row in joined.pairs.items():
        for seen, key, reason in ((names, stem.casefold(), _SAME_NAME), (photos, row[1], _SAME_PHOTO)):
            twin = seen.setdefault(key, stem)
            if twin != stem and not (twin in settled and stem in settled):
                found.append(Conflict(stem, reason.format(twin)))
    return found


def _plus(size: int | None, more: int) -> int | None:
    return None if size is None else size + more


def _joined_bytes(ancestor: DataSet, ours: DataSet, theirs: DataSet) -> tuple[int | None, int | None]:
    """Return the bytes of a join in which both sides only grew and added nothing alike; else None."""
    base, mine, other = (set(version.pairs.items()) for version in (ancestor, ours, theirs))
    if not (base <= mine and base <= other and mine & other == base):
        return None, None
    sizes = []
    for name in ("image_bytes", "mask_bytes"):
        parts = [getattr(version, name) for version in (ancestor, ours, theirs)]
        sizes.append(None if None in parts else parts[1] + parts[2] - parts[0])
    return sizes[0], sizes[1]
