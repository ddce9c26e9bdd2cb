"""Pictures as the bytes of a file, and as links inside a page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from typing import Any

from PIL import Image


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """An image as the bytes of a file of `kind` (JPEG, PNG); `options` are Pillow's."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def data_uri(content: bytes, kind: str = "jpeg") -> str:
    """The content of an image file of `kind` (jpeg, png) as a link that needs no network."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def draw(figure: Any, paper: str = "white", title: str | None = None) -> bytes:
    """A matplotlib figure, on the colour `paper`, as the bytes of a PNG file; equal figures give equal bytes.

    The file names its `title`, by which `titled` recognises the file.

    matplotlib is used without pyplot, whose global list of figures isn't safe in threads.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    stream = io.BytesIO()
    figure.set_facecolor(paper)
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None, "Title": title})
    return stream.getvalue()


def titled(title: str) -> bytes:
    """The beginning of a PNG file that `draw` made with this title, as a regular expression."""
    return rb"\x89PNG\r\n\x1a\n.{0,200}?tEXtTitle\x00" + re.escape(title.encode()) + rb".{4}"


def plot_line(axes: Any, places: Sequence[float], values: Sequence[float], *style: str, **options: Any) -> None:
    """Draw a line; a single point, whose line would be invisible, is drawn as a dot."""
    axes.plot(places, values, *style, marker="o" if len(places) == 1 else None, **options)
