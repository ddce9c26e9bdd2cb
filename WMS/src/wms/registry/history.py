"""The versions of the model with scores and a quality word, from the ledger and, with a server, from MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from wms.errors import ModelNotFoundError, TrackingError
from wms.files import parse_json
from wms.metrics import FINAL, FINAL_DICE, FINAL_IOU
from wms.models import model_of
from wms.pictures import draw
from wms.registry.facts import count_training
from wms.registry.ledger import LedgerEntry
from wms.registry.lineage import DATA
from wms.registry.mlflow_store import ModelRegistry, ModelVersion, RunInfo
from wms.registry.types import PREVIOUS, PRODUCTION, STAGED, decision_now
from wms.registry.verdicts import read_verdict

QUALITY: Final = ((0.92, "Excellent"), (0.85, "Good"), (0.70, "Mediocre"), (0.0, "Poor"))
"""The least mean test Dice for each quality word; see docs/models.md."""

NEWEST: Final = 10
"""Versions shown without --all."""

PLOT: Final = "wms versions scores"
"""The title in the plot's file."""

_COLOURS: Final = {"Excellent": "#1a7f37", "Good": "#0550ae", "Mediocre": "#b35900", "Poor": "#b3261e"}


@dataclass(frozen=True)
class HistoryRow:
    """A version; unknown fields are None or "". `at` is UTC, ISO 8601; `images` counts training images."""

    version: int
    stage: str
    at: str
    dice: float | None = None
    iou: float | None = None
    loss: float | None = None
    parameters: int | None = None
    images: int | None = None
    verdict: str = ""

    @property
    def quality(self) -> str:
        """The quality word for the mean test Dice; empty if the Dice is unknown."""
        return "" if self.dice is None else quality(self.dice)


def quality(dice: float) -> str:
    """The quality word for a mean Dice (0..1) over the test images.

    >>> quality(0.93), quality(0.5)
    ('Excellent', 'Poor')
    """
    return next(word for limit, word in QUALITY if dice >= limit or limit == 0)


def from_ledger(entries: Sequence[LedgerEntry], card: Mapping[str, Any]) -> tuple[HistoryRow, ...]:
    """List every version that was Production, oldest first; `card` describes the local model and gives its parameters.

    A version that came back by a rollback keeps the scores of its promotion and has the time of its return.
    """
    rows: dict[int, HistoryRow] = {}
    for entry in entries:
        here = card.get("weights_sha256") == entry.weights_sha256
        row = HistoryRow(
            version=entry.to_version,
            stage=stage_of(entry.to_version, entries),
            at=entry.at,
            dice=entry.metrics.dice,
            iou=entry.metrics.iou,
            parameters=card.get("parameters") if here else None,
            images=entry.training_data_count,
            verdict=entry.verdict,
        )
        known = rows.pop(entry.to_version, None)
        rows[entry.to_version] = replace(known, at=entry.at) if known and entry.action == "rollback" else row
    return tuple(rows[version] for version in sorted(rows))


def stage_of(version: int, entries: Sequence[LedgerEntry]) -> str:
    """The stage of a version by the ledger: Production, Previous, Archived, or "" for an empty ledger."""
    if not entries:
        return ""
    if version == entries[-1].to_version:
        return "Production"
    return "Previous" if version == entries[-1].from_version else "Archived"


def stage_in_registry(version: ModelVersion) -> str:
    """The stage of a version by its aliases and tags; stages of MLflow 2 are shown, but have no effect."""
    if PRODUCTION in version.aliases:
        return "Production"
    if PREVIOUS in version.aliases:
        return "Previous"
    if version.stage == STAGED:
        return "MLflow 2 Production"
    return "Archived" if version.tags.get("status") == "archived" else "Candidate"


def from_registry(registry: ModelRegistry, rows: Iterable[HistoryRow], most: int | None) -> tuple[HistoryRow, ...]:
    """The newest `most` versions (None: all) of the registry, completed by the ledger's `rows`, oldest first.

    Raises RegistryUnreachableError or RegistryError.
    """
    known = {row.version: row for row in rows}
    versions = registry.versions()
    chosen = versions if most is None else versions[-most:]
    production = production_of(versions)
    return tuple(_row(registry, version, known.get(version.version), production) for version in chosen)


def production_of(versions: Iterable[ModelVersion]) -> int | None:
    """The version with the alias of Production; None without one."""
    return next((version.version for version in versions if PRODUCTION in version.aliases), None)


