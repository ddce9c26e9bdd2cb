"""The form that all formats are read into: photos with labelled shapes, and shapes that paint themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wms.data.importing.source import Tree
from wms.data.qa.names import shown
from wms.errors import WmsError

_BRIEF = 40  # characters of a value in a sentence

Canvas = NDArray[np.bool_]
"""Marked pixels, shape (height, width), in the frame of the export: upright or as stored."""


class LabelFault(Exception):
    """Why the label of a photo can't be used: the end of a sentence that begins with the photo's name."""


@dataclass(frozen=True)
class Shape:
    """An object on a photo: its class, and a function that marks the object's pixels on a canvas.

    `paint` raises LabelFault. `warning` tells what a user should know about this shape.
    """

    label: str
    paint: Callable[[Canvas], None]
    warning: str = ""


@dataclass(frozen=True)
class Labelled:
    """A photo as an export describes it.

    `origin` is the export's file, `photo` the photo's name in there, `size` the width and height that the coordinates
    refer to (None: those of the upright photo). `guesses` are the paths under which the photo may lie, the likeliest
    first. `embedded` returns the photo's bytes if the export's file holds them. `fault` says why the label is unusable.
    """

    origin: str
    photo: str
    guesses: tuple[str, ...]
    shapes: tuple[Shape, ...] = ()
    size: tuple[int, int] | None = None
    embedded: Callable[[], bytes] | None = None
    fault: str = ""


@dataclass(frozen=True)
class Format:
    """A format of exports. `find` returns the files that have the format, in `tree`; `read` yields their photos.

    `looked_for` describes those files, `masks` returns the images of a tree that are labels and no photos.
    """

    name: str
    looked_for: str
    find: Callable[[Tree], Sequence[str]]
    read: Callable[[Tree, Sequence[str]], Iterator[Labelled]]
    masks: Callable[[Tree], Sequence[str]] = lambda _: ()


def brief(value: object) -> str:
    """A value of an export for a sentence, cut if long, as damaged numbers are."""
    text = shown(f"{value:.6g}" if isinstance(value, float) else str(value))
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}..."


def class_name(value: Any) -> str:
    """The name of a class, a text or a number of an export. Raises ValueError for other values."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError("the name of a class is neither a text nor a number; put names into quotes")
    return str(value)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn the errors of code that takes a label apart into LabelFault: a missing or odd value, a damaged picture."""
    try:
        yield
    except KeyError as error:
        raise LabelFault(f"has a label without the value {error}") from error
    except (WmsError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise LabelFault(f"has a label that can't be read ({str(error).rstrip('.')})") from error


def gathered(shapes: Iterable[Shape]) -> tuple[tuple[Shape, ...], str]:
    """All shapes, or none and the fault that reading them met."""
    try:
        with explained():
            return tuple(shapes), ""
    except LabelFault as fault:
        return (), str(fault)
