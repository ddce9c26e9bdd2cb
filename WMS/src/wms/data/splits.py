"""Splits that never move: 80/10/10, decided once per image by the hash of the content.

The record is an append-only JSONL file in Git: a line per image with sha256, look (perceptual hash and sketch) and
split; an image that was recorded before there were sketches gets a second line once its bytes are at hand. The sha256
places an image on the unit interval, so that two branches which add different images never disagree. Only if a small
set then lacks validation or test images do some of the *new* images change split; recorded images keep their split.

Near-duplicates share a split, so a burst stays together: an image that is alike (`wms.data.alike`: hashes up to
`near_duplicate_bits` of 256 apart, or sketches that show one scene) to a recorded image takes the recorded split. An
image that resembles images of two splits is never used ("excluded"), since its use would leak one split into the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, cast, get_args

from wms.data.alike import alike_ones, components, edges, overlaid, to_bits
from wms.data.looks import is_look, parts
from wms.errors import SplitError
from wms.files import append_lines, cut_torn_tail, exclusive_lock, is_json, parse_json
from wms.formats import refuse_newer
from wms.json_text import to_json
from wms.regular import read_regular
from wms.text import counted

Split = Literal["train", "val", "test", "excluded"]

TEST_SHARE: Final = 0.1
VAL_SHARE: Final = 0.1
MIN_HELD_OUT: Final = 4
"""A validation and a test split have at least so many images, or a sixth of a set under 24."""

USED: Final[tuple[Split, ...]] = ("train", "val", "test")
FEWEST: Final = 6
"""Images of a set that can be trained on."""


@dataclass(frozen=True)
class Assignment:
    """A recorded image: the hex digest of its bytes (64), its look (see `wms.data.looks`) and its split."""

    sha256: str
    look: str
    split: Split


def bucket(sha256: str) -> float:
    """An image's fixed position in [0, 1): the first 52 bits of the hash."""
    return int(sha256[:13], 16) / 16**13


def hashed_split(sha256: str) -> Split:
    """The split by the hash alone: test below 0.1, validation below 0.2, else training.

    >>> hashed_split("f" * 64)
    'train'
    """
    place = bucket(sha256)
    if place < TEST_SHARE:
        return "test"
    return "val" if place < TEST_SHARE + VAL_SHARE else "train"


def assign(
    recorded: Sequence[Assignment], new: Mapping[str, str], *, near_duplicate_bits: int
) -> tuple[Assignment, ...]:
    """Decide the splits of `new` (sha256 -> look), given the recorded images. Pure.

    Returns the new assignments only, sorted by sha256, without images already recorded. Never changes a recorded split.
    """
    known = {entry.sha256 for entry in recorded}
    fresh = sorted(sha for sha in new if sha not in known)
    groups = scenes_of(recorded, [new[sha] for sha in fresh], near_duplicate_bits)
    members: dict[int, list[str]] = {}
    inherited: dict[int, set[Split]] = {}
    for sha, (group, splits) in zip(fresh, groups, strict=True):
        members.setdefault(group, []).append(sha)
        inherited.setdefault(group, set()).update(splits)
    chosen: dict[str, Split] = {}
    free: list[list[str]] = []  # groups that resemble nothing recorded
    for group, shas in members.items():
        splits = inherited[group] - {"excluded"}
        if len(splits) > 1:
            chosen.update(dict.fromkeys(shas, "excluded"))
        elif splits:
            chosen.update(dict.fromkeys(shas, next(iter(splits))))
        else:
            # The group takes the split of the lowest hash read backwards: the lowest hash would mostly fall into test.
            free.append(sorted(shas, key=lambda sha: sha[::-1]))
            # A group that is most of the set must be trained on: no other images remain.
            is_most = len(shas) > max(1, (len(recorded) + len(fresh)) / 2)
            chosen.update(dict.fromkeys(shas, "train" if is_most else hashed_split(free[-1][0])))
    _top_up(recorded, chosen, free)
    _leave_none_empty(recorded, chosen, free)
    return tuple(Assignment(sha, new[sha], chosen[sha]) for sha in fresh)


