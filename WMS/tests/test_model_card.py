"""The model card: what it says of each way to become Production, and that no name breaks out of it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest
from gate_values import evidence, judged, score
from registry_workshop import Shop
from test_promotion import promote, roll_back

from wms.config import GateConfig
from wms.data.versions import DataItem
from wms.errors import RegistryError
from wms.registry import promotion
from wms.registry.card_records import COST_TAG, SOURCES_TAG, CardRecords
from wms.registry.card_slices import draw_slices, thirds
from wms.registry.card_text import to_html, to_markdown
from wms.registry.companions import read_documents
from wms.registry.gate_types import GateReport
from wms.registry.ledger import LedgerEntry, LedgerRecord, link
from wms.registry.lineage import MODEL_CARD, MODEL_CARD_PAGE, WORST_PHOTOS, WORST_SLICES
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.model_card import describe
from wms.registry.types import Means
from wms.registry.verdicts import REPORT_FILE

pytest_plugins = ["registry_fixtures"]
HOSTILE = "</td><script>alert(1)</script> | ![x](http://evil/x) @team `c` {who} \u202e\n# heading"


def entries(*records: dict[str, Any]) -> tuple[LedgerEntry, ...]:
    """A chain of entries; each record replaces fields of a promotion of the next version."""
    found: list[LedgerEntry] = []
    for number, record in enumerate(records, 1):
        plain = {
            **{"at": f"2026-11-{number:02d}T10:00:00+00:00", "who": "Ann", "action": "promote", "to_version": number},
            **{"from_version": found[-1].to_version if found else None, "run_id": f"{number:032x}"},
            **{"weights_sha256": f"{number:064x}", "onnx_sha256": "b" * 64, "verdict": "improved"},
            **{"metrics": Means(dice=0.75, iou=0.6), "baseline": Means(dice=0.5, iou=0.4), "git_commit": "c" * 40},
            **{"config_hash": "d" * 64, "data_version": "e" * 64, "training_data_count": 3},
        }
        found.append(link(LedgerRecord.model_validate(plain | record), found[-1] if found else None))
    return tuple(found)


def records(chain: tuple[LedgerEntry, ...], version: int, **more: Any) -> CardRecords:
    items = tuple(DataItem(f"m{i}", "a" * 64, "b" * 64, split) for i, split in enumerate(["train", "train", "test"]))
    return CardRecords(
        **{"model": "meters", "version": version, "entries": chain, "run_name": "run_1", "items": items} | more
    )


def text_of(chain: tuple[LedgerEntry, ...], version: int, **more: Any) -> str:
    return to_markdown(describe(records(chain, version, **more)), {})


def test_every_way_to_become_production_is_told() -> None:
    chain = entries(
        {}, {"verdict": "forced: demo day (no verdict of the gate)"}, {"verdict": "gate off (not improved)"}
    )
    assert "as the first training, which had nothing to beat. Gate: improved." in text_of(chain, 1)
    assert "It has no parent: nothing was Production before." in text_of(chain, 1)
    forced = text_of(chain, 2)
    assert "Forced past the gate by Ann at 2026-11-02T10:00" in forced and "demo day" in forced
    assert f"Its parent is version 1, run {1:032x}." in forced
    best = text_of(entries({"attempts": 3}), 1)
    assert "from 3 attempts" in best and "attempts" not in forced
    assert "Gate: gate off (not improved)." in text_of(chain, 3)
    adopted = text_of(entries({"verdict": "adopted: from MLflow 2"}), 1)
    assert "Was Production before the ledger began; taken over by Ann" in adopted
    back = {"action": "rollback", "to_version": 1, "from_version": 2, "verdict": "rollback: too dark", "who": "Bob"}
    rolled = entries({}, {}, back)
    assert "Production left this version for version 1, by Bob: rollback: too dark." in text_of(rolled, 2)
    assert "Production went back to this version, by Bob: rollback: too dark." in text_of(rolled, 1)
    assert "as the first training" in text_of(rolled, 1), "the rollback doesn't hide the promotion"
    assert "Production by a rollback of Bob" in text_of(entries({**back, "seq": 1}), 1)


def report_of(now: list[float], before: list[float] | None = None) -> GateReport:
    return judged(before, now, GateConfig())


def test_scores_limits_slices_and_cost() -> None:
    now = [0.0, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.9, 0.9]
    recipe = {
        "name": "small", "seed": 3, "augmentation": {"rotation": 0.5, "rotation_degrees": 10.0},
        "training": {"stages": [{"size": 48, "epochs": 40}]},
    }  # fmt: skip
    more: dict[str, Any] = {
        "report": report_of(now, [value / 2 for value in now]),
        "recipe": recipe,
        "card": {"input_size": 224, "second_look": 0.5, "detail": 512, "one_strip": True, "parameters": 32461},
        "metadata": {"duration_s": 30.6, "machine": {"processor": "x86_64", "cores": 2, "memory_gib": 7.6}},
        "tags": {COST_TAG: "0.0132", SOURCES_TAG: "Ada (2 changes)"},
    }
    text = text_of(entries({}, {}), 2, **more)
    low, high = text.split("| Dice | 0.7222 | ")[1].split(" | ")[0].split(" to ")
    assert 0 <= float(low) < 0.7222 < float(high) <= 1
    assert "Measured by the gate at 2026-11-21T12:00:00+00:00 on 9 test photos" in text
    worst = text.split("| third of the test photos")[1]
    assert worst.index("| 1.00 to 1.00 megapixels | 3 | 0.4000 |") < worst.index("| 3 | 0.9167 |")
    assert "|  | worst photos | Dice | pixels |\n|---|---|---|---|\n| 1 | meter_0 | 0.0000 | 1000 x 1000 |" in text
    assert "It finds nothing of the strip on 1 test photo: meter_0." in text
    assert "a window about the strip of a copy of 512 pixels" in text and "turned by up to 10.0 degrees" in text
    assert "Tested from 1.00 to 1.01 megapixels only." in text
    assert "| in train | 2 |\n| in val | 0 |\n| in test | 1 |" in text
    assert "40 epochs at 48 pixels" in text and "| 0.0132 USD |" in text and "| training time | 30.6 s |" in text
    assert "by: Ada (2 changes)." in text
    assert text == text_of(entries({}, {}), 2, **more), "equal records give equal cards"
    unknown = text_of(entries({}), 1, items=())
    assert "no interval is known" in unknown and "isn't recorded with the run" in unknown
    assert "| cost of the instance until the promotion | not recorded |" in unknown
    assert "`wms data log`" in unknown and "never trained on turned" not in unknown


def test_the_interval_narrows_with_the_test_set() -> None:
    def width(count: int) -> float:
        text = text_of(entries({}), 1, report=report_of([0.6 + 0.3 * (i % 2) for i in range(count)]))
        low, high = text.split("| Dice | 0.7500 | ")[1].split(" |")[0].split(" to ")
        return float(high) - float(low)

    assert 0 < 2 * width(80) < width(10)


class Tags(HTMLParser):
    """The tags and the texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_no_name_breaks_out_of_the_card() -> None:
    images = evidence(None, [0.0, 0.5, 0.6, 0.7, 0.8, 0.9]).images
    found = judged(None, [0.5] * 6, images=tuple(type(i)(HOSTILE, *list_of(i)) for i in images))
    chain = entries({"who": HOSTILE, "verdict": HOSTILE, "run_id": HOSTILE, "git_commit": HOSTILE})
    more = {"model": HOSTILE, "run_name": HOSTILE, "tags": {SOURCES_TAG: HOSTILE}, "report": found}
    card = describe(records(chain, 1, **more, recipe={"name": HOSTILE}))
    pictures = {WORST_SLICES: draw_slices(thirds(found))}
    text = to_markdown(card, pictures)
    assert "&#93;(http&#58;//evil" in text
    for part in ("<script", "](http", "http:", "@team", "`c`", "\u202e", "\n# heading"):
        assert part not in text
    assert all(row.count("|") == rows[0].count("|") for rows in tables_of(text) for row in rows)
    page = Tags(to_html(card, pictures))
    assert not {"script", "a", "iframe"} & {tag for tag, _ in page.tags}
    sources = [str(values["src"]) for tag, values in page.tags if tag == "img"]
    assert len(sources) == 1 and sources[0].startswith("data:image/png;base64,")
    assert "alert(1)" in page.text and "\u202e" not in page.text


