"""Which tests a process takes, their files' order, and what the tests' table of attacks is made from."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from slices import leave_out


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Files with a time limit of their own come first: begun last, they would run when the other processes are done.

    Slices are taken before `-k` and `-m` leave out tests, so that a test's part doesn't depend on those.
    """
    leave_out(config, items)
    yield
    slow = {item.path for item in items if item.get_closest_marker("timeout")}
    for item in items:
        if attack := item.get_closest_marker("attack"):
            item.user_properties.append(("attack", list(attack.args)))
    items.sort(key=lambda item: item.path not in slow)