def _row(
    registry: ModelRegistry, version: ModelVersion, known: HistoryRow | None, production: int | None
) -> HistoryRow:
    stage = stage_in_registry(version)
    try:
        run = registry.run(version.run_id)
    except ModelNotFoundError:  # somebody deleted the run; what the ledger knows stays known
        return replace(known, stage=stage) if known else HistoryRow(version.version, stage, version.created_at)
    values: dict[str, Any] = {
        "dice": known.dice if known else run.metrics.get(FINAL_DICE),
        "iou": known.iou if known else run.metrics.get(FINAL_IOU),
        "loss": run.metrics.get(FINAL + "loss"),
        "parameters": _parameters(run),
        "images": known.images if known else _images(registry, run.run_id),
        "verdict": known.verdict if known else _verdict(registry, run.run_id, production),
    }
    return HistoryRow(version.version, stage, known.at if known else version.created_at, **values)


def _parameters(run: RunInfo) -> int | None:
    prefix = "model."
    found = {key.removeprefix(prefix): value for key, value in run.params.items() if key.startswith(prefix)}
    if not found:  # a run of another tool, which means no U-Net by its silence
        return None
    try:
        # MLflow keeps texts only: a list is JSON, and pydantic reads a number's text.
        return model_of(
            {key: parse_json(text) if text.startswith("[") else text for key, text in found.items()}
        ).parameters
    except ValueError:
        return None


def _verdict(registry: ModelRegistry, run_id: str, production: int | None) -> str:
    found = read_verdict(registry, run_id)
    return f"gate: {decision_now(found, production)}" if found else ""


def _images(registry: ModelRegistry, run_id: str) -> int | None:
    try:
        return count_training(registry.read_artifact(run_id, DATA))
    except (ModelNotFoundError, TrackingError, ValueError, KeyError):
        return None


def draw_history(entries: Sequence[LedgerEntry]) -> bytes:
    """Draw Dice and IoU of Production from promotion to promotion, rollbacks marked; returns a PNG file's bytes.

    Without entries the picture says that nothing was promoted.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), dpi=130, layout="constrained")
    axes = figure.subplots()
    if not entries:
        axes.text(0.5, 0.5, "Nothing was promoted yet.", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return draw(figure, title=PLOT)
    places = range(len(entries))
    dice, iou = [entry.metrics.dice for entry in entries], [entry.metrics.iou for entry in entries]
    floor = max(0.0, min(iou) - 0.06)
    _draw_bands(axes, floor)
    axes.plot(places, dice, "-", color="#0550ae", linewidth=2, label="Dice", zorder=3)
    axes.plot(places, iou, "--", color="#57606a", linewidth=1.4, marker="o", markersize=4, label="IoU", zorder=2)
    for action, mark, label in (("promote", "o", None), ("rollback", "s", "rollback")):
        chosen = [place for place in places if entries[place].action == action]
        colour = "#0550ae" if action == "promote" else "#b3261e"
        if chosen:
            axes.plot(chosen, [dice[p] for p in chosen], mark, color=colour, markersize=8, label=label, zorder=4)
    for place in places if len(entries) <= 20 else (len(entries) - 1,):
        axes.annotate(f"{dice[place]:.3f}", (place, dice[place]), (0, 9), textcoords="offset points", ha="center")
    _style(axes, entries, floor)
    return draw(figure, title=PLOT)


def _draw_bands(axes: Any, floor: float) -> None:
    """Draw the bands of the quality words behind the lines."""
    top = 1.02
    for limit, word in QUALITY:
        bottom = max(limit, floor)
        if bottom < top:
            axes.axhspan(bottom, top, color=_COLOURS[word], alpha=0.07, linewidth=0)
            place = (1.01, (bottom + min(top, 1.0)) / 2)
            axes.annotate(
                word, place, xycoords=("axes fraction", "data"), color=_COLOURS[word], va="center", fontsize=9
            )
        top = min(top, bottom)


def _style(axes: Any, entries: Sequence[LedgerEntry], floor: float) -> None:
    # At most 16 labels fit below the axis.
    step = -(-len(entries) // 16)
    ticks = range(0, len(entries), step)
    axes.set_xticks(list(ticks), [f"v{entries[place].to_version}\n{entries[place].at[:10]}" for place in ticks])
    axes.set_xlim(-0.5, max(len(entries) - 1, 1) + 0.5)
    axes.set_ylim(floor, 1.02)
    axes.tick_params(labelsize=8, length=0)
    axes.set_title("Production: mean Dice and IoU on the test images", loc="left", fontsize=12)
    axes.grid(axis="y", color="#d8dee4", linewidth=0.6)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color("#d8dee4")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=9)
