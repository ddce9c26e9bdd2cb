"""The variables by which libraries and programs report nothing to their makers, whichever command runs.

`wms.errors.run_main` sets them before a command begins, so its processes inherit them. `wms.inference.runtime` sets
them for users of the library. `make prove-service ARGS="--parts quiet"` watches the commands' calls.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

QUIET: Final[Mapping[str, str]] = MappingProxyType(
    {
        "CHECKPOINT_DISABLE": "true",  # Terraform asks for news
        "DO_NOT_TRACK": "true",  # many programs, MLflow among them
        "DVC_NO_ANALYTICS": "true",
        "GH_NO_UPDATE_NOTIFIER": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime 1.29 and newer on Linux reports the hashes of models
        "RAY_USAGE_STATS_ENABLED": "0",
    }
)


def be_quiet() -> None:
    """Set the variables in this process, whatever they were."""
    os.environ.update(QUIET)
