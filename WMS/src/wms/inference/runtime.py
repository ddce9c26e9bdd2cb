"""ONNX Runtime, imported so that nothing is sent to its makers.

Since version 1.29 its Linux builds report sessions, with the model's file name and the hashes of graph and weights,
unless this variable is set before the import. Every module takes `onnxruntime` from here.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

__all__ = ["onnxruntime"]
