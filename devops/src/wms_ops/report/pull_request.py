"""The pull request of a run as GitHub's Markdown. Pure; every text of a user is escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from wms.metrics import DICE, IOU, METRICS, title_of
from wms_ops.base.text import code, decimals, image, link, plain, safe
from wms_ops.cost.bills import RunBill
from wms_ops.cost.estimate import START_S, cost_of_run, dollars, month_of
from wms_ops.cost.prices import DISK_GB, INSTANCE, home_region, price_table
from wms_ops.cost.sessions import month_start
from wms_ops.report.figures import DESCRIPTIONS
from wms_ops.report.verdict import advice, headline
from wms_ops.runs.record import RunRecord, StepRecord, StepState

PICTURES: Final = (".png", ".jpg", ".jpeg")
LONGEST_PART: Final = 20_000
"""Most characters of the gate's report and of the data card: GitHub takes 65,536 in all."""

_LONGEST_TEXT: Final = 300
_STATES: Final = {
    StepState.WAITING: "to come",
    StepState.RUNNING: "at work",
    StepState.DONE: "done",
    StepState.SKIPPED: "skipped",
    StepState.FAILED: "**failed**",
}


def pull_body(
    record: RunRecord,
    *,
    gate_markdown: str,
    card_markdown: str = "",
    pictures: Sequence[str] = (),
    links: Sequence[tuple[str, str]] = (),
    bill: RunBill | None = None,
) -> str:
    """The pull request's text: the verdict, its reasons, the run's steps, and the cost.

    `gate_markdown` and `card_markdown` are Markdown already, from wms_ops.gate.report and wms.data.card_page.
    `pictures` are names of files beside the text; names of other files become links. `links` are label
    and address, for example of the workflow's run. `bill` is the cost of a run's own sessions, if an instance
    was really started; without a bill the text estimates the cost of the same run in the cloud.
    """
    parts = [
        [headline(record)],
        _next(record),
        _photos(record.outputs),
        _models(record.outputs),
        _pictures(pictures),
        _folded("The gate's report", gate_markdown),
        _folded("The data set", card_markdown),
        _steps(record),
        _cost(record) if bill is None else _bill(record, bill),
        _links(record, pictures, links),
    ]
    return "\n\n".join(text for part in parts if (text := "\n".join(part).strip())) + "\n"


def draft_body(record: RunRecord, card_markdown: str, links: Sequence[tuple[str, str]] = ()) -> str:
    """The text of a draft: the data is checked, no model is trained yet, and what a reader may do meanwhile."""
    values = record.outputs
    cost = ""
    if "estimated_minutes" in values:
        minutes, usd = (safe(values.get(f"estimated_{name}", "")) for name in ("minutes", "usd"))
        cost = f" That takes about {minutes} minutes and {usd} USD."
    parts = [
        [f"**At work:** the data passed its check, and a model is trained on it now.{cost}"],
        [
            "### Your decision",
            "",
            "Nothing now. It merges by itself if the new model passes the gate: Dice and IoU both better than "
            "Production's on the same test photos. Else it stays open, blocked, with the reason. Close it to stop "
            "that: then nothing is promoted.",
        ],
        _photos(values),
        _folded("The data set", card_markdown),
        _links(record, (), links),
    ]
    return "\n\n".join(text for part in parts if (text := "\n".join(part).strip())) + "\n"


def refused_merge(reason: str, body: str) -> str:
    """The text of a pull request that passed and can't be merged: the reason comes first."""
    return f"**Not merged:** {safe(plain(reason))}\n\n{body}"


def _next(record: RunRecord) -> Iterator[str]:
    if lines := advice(record):
        yield "### What to do next"
        yield ""
        yield from (f"{number}. {line}" for number, line in enumerate(lines, start=1))


def _photos(values: Mapping[str, str]) -> Iterator[str]:
    if "photos_total" in values:
        yield "| photos in the data set before | new | in all |"
        yield "|---:|---:|---:|"
        yield f"| {' | '.join(safe(values.get(f'photos_{name}', '')) for name in ('before', 'new', 'total'))} |"


def _models(values: Mapping[str, str]) -> Iterator[str]:
    after = {name: _number(values.get(f"challenger_{name}")) for name in METRICS}
    if after[DICE] is None or after[IOU] is None:
        return
    before = {name: _number(values.get(f"champion_{name}")) for name in METRICS}
    names = [name for name in METRICS if after[name] is not None]
    champion = values.get("champion_version", "")
    yield f"| mean over the same test photos | {' | '.join(map(title_of, names))} |"
    yield f"|---|{'---:|' * len(names)}"
    if champion:
        yield f"| champion, version {safe(champion)} | {' | '.join(decimals(before[name]) for name in names)} |"
    now = " | ".join(decimals(after[name]) for name in names)
    yield f"| challenger, {safe(values.get('run', 'the new model'))} | {now} |"
    if champion and before[DICE] is not None and before[IOU] is not None:
        pairs = ((before[name], after[name]) for name in names)
        cells = ("" if old is None or new is None else f"{new - old:+.4f}" for old, new in pairs)
        yield f"| difference | {' | '.join(cells)} |"


