"""The data card adds up whatever the order, survives repetition, and draws what people named as plain text."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wms.config import DataConfig
from wms.data.card import MOST_PICTURES, CardFacts, CardPair, Figures, card_facts, extend, measure
from wms.data.card_page import OUTLINE, SIDE, pictures, render_card, render_markdown
from wms.data.synthetic import write_dataset
from wms.errors import ManifestError
from wms.files import sha256_file


def pair(stem: str, **changes: object) -> CardPair:
    values = {"split": "train", "width": 640, "height": 480, "image_bytes": 5000, "mask_bytes": 300, "coverage": 0.02}
    return CardPair(stem, **(values | changes))  # type: ignore[arg-type]


@st.composite
def merges(draw: st.DrawFn, count: int) -> list[list[CardPair]]:
    """Merges that overlap; a stem means the same pair in each."""
    pairs = {
        stem: pair(
            stem,
            split=draw(st.sampled_from(["train", "val", "test", "excluded"])),
            width=draw(st.sampled_from([640, 480])),
            image_bytes=draw(st.integers(0, 2**40)),
            coverage=draw(st.floats(0, 1)),
        )
        for stem in draw(st.sets(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=40))
    }
    some = st.lists(st.sampled_from(sorted(pairs)), unique=True) if pairs else st.just([])
    return [[pairs[stem] for stem in draw(some)] for _ in range(count)]


def same(one: CardFacts, other: CardFacts) -> bool:
    return (one.total, one.counted) == (other.total, other.counted)


@given(merges(3))
def test_merges_add_up_in_any_order_and_count_once(drawn: list[list[CardPair]]) -> None:
    before, first, second = drawn
    start = extend(None, before)
    together = extend(start, [*first, *second])
    assert same(extend(extend(start, first), second), together)
    assert same(extend(extend(start, second), first), together)
    assert together.total.images == len({p.stem for merge in drawn for p in merge})
    assert together.total == start.total + together.newest or together == start
    for merge in drawn:
        assert extend(together, merge) == together, "a merge that is repeated changes nothing"


@given(merges(2))
def test_a_card_comes_back_from_its_json(drawn: list[list[CardPair]]) -> None:
    facts = extend(extend(None, drawn[0]), drawn[1])
    assert CardFacts.from_json(facts.to_json()) == facts
    assert CardFacts.from_json(facts.to_json()).to_json() == facts.to_json()


def test_figures_are_those_of_the_pairs() -> None:
    coverages = (0.0, 0.0049, 0.005, 0.02, 1.0)
    facts = extend(None, [pair(str(i), coverage=c, split="val" if i else "test") for i, c in enumerate(coverages)])
    assert facts.total.splits == {"test": 1, "val": 4}
    assert facts.total.coverage == (2, 1, 0, 0, 1, 0, 0, 0, 0, 1)
    assert facts.total.mean_coverage == pytest.approx(sum(coverages) / 5)
    assert (facts.total.image_bytes, facts.total.mask_bytes) == (25_000, 1_500)
    assert facts.total.resolutions == {"640 x 480": 5}
    many = extend(facts, [pair(f"n{i}") for i in range(100)])
    assert (many.total.images, many.newest.images, len(many.shown)) == (105, 100, MOST_PICTURES)
    assert Figures().mean_coverage == 0


@pytest.mark.parametrize(
    "change",
    [
        {"counted": "AAAA"},
        {"counted": "?"},
        {"total": {"images": 7}},
        {"total": None},
        {"shown": "ab"},
    ],
)
def test_a_damaged_card_is_refused(change: dict[str, object]) -> None:
    values = json.loads(extend(None, [pair("a"), pair("b")]).to_json()) | change
    with pytest.raises(ManifestError, match=r"c\.json is damaged: .*; delete it"):
        CardFacts.from_json(json.dumps(values), "c.json")
    with pytest.raises(ManifestError):
        CardFacts.from_json(b"\xff{", "c.json")


def test_a_card_of_100_000_photos_stays_small() -> None:
    facts = extend(None, [pair(f"photo {i}") for i in range(100_000)])
    assert len(facts.to_json()) < 1.2e6
    assert extend(CardFacts.from_json(facts.to_json()), [pair("one more")]).total.images == 100_001


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new")
    write_dataset(folder, 6, seed=1, size=400)
    return folder


def test_measured_from_files(folder: Path) -> None:
    photos = sorted((folder / "images").iterdir())
    found = measure(folder, {sha256_file(photos[0]): "test"}, DataConfig())
    assert [p.stem for p in found] == [path.stem for path in photos]
    assert [p.split for p in found] == ["test"] + ["unassigned"] * 5
    for one, photo in zip(found, photos, strict=True):
        with Image.open(folder / "masks" / f"{photo.stem}.png") as mask:
            assert mask.size == (one.width, one.height), "upright, as the mask"
            assert one.coverage == pytest.approx(float(np.mean(np.asarray(mask) > 127)))
        assert one.image_bytes == photo.stat().st_size


def test_pictures_show_the_outline_and_skip_what_is_absent(folder: Path) -> None:
    stems = [path.stem for path in sorted((folder / "images").iterdir())]
    shown = pictures(folder, ["absent", *reversed(stems)])
    assert [picture.stem for picture in shown] == stems[::-1]
    for picture in shown:
        with Image.open(io.BytesIO(picture.jpeg)) as image:
            assert max(image.size) == SIDE
            green = np.abs(np.asarray(image).astype(int) - OUTLINE).max(axis=2) < 60
            assert green.sum() > 40


class Page(HTMLParser):
    """All text, and every tag with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