def list_of(image: Any) -> list[Any]:
    return [image.image_sha256, image.width, image.height, image.coverage, score(0.3)]


def tables_of(text: str) -> list[list[str]]:
    """The rows of each table."""
    found: list[list[str]] = [[]]
    for row in text.splitlines():
        if row.startswith("|"):
            found[-1].append(row)
        elif found[-1]:
            found.append([])
    return [rows for rows in found if rows]


def test_promotions_write_it_and_repetitions_write_the_same(shop: Shop) -> None:
    first = shop.run(0.8)
    report = report_of([0.75, 0.85] * 3)
    weights = shop.registry.read_artifact(first, "model/production.json")
    verdict = report.verdict.model_copy(update={"weights_sha256": json.loads(weights)["weights_sha256"]})
    kept = report.model_copy(update={"verdict": verdict})
    shop.registry.write_artifact(first, REPORT_FILE, kept.model_dump_json().encode())
    promote(shop, first)
    before = read_documents(shop.registry, first)
    assert set(before) == {MODEL_CARD, MODEL_CARD_PAGE, WORST_SLICES}, "nobody drew the photos"
    assert before[WORST_SLICES].startswith(b"\x89PNG") and b"data:image/png" in before[MODEL_CARD_PAGE]
    text = before[MODEL_CARD].decode()
    assert "| Dice | 0.8000 |" in text and "by Ann at" in text and "| in train | 3 |" in text
    assert f"artifact card/{WORST_PHOTOS}" not in text and "another `wms gate` draws them" in text
    promotion.repair(shop.promotions)
    promote(shop, first)
    assert read_documents(shop.registry, first) == before

    second = shop.run(0.9, champion=1)
    promote(shop, second, force="demo day")
    assert "Forced past the gate by Ann" in read_documents(shop.registry, second)[MODEL_CARD].decode()
    assert "no interval is known" in read_documents(shop.registry, second)[MODEL_CARD].decode()
    roll_back(shop)
    told = [read_documents(shop.registry, run_id)[MODEL_CARD].decode() for run_id in (first, second)]
    assert "Production went back to this version, by Bob: rollback: too dark" in told[0]
    assert "Production left this version for version 1, by Bob" in told[1]


def test_a_card_that_cannot_be_stored_stops_no_promotion(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, store = shop.run(0.8), ModelRegistry.write_artifact

    def refuse(self: ModelRegistry, run: str, path: str, content: bytes) -> None:
        if path.endswith(MODEL_CARD_PAGE):
            raise RegistryError("The store is full.")
        store(self, run, path, content)

    monkeypatch.setattr(ModelRegistry, "write_artifact", refuse)
    done = promote(shop, run_id)
    assert done.changed and "card wasn't written (The store is full); `wms restore` tries again." in done.text
    assert shop.promotions.entries.read().settled
    monkeypatch.setattr(ModelRegistry, "write_artifact", store)
    repaired = promotion.repair(shop.promotions)
    assert repaired is not None and "model card" not in repaired.text
    assert MODEL_CARD_PAGE in read_documents(shop.registry, run_id)
