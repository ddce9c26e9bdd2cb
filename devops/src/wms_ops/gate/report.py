"""The gate's report as Markdown for a pull request, and as a few lines for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from wms.names import harmless
from wms.registry.gate_parts import percent
from wms.registry.gate_types import GateReport, ImageChange, MetricChange
from wms.registry.types import GateVerdict
from wms_ops.base.text import decimals, safe

SHOWN: Final = 5
"""The number of images that lost most, and of those that gained most, in the tables."""


def terminal(report: GateReport) -> str:
    """Return the verdict, its reasons and warnings as plain lines."""
    lines = [report.summary, *report.verdict.reasons, *filter(None, [report.verdict.choice]), *_held(report.verdict)]
    for name, change in report.changes().items():
        if change.low is not None and change.high is not None:
            lines.append(
                f"{name}: {change.difference:+.4f}, 95 % interval {change.low:+.4f} to {change.high:+.4f}, "
                f"{_percent(change.probability)} of the bootstrap samples ahead, better at all with "
                f"{_percent(change.confidence)} confidence."
            )
    lines += [report.verdict.use.text] if report.verdict.use else []
    lines += (f"warning: {text}" for text in report.verdict.warnings)
    return "\n".join(harmless(line) for line in [*lines, f"Settings: {settings_of(report.verdict)}."])


def settings_of(verdict: GateVerdict) -> str:
    """Return the settings behind a verdict in words; older code kept none."""
    return verdict.settings.text if verdict.settings else "unknown"


def _held(verdict: GateVerdict) -> tuple[str, ...]:
    return (verdict.held_back,) if verdict.held_back else ()


def markdown(report: GateReport) -> str:
    """Return the whole report for a pull request, without pictures."""
    verdict = report.verdict
    heading = {"improved": "improved", "not improved": "not improved"}[verdict.decision]
    return "\n".join(
        [
            f"## Quality gate: {heading}",
            "",
            safe(report.summary),
            "",
            *(f"- {safe(reason)}" for reason in (*verdict.reasons, verdict.choice) if reason),
            *(f"- **Held back.** {safe(text)}" for text in _held(verdict)),
            "",
            *_warnings(report),
            *_means(report),
            "",
            *_images(report),
            *_slices(report),
            *_models(report),
        ]
    )


def stopped(error: Exception) -> str:
    """Return the Markdown for a gate that couldn't decide, or couldn't reach a server."""
    return f"## Quality gate: no verdict\n\n{safe(str(error))}\n"


def _warnings(report: GateReport) -> Iterator[str]:
    if report.verdict.warnings:
        yield from ("**Warnings**", "", *(f"- {safe(text)}" for text in report.verdict.warnings), "")


def _means(report: GateReport) -> Iterator[str]:
    yield "| mean over the test images | champion | challenger | difference | 95 % interval | ahead | detectable |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, change in report.changes().items():
        yield f"| {name} | {_change(change)} | {decimals(change.detectable)} |"
    yield ""
    yield (
        f"{report.verdict.test_images} test images, masks compared on a grid of {report.grid} x {report.grid}. "
        "*Ahead*: share of bootstrap samples of the images in which the challenger leads. *Detectable*: the smallest "
        "improvement that so many images show in 8 of 10 comparisons, at the gate's confidence or 95 %."
    )
    if report.verdict.use:
        yield from ("", safe(report.verdict.use.text))


def _change(change: MetricChange) -> str:
    interval = "" if change.low is None or change.high is None else f"{change.low:+.4f} to {change.high:+.4f}"
    return (
        f"{change.champion:.4f} | {change.challenger:.4f} | {change.difference:+.4f} | {interval} | "
        f"{_percent(change.probability)}"
    )


def _images(report: GateReport) -> Iterator[str]:
    if report.champion is None:
        yield from _image_table("Lowest scores", report.images[:SHOWN])
        return
    lost = [image for image in report.images if (image.difference or 0.0) < 0]
    gained = [image for image in reversed(report.images) if (image.difference or 0.0) > 0]
    same = len(report.images) - len(lost) - len(gained)
    yield f"{len(gained)} images got better, {len(lost)} got worse, {same} stayed equal."
    yield ""
    yield from _image_table("Lost most", lost[:SHOWN])
    yield from _image_table("Gained most", gained[:SHOWN])


def _image_table(title: str, images: Sequence[ImageChange]) -> Iterator[str]:
    if not images:
        return
    yield f"| {title.lower()} (Dice) | champion | challenger | difference |"
    yield "|---|---:|---:|---:|"
    for image in images:
        before = decimals(image.champion.dice if image.champion else None)
        change = "" if image.difference is None else f"{image.difference:+.4f}"
        yield f"| {safe(image.stem)} | {before} | {image.challenger.dice:.4f} | {change} |"
    yield ""


def _slices(report: GateReport) -> Iterator[str]:
    if not report.slices:
        return
    yield "| slice (Dice) | images | champion | challenger | difference | 95 % interval | ahead |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for part in report.slices:
        yield f"| {part.range} | {part.images} | {_change(part.dice)} |"
    yield ""


def _models(report: GateReport) -> Iterator[str]:
    yield "| model | run | version | input | Dice stored by its run | Dice now, same images | Dice now, all |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for name, facts in (("champion", report.champion), ("challenger", report.challenger)):
        if facts:
            means = (facts.stored, facts.rescored, facts.scored)
            figures = " | ".join(decimals(mean.dice if mean else None) for mean in means)
            version = "" if facts.version is None else str(facts.version)
            yield f"| {name} | {safe(facts.run_name)} | {version} | {facts.input_size} | {figures} |"
    yield ""
    yield (
        f"Test version `{report.verdict.test_version[:12]}`, decided at {report.verdict.decided_at}. Settings: "
        f"{safe(settings_of(report.verdict))}. The verdict rests on the scores of now; stored ones are for comparison "
        "only."
    )
    yield ""


def _percent(share: float | None) -> str:
    return "" if share is None else percent(share)
