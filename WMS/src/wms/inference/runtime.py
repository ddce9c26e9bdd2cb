"""ONNX Runtime, imported so that nothing is sent to its makers.

Since version 1.29 its Linux builds report sessions, with the model's file name and the hashes of graph and weights,
unless a variable is set before the import. Every module takes `onnxruntime` from here.
"""

from __future__ import annotations

from wms.quiet import be_quiet

be_quiet()

import onnxruntime  # noqa: E402 - its first lines begin to report

__all__ = ["onnxruntime"]
