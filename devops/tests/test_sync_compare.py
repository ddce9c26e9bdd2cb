"""Two versions side by side: only what can be compared is, and the page needs nothing but itself."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from small import photos
from sync_shop import make_run

from wms.data.pairs import find_pairs
from wms.data.versions import DataItem, manifest_text
from wms.errors import CannotDecideError, run_main
from wms.files import sha256_file
from wms.registry.compare_page import SHOWN, ComparedModel, ImageScore, compare, render_page, render_table
from wms_ops.commands import versions as check


def side(name: str, **dice: float) -> ComparedModel:
    scores = {stem: ImageScore(value, value / (2 - value), 1 - value) for stem, value in dice.items()}
    return ComparedModel(name, {"run": name}, scores, dict.fromkeys(dice, "same"))


def test_pairs_counts_and_means() -> None:
    before = side("version 1", a=0.5, b=0.9, c=0.7, gone=0.1)
    after = side("version 2", a=0.8, b=0.85, c=0.7004, new=0.99)
    found = compare(before, after)
    assert [change.stem for change in found.changes] == ["a", "b", "c"]
    assert found.counts == {"better": 1, "worse": 1, "equal": 1}
    assert found.means["dice"] == pytest.approx((0.7, 0.78346666))
    assert (found.only_before, found.only_after, found.differing) == (1, 1, 0)
    table = render_table(found)
    assert "| mean Dice | 0.7000 | 0.7835 | +0.0835 |" in table
    assert "| a | 0.5000 | 0.8000 | +0.3000 |" in table
    assert "Left out: 1 image only version 1 was tested on; 1 image only version 2 was tested on." in table


def test_an_image_whose_mask_changed_is_left_out() -> None:
    before, after = side("one", a=0.5, b=0.5), side("other", a=0.9, b=0.9)
    changed = ComparedModel("other", {}, after.scores, {"a": "same", "b": "another mask"})
    found = compare(before, changed)
    assert ([change.stem for change in found.changes], found.differing) == (["a"], 1)
    with pytest.raises(CannotDecideError, match="tested on different images"):
        compare(side("one", a=0.5), side("other", b=0.5))


NASTY = '</td><script>alert("1")</script> | `x` $y$ [z](http://example.org) @ada'


def test_names_break_out_of_neither_html_nor_markdown() -> None:
    found = compare(side("1", **{NASTY: 0.5}), side(NASTY, **{NASTY: 0.9}))
    page, table = render_page(found, note=NASTY), render_table(found)
    assert "<script>alert" not in page
    assert page.count("<script") == 1
    for mark in ("<", "`", "](", "@", "$"):
        assert mark not in table.replace("<!--", "")
    assert all(line.count("|") in (5, 6) for line in table.splitlines() if line.startswith("|"))


class Links(HTMLParser):
    """Everything that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "action")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos and two runs that were tested on eight of them."""
    folder = tmp_path_factory.mktemp("compare")
    pairs = find_pairs(photos(folder, 8))
    items = [DataItem(p.stem, sha256_file(p.image), sha256_file(p.mask), "test") for p in pairs]
    for seed in (0, 1):
        run = make_run(folder, seed=seed)
        (run / "artifacts" / "data.jsonl").write_text(manifest_text(items))
        rows = [
            {"stem": p.stem, "dice": 0.5 + (0.05 * context if seed else 0), "iou": 0.4, "loss": 0.3}
            for context, p in enumerate(pairs)
        ]
        (run / "artifacts" / "test_scores.json").write_text(json.dumps(rows))
        run.rename(folder / "runs" / f"run_{'after' if seed else 'before'}")
    return folder


def command(folder: Path, *more: str) -> list[str]:
    return ["--compare", "run_before", "run_after", "--runs", str(folder / "runs"), *more]


def test_the_page_from_two_runs_folders(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    page, table = tmp_path / "compare.html", tmp_path / "compare.md"
    more = ("--html", str(page), "--markdown", str(table), "--data", str(runs / "photos"))
    assert run_main(check.LIST, command(runs, *more)) == 0
    text = page.read_text(encoding="utf-8")
    links = Links()
    links.feed(text)
    assert len(links.found) == 3 * SHOWN  # photo with truth, one overlay for each side
    assert all(link.startswith("data:image/jpeg;base64,") for link in links.found)
    assert "default-src 'none'" in text
    stems = re.findall(r"<h3>(.+?): Dice", text)
    assert stems == [pair.stem for pair in reversed(find_pairs(runs / "photos"))][:SHOWN]
    assert "7 became better, 0 worse, and 1 stayed equal" in table.read_text(encoding="utf-8")


def test_photos_that_are_absent_or_changed_are_not_shown(runs: Path, tmp_path: Path) -> None:
    page, data = tmp_path / "compare.html", tmp_path / "photos"
    assert run_main(check.LIST, command(runs, "--html", str(page), "--data", str(data))) == 0
    assert "6 of 6 photos aren&#39;t in" in page.read_text(encoding="utf-8")
    shutil.copytree(runs / "photos", data)
    newest = find_pairs(data)[-1]
    shutil.copy2(find_pairs(data)[0].mask, newest.mask)  # another mask than the one that was tested
    assert run_main(check.LIST, command(runs, "--html", str(page), "--data", str(data))) == 0
    text = page.read_text(encoding="utf-8")
    assert "1 of 6 photos aren&#39;t in" in text
    assert f"<h3>{newest.stem}:" not in text


def test_a_version_that_nobody_knows(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert run_main(check.LIST, ["--compare", "3", "run_after", "--runs", str(runs / "runs")]) == 2
    assert "set MLFLOW_TRACKING_URI to look it up" in capsys.readouterr().err
    assert run_main(check.LIST, command(runs)) == 0
    assert capsys.readouterr().out.startswith("### run_after compared with run_before")


def test_a_page_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--html", "--markdown"):
        assert run_main(check.LIST, [option, str(tmp_path / "page"), "--models", str(tmp_path)]) == 2
        assert capsys.readouterr().err == "error: --html and --markdown go with --compare A B.\n"
    assert list(tmp_path.iterdir()) == []
