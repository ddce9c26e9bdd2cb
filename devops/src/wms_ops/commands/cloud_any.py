"""The commands of `wms cloud` for a target without a module of its own, limited to the target protocol."""

from __future__ import annotations

import argparse
from typing import Any

from wms_ops.targets.protocol import Cloud


def up(cloud: Cloud, _: argparse.Namespace) -> int:
    """Start the instance. Raises the target's errors."""
    print(f"MLflow: {cloud.up().mlflow}")
    return 0


def down(cloud: Cloud, _: argparse.Namespace) -> int:
    """End the instance. Raises the target's errors."""
    cloud.down()
    print("MLflow and the service are stopped.")
    return 0


def show(cloud: Cloud) -> None:
    """Print the state and the addresses. Raises the target's errors."""
    endpoints = cloud.endpoints()
    print(f"The cloud {cloud.name} is {cloud.status()}.")
    if endpoints:
        print(f"MLflow: {endpoints.mlflow}")


def facts(_: Cloud) -> dict[str, Any]:
    """No facts beyond those of every target."""
    return {}


def summary(_: Cloud) -> dict[str, Any]:
    """No entries for `wms status`."""
    return {}
