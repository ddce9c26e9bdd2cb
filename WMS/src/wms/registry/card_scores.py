"""The sections of a model card that rest on the gate's report: scores, worst slices and photos, limits. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from wms.metrics import DICE, IOU
from wms.registry.card_records import PHOTOS_SHOWN, UNKNOWN, CardRecords, worst_photos
from wms.registry.card_slices import thirds
from wms.registry.card_text import CardSection, Figure, Line, Table, given, line
from wms.registry.gate_stats import compare_pairs
from wms.registry.gate_types import ImageChange, MetricChange
from wms.registry.lineage import WORST_PHOTOS, WORST_SLICES
from wms.text import counted


def scores_of(records: CardRecords) -> CardSection:
    report, entry = records.report, records.promotion
    if report is None:
        text = "Dice {dice}, IoU {iou}. The gate's report about these weights isn't there, so no interval is known."
        return CardSection("Scores", (line(text, dice=f"{entry.metrics.dice:.4f}", iou=f"{entry.metrics.iou:.4f}"),))
    first = report.champion is None
    rows = [
        _score_row(title, change, _interval(report.images, name))[: 3 if first else None]
        for name, (title, change) in zip((DICE, IOU, *report.further), report.changes().items(), strict=True)
    ]
    champion = f"version {report.verdict.champion_version}"
    head = ("mean", "this model", "95 % interval", champion, "difference", "its 95 % interval")[: 3 if first else None]
    text = (
        "Measured by the gate at {at} on {count}, on a grid of {grid} x {grid} pixels. The intervals are bootstrap-t "
        "over the photos; they don't know what the test photos lack."
    )
    count = counted(report.verdict.test_images, "test photo")
    about = line(text, at=report.verdict.decided_at, count=count, grid=report.grid)
    return CardSection("Scores", (Table(head, tuple(rows)), about), tuple(map(given, report.verdict.warnings)))


def _score_row(title: str, change: MetricChange, own: str) -> tuple[Line, ...]:
    between = "" if change.low is None or change.high is None else f"{change.low:+.4f} to {change.high:+.4f}"
    values = (title, f"{change.challenger:.4f}", own, f"{change.champion:.4f}", f"{change.difference:+.4f}", between)
    return tuple(map(Line, values))


def _interval(images: Sequence[ImageChange], name: str) -> str:
    """The interval of a mean over the test photos, within 0 and 1."""
    values = [image.challenger.named().get(name) for image in images]
    if len(values) < 2 or any(value is None for value in values):
        return ""
    found = compare_pairs(np.array([values], dtype=np.float64).T)
    low, high = (min(1.0, max(0.0, float(end[0]))) for end in (found.low, found.high))
    return f"{low:.4f} to {high:.4f}"


def worst_of(records: CardRecords) -> CardSection:
    if records.report is None:
        return CardSection("Worst slices and photos", (line("Not known without the gate's report."),))
    blocks: list[Line | Table | Figure] = []
    if parts := thirds(records.report):
        rows = tuple(
            (Line(part.range), given(part.images), given(f"{part.dice.challenger:.4f}"), Line(_change(part.dice)))
            for part in parts
        )
        head = ("third of the test photos", "photos", "Dice", "change")
        blocks += [Table(head, rows), Figure(WORST_SLICES, line("Mean Dice of each third, the worst first."))]
    else:
        blocks.append(line("Too few test photos for slices."))
    photos = worst_photos(records.report)
    rows = tuple(
        (given(number), given(image.stem), given(f"{image.challenger.dice:.4f}"), given(_size(image)))
        for number, image in enumerate(photos, 1)
    )
    blocks += [Table(("", "worst photos", "Dice", "pixels"), rows), Figure(WORST_PHOTOS, _of_worst(records))]
    return CardSection("Worst slices and photos", tuple(blocks))


def _of_worst(records: CardRecords) -> Line:
    if not records.has_worst:
        return line("The gate kept no pictures of them; another `wms gate` draws them.")
    if not records.shows_worst:
        return line(
            "Their pictures are in MLflow, in the run's artifact card/{name}: wms.toml doesn't say `publish_photos`.",
            name=WORST_PHOTOS,
        )
    shown = min(PHOTOS_SHOWN, len(records.report.images) if records.report else 0)
    return line("The first {shown} of them, a row each: truth white, the model's mask blue.", shown=shown)


def limits_of(records: CardRecords) -> CardSection:
    return CardSection("Limits", listed=tuple(_known_limits(records)))


def _known_limits(records: CardRecords) -> Iterator[Line]:
    card, turns = records.card, records.recipe.get("augmentation")
    size, detail = card.get("input_size", UNKNOWN), card.get("detail", UNKNOWN)
    if card.get("second_look"):
        text = "It sees a photo at {size} x {size} pixels, then a window about the strip of a copy of {detail} pixels."
        yield line(f"{text} Finer detail is lost.", size=size, detail=detail)
    else:
        yield line("It sees a photo at {size} x {size} pixels; finer detail is lost.", size=size)
    if card.get("one_strip"):
        yield line("It marks one strip a photo: of several meters all but one are missed.")
    if isinstance(turns, Mapping):
        if turns.get("rotation"):
            yield line(
                "It was trained on photos turned by up to {degrees} degrees.", degrees=turns.get("rotation_degrees")
            )
        else:
            yield line("It was never trained on turned photos: a crooked or upside-down meter may be missed.")
    if (report := records.report) is None:
        return
    sizes = [image.width * image.height / 1e6 for image in report.images]
    text = "Tested from {low} to {high} megapixels only."
    yield line(text, low=f"{min(sizes):.2f}", high=f"{max(sizes):.2f}")
    missed = [image.stem for image in worst_photos(report) if image.challenger.dice == 0]
    if missed:
        count = sum(image.challenger.dice == 0 for image in report.images)
        text = "It finds nothing of the strip on {count}: {names}{more}."
        more = "" if count == len(missed) else " and others"
        yield line(text, count=counted(count, "test photo"), names=", ".join(missed), more=more)
    else:
        yield line("It finds some of the strip on every test photo.")


def _change(dice: MetricChange) -> str:
    return f"{dice.difference:+.4f}" if dice.champion else ""


def _size(image: ImageChange) -> str:
    return f"{image.width} x {image.height}"
