"""Positions of a story's acts and steps on its time axis. Pure; positions and widths are in % of the axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from wms_ops.report.story import Act, time_of, timed
from wms_ops.runs.record import StepRecord, StepState

_TICKS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_MOST_TICKS: Final = 8
_KINDS: Final = {
    "done": "a step, done",
    "train": "training",
    "blocked": "the gate says no",
    "failed": "failed",
    "running": "at work",
    "person": "done by hand",
}


@dataclass(frozen=True)
class Axis:
    """The story's time: its beginning, its length in seconds, and (seconds, share of the width in %) of the ticks."""

    start: datetime
    seconds: float
    ticks: tuple[tuple[float, float], ...]

    def position(self, at: datetime) -> float:
        """The position of a time, in % of the width."""
        return max(0.0, min(100.0, 100 * (at - self.start).total_seconds() / self.seconds))

    def bar(self, name: str, kind: str, started_at: str, seconds: float, text: str = "") -> TimelineBar:
        """A step or event on this axis. Raises ValueError for a time that isn't ISO 8601."""
        at = time_of(started_at)
        width, begins = min(100.0, 100 * seconds / self.seconds), (at - self.start).total_seconds()
        return TimelineBar(name, kind, self.position(at), width, seconds, begins, text)


@dataclass(frozen=True)
class TimelineBar:
    """A step or event on the axis, `left` and `width` in %; `kind` names its colour."""

    name: str
    kind: str
    left: float
    width: float
    seconds: float
    begins_s: float
    text: str


@dataclass(frozen=True)
class TimelineRow:
    """An act on the axis: its whole time, and bars within that time."""

    act: Act
    whole: TimelineBar
    bars: tuple[TimelineBar, ...]


@dataclass(frozen=True)
class Point:
    """A model's Dice at a time, both in %: `y` from the top of the chart."""

    x: float
    y: float
    dice: float
    label: str
    promoted: bool


def axis_of(acts: Sequence[Act]) -> Axis:
    """The axis that holds all acts and their steps. Raises ValueError for a time that isn't ISO 8601."""
    spans = [(time_of(at), seconds) for act in acts for at, seconds in timed(act)] or [
        (datetime(2000, 1, 1, tzinfo=UTC), 0)
    ]
    start = min(at for at, _ in spans)
    seconds = max(1.0, *((at - start).total_seconds() + length for at, length in spans))
    gap = next((tick for tick in _TICKS_S if seconds / tick <= _MOST_TICKS), _TICKS_S[-1])
    ticks = tuple((float(at), 100 * at / seconds) for at in range(0, int(seconds) + 1, gap))
    return Axis(start, seconds, ticks)


def row_of(act: Act, axis: Axis) -> TimelineRow:
    """An act's row on the axis; without steps and events its only bar is the act itself."""
    whole = axis.bar(act.title, "running" if act.record else "person", act.started_at, act.seconds)
    steps = act.record.steps if act.record else ()
    bars = [axis.bar(one.name, kind_of(one), one.started_at, one.seconds, one.text) for one in steps if one.started_at]
    bars += [axis.bar(event.name, "person", event.started_at, event.seconds) for event in act.events]
    return TimelineRow(act, whole, tuple(bars or [whole]))


def legend_of(rows: Sequence[TimelineRow]) -> list[tuple[str, str]]:
    """The colours that occur, each with its meaning."""
    used = {bar.kind for row in rows for bar in row.bars}
    return [(kind, words) for kind, words in _KINDS.items() if kind in used]


def curve_of(acts: Sequence[Act], axis: Axis) -> tuple[tuple[Point, ...], str]:
    """The models' Dice over time, and the path of Production's in a field of 100 x 100.

    Both are empty if fewer than two runs have a Dice.
    """
    found = []
    for act in acts:
        after = act.scores("challenger")
        if after is not None and act.verdict in ("promoted", "blocked"):
            found.append((axis.position(_decided(act)), after.dice, act))
    if len(found) < 2:
        return (), ""
    lowest = max(0.0, min(dice for _, dice, _ in found) - 0.1)
    points = tuple(
        Point(x, 100 * (1 - dice) / (1 - lowest), dice, _model_name(act), act.verdict == "promoted")
        for x, dice, act in found
    )
    production = [point for point in points if point.promoted]
    # A staircase: Production keeps its Dice (H) until the next promotion changes it (V).
    steps = [f"H{point.x:.2f} V{point.y:.2f}" if index else f"M{point.x:.2f} {point.y:.2f}"
             for index, point in enumerate(production)]  # fmt: skip
    return points, " ".join([*steps, "H100"]) if steps else ""


def kind_of(step: StepRecord) -> str:
    """A step's colour: its state, except for training and for the gate's "no", which have their own colours."""
    if step.state is not StepState.DONE:
        return str(step.state)
    if step.name == "gate" and step.exit_code:
        return "blocked"
    return "train" if step.name == "train" else "done"


def _decided(act: Act) -> datetime:
    """The time of the verdict: the end of the step that carried out the verdict."""
    wanted = "promote" if act.verdict == "promoted" else "gate"
    at, seconds = act.started_at, act.seconds
    if act.record is not None and act.record.step(wanted).started_at:
        at, seconds = act.record.step(wanted).started_at, act.record.step(wanted).seconds
    return time_of(at) + timedelta(seconds=seconds)


def _model_name(act: Act) -> str:
    version = act.record.outputs.get("version", "") if act.record else ""
    return f"version {version}" if version else act.verdict
