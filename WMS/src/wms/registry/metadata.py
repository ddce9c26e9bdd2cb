"""model-metadata.json, which only `write_metadata` writes; and the Dice and IoU that a new model has to beat."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from wms.errors import LedgerError, ModelDamagedError, ModelNotFoundError
from wms.files import parse_json, write_atomic
from wms.formats import newer
from wms.json_text import to_json
from wms.metrics import FINAL_DICE, FINAL_IOU
from wms.paths import ROOT
from wms.records import StoredRecord
from wms.registry.anchors import NOBODY, Witnesses
from wms.registry.chain import RegistryLedger
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.mlflow_store import ModelRegistry, RunInfo
from wms.registry.standing import read_standing
from wms.registry.types import Means
from wms.regular import read_regular

METADATA = ROOT / "model-metadata.json"
BEGINNING: Final = rb'{\s*"model_version": '
"""How the file begins, as a regular expression."""
_REPAIR: Final = "restore it from Git, or write it anew with `wms versions metadata`"


class ModelMetadata(StoredRecord):
    """The content of model-metadata.json: the first seven keys are a contract. Times are UTC, ISO 8601.

    Before the first promotion every value but `format` is None. `metrics` and `baseline` are means on the same test
    images, the latter of the former Production. `training_data_count` counts the whole data set, `github_run` is the
    number of the GitHub Actions run, None outside of GitHub.

    Format 1, written about ledger entries of older code, is kept as written: its `training_data_count` counts the
    training split, its `github_run` is the run's address or "".
    """

    NEWEST: ClassVar[int] = 2

    model_version: int | None = Field(ge=1)
    run_id: str | None
    metrics: Means | None
    baseline: Means | None
    trained_at: str | None
    training_data_count: int | None = Field(ge=0)
    github_run: int | str | None
    promoted_at: str | None = None
    weights_sha256: str | None = None
    onnx_sha256: str | None = None
    data_version: str | None = None
    config_hash: str | None = None
    git_commit: str | None = None
    training_split_count: int | None = Field(default=None, ge=0)
    format: int = 1

    @model_validator(mode="after")
    def _refuse_half(self) -> Self:
        """A version without its facts, or facts without a version, tell nothing certain about Production."""
        for name in ("run_id", "metrics", "baseline", "trained_at", "training_data_count"):
            if (getattr(self, name) is None) != (self.model_version is None):
                version = "null" if self.model_version is None else str(self.model_version)
                fault = f"{name} doesn't fit model_version {version}: either all are null or none is"
                raise PydanticCustomError("half", "{fault}", {"fault": fault})
        return self

    @property
    def text(self) -> str:
        """The file's text: the values that were given, also unknown ones, a line each."""
        return to_json(self.model_dump(mode="json", exclude_unset=True), indent=2, ensure_ascii=False) + "\n"


_NULLS: Final = {name: None for name in ModelMetadata.model_fields if name != "format"}
_NOTHING: Final = ModelMetadata.model_validate(_NULLS | {"format": ModelMetadata.NEWEST})
NOTHING_PROMOTED: Final = _NOTHING.text
"""The file's text before the first promotion. It proves nothing: only registry and ledger tell a first training."""


def metadata_of(entry: LedgerEntry) -> ModelMetadata:
    """The content of model-metadata.json after a ledger entry: in format 1 for an entry of older code."""
    known = entry.model_dump(include=set(ModelMetadata.model_fields))
    known |= {"model_version": entry.to_version, "promoted_at": entry.at}
    if entry.data_set_count is not None:
        number = entry.github_run.rpartition("/")[2]
        known |= {
            "training_data_count": entry.data_set_count,
            "training_split_count": entry.training_data_count,
            "github_run": int(number) if number.isdecimal() else None,
            "format": ModelMetadata.NEWEST,
        }
    return ModelMetadata.model_validate(known)


def write_metadata(entry: LedgerEntry | None, path: Path = METADATA) -> bool:
    """Write the entry, or NOTHING_PROMOTED without one, to `path`; returns whether the file changed.

    Fields that a later version has written about the same promotion stay. Raises ModelDamagedError for a file of a
    newer format, DiskFullError, UnwritableError.
    """
    found = metadata_of(entry) if entry else _NOTHING
    values = parse_json(found.text)
    stored = path.read_bytes() if path.is_file() else b""
    before = _object(stored)
    if fault := newer(before, newest=ModelMetadata.NEWEST):  # a damaged format is mended by writing
        raise ModelDamagedError(f"{path} {fault}.")
    if all(before.get(key) == values[key] for key in ("model_version", "run_id", "promoted_at")):
        unknown = {key: value for key, value in before.items() if key not in ModelMetadata.model_fields}
        found = ModelMetadata.model_validate(values | unknown)
    if stored == found.text.encode():
        return False
    write_atomic(path, found.text)
    return True


