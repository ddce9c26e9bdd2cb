"""Renders the project's HTML pages: self-contained files that escape every value and load nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from wms.names import harmless


def render(template: Path, values: dict[str, Any], **filters: Callable[..., str]) -> str:
    """Render a template file, which may extend page.html.j2, with `values`; `filters` are the template's own."""
    folders = (template.parent, Path(__file__).parent)
    # autoescape=True, since select_autoescape() would leave a name that ends in .j2 unescaped
    environment = Environment(
        loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined, finalize=_visible
    )
    environment.filters |= filters
    return environment.get_template(template.name).render(values)


def _visible(value: object) -> object:
    """A value as a page shows it: in plain text, not in the markup of macros, hidden signs become visible."""
    return harmless(value, keep="\t\n") if type(value) is str else value
