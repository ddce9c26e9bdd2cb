"""The story's page: what it shows, that it needs nothing else, and that no name breaks out of it."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from report_values import ENDINGS, HOSTILE, START, Page, blocked, failed, merged, running, with_step

from wms_ops.report.story import Act, Event, Story, StoryPicture
from wms_ops.report.timeline import render_story
from wms_ops.report.timeline_axis import axis_of, row_of
from wms_ops.report.timeline_cards import duration, terminal_lines
from wms_ops.runs.record import STEPS, RunRecord, StepState

# The story


def png(width: int = 40, height: int = 30) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


def act(**more: Any) -> Act:
    values: dict[str, Any] = {"title": "An act", "text": "Types `git push`.", "started_at": START.isoformat()}
    return Act(**{"seconds": 80.0, **values, **more})


def story(*acts: Act, **more: Any) -> Story:
    return Story("From a photo to a model", "What `make demo` did.", acts, **more)


@pytest.mark.parametrize("name", ENDINGS)
def test_the_page_shows_every_step_of_any_run(name: str) -> None:
    record = ENDINGS[name]
    page = Page(render_story(story(act(record=record), act(title="Another"))))
    assert not page.open
    begun = [step.name for step in record.steps if step.started_at]
    bars = [title.split(":")[0] for title in page.values("title")]
    assert [bar for bar in bars if bar in STEPS] == begun
    for step in record.steps:
        assert page.text.count(step.name) >= (2 if step.started_at else 1)


def test_the_page_needs_no_network_and_can_be_read_without_seeing() -> None:
    acts = (
        act(
            record=merged(),
            pictures=(StoryPicture("scores.png", png(), "Scores"),),
            output="$ ls\na",
        ),
        act(title="Push", events=(Event("push", START.isoformat(), 3.0), Event("sync", START.isoformat(), 2.0))),
        act(title="Bad", record=blocked(90), pictures=(StoryPicture("x.png", png(90, 20)),)),
    )
    links = (("MLflow", "http://127.0.0.1:5000/#/runs/1"), ("Pull requests", "pull-requests/README.md"))
    text = render_story(story(*acts, facts=(("Peak memory", "3.1 GiB"),), links=links))
    page = Page(text)
    assert page.count("script") == page.count("link") == page.count("iframe") == 0
    assert all(source.startswith("data:image/png;base64,") for source in page.values("src"))
    assert len(page.values("alt")) == page.count("img") == 2
    assert all(page.values("alt"))
    assert not re.search(r"url\(|@import|srcset|xlink", text)
    assert re.findall(r"https?://[^\"' <]+", text) == ["http://127.0.0.1:5000/#/runs/1"]
    assert "default-src 'none'" in text
    assert page.count("h1") == 1
    assert page.count("h2") == 2 + len(acts)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert set(page.values("aria-labelledby")) <= set(ids)
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text
    assert page.values("lang") == ["en"]
    for words in ("2 blocked", "1 promoted, 1 blocked", "3.1 GiB", "76.59 USD a month", "list prices of 2026-"):
        assert (words in page.text) == (words != "2 blocked")
    assert "0.7124 → 0.8617 +0.1493" in " ".join(page.text.split())


def test_no_name_breaks_out_of_the_page() -> None:
    record = with_step(blocked(gate_reason=HOSTILE), "train", text=HOSTILE)
    record = record.model_copy(update={"reason": HOSTILE, "branch": HOSTILE})
    hostile = act(
        title=HOSTILE,
        text=HOSTILE + "`" + HOSTILE,
        record=record,
        events=(Event(HOSTILE, START.isoformat(), 1.0),),
        pictures=(StoryPicture(HOSTILE, png(), HOSTILE), StoryPicture(f"{HOSTILE}.j2", png())),
        links=((HOSTILE, HOSTILE),),
        output=f"$ echo {HOSTILE}\n{HOSTILE}",
    )
    page = Page(render_story(Story(HOSTILE, HOSTILE, (hostile,), ((HOSTILE, HOSTILE),), ((HOSTILE, HOSTILE),))))
    assert not page.open
    assert page.count("script") == page.count("a") == 0
    assert page.count("img") == 2
    assert page.text.count("<script>alert(1)</script>") >= 10


def test_stories_without_acts_or_records_or_output_are_pages_too() -> None:
    empty = Page(render_story(story()))
    assert "Nothing happened yet." in empty.text
    assert empty.count("section") == empty.count("article") == 0
    plain_act = Page(render_story(story(act())))
    assert "What the terminal showed" not in plain_act.text
    assert "would have cost" not in plain_act.text
    failed_early = Page(render_story(story(act(record=failed("merge", "No.", 82)))))
    assert "would have cost" not in failed_early.text
    assert "1 failed" in failed_early.text


def test_lower_scores_are_shown_as_a_loss() -> None:
    record = blocked(champion_dice="0.9", challenger_dice="0.5")
    text = " ".join(Page(render_story(story(act(record=record)))).text.split())
    assert "0.9000 → 0.5000 -0.4000" in text


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 900), st.floats(0, 100)), min_size=1, max_size=5),
)
def test_everything_lies_on_the_axis_where_it_happened(spans: list[tuple[float, float, float]]) -> None:
    acts = [
        act(started_at=merged(begin).steps[0].started_at, seconds=length, record=merged(begin + wait))
        for begin, length, wait in spans
    ]
    axis = axis_of(acts)
    assert 1 < len(axis.ticks) <= 9
    for row in (row_of(each, axis) for each in acts):
        assert 0 <= row.whole.left <= row.whole.left + row.whole.width <= 100.001
        for bar in row.bars:
            assert 0 <= bar.left <= bar.left + bar.width <= 100.001
            assert bar.width == pytest.approx(100 * bar.seconds / axis.seconds)
            assert bar.left == pytest.approx(100 * bar.begins_s / axis.seconds)
            assert bar.left >= row.whole.left - 0.001


def test_states_have_their_colours() -> None:
    def kinds(record: RunRecord) -> dict[str, str]:
        acts = [act(record=record)]
        return {bar.name: bar.kind for bar in row_of(acts[0], axis_of(acts)).bars}

    assert kinds(merged())["gate"] == "done"
    assert kinds(blocked())["gate"] == "blocked"
    assert "promote" not in kinds(blocked())
    assert kinds(failed("up", "No.", 84))["up"] == "failed"
    assert kinds(running("train"))["train"] == str(StepState.RUNNING)


def test_what_a_terminal_showed_is_what_it_showed_in_the_end() -> None:
    shown = "\x1b[1;32m$ train\x1b[0m\nepoch 1\repoch 2\repoch 3\r\n\x1b]0;title\x07done\x08\n\n"
    assert list(terminal_lines(shown)) == ["$ train", "epoch 3", "done"]
    assert list(terminal_lines("")) == []
    long = list(terminal_lines("line\n" * 50_000))
    assert long[0] == "(earlier lines are left out)"
    assert len(long) < 20_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (59.7, "1 min"),
        (83, "1:23 min"),
        (3600, "1:00 h"),
        (3725, "1:02 h"),
    ],
)
def test_times_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"<svg/>", png()[:20]])
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"x\.png is"):
        render_story(story(act(pictures=(StoryPicture("x.png", content),))))


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'noon' isn't a time"):
        render_story(story(replace(act(), started_at="noon")))
