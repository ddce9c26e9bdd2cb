"""Tests of the machine-learning half run apart from the tester's own settings."""

from __future__ import annotations

import pytest
from isolation import isolate


def pytest_configure(config: pytest.Config) -> None:
    """Before the first test, in each process."""
    isolate(config)
