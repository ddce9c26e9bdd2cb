"""A run's report: complete, escaped, free of network access, and whole when a run has next to nothing."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from wms.errors import SizeMismatchError, UnwritableError
from wms.inference.overlay import BOTH, MISSED, TOO_MUCH, draw_outline, overlay
from wms.training.report import ImageCase, write_report

COLUMNS = {
    **{"step": pl.Int64, "epoch": pl.Int64, "phase": pl.String, "metric": pl.String},
    **{"value": pl.Float64, "time": pl.Float64},
}


def case(stem: str, dice: float, *, empty: bool = False) -> ImageCase:
    image = np.full((40, 60, 3), 90, dtype=np.uint8)
    truth, prediction = np.zeros((2, 40, 60), dtype=bool)
    if not empty:
        truth[10:20, 10:50] = True
        prediction[12:22, 10:50] = True
    return ImageCase(stem, image, truth, prediction, dice, dice / (2 - dice))


def epochs(count: int) -> pl.DataFrame:
    rows = [
        (epoch, epoch, phase, metric, 1 - 1 / (epoch + 2), 0.0)
        for epoch in range(count)
        for phase in ("train", "val")
        for metric in ("loss", "dice", "iou")
    ]
    rows.append((0, 0, "val", "loss", float("nan"), 0.0))
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def report(folder: Path, cases: list[ImageCase], metrics: pl.DataFrame | None = None) -> tuple[Path, str]:
    page = write_report(
        folder,
        title="Run <one>",
        config={"model": {"base_channels": 16}, "tracking_uri": "file:store"},
        metadata={"config_hash": "c0ffee", "data_version": "data/20260101-000000", "duration_s": 3725.0},
        metrics=epochs(4) if metrics is None else metrics,
        cases=cases,
        summary={"final_test_dice": 0.81234, "final_test_iou": 0.7},
    )
    return page.parent, page.read_text(encoding="utf-8")


class Page(HTMLParser):
    """Collects what a browser would load and which scripts it would run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]


def test_every_photo_is_listed_worst_first(tmp_path: Path) -> None:
    cases = [case(f"meter_{index:02d}", dice) for index, dice in enumerate((0.9, 0.2, 0.7, 0.4, 0.8, 0.95))]
    files, text = report(tmp_path, cases)
    table = text[text.index('id="photos"') :]
    assert re.findall(r'<th scope="row">(meter_\d\d)</th>', table) == [
        *("meter_01", "meter_03", "meter_02", "meter_04", "meter_00", "meter_05"),
    ]
    assert "2 of 6 photos fail altogether" in text
    assert files == tmp_path / "artifacts"
    assert {path.name for path in (tmp_path / "artifacts").iterdir()} == {
        *("report.html", "curves.png", "samples.png"),
    }


def test_header_shows_where_the_run_comes_from(tmp_path: Path) -> None:
    _, text = report(tmp_path, [case("a", 0.9)])
    for part in (
        "0.8123",
        "c0ffee",
        "data/20260101-000000",
        "1 h 2 min",
        "not recorded",
        "model.base_channels",
    ):
        assert part in text
    assert "The best epoch was 3." in text


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    _, text = report(tmp_path, [case("a", 0.9), case("b", 0.3)])
    assert "http://" not in text
    assert "https://" not in text
    sources = Page(text).sources
    assert sources
    assert all(source.startswith("data:image/") for source in sources)


def test_a_hostile_name_stays_text(tmp_path: Path) -> None:
    stem = '<script>alert("1")</script>$x_{'
    files, text = report(tmp_path, [case(stem, 0.9)])
    assert Page(text).scripts == 1
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text
    assert "Run &lt;one&gt;" in text
    assert (files / "samples.png").stat().st_size > 0


def test_a_name_that_is_no_valid_text_is_no_crash(tmp_path: Path) -> None:
    _, text = report(tmp_path, [case("bad\udcff", 0.9)])
    assert "bad\ufffd" in text


@pytest.mark.parametrize("metrics", [pl.DataFrame(), pl.DataFrame(schema=COLUMNS), epochs(1)])
def test_few_or_no_epochs(tmp_path: Path, metrics: pl.DataFrame) -> None:
    files, text = report(tmp_path, [case("only", 0.9)], metrics)
    assert ("recorded no epoch" in text) == metrics.is_empty()
    for path in (files / "curves.png", files / "samples.png"):
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.width > 500


def test_no_test_photo_at_all(tmp_path: Path) -> None:
    files, text = report(tmp_path, [])
    assert "no test photos" in text
    assert (files / "samples.png").exists()


def test_empty_truth_and_undefined_scores(tmp_path: Path) -> None:
    cases = [case("empty", float("nan"), empty=True), case("fine", 1.0, empty=True)]
    _, text = report(tmp_path, cases)
    assert "In 2 of 2 test photos the true mask is empty" in text
    assert "1 of 2 photos fails altogether" in text
    assert "not defined" in text


def test_the_same_run_gives_the_same_files_also_in_threads(tmp_path: Path) -> None:
    cases = [case("a", 0.9), case("b", 0.5)]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda name: report(tmp_path / name, cases)[0], ("one", "two"))
    assert (first / "report.html").read_bytes() == (second / "report.html").read_bytes()
    assert (first / "samples.png").read_bytes() == (second / "samples.png").read_bytes()


def test_an_unwritable_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("in the way")
    with pytest.raises(UnwritableError, match=r"report\.html"):
        report(tmp_path, [case("a", 0.9)])


def test_overlay_colours_agreement_and_leaves_the_photo_alone() -> None:
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    truth = np.array([[True, True], [False, False]])
    prediction = np.array([[True, False], [True, False]])
    tinted = overlay(image, truth, prediction)
    for where, colour in (((0, 0), BOTH), ((0, 1), MISSED), ((1, 0), TOO_MUCH)):
        assert tinted[where].argmax() == int(np.argmax(colour))
    assert tinted[1, 1].tolist() == [0, 0, 0]
    assert not image.any()


def test_outline_is_a_border_of_the_given_width() -> None:
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    mask = np.zeros((20, 20), dtype=bool)
    mask[5:15, 5:15] = True
    drawn = draw_outline(image, mask, (255, 0, 0), width=2)[:, :, 0] == 255
    assert drawn.sum() == 10 * 10 - 6 * 6
    assert not drawn[7:13, 7:13].any()
    assert not draw_outline(image, np.zeros_like(mask)).any()
    with pytest.raises(ValueError, match="0 pixels"):
        draw_outline(image, mask, width=0)


def test_masks_of_another_size_are_refused() -> None:
    image, mask = np.zeros((4, 6, 3), dtype=np.uint8), np.zeros((6, 4), dtype=bool)
    with pytest.raises(SizeMismatchError, match="resize"):
        overlay(image, mask, mask)
    with pytest.raises(SizeMismatchError, match="shape"):
        draw_outline(image[:, :, 0], mask)
