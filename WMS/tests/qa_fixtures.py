"""Fixtures for tests of the data check; a test module has them by `pytest_plugins = ["qa_fixtures"]`."""

from __future__ import annotations

from pathlib import Path

import pytest
from qa_data import copy, make


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good photos and masks, which no test changes."""
    return make(tmp_path_factory.mktemp("good") / "photos")


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy of it, for one test to do damage to."""
    return copy(good, tmp_path / "photos")
