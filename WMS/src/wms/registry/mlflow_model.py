"""A registered version in MLflow's own form: the files for `mlflow.pyfunc.load_model("models:/NAME@production")`.

The three files beside the model say how to call it; they hold no code. MLflow imports `wms.inference.pyfunc` when
loading a version, so only an installed copy of this project runs, on the model's own verified files. This module
writes them itself, because MLflow's writer takes seconds to import and records the registering machine's packages.

The three files are no part of a model's identity: `wms.registry.lineage.FILES` are, which sync and ledger know by hash.
"""

from __future__ import annotations

import base64
import platform
from typing import Any, Final

import yaml

from wms.data.synthetic import draw_meter
from wms.json_text import to_json
from wms.pictures import encoded

MLMODEL, EXAMPLE, REQUEST = "MLmodel", "input_example.json", "serving_input_example.json"
LOADER: Final = "wms.inference.pyfunc"
PHOTO, MASK = "photo", "mask"
"""The input and the output column: an image file's bytes, and a PNG file's bytes."""

_SIDE: Final = 96  # pixels of the example


def mlflow_files(run_id: str, created_at: str) -> dict[str, bytes]:
    """The files of a run's model by name, MLmodel last, which makes them valid; `created_at` is UTC, ISO 8601."""
    example = {"columns": [PHOTO], "data": [[_example_photo()]]}
    return {
        EXAMPLE: to_json(example).encode(),
        REQUEST: to_json({"dataframe_split": example}, indent=2).encode(),
        MLMODEL: yaml.safe_dump(_description(run_id, created_at)).encode(),
    }


def _description(run_id: str, created_at: str) -> dict[str, Any]:
    """The content of MLmodel: https://mlflow.org/docs/latest/ml/model/#storage-format."""
    return {
        "artifact_path": "model",
        "run_id": run_id,
        "utc_time_created": created_at,
        "flavors": {"python_function": {"loader_module": LOADER, "python_version": platform.python_version()}},
        "signature": {"inputs": _column(PHOTO), "outputs": _column(MASK), "params": None},
        "saved_input_example_info": {
            "artifact_path": EXAMPLE,
            "serving_input_path": REQUEST,
            "type": "dataframe",
            "pandas_orient": "split",
        },
    }


def _column(name: str) -> str:
    return to_json([{"type": "binary", "name": name, "required": True}])


def _example_photo() -> str:
    """A drawn meter as a JPEG file in base 64."""
    return base64.b64encode(encoded(draw_meter(0, size=_SIDE).image)).decode("ascii")
