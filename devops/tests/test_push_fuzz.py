"""A few of the generated Git configurations; `fuzz_git_config.py` takes as many as wanted."""

from __future__ import annotations

import pytest
from entrance_table import WORKS, Row
from fuzz_git_config import git_configuration, push_under
from workshop import Workshop


@pytest.mark.parametrize("seed", range(3))
def test_a_generated_git_configuration(shop: Workshop, seed: int, entrance: Row) -> None:
    made = git_configuration(seed)
    assert str(made) == str(git_configuration(seed))
    entrance("pushes", f"generated Git configuration {seed}", push_under(shop, made), WORKS)
