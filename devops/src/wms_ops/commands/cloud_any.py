"""What `wms cloud` does for a target without a module of its own: what the protocol can say."""

from __future__ import annotations

import argparse
from typing import Any

from wms_ops.targets.protocol import Cloud


def up(cloud: Cloud, _: argparse.Namespace) -> int:
    """Start the instance. Raises what the target does."""
    print(f"MLflow: {cloud.up().mlflow}")
    return 0


def down(cloud: Cloud, _: argparse.Namespace) -> int:
    """End the instance. Raises what the target does."""
    cloud.down()
    print("MLflow and the service are stopped.")
    return 0


def show(cloud: Cloud) -> None:
    """Print the state and the addresses. Raises what the target does."""
    endpoints = cloud.endpoints()
    print(f"The cloud {cloud.name} is {cloud.status()}.")
    if endpoints:
        print(f"MLflow: {endpoints.mlflow}")


def facts(_: Cloud) -> dict[str, Any]:
    """Nothing beyond what every target knows."""
    return {}


def summary(_: Cloud) -> dict[str, Any]:
    """Nothing for `wms status`."""
    return {}
