"""The content of a story's page: frozen values, which the caller fills in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from wms.registry.types import Means, means_in
from wms_ops.runs.record import RunRecord


@dataclass(frozen=True)
class StoryPicture:
    """A PNG or JPEG file's bytes with its name; `caption` is a sentence or a few words."""

    name: str
    content: bytes
    caption: str = ""


@dataclass(frozen=True)
class Event:
    """An action of a person in an act: begun at `started_at` (UTC, ISO 8601), `seconds` long."""

    name: str
    started_at: str
    seconds: float


@dataclass(frozen=True)
class Act:
    """A part of the story, begun at `started_at` (UTC, ISO 8601), `seconds` long.

    `record` is the act's run; an act without a run may have `events`. `text` is sentences, with code between backticks.
    `links` are label and target, a relative path or an http address; `output` is the terminal's text.
    """

    title: str
    text: str
    started_at: str
    seconds: float
    record: RunRecord | None = None
    events: tuple[Event, ...] = ()
    pictures: tuple[StoryPicture, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    output: str = ""

    @property
    def verdict(self) -> str:
        """The record's outcome in a word, "promoted" after a merge; "" for an act without a run."""
        outcome = str(self.record.outcome) if self.record else ""
        return {"merged": "promoted"}.get(outcome, outcome)

    def scores(self, side: str) -> Means | None:
        """The scores of "champion" or "challenger"; None without scores, as a champion's in a first training."""
        if self.record is None or (side == "champion" and not self.record.outputs.get("champion_version")):
            return None
        try:
            return means_in(self.record.outputs, side)
        except ValueError:
            return None


@dataclass(frozen=True)
class Story:
    """Acts in their order, with facts (label and value, such as ("Peak memory", "3.1 GiB")) and links for all."""

    title: str
    intro: str
    acts: tuple[Act, ...]
    facts: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()


def timed(act: Act) -> Iterator[tuple[str, float]]:
    """Beginning and seconds of the act, of its run's steps and of its events."""
    yield act.started_at, act.seconds
    if act.record is not None:
        yield from ((step.started_at, step.seconds) for step in act.record.steps if step.started_at)
    yield from ((event.started_at, event.seconds) for event in act.events)


def time_of(text: str) -> datetime:
    """Parse a time of the story; UTC if no zone is given. Raises ValueError for a text that isn't ISO 8601.

    >>> time_of("2026-11-21T12:00:00").isoformat()
    '2026-11-21T12:00:00+00:00'
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} isn't a time such as 2026-11-21T12:00:00+00:00.") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
