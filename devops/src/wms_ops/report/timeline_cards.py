"""The content of an act's card, the tiles on top and the bill of a story. Pure."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup, escape
from PIL import Image

from wms.metrics import title_of
from wms_ops.cost.estimate import Cost, Month, cost_of_run, dollars, month_of
from wms_ops.report.figures import DESCRIPTIONS
from wms_ops.report.story import Act, Story, StoryPicture
from wms_ops.report.timeline_axis import kind_of

LONGEST_OUTPUT: Final = 60_000
"""Most characters of a terminal's text that a card shows."""

WIDE: Final = 1.9
"""A picture is wide if its width exceeds this multiple of its height."""

_CONTROL: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])|[\x00-\x08\x0b-\x1f\x7f]"
)


@dataclass(frozen=True)
class Shown:
    """A picture as a data URI, with its size in pixels and its alternative text."""

    uri: str
    width: int
    height: int
    alt: str
    caption: str

    @property
    def is_wide(self) -> bool:
        """Whether the picture goes below the text instead of beside the text."""
        return self.width > WIDE * self.height


@dataclass(frozen=True)
class Bill:
    """The estimated cost of the runs in the cloud: for each act with a run, and together."""

    lines: tuple[tuple[str, Cost], ...]
    total: Cost
    month: Month


def card_of(act: Act) -> dict[str, Any]:
    """The content of an act's card, by name. Raises ValueError for a picture that is neither PNG nor JPEG."""
    before, after = act.scores("champion"), act.scores("challenger")
    old, new = (means.named() if means else {} for means in (before, after))
    values = act.record.outputs if act.record else {}
    shown = [_shown(picture) for picture in act.pictures]
    known = [values.get(f"photos_{name}", "") for name in ("before", "new", "total")]
    return {
        "act": act,
        "scores": [(title_of(name), old.get(name), value) for name, value in new.items()],
        "photos": known if all(known) else None,
        "reason": act.record.reason if act.record else "",
        "steps": [(step, kind_of(step)) for step in act.record.steps] if act.record else [],
        "wide": [picture for picture in shown if picture.is_wide],
        "tall": [picture for picture in shown if not picture.is_wide],
        "output": list(terminal_lines(act.output)),
    }


def bill_of(acts: Sequence[Act]) -> Bill | None:
    """Estimate the cost of the same runs in the cloud; None if no run reached an instance."""
    lines = [(act.title, cost) for act in acts if act.record and (cost := cost_of_run(act.record)) is not None]
    if not lines:
        return None
    costs = [cost for _, cost in lines]
    dearest = max(costs, key=lambda cost: cost.total)
    return Bill(tuple(lines), sum(costs, Cost()), month_of(dearest))


def facts_of(story: Story, bill: Bill | None) -> list[tuple[str, str]]:
    """The tiles on top: the runs' outcomes, the story's own facts, and the cost in the cloud."""
    verdicts = [act.verdict for act in story.acts]
    counted = [f"{verdicts.count(word)} {word}" for word in ("promoted", "blocked", "failed") if word in verdicts]
    facts = [("Outcomes", ", ".join(counted))] if counted else []
    facts += story.facts
    if bill is not None:
        facts.append(("The same in the cloud", dollars(bill.total.total)))
        facts.append(("An instance always on", f"{dollars(bill.month.always_on)} a month"))
    return facts


def duration(seconds: float) -> str:
    """Format a time for people.

    >>> [duration(seconds) for seconds in (8.4, 54, 187, 3900)]
    ['8.4 s', '54 s', '3:07 min', '1:05 h']
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600 and whole % 60 == 0:
        return f"{whole // 60} min"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"


def prose(text: str) -> Markup:
    """Render sentences with code between backticks as HTML; an odd number of backticks leaves the text unchanged."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if index % 2 else escape(piece) for index, piece in enumerate(pieces)
    )


def terminal_lines(text: str) -> Iterator[str]:
    """Yield lines as a terminal finally shows them: without colours, and an overwritten line in its last state."""
    shown = text if len(text) <= LONGEST_OUTPUT else f"(earlier lines are left out)\n{text[-LONGEST_OUTPUT:]}"
    for line in shown.rstrip().split("\n") if shown.strip() else ():
        kept = [part for part in line.rstrip("\r").split("\r") if part]
        if kept or not line:
            yield _CONTROL.sub("", kept[-1] if kept else "")


def _shown(picture: StoryPicture) -> Shown:
    try:
        with Image.open(io.BytesIO(picture.content)) as image:
            kind, (width, height) = image.format, image.size
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{picture.name} isn't a picture.") from error
    if kind not in ("PNG", "JPEG"):
        raise ValueError(f"{picture.name} is {kind}; a page takes PNG and JPEG.")
    uri = f"data:image/{kind.lower()};base64,{base64.b64encode(picture.content).decode()}"
    alt = DESCRIPTIONS.get(picture.name) or picture.caption or picture.name
    return Shown(uri, width, height, alt, picture.caption)