def _pictures(names: Sequence[str]) -> Iterator[str]:
    described = [(name, DESCRIPTIONS.get(PurePosixPath(name).name)) for name in names if _is_picture(name)]
    known = list(DESCRIPTIONS.values())
    for name, description in sorted(described, key=lambda one: known.index(one[1]) if one[1] else len(known)):
        yield image(name, description or f"Picture {name}")
        yield ""


def _folded(title: str, markdown: str) -> Iterator[str]:
    if markdown.strip():
        yield from (f"<details><summary>{title}</summary>", "", _shortened(markdown.strip()), "", "</details>")


def _shortened(markdown: str) -> str:
    if len(markdown) <= LONGEST_PART:
        return markdown
    # Cut at the end of a line, because half a table row would break the table.
    whole_lines = markdown[:LONGEST_PART].rpartition("\n")[0]
    return f"{whole_lines}\n\nThe rest is too long for a pull request; the gate's page has all of it."


def _steps(record: RunRecord) -> Iterator[str]:
    yield "| step | | seconds | what happened |"
    yield "|---|---|---:|---|"
    yield from (_row(step) for step in record.steps)
    yield f"| all | {safe(str(record.outcome))} | {record.seconds:.1f} | |"


def _row(step: StepRecord) -> str:
    seconds = f"{step.seconds:.1f}" if step.seconds else ""
    text = plain(step.text)
    text = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} ..."
    return f"| {safe(step.name)} | {_STATES[step.state]} | {seconds} | {safe(text)} |"


def _cost(record: RunRecord) -> Iterator[str]:
    cost = cost_of_run(record)
    if cost is None:
        yield "The run never came to an instance, so it cost nothing."
        return
    month = month_of(cost)
    yield f"| cost in the cloud, {cost.seconds / 60:.1f} minutes | USD |"
    yield "|---|---:|"
    yield f"| {INSTANCE} on demand | {cost.instance:.4f} |"
    yield f"| its work above the baseline | {cost.surplus:.4f} |"
    yield f"| {DISK_GB:.0f} GB disk, public address | {cost.disk + cost.address:.4f} |"
    yield f"| **total** | **{cost.total:.4f}** |"
    yield ""
    yield (
        f"Prices of {price_table().as_of:%Y-%m-%d} in {home_region()}, {START_S / 60:.0f} minutes for an instance's "
        f"start included. {month.runs} such runs a month cost {dollars(month.as_needed)}, an instance that is always "
        f"on {dollars(month.always_on)}."
    )
    yield from _estimate(record)


def _bill(record: RunRecord, bill: RunBill) -> Iterator[str]:
    cost, month = bill.cost, bill.month_line
    yield f"| cost of this run: {safe(bill.kind)} | |"
    yield "|---|---:|"
    yield f"| minutes{' until this report' if bill.open else ''} | {cost.seconds / 60:.1f} |"
    yield f"| instance, USD | {cost.instance:.4f} |"
    yield f"| its work above the baseline, USD | {cost.surplus:.4f} |"
    yield f"| disk, public address, USD | {cost.disk + cost.address:.4f} |"
    yield f"| **this run, USD** | **{cost.total:.4f}** |"
    yield f"| {month_start(bill.month):%B %Y} so far, instances: {month.sessions}, USD | {month.cost.total:.4f} |"
    if saving := bill.saving:
        hours = f"{saving.seconds / 3600:.1f} hours"
        yield f"| a {safe(saving.instance_type)} that is always on, the same {hours}, USD | {saving.always_on:.4f} |"
        yield f"| **saved, USD** | **{saving.saved:.4f}** |"
    yield ""
    yield f"List prices of {price_table().as_of:%Y-%m-%d}, by the times on record."
    yield from _estimate(record)


def _estimate(record: RunRecord) -> Iterator[str]:
    if estimated := _number(record.outputs.get("estimated_usd")):
        yield f"The estimate before the start was {dollars(estimated)}."


def _links(record: RunRecord, pictures: Sequence[str], links: Sequence[tuple[str, str]]) -> Iterator[str]:
    values = record.outputs
    yield "Links and names:"
    yield ""
    yield f"- data branch {code(record.branch)}{_named(', commit ', values.get('commit', '')[:12])}"
    if "run_id" in values:
        yield f"- run {code(values.get('run', ''))}, in MLflow {code(values['run_id'])}"
    yield from (f"- {link(_PAGES.get(name, name), name)}" for name in pictures if not _is_picture(name))
    yield from (f"- {link(label, target)}" for label, target in links)
    if "run_id" in values and "mlflow_uri" in values:
        address = f"{values['mlflow_uri'].rstrip('/')}/#/runs/{values['run_id']}"
        yield f"- {link('the run in MLflow', address)}, as long as the instance is up"


_PAGES: Final = {"gate.html": "the gate's page, with the photos that changed most"}


def _named(prefix: str, value: str) -> str:
    return f"{prefix}{code(value)}" if value else ""


def _is_picture(name: str) -> bool:
    return name.lower().endswith(PICTURES)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
