"""One account with one running instance for all tests of a process that don't mind each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws_server import AwsServer
from cloud_shop import Models
from host_shop import Launch, World
from instance_shop import Hypervisor


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An AWS of its own, in which a minute of an instance's timers takes a second."""
    with (
        AwsServer(tmp_path_factory.mktemp("aws")) as aws,
        Hypervisor(aws, tmp_path_factory.mktemp("machines"), seconds_per_minute=1) as hypervisor,
    ):
        yield World(aws, hypervisor)


@pytest.fixture(scope="session")
def host(world: World) -> Launch:
    """An instance that is up and stays up: no test ends it."""
    return world.until_up(world.launch(minutes=3600))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Two releases."""
    return Models.make(tmp_path_factory.mktemp("models"))