def _top_up(recorded: Sequence[Assignment], chosen: dict[str, Split], free: list[list[str]]) -> None:
    """Move new groups out of training until validation and test are usable; smallest bucket first."""
    counts = Counter(entry.split for entry in recorded) + Counter(chosen.values())
    total = counts["train"] + counts["val"] + counts["test"]
    # A sixth at most, so that a set of a few images still has most of them for training.
    wanted = min(MIN_HELD_OUT, total // 6)
    candidates = sorted((g for g in free if chosen[g[0]] == "train"), key=lambda g: bucket(g[0]))
    held_out: tuple[Split, Split] = ("test", "val")
    for group in candidates:
        short = [name for name in held_out if counts[name] < wanted]
        if not short:
            return
        if counts["train"] - len(group) < total / 2:
            continue  # a large group of near-duplicates would leave nothing to train on
        needy = min(short, key=lambda name: counts[name])
        chosen.update(dict.fromkeys(group, needy))
        counts[needy] += len(group)
        counts["train"] -= len(group)


def _leave_none_empty(recorded: Sequence[Assignment], chosen: dict[str, Split], free: list[list[str]]) -> None:
    """Move whole new groups, the smallest first, into splits without any image; no other split gets empty by that."""
    counts = Counter(entry.split for entry in recorded) + Counter(chosen.values())
    if sum(counts[name] for name in USED) < FEWEST:
        return
    for name in USED:
        movable = [group for group in free if counts[chosen[group[0]]] > len(group)]
        if counts[name] or not movable:
            continue
        group = min(movable, key=lambda group: (len(group), -counts[chosen[group[0]]], bucket(group[0])))
        counts[chosen[group[0]]] -= len(group)
        counts[name] += len(group)
        chosen.update(dict.fromkeys(group, name))


def refuse_empty(entries: Sequence[Assignment], *, near_duplicate_bits: int) -> None:
    """Raise SplitError if images enough for a training leave a split empty, as two bursts of one meter each do."""
    used = [entry for entry in entries if entry.split != "excluded"]
    empty = [name for name in USED if all(entry.split != name for entry in used)]
    if len(used) < FEWEST or not empty:
        return
    sizes = sorted(Counter(_joined([entry.look for entry in used], near_duplicate_bits)).values(), reverse=True)
    shots = ", ".join(str(size) for size in sizes[:5]) + (", ..." if len(sizes) > 5 else "")
    raise SplitError(
        f"{counted(len(used), 'photo')} of {counted(len(sizes), 'scene')} ({shots} shots) leave no photo for "
        f"{' and '.join(empty)}: all shots of a scene share a split, so that no test photo is learned from. Add photos "
        "of other meters, at least three scenes in all; nothing was recorded."
    )


def scenes_of(recorded: Sequence[Assignment], looks: Sequence[str], limit: int) -> list[tuple[int, set[Split]]]:
    """For each new image the index of the near-duplicate group and the recorded splits that the image resembles."""
    twins = alike_ones(looks, [entry.look for entry in recorded], limit)
    return [
        (group, {recorded[twin].split for twin in near})
        for group, near in zip(_joined(looks, limit), twins, strict=True)
    ]


def _joined(looks: Sequence[str], limit: int) -> list[int]:
    """The number of each image's group: near-duplicates of near-duplicates belong together, in any order."""
    near = [*edges(to_bits(looks), limit), *((one, other, 0) for one, other in overlaid(looks, len(looks)))]
    return components(len(looks), near)


class SplitRecord:
    """The append-only file of assignments.

    Opening raises SplitError (file, line) if a line is damaged. A merge of two branches may record an image twice,
    which is valid if both lines agree.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: dict[str, Assignment] = {}
        self._read()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> tuple[Assignment, ...]:
        """All assignments in the order of the file."""
        return tuple(self._entries.values())

    def update(
        self, images: Mapping[str, Path], look_of: Callable[[Path], str], *, near_duplicate_bits: int
    ) -> dict[str, Split]:
        """Assign and record the new images among `images` (sha256 -> file); returns sha256 -> split for all.

        Only new images are decoded (by `look_of`), and beside them those whose record lacks the sketch. The file is
        appended once, at the end, under a lock: of two concurrent runs the second adopts the first run's decisions.
        Raises SplitError, and records nothing, if the images are so few scenes that a split stays empty.
        """
        if images.keys() <= self._entries.keys():
            return {sha: self._entries[sha].split for sha in images}
        looks = {sha: look_of(path) for sha, path in images.items() if not self._is_drawn(sha)}
        new = {sha: look for sha, look in looks.items() if sha not in self._entries}
        if new:
            with exclusive_lock(self.path.with_name(f"{self.path.name}.lock")):
                self._read()  # another run may have recorded some of them by now
                drawn = self._with_sketches(looks)
                recorded = [drawn.get(entry.sha256, entry) for entry in self.entries]
                added = assign(recorded, new, near_duplicate_bits=near_duplicate_bits)
                refuse_empty([*recorded, *added], near_duplicate_bits=near_duplicate_bits)
                if added or drawn:
                    self._append([*drawn.values(), *added])
        return {sha: self._entries[sha].split for sha in images}

    def _is_drawn(self, sha: str) -> bool:
        """Whether an image is recorded with its sketch."""
        return sha in self._entries and bool(parts(self._entries[sha].look)[1])

    def _with_sketches(self, looks: Mapping[str, str]) -> dict[str, Assignment]:
        """The recorded images that lack a sketch which `looks` (sha256 -> look) know, with that look."""
        return {
            sha: replace(self._entries[sha], look=parts(self._entries[sha].look)[0] + parts(look)[1])
            for sha, look in looks.items()
            if sha in self._entries and not self._is_drawn(sha) and parts(look)[1]
        }

    def _read(self) -> None:
        """Read the file without changing the disk: the record may be on a read-only mount."""
        for number, line in enumerate(_whole_lines(self.path), start=1):
            self._add(_parse(line, f"{self.path}, line {number}"), f"{self.path}, line {number}")

    def _append(self, added: Iterable[Assignment]) -> None:
        lines = [record_line(one) for one in added]
        # A complete last line gets its newline first; `cut_torn_tail` would remove the line.
        if _lacks_newline(self.path):
            append_lines(self.path, [""])
        cut_torn_tail(self.path)
        append_lines(self.path, lines)
        self._entries.update({one.sha256: one for one in added})

    def _add(self, entry: Assignment, where: str) -> None:
        before = self._entries.setdefault(entry.sha256, entry)
        if before.split != entry.split:
            raise SplitError(
                f"{where}: the image {entry.sha256[:12]} is recorded as {before.split} above and "
                f"as {entry.split} here; keep the line that reached main first and remove the other."
            )
        if not parts(before.look)[1]:
            self._entries[entry.sha256] = entry


def record_line(entry: Assignment) -> str:
    """The line of an image in the record, without its end."""
    look, drawn = parts(entry.look)
    sketch = {"sketch": drawn} if drawn else {}
    return to_json({"sha256": entry.sha256, "look": look, "split": entry.split, **sketch})


def _whole_lines(path: Path) -> list[bytes]:
    """The record's lines, without a torn last line; a complete last line without a newline counts."""
    try:
        lines = read_regular(path).splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SplitError(f"Can't read the split record {path}: {error.strerror}.") from error
    return lines[:-1] if lines and not is_json(lines[-1]) else lines


def _lacks_newline(path: Path) -> bool:
    """Whether the last line is a complete record without a newline, as editors and merges may leave."""
    content = read_regular(path) if path.exists() else b""
    return not content.endswith(b"\n") and is_json(content[content.rfind(b"\n") + 1 :])


def _parse(line: bytes, where: str) -> Assignment:
    try:
        raw = parse_json(line)
        refuse_newer(raw, where, SplitError)
        sha, look, split = raw["sha256"], raw["look"], raw["split"]
        digests_are_whole = all(len(text) == 64 and len(bytes.fromhex(text)) == 32 for text in (sha, look))
        look += raw.get("sketch", "")
        if not digests_are_whole or not is_look(look) or split not in get_args(Split):
            raise ValueError("an unknown split or a digest that isn't 64 hex digits")
    except (ValueError, KeyError, TypeError) as error:
        raise SplitError(f"{where} isn't a split record; restore the file with git checkout.") from error
    return Assignment(sha, look, cast(Split, split))
