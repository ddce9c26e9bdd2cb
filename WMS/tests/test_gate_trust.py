"""What each model has seen: leaks, moved splits and masks that were drawn anew."""

from __future__ import annotations

from typing import Any

from wms.data.versions import DataItem
from wms.registry import gate_trust


def item(index: int, split: str, mask: int = 0) -> DataItem:
    return DataItem(f"meter_{index}", f"{index:064x}", f"{mask:064x}", split)


TEST = (item(1, "test"), item(2, "test"))


def test_leaks_are_found_by_content_whatever_the_name() -> None:
    clean = (*TEST, item(3, "train"))
    assert gate_trust.leaks(TEST, clean, "the challenger") == []
    for split in ("train", "val"):
        renamed = DataItem("another name", f"{2:064x}", f"{9:064x}", split)
        (text,) = gate_trust.leaks(TEST, (*clean, renamed), "the challenger")
        assert text.startswith("the challenger was trained on meter_2, which is in the test set")
    assert gate_trust.leaks(TEST, (item(1, "excluded"),), "the challenger") == []


def test_a_test_split_may_grow_but_not_lose() -> None:
    assert gate_trust.moved(TEST, (item(1, "test"), item(3, "train"))) == []
    (text,) = gate_trust.moved(TEST, (item(1, "test"), item(8, "test")))
    assert "meter_8 is no longer in the challenger's test set" in text


def test_the_split_record_has_to_agree() -> None:
    items = (*TEST, item(3, "train"))
    record: dict[str, Any] = {item.image_sha256: item.split for item in items}
    assert gate_trust.contradictions(TEST, items, record) == []
    for other in ("train", None):
        changed = {**record, TEST[0].image_sha256: other}
        assert "doesn't hold meter_1 as test" in gate_trust.contradictions(TEST, items, changed)[0]
    frozen = {**record, f"{3:064x}": "test"}
    assert (
        "holds meter_3 as test, but the challenger was trained on it"
        in gate_trust.contradictions(TEST, items, frozen)[0]
    )


def test_redrawn_masks_are_noted() -> None:
    assert gate_trust.redrawn(TEST, (item(1, "test"), item(2, "test", mask=5))) == ("meter_2",)
    assert gate_trust.redrawn(TEST, (item(1, "test"),)) == ()
