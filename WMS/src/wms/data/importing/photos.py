"""Finds the photos that an export names, among the files that came along: by the likeliest path, then by the name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from wms.data.importing.records import LabelFault
from wms.data.importing.source import Tree
from wms.data.kinds import HEIC_SUFFIXES, SUFFIXES
from wms.data.qa.names import shown

_NO_PHOTOS: Final = frozenset(
    {".json", ".xml", ".txt", ".csv", ".yaml", ".yml", ".npy", ".names", ".data", ".md", ".html"}
)

_UPLOAD: Final = re.compile(r"[0-9a-f]{8}-(.+)")


class Photos:
    """The photos of a tree, all files but those that hold labels; `labels` names the masks among its images."""

    def __init__(self, tree: Tree, labels: Iterable[str] = ()) -> None:
        self.tree = tree
        masks = frozenset(labels)
        self.names = [n for n in tree.names if n not in masks and PurePosixPath(n).suffix.lower() not in _NO_PHOTOS]
        self._by_name: dict[str, list[str]] = {}
        for name in self.names:
            for key in {_key(name), _key(stem(name))}:
                self._by_name.setdefault(key, []).append(name)

    def find(self, guesses: Iterable[str]) -> str:
        """The photo that shares most folders with the first path for which that is a single photo.

        A path may lack the extension, and Label Studio puts eight digits before an upload's name. Raises LabelFault if
        no photo or several fit.
        """
        several: list[str] = []
        paths = list(guesses)
        for guess in (*paths, *(found[1] for path in paths if (found := _UPLOAD.fullmatch(_key(path))))):
            wanted = parts_of(guess)
            scores = {name: _common(wanted, parts_of(name)) for name in self._by_name.get(_key(guess), [])}
            best = [name for name, score in scores.items() if score == max(scores.values())]
            if len(best) == 1:
                return best[0]
            several = several or best
        if several:
            raise LabelFault(f"can be any of {', '.join(map(shown, several[:4]))}; give each photo a name of its own")
        raise LabelFault("isn't there; export the photos, too, or name their folder by `--images DIR`")

    def unlabelled(self, labelled: Iterable[str]) -> Iterator[str]:
        """The photos that no label refers to."""
        known = set(labelled)
        suffixes = SUFFIXES | HEIC_SUFFIXES
        return (n for n in self.names if n not in known and PurePosixPath(n).suffix.lower() in suffixes)


def stem(name: str) -> str:
    """A path without the extension."""
    return name[: len(name) - len(PurePosixPath(name).suffix)]


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a path from its end, the name without extension first, in Unicode's composed form."""
    first, *rest = reversed(unicodedata.normalize("NFC", name.replace("\\", "/")).split("/"))
    return (stem(first), *rest)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/").rsplit("/", 1)[-1])


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many parts are the same, counted from the paths' ends."""
    same = 0
    for left, right in zip(one[1:], other[1:], strict=False):
        if left != right:
            break
        same += 1
    return same
