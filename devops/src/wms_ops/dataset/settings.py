"""The settings of the data, as a commit's recipe has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wms_ops.base.layout import RECIPE
from wms_ops.dataset.versions import file_at
from wms_ops.git.command import Git

if TYPE_CHECKING:
    from wms.config import DataConfig


def data_settings(git: Git, commit: str, recipe: str = RECIPE) -> DataConfig:
    """Return the data settings of a commit's recipe; the defaults for a commit without that recipe.

    Raises ConfigError for a recipe that isn't valid.
    """
    from wms.config import DataConfig, parse_recipe

    text = file_at(git, commit, recipe)
    return DataConfig() if text is None else parse_recipe(text, f"{recipe} at {commit[:12]}").data
