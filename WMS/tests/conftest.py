"""Tests of the machine-learning half run apart from the tester's own settings."""

from __future__ import annotations

import pytest
from isolation import isolate
from order import pytest_collection_modifyitems

__all__ = ["pytest_collection_modifyitems"]


def pytest_configure(config: pytest.Config) -> None:
    """Before the first test, in each process."""
    isolate(config)
