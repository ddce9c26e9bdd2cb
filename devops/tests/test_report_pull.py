"""The pull request's text: what it tells, and that no name breaks out of it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_values import ENDINGS, HOSTILE, Page, blocked, failed, gate_report, merged, with_step

from wms_ops.base.text import code, link, may_link, plain, safe
from wms_ops.gate.report import markdown
from wms_ops.report.pull_request import LONGEST_PART, pull_body
from wms_ops.report.story import Act, Story
from wms_ops.report.timeline import render_story
from wms_ops.report.verdict import pull_title
from wms_ops.runs.record import STEPS, RunRecord


def rendered(text: str) -> str:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)


# Text of users


@example(HOSTILE)
@example("- - 1. > + =")
@example("1. one")
@example("<table x")
@example("<!-- x")
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_a_name_stays_the_text_that_it_is(name: str) -> None:
    cells = Page(rendered(f"| a | b |\n|---|---|\n| {safe(name)} | 1 |\n"))
    assert cells.count("td") == 2
    for page in (cells, Page(rendered(f"- x{safe(name)}")), Page(rendered(f"- {safe(name)}"))):
        assert not {tag for tag, _ in page.tags} - {"table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
        assert plain(name) in " ".join(page.text.replace("\u200b", "").split()) or not plain(name)
    # What GitHub itself would make links of, after Markdown is rendered.
    assert not re.search(r"www\.|://|@(?!&#8203;)|#(?!&#8203;|58;|46;|8203;)", safe(name))


def test_a_code_span_and_a_link_can_not_be_left() -> None:
    page = Page(rendered(f"| {code('a`|b`<script>')} |\n|---|\n"))
    assert page.count("script") == 0
    assert page.count("code") == 1
    page = Page(rendered(link("x](http://evil) [y", "pull requests/a (1).html")))
    assert page.values("href") == ["pull%20requests/a%20%281%29.html"]
    assert page.text.strip() == "x](http://evil) [y"


@pytest.mark.parametrize(
    "target",
    ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "file:///etc/passwd", "/etc/passwd",
     "//evil/x", "\\\\evil\\x", "http:", "java\nscript:alert(1)", "", "http://[", "vbscript:x"],
)  # fmt: skip
def test_a_dangerous_target_is_no_link(target: str) -> None:
    assert not may_link(target)
    assert Page(rendered(link("label", target))).count("a") == 0
    act = Act("An act", "", "2026-11-21T12:00:00+00:00", 9.0, links=(("label", target),))
    page = Page(render_story(Story("t", "i", (act,), links=(("all", target),))))
    assert page.count("a") == 0
    assert "label" in page.text


# The pull request


def body_of(record: RunRecord, **more: Any) -> str:
    return pull_body(record, **{"gate_markdown": markdown(gate_report()), "pictures": ["pictures/photos.png"], **more})


def rows_of(body: str) -> Counter[str]:
    return Counter(found for found in re.findall(r"^\| ([a-z-]+) \| ", body, re.MULTILINE) if found in STEPS)


FIRST_SENTENCES = {
    "merged": "**Promoted:** version 2 is Production: Dice 0.7124 → 0.8617, IoU 0.5933 → 0.7702.",
    "first": "**Promoted:** version 2 is Production, the first one: Dice 0.8617, IoU 0.7702.",
    "off": "**Promoted:** version 2 is Production, although the gate found it not improved: ",
    "blocked": "**Blocked:** the new model isn't better than version 1: Dice 0.7124 → 0.4312, ",
    "undecided": "**Blocked:** the gate can't decide. The split record differs.",
    "smoke": "**Blocked:** the new model passed the gate, but the step smoke-deploy failed. Version 2 answers 503.",
    "grey": "**Blocked:** the data check refuses the photos. a.png is grey",
    "train": "**Blocked:** the step train failed. Killed.",
    "running": "**Not over yet:** the step at work is gate.",
    "nothing": "**Nothing to do:** main has all of this data already.",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_the_verdict_stands_first_and_every_step_appears(name: str) -> None:
    record = ENDINGS[name]
    body = body_of(record)
    assert body.startswith(FIRST_SENTENCES[name])
    assert rows_of(body) == Counter(STEPS)
    assert ("What to do next" in body) == (name in ("blocked", "undecided", "smoke", "grey", "train"))
    assert "\n" not in pull_title(record)
    assert 10 < len(pull_title(record)) < 120


def test_a_merged_run_tells_data_scores_pictures_and_cost() -> None:
    names = ["gate.html", "pictures/photos.png", "pictures/scores.png", "pictures/other.png"]
    body = body_of(
        merged(), pictures=names, card_markdown="### Data card", links=[("This run", "https://example.org/1")]
    )
    assert "| 25 | 24 | 49 |" in body
    assert "| champion, version 1 | 0.7124 | 0.5933 |" in body
    assert "| difference | +0.1493 | +0.1769 |" in body
    page = Page(rendered(body))
    assert page.values("src") == ["pictures/scores.png", "pictures/photos.png", "pictures/other.png"]
    assert all(len(text) > 10 for text in page.values("alt"))
    assert {"gate.html", "https://example.org/1"} < set(page.values("href"))
    assert any(target.endswith(f"/#/runs/{'0a' * 16}") for target in page.values("href"))
    assert body.count("<details>") == body.count("</details>") == 2
    assert "Prices of 2026-" in body
    assert "an instance that is always on 76.59 USD" in body
    assert "The estimate before the start was 0.015 USD." in body
    assert pull_title(merged()) == "Version 2: 24 new photos, Dice 0.7124 → 0.8617"


@pytest.mark.parametrize("champion", ["", "1"])
def test_a_model_under_the_floor_is_blocked_with_that_reason(champion: str) -> None:
    reason = "Mean Dice is 0.4312, under gate.floor, which asks for 0.8 or more."
    record = blocked(champion_version=champion, champion_dice="0.3000", champion_iou="0.2000", gate_reason=reason)
    page = Page(rendered(body_of(record)))
    assert reason in page.text
    assert "isn't better than version" not in page.text, "the model scores higher than the champion, or has none"


def test_a_blocked_run_says_how_to_go_on() -> None:
    body = body_of(blocked())
    assert "`wms data take-back data/20261121-120000` brings the photos and masks back into `WMS/data/training`" in body
    assert "`git push origin main`. That makes a new data branch and pull request, and closes this one." in body
    assert "Main and Production are as they were." in body
    assert "| promote | skipped | | The gate's verdict" in re.sub(" +", " ", body)
    unchecked = body_of(failed("validate", "grey", 28))
    assert "No pull request was opened for this one" in unchecked and "closes this one" not in unchecked
    assert "wms data check" in unchecked and "`wms data take-back data/20261121-120000`" in unchecked
    broken = body_of(failed("train", "Killed.", 89))
    assert "`wms loop run --branch data/20261121-120000`. It goes on where it stopped" in broken
    assert "Then ask the gate again: `wms loop run" in body_of(ENDINGS["undecided"])


def test_a_run_that_never_came_to_an_instance_cost_nothing() -> None:
    record = failed("validate", "grey", 28)
    assert "so it cost nothing" in body_of(record)
    assert "Dice" not in body_of(record, gate_markdown="")


def test_no_name_breaks_out_of_the_pull_request() -> None:
    record = blocked(gate_reason=HOSTILE, champion_version=HOSTILE)
    record = with_step(record, "train", text=HOSTILE * 9, outputs={"run": HOSTILE, "run_id": HOSTILE})
    record = with_step(record, "validate", outputs={f"photos_{name}": HOSTILE for name in ("before", "new", "total")})
    record = record.model_copy(update={"branch": HOSTILE, "reason": HOSTILE})
    report = gate_report(stem="{} " + HOSTILE)
    for each in (record, failed("promote", HOSTILE, 93)):
        body = pull_body(each, gate_markdown=markdown(report), pictures=[f"{HOSTILE}.png"], links=[(HOSTILE, "a.html")])
        page = Page(rendered(body).replace("<details>", "").replace("</details>", ""))
        tags = {tag for tag, _ in page.tags}
        assert not tags & {"script", "h1", "del", "iframe", "style"}
        assert page.count("img") == 1
        assert page.values("src")[0].startswith("%3C")
        assert all("evil" not in target for target in page.values("href"))
        assert "\u202e" not in body
        assert rows_of(body) == Counter(STEPS)
        assert "\n" not in pull_title(each)


def test_a_pull_request_is_never_too_long_for_github() -> None:
    record = failed("gate", "x" * 50_000, 92)
    body = body_of(record, gate_markdown="| line |\n" * 50_000, card_markdown="word " * 50_000)
    assert len(body) < 3 * LONGEST_PART
    assert "too long for a pull request" in body
    assert body.count("<details>") == body.count("</details>") == 2


def test_values_that_are_no_numbers_are_told_and_not_fatal() -> None:
    record = with_step(merged(), "gate", outputs={"decision": "improved", "passes": "true", "champion_version": "1"})
    assert body_of(record).startswith("**Promoted:** version 2 is Production: Dice unknown → unknown")
    assert "challenger," not in body_of(record, gate_markdown="")
