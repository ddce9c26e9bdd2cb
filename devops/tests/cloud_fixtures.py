"""One running cloud and two models for all tests of a process that don't mind each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cloud_shop import Models, close_and_check, new_cloud

from wms_ops.targets.local import LocalCloud


@pytest.fixture(scope="session")
def cloud_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """Use `cloud`, which brings it up again after a test that stopped it."""
    cloud = new_cloud(tmp_path_factory.mktemp("cloud"))
    try:
        yield cloud
    finally:
        close_and_check(cloud)


@pytest.fixture
def cloud(cloud_of_session: LocalCloud) -> LocalCloud:
    """A cloud that is up."""
    cloud_of_session.up()
    return cloud_of_session


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Two releases."""
    return Models.make(tmp_path_factory.mktemp("models"))
