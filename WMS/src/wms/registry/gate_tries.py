"""Every verdict of the gate, kept in the registry for good: a run's own verdict is replaced by the run's next gate.

A verdict is a version of the registered model `<model>.verdicts`, as an entry of the ledger is one of `<model>.ledger`:
a version and its tags appear together, nothing overwrites them, and they outlive the run. A killed gate leaves either
no version or a whole one, and two gates at once leave two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from wms.errors import RegistryError
from wms.registry.gate_settings import GateTry
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.types import GateVerdict, NoVerdict
from wms.text import counted

SUFFIX: Final = ".verdicts"
TRY: Final = "verdict"
"""The tag of such a version that holds a GateTry as JSON."""


@dataclass(frozen=True)
class Tries:
    """The verdicts on record about a model, oldest first; `lost` counts the versions that were deleted or changed."""

    found: tuple[GateTry, ...]
    lost: int
    where: str

    @property
    def warning(self) -> str:
        """The sentence about lost versions; empty if every version is there."""
        if not self.lost:
            return ""
        return f"{counted(self.lost, 'verdict')} in {self.where} can't be read any more: a refusal may be missing."


class TryLog:
    """The verdicts that a registry keeps about all runs."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._versions = ModelRegistry(registry.uri, model=registry.model + SUFFIX)

    def add(self, verdict: GateVerdict) -> None:
        """Keep a verdict that names its settings; other verdicts are left out.

        Raises RegistryUnreachableError, RegistryError.
        """
        if (tried := tried_by(verdict)) is not None:
            self._versions.add_version(verdict.run_id, {TRY: tried.model_dump_json()})

    def about(self, run_id: str, weights_sha256: str) -> Tries:
        """The verdicts about a run, and about runs with the same weights; raises what `read` raises."""
        tries = self.read()
        mine = tuple(tried for tried in tries.found if run_id == tried.run_id or weights_sha256 == tried.weights_sha256)
        return replace(tries, found=mine)

    def read(self) -> Tries:
        """All verdicts on record. Raises RegistryUnreachableError, RegistryError."""
        versions = self._versions.versions()
        found, unread = [], 0
        for version in versions:
            where = f"version {version.version} of {self._versions.model}"
            try:
                found.append(GateTry.parse(version.tags.get(TRY, ""), where, RegistryError, ""))
            except RegistryError:
                unread += 1
        # MLflow never gives a number twice, so a gap is a deleted version.
        gaps = max((version.version for version in versions), default=0) - len(versions)
        return Tries(tuple(found), gaps + unread, self._versions.model)


def tried_by(verdict: GateVerdict | NoVerdict | None) -> GateTry | None:
    """The verdict as it stays on record; None for a record without settings, as older code wrote them."""
    if not isinstance(verdict, GateVerdict) or verdict.settings is None:
        return None
    return GateTry(
        decision=verdict.decision,
        run_id=verdict.run_id,
        weights_sha256=verdict.weights_sha256,
        settings=verdict.settings,
        champion_version=verdict.champion_version,
        test_version=verdict.test_version,
        test_images=verdict.test_images,
        decided_at=verdict.decided_at,
    )