NASTY = '<img src=x onerror=alert(1)>|`"*[a](b)\n@all'


def test_names_stay_text_and_nothing_is_loaded(folder: Path) -> None:
    facts = extend(None, [pair("a", split=NASTY), pair("b")])
    card = card_facts(facts, before={"c.jpg": "1"}, after={"c.jpg": "2", "a.jpg": "3"})
    shown = [type(picture)(NASTY, picture.jpeg) for picture in pictures(folder, facts.shown)]
    page = Page(render_card(card, [*shown, *pictures(folder, [next((folder / "images").iterdir()).stem])]))
    assert NASTY in "".join(page.text)
    assert {tag for tag, attrs in page.tags if "onerror" in attrs or tag == "script"} == set()
    sources = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert sources
    assert all(source and source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not [attrs for tag, attrs in page.tags if tag in ("link", "iframe") or "href" in attrs]
    markdown = render_markdown(card)
    assert not set("<>[]*@") & set(markdown)
    assert all(line.count("|") == 4 for line in markdown.splitlines() if line.startswith("|"))


def test_a_card_says_what_changed_and_what_it_doesnt_know() -> None:
    facts = extend(None, [pair("new", split="test", coverage=0.031), pair("other", image_bytes=3 * 2**20)])
    before = {"a.jpg": "1", "b.jpg": "2", "c.jpg": "3"}
    after = {"a.jpg": "1", "b.jpg": "9", "new.jpg": "4", "other.jpg": "5"}
    card = card_facts(facts, before=before, after=after, manifests={"images": "0" * 32 + ".dir"})
    assert (card.before, card.added, card.replaced, card.removed, card.images) == (3, 2, 1, 1, 4)
    for text in (render_markdown(card), "".join(Page(render_card(card)).text)):
        assert "3 photos before, 2 added, 1 replaced, 1 removed, 4 now." in text
        assert "known of 2 of 4 photos" in text
        assert "3.0 MiB" in text
        assert "2.55%" in text
        assert "640 x 480" in text
    assert "| photos in train | 1 | 1 |" in render_markdown(card)
    complete = card_facts(facts, before={}, after={"new.jpg": "4", "other.jpg": "5"})
    assert "known of" not in render_markdown(complete) + render_card(complete)
    empty = card_facts(CardFacts(), before={}, after={})
    assert "0 photos" in render_markdown(empty) + render_card(empty)
