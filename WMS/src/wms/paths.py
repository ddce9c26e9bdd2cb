"""The repository's folders, independent of the working directory."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""The repository's root."""

RECIPE = ROOT / "WMS" / "configs" / "train.yaml"
"""The recipe of record."""

RUNS = ROOT / "runs"
"""Where `wms train` keeps the folders of runs, and where every command looks for them."""


def from_root(path: Path) -> Path:
    """An absolute `path` as given; a relative path resolved from the repository's root."""
    return path if path.is_absolute() else ROOT / path
