"""Renders a story of several runs as an offline HTML page: a timeline to scale, and a card for each act."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from wms_ops.base.text import may_link
from wms_ops.cost.estimate import START_S, dollars
from wms_ops.cost.prices import DISK_GB, INSTANCE, home_region, price_table
from wms_ops.report import timeline_axis, timeline_cards
from wms_ops.report.story import Story


def render_story(story: Story) -> str:
    """Render the page, UTF-8: every text escaped, every picture embedded, nothing loaded, no script.

    Raises ValueError for a time that isn't ISO 8601 and for a picture that is neither PNG nor JPEG.
    """
    # autoescape=True, since select_autoescape() would leave a name that ends in .j2 unescaped
    environment = Environment(
        loader=PackageLoader("wms_ops.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["prose"] = timeline_cards.prose
    environment.filters["duration"] = timeline_cards.duration
    environment.filters["dollars"] = dollars
    environment.tests["linkable"] = may_link
    environment.globals.update(instance=INSTANCE, region=home_region(), disk_gb=DISK_GB, start_minutes=START_S / 60)
    axis, bill = timeline_axis.axis_of(story.acts), timeline_cards.bill_of(story.acts)
    rows = [timeline_axis.row_of(act, axis) for act in story.acts]
    return environment.get_template("timeline.html.j2").render(
        story=story,
        axis=axis,
        rows=rows,
        legend=timeline_axis.legend_of(rows),
        curve=timeline_axis.curve_of(story.acts, axis),
        cards=[timeline_cards.card_of(act) for act in story.acts],
        bill=bill,
        prices_of=price_table().as_of,
        facts=timeline_cards.facts_of(story, bill),
    )
