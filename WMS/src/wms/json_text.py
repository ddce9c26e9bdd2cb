"""JSON as this project writes it, into files and for `--json`: every text is one that any JSON parser reads.

JSON has no number for NaN and infinities; Python's own writer would write words that other parsers refuse. Such a value
is written as the string "nan", "inf" or "-inf", as in metrics.jsonl, and not as null, which means "not logged". `float`
reads the strings. Files of earlier versions, which hold Python's words, stay readable: `wms.files.parse_json`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping


def to_json(value: object, *, indent: int | None = None, sort_keys: bool = False, ensure_ascii: bool = True) -> str:
    """A value as strict JSON text; the options are those of `json.dumps`. Raises TypeError for a value of other kinds.

    >>> to_json({"loss": float("inf"), "dice": [0.5, float("nan")]})
    '{"loss": "inf", "dice": [0.5, "nan"]}'
    """
    return json.dumps(_finite(value), indent=indent, sort_keys=sort_keys, ensure_ascii=ensure_ascii, allow_nan=False)  # noqa: TID251


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, Mapping):
        return {_finite(key): _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
