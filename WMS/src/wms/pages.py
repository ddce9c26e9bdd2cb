"""Renders the project's HTML pages: self-contained files that escape every value and load nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(template: Path, values: dict[str, Any], **filters: Callable[..., str]) -> str:
    """Render a template file, which may extend page.html.j2, with `values`; `filters` are the template's own."""
    folders = (template.parent, Path(__file__).parent)
    # autoescape=True, since select_autoescape() would leave a name that ends in .j2 unescaped
    environment = Environment(loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined)
    environment.filters |= filters
    return environment.get_template(template.name).render(values)
