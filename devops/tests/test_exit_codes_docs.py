"""The exit codes that the pages of gate and promotion list, compared with the kinds of failure on their way."""

from __future__ import annotations

import re

import pytest

from wms import errors
from wms.errors import BROKEN_PIPE, DECLINED, INTERRUPTED
from wms.paths import ROOT
from wms_ops.base import errors as ops_errors

FILES = {errors.DiskFullError, errors.UnwritableError, errors.ManifestError}
MODEL = {errors.ModelNotFoundError, errors.ModelDamagedError}
REGISTRY = {errors.RegistryUnreachableError, errors.RegistryError, errors.LedgerError}
VERDICT = {errors.NotImprovedError, errors.CannotDecideError}
BUCKET = {kind for kind in vars(ops_errors).values() if isinstance(kind, type) and 70 <= kind.exit_code <= 78}
BOTH = {errors.UsageError, errors.ConfigError} | FILES | MODEL | REGISTRY | VERDICT | BUCKET
CODES = {
    "gate.md": {kind.exit_code for kind in BOTH | {errors.SplitError}},
    "promotion.md": {
        kind.exit_code for kind in BOTH | {errors.LineageError, errors.PromotionLostError, ops_errors.GitError}
    }
    | {DECLINED},
}


@pytest.mark.parametrize("page", CODES)
def test_the_listed_codes_are_those_that_the_command_can_end_with(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (listed,) = re.findall(r"^The command ends with 0 .*?exit-codes\.md\)\)\.$", text, re.MULTILINE | re.DOTALL)
    found = {int(number) for number in re.findall(r"\b\d+\b", re.sub(r"\([^()]*\)", "", listed))}
    for first, last in re.findall(r"(\d+) to (\d+)", listed):
        found |= set(range(int(first), int(last) + 1))
    assert found == CODES[page] | {0, INTERRUPTED, BROKEN_PIPE}
