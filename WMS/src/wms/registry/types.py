"""Values shared by gate, promotion and ledger: frozen, and stored as JSON on disk and in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from wms.metrics import METRICS, title_of
from wms.records import StoredRecord
from wms.registry.gate_settings import GateSettings
from wms.text import counted

PRODUCTION, PREVIOUS = "production", "previous"
"""Aliases of a model's versions."""

STAGED = "Production"
"""MLflow 2's stage, which an alias replaced; a server's database may still hold the stage."""

VERDICT_FILE = "gate/verdict.json"
"""The artifact that holds a run's newest verdict."""

CHOSEN = "attempts.chosen"
"""The tag of a run that is one of several attempts: the name of the run that validation chose."""
TRIED = "attempts.tried"
"""The tag of such a run with all attempts, as JSON: a list of objects, each with the name of a `run`."""

Mode = Literal["enforce", "dry-run", "off"]
"""How strict the gate is: see docs/gate.md."""


class Means(StoredRecord):
    """Means over the test images: Dice, IoU, and the other metrics of `wms.metrics` by their names.

    >>> Means(dice=0.9, iou=0.82).named()
    {'dice': 0.9, 'iou': 0.82}
    """

    dice: float = Field(ge=0, le=1)
    iou: float = Field(ge=0, le=1)

    def named(self) -> dict[str, float]:
        """Every mean by its metric's name, Dice and IoU first."""
        # A field of newer code may be anything; only a number can be a mean.
        return {name: value for name, value in self.model_dump().items() if isinstance(value, float)}


def attempts_of(card: Mapping[str, object]) -> int | None:
    """The number of attempts from which a model was chosen, by its card; None for a single one.

    >>> attempts_of({"attempts": 3}), attempts_of({})
    (3, None)
    """
    said = card.get("attempts")
    return said if type(said) is int and said > 1 else None


def means_in(values: Mapping[str, str], side: str) -> Means:
    """Read means from a record's outputs, which are texts such as `champion_dice`; `side` is champion or challenger.

    Raises ValueError if Dice or IoU is missing or no number.
    """
    found = {name: float(values[key]) for name in METRICS if (key := f"{side}_{name}") in values}
    return Means(**found)


def from_to(before: Means, after: Means) -> str:
    """Describe changed means, for metrics that both sides have.

    >>> from_to(Means(dice=0.9012, iou=0.83), Means(dice=0.9105, iou=0.8401))
    'Dice 0.9012 -> 0.9105, IoU 0.8300 -> 0.8401'
    """
    old = before.named()
    shown = ((name, old[name], value) for name, value in after.named().items() if name in old)
    return ", ".join(f"{title_of(name)} {was:.4f} -> {now:.4f}" for name, was, now in shown)


class UseOfTestSet(StoredRecord):
    """The comparisons of other models with one Production model before this one, on the same test set.

    A model that was compared several times on the same photos counts once, because the answer is the same.
    """

    champion_version: int
    comparisons: int = Field(ge=0)
    same_photos: int = Field(ge=0, description="Those on exactly the present test pairs.")
    per_photo: float = Field(ge=0, description="Comparisons, each by the share of the present photos that it had.")
    gained: int | None = Field(
        description="Test photos more than in the last decision about any Production model; None if there was none."
    )

    @property
    def text(self) -> str:
        """All of it in sentences."""
        if self.comparisons:
            said = (
                f"{counted(self.comparisons, 'other model')} met version {self.champion_version} on this test set "
                f"before, {self.same_photos} on exactly these photos: {self.per_photo:.1f} earlier comparisons for "
                "each photo."
            )
        else:
            said = f"This is the first comparison with version {self.champion_version} on record."
        if self.gained is None:
            return said
        verb = "gained" if self.gained >= 0 else "lost"
        return f"{said} The test set {verb} {counted(abs(self.gained), 'photo')} since the last decision."


class GateVerdict(StoredRecord):
    """The gate's decision about a run; `champion_version` is None if nothing was Production."""

    decision: Literal["improved", "not improved"]
    run_id: str
    weights_sha256: str
    challenger: Means
    champion: Means
    champion_version: int | None
    card_sha256: str = Field(default="", description="Of the model's card; empty in verdicts of older code.")
    test_images: int = Field(ge=1)
    test_version: str = Field(description="SHA-256 over the hashes of all test pairs.")
    mode: Mode = "enforce"
    probability: float | None = Field(default=None, ge=0, le=1, description="Bootstrap probability of improvement.")
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    decided_at: str = Field(description="UTC, ISO 8601.")
    use: UseOfTestSet | None = Field(
        default=None, description="None in a first training, and in older code's verdicts."
    )
    settings: GateSettings | None = Field(default=None, description="None in verdicts of older code.")
    held_back: str = Field(default="", description="Why the run doesn't pass in spite of its scores; whole sentences.")
    attempts: int | None = Field(
        default=None, ge=1, description="Seeds trained, of which validation chose the challenger; None: one."
    )

    @property
    def said(self) -> str:
        """The decision for a table's cell."""
        return f"{self.decision}, held back" if self.held_back else self.decision

    @property
    def choice(self) -> str:
        """The sentence about the challenger's choice among several attempts; empty for a single one."""
        if self.attempts is None:
            return ""
        return f"The challenger was chosen from {self.attempts} attempts on validation."


class NoVerdict(StoredRecord):
    """A run's record in place of a verdict: during a gate's work, and after a gate that couldn't decide.

    The last two decisions are never stored: the reader finds them. `at` is UTC, ISO 8601; `attempt` is unique.
    """

    decision: Literal["undecided", "cannot decide", "damaged verdict", "contradictory verdict"]
    run_id: str
    reason: str = Field(description="Whole sentences.")
    mode: Mode = "enforce"
    at: str = ""
    attempt: str = ""

    @property
    def said(self) -> str:
        """The decision for a table's cell."""
        return self.decision


def decision_now(found: GateVerdict | NoVerdict, production: int | None) -> str:
    """The gate's decision for a table's cell or a sentence; a baseline that isn't `production` any more is named."""
    if isinstance(found, NoVerdict) or found.champion_version == production:
        return found.said
    if found.champion_version is None:
        return f"{found.said}, when nothing was Production"
    return f"{found.said} against version {found.champion_version}, which isn't Production any more"
