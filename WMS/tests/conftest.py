"""Tests of the machine-learning half run apart from the tester's own settings."""

from __future__ import annotations

import pytest
from entrance_table import entrance, pytest_terminal_summary
from isolation import isolate
from order import pytest_collection_modifyitems

__all__ = ["entrance", "pytest_collection_modifyitems", "pytest_terminal_summary"]


def pytest_configure(config: pytest.Config) -> None:
    """Before the first test, in each process."""
    isolate(config)
