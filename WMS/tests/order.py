"""The order in which test processes take the tests' files, and what the tests' table of attacks is made from."""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a time limit of their own come first: begun last, they would run when the other processes are done."""
    slow = {item.path for item in items if item.get_closest_marker("timeout")}
    for item in items:
        if attack := item.get_closest_marker("attack"):
            item.user_properties.append(("attack", list(attack.args)))
    items.sort(key=lambda item: item.path not in slow)