def read_metadata(path: Path, ledger: Ledger) -> ModelMetadata | None:
    """The content of model-metadata.json, or None without the file: what a person may read, never a proof.

    Raises ModelDamagedError, naming file and field, for a damaged file, for a file about a promotion that the ledger's
    entries don't hold, and for a file that differs from the entry about the same promotion; LedgerError, also where the
    file tells of a promotion after the newest entry: then the ledger lost its end.
    """
    try:
        content = read_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelDamagedError(f"{path} can't be read ({error.strerror}): move it away; {_REPAIR}.") from error
    found = ModelMetadata.parse(content, str(path), ModelDamagedError, _REPAIR)
    entries = ledger.entries()
    # A file that lags behind is fine: a killed promotion, or an entry that `wms sync` brought, leaves one.
    # A file that is ahead isn't: the ledger is written first, and Git brings both in the same commit.
    if found.model_version is None or not entries:
        return found
    same = [one for one in entries if (one.to_version, one.at) == (found.model_version, found.promoted_at)]
    about = f"version {found.model_version}, promoted at {found.promoted_at}"
    newest = entries[-1]
    is_another = (found.model_version, found.run_id) != (newest.to_version, newest.run_id)
    if not same and is_another and str(found.promoted_at) > newest.at:
        raise LedgerError(
            f"{ledger.history} ends with entry {newest.seq} of {newest.at}, but {path} tells of a later "
            f"promotion: {about}; restore both from Git, or run `wms restore`."
        )
    if not same:
        raise ModelDamagedError(
            f"{path} was changed by hand: model_version and promoted_at name {about}, which {ledger.history} doesn't "
            f"know; {_REPAIR}."
        )
    stored = _object(content)
    for key, value in parse_json(metadata_of(same[-1]).text).items():
        if stored.get(key) != value:
            raise ModelDamagedError(
                f"{path} was changed by hand: {key} is {to_json(stored.get(key))}, but {to_json(value)} by "
                f"{ledger.history}; {_REPAIR}."
            )
    return found


def metadata_fault(path: Path, ledger: Ledger) -> str:
    """The sentence about a clone's damaged or missing model-metadata.json; empty for a sound one.

    Git holds the file from the first commit on, so a clone without the file has lost it. A version beside an empty
    ledger is a fault of the clone; a promotion may begin there, since the registry may hold the entries.
    """
    try:
        found = read_metadata(path, ledger)
    except (LedgerError, ModelDamagedError) as error:
        return str(error)
    if found is None:
        return f"{path} is missing; {_REPAIR}."
    if found.model_version is not None and not ledger.entries():
        return (
            f"{path} names version {found.model_version}, but {ledger.history} has no entry; restore both from Git, "
            "or, if nothing was ever promoted here, write the file anew with `wms versions metadata`."
        )
    return ""


def _object(content: bytes) -> dict[str, Any]:
    """A JSON object; empty if the content is no JSON object."""
    with contextlib.suppress(ValueError):
        if isinstance(values := parse_json(content), dict):
            return values
    return {}


def run_means(run: RunInfo, server: str) -> Means:
    """The Dice and IoU that a run logged for its test images. Raises ModelNotFoundError if either is missing."""
    try:
        return Means(dice=run.metrics[FINAL_DICE], iou=run.metrics[FINAL_IOU])
    except (KeyError, ValueError):
        raise ModelNotFoundError(
            f"Run {run.run_id} at {server} has no usable {FINAL_DICE} and {FINAL_IOU}; has it finished?"
        ) from None


def baseline(uri: str | None, ledger: Ledger, model: str = "", witnesses: Witnesses = NOBODY) -> dict[str, Any]:
    """Production's version, run_id, dice and iou: from the registry at `uri`, or from the ledger if `uri` is None.

    Zeros, a version of None and a note only if nothing was ever Production. Raises LedgerError if the Production
    version is uncertain or none of the `witnesses` knows it, RegistryUnreachableError and RegistryError rather than
    answering with zeros; ModelNotFoundError.

    >>> baseline(None, Ledger())  # doctest: +SKIP
    {'version': 3, 'run_id': '0a1b...', 'dice': 0.9441, 'iou': 0.8950}
    """
    entry: LedgerEntry | None
    if uri is None:
        if (entry := ledger.current()) is None:
            return _none(f"{ledger.history} has no entry and MLFLOW_TRACKING_URI isn't set")
        return _found(entry.to_version, entry.run_id, entry.metrics)
    registry = ModelRegistry(uri, model=model)
    standing = read_standing(registry, RegistryLedger(uri, registry.model), ledger, witnesses=witnesses)
    if (version := standing.production) is None:
        return _none(f"nothing was ever promoted at {registry.server}")
    if (entry := standing.chain.about(version)) is not None:
        return _found(version, entry.run_id, entry.metrics)
    found = next(one for one in registry.versions() if one.version == version)
    return _found(version, found.run_id, run_means(registry.run(found.run_id), registry.server))


def _found(version: int, run_id: str, means: Means) -> dict[str, Any]:
    return {"version": version, "run_id": run_id, **means.model_dump()}


def _none(why: str) -> dict[str, Any]:
    return {"version": None, "run_id": None, "dice": 0.0, "iou": 0.0, "note": f"There is no Production model: {why}."}


def baseline_json(uri: str | None, ledger: Ledger, model: str = "", witnesses: Witnesses = NOBODY) -> str:
    """`baseline` as a line of JSON."""
    return to_json(baseline(uri, ledger, model, witnesses))
