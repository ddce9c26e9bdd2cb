"""Splits that never move: 80/10/10, decided once per image by the hash of the content.

The record is an append-only JSONL file in Git: a line per image with sha256, perceptual hash and split. The sha256
places an image on the unit interval, so that two branches which add different images never disagree. Only if a small
set then lacks validation or test images do some of the *new* images change split; recorded images keep their split.

Near-duplicates share a split: an image within `near_duplicate_bits` (Hamming distance of a 256-bit perceptual hash) of
a recorded image takes the recorded split. An image that resembles images of two splits is never used ("excluded"),
since its use would leak one split into the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

import numpy as np

from wms.data.alike import components, distances, edges, to_bits
from wms.errors import SplitError
from wms.files import append_lines, cut_torn_tail, exclusive_lock, is_json, parse_json
from wms.formats import refuse_newer
from wms.json_text import to_json
from wms.regular import read_regular

Split = Literal["train", "val", "test", "excluded"]

TEST_SHARE: Final = 0.1
VAL_SHARE: Final = 0.1
MIN_HELD_OUT: Final = 4
"""A validation and a test split have at least so many images, or a sixth of a set under 24."""


@dataclass(frozen=True)
class Assignment:
    """A recorded image: hex digests of the bytes (64) and of the look (64 = 256 bits), and the split."""

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
    """Decide the splits of `new` (sha256 -> perceptual hash), given the recorded images. Pure.

    Returns the new assignments only, sorted by sha256, without images already recorded. Never changes a recorded split.
    """
    known = {entry.sha256 for entry in recorded}
    fresh = sorted(sha for sha in new if sha not in known)
    groups = _groups(recorded, [new[sha] for sha in fresh], near_duplicate_bits)
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


def _groups(recorded: Sequence[Assignment], looks: Sequence[str], limit: int) -> list[tuple[int, set[Split]]]:
    """For each new image the index of the near-duplicate group and the recorded splits that the image resembles."""
    new, old = to_bits(looks), to_bits([entry.look for entry in recorded])
    # Near-duplicates of near-duplicates belong to the same group, in any order of the images.
    joined = components(len(looks), list(edges(new, limit)))
    near = [np.flatnonzero(distances(one, old) <= limit).tolist() for one in new]
    return [(group, {recorded[twin].split for twin in twins}) for group, twins in zip(joined, near, strict=True)]


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

        Only new images are decoded (by `look_of`). The file is appended once, at the end, under a lock: of two
        concurrent runs the second adopts the first run's decisions.
        """
        new = {sha: look_of(path) for sha, path in images.items() if sha not in self._entries}
        if new:
            with exclusive_lock(self.path.with_name(f"{self.path.name}.lock")):
                self._read()  # another run may have recorded some of them by now
                added = assign(self.entries, new, near_duplicate_bits=near_duplicate_bits)
                if added:
                    self._append(added)
        return {sha: self._entries[sha].split for sha in images}

    def _read(self) -> None:
        """Read the file without changing the disk: the record may be on a read-only mount."""
        for number, line in enumerate(_whole_lines(self.path), start=1):
            self._add(_parse(line, f"{self.path}, line {number}"), f"{self.path}, line {number}")

    def _append(self, added: Iterable[Assignment]) -> None:
        lines = [to_json({"sha256": a.sha256, "look": a.look, "split": a.split}) for a in added]
        # A complete last line gets its newline first; `cut_torn_tail` would remove the line.
        if _lacks_newline(self.path):
            append_lines(self.path, [""])
        cut_torn_tail(self.path)
        append_lines(self.path, lines)
        self._entries.update({a.sha256: a for a in added})

    def _add(self, entry: Assignment, where: str) -> None:
        before = self._entries.setdefault(entry.sha256, entry)
        if before.split != entry.split:
            raise SplitError(
                f"{where}: the image {entry.sha256[:12]} is recorded as {before.split} above and "
                f"as {entry.split} here; keep the line that reached main first and remove the other."
            )


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
        if not digests_are_whole or split not in get_args(Split):
            raise ValueError("an unknown split or a digest that isn't 64 hex digits")
    except (ValueError, KeyError, TypeError) as error:
        raise SplitError(f"{where} isn't a split record; restore the file with git checkout.") from error
    return Assignment(sha, look, cast(Split, split))
