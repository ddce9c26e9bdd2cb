"""The ledger in Git: chained, torn, changed by hand; and the chain that everybody reads from the registry alike."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms.errors import LedgerError
from wms.files import canonical_json, sha256_text
from wms.registry.chain import ENTRY, Chain, missing_from, resolve
from wms.registry.ledger import CURRENT, FIRST, HISTORY, Ledger, LedgerEntry, LedgerRecord, link
from wms.registry.mlflow_store import ModelVersion
from wms.registry.types import Means
from wms_ops.commands.ledger import COMMAND as ledger_command


def record(to: int = 1, before: int | None = None, **more: object) -> LedgerRecord:
    plain: dict[str, object] = {
        "at": "2026-11-20T12:00:00+00:00",
        "who": "Zoë",
        "action": "promote",
        "from_version": before,
        "to_version": to,
        "run_id": "a" * 32,
        "weights_sha256": "b" * 64,
        "onnx_sha256": "c" * 64,
        "metrics": Means(dice=0.9, iou=0.82),
        "baseline": Means(dice=0.8, iou=0.7),
        "verdict": "improved",
        "git_commit": "d" * 40,
        "config_hash": "e" * 64,
        "data_version": "f" * 64,
        "training_data_count": 300,
    }
    return LedgerRecord.model_validate({**plain, **more})


def test_entries_are_chained_and_the_newest_has_its_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "models")
    assert ledger.entries() == ()
    assert ledger.current() is None
    assert not ledger.folder.exists()
    one = ledger.append(record(1))
    two = ledger.append(record(2, 1))
    assert ledger.append(two) == two  # repeated
    assert ledger.entries() == (one, two)
    assert (one.seq, one.previous_hash, two.seq, two.previous_hash) == (1, FIRST, 2, one.hash)
    # The hash is what docs/promotion.md says, computed here without the code under test.
    values = json.loads((ledger.folder / HISTORY).read_text(encoding="utf-8").splitlines()[1])
    claimed = values.pop("hash")
    assert claimed == sha256_text(canonical_json(values)) == two.hash
    assert json.loads((ledger.folder / CURRENT).read_text(encoding="utf-8"))["to_version"] == 2


def change(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


DAMAGES: dict[str, tuple[Callable[[str], str], str]] = {
    "a changed score": (change('"dice":0.9', '"dice":0.95'), "line 1 was changed"),
    "a changed name": (change("Zoë", "Zoe"), "line 1 was changed"),
    "a line too few": (lambda text: "\n".join(text.splitlines()[1:]) + "\n", "line 1 doesn't follow the ledger's beg"),
    "a line in the middle too few": (
        lambda text: "\n".join([text.splitlines()[0], text.splitlines()[2]]) + "\n",
        "line 2 doesn't follow entry 1",
    ),
    "a line twice": (lambda text: text.splitlines()[0] + "\n" + text, "line 2 doesn't follow entry 1"),
    "two lines exchanged": (lambda text: "\n".join(reversed(text.splitlines())) + "\n", "line 1 doesn't follow"),
    "a merge conflict": (lambda text: "<<<<<<< HEAD\n" + text, "line 1 is damaged"),
    "not an entry": (lambda text: "{}\n" + text, "line 1 is damaged: at: Field required"),
    "a key more": (change('{"action"', '{"z":1,"action"'), "line 1 was changed"),
    "a key twice": (change('{"action"', '{"action":"rollback","action"'), "line 1 was changed"),
    "a space more": (change(":", ": "), "line 1 was changed"),
    "no number": (change('{"action"', '{"a":NaN,"action"'), "line 1 was changed"),
    "a later format": (
        change('{"action"', '{"format":2,"action"'),
        "line 1 was written by a newer version (format 2, this one reads up to 1); update this clone.",
    ),
    "not UTF-8": (lambda text: text.replace("Zoë", "Zo\udceb"), "can't be read"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_named(tmp_path: Path, case: str) -> None:
    ledger = Ledger(tmp_path)
    for number in (1, 2, 3):
        ledger.append(record(number))
    spoil, words = DAMAGES[case]
    spoiled = spoil(ledger.history.read_text(encoding="utf-8"))
    ledger.history.write_text(spoiled, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(LedgerError) as caught:
        ledger.entries()
    assert words in str(caught.value)
    with pytest.raises(LedgerError):
        ledger.append(record(4))
    assert ledger.history.read_bytes() == spoiled.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("bytes_kept", [1, 200, -1])
def test_a_torn_last_line_is_as_if_it_was_never_begun(tmp_path: Path, bytes_kept: int) -> None:
    ledger = Ledger(tmp_path)
    one = ledger.append(record(1))
    two = ledger.append(record(2, 1))
    line = (two.line + "\n").encode()
    ledger.history.write_bytes((one.line + "\n").encode() + line[:bytes_kept])
    ledger.write_current(one)  # which a promotion writes after the line
    assert ledger.entries() == (one,)
    assert ledger.append(two) == two
    assert ledger.entries() == (one, two)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("last", ["bad\n", "", "[" * 200_000 + "\n", '{"run_id'])
def test_a_history_that_lost_what_its_newest_file_tells_of_is_refused(tmp_path: Path, count: int, last: str) -> None:
    ledger = Ledger(tmp_path)
    for number in range(count):
        ledger.append(record(number + 1))
    whole = ledger.history.read_text(encoding="utf-8").splitlines(keepends=True)
    spoiled = "".join(whole[:-1]) + last
    ledger.history.write_text(spoiled, encoding="utf-8")
    readers: list[Callable[[], object]] = [ledger.entries, ledger.current, lambda: ledger.append(record(9))]
    for read in (*readers, lambda: ledger_command([str(tmp_path)])):
        with pytest.raises(LedgerError, match="beside it tells of"):
            read()
    assert ledger.history.read_text(encoding="utf-8") == spoiled
    ledger.newest.write_text("bad", encoding="utf-8")
    with pytest.raises(LedgerError) if count == 1 else contextlib.nullcontext():
        assert len(ledger.entries()) == count - 1


def test_a_promotion_between_the_reads_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(record(1))
    told = Ledger._told

    def promote_meanwhile(own: Ledger) -> int:
        found = told(own)
        monkeypatch.setattr(Ledger, "_told", told)
        Ledger(tmp_path).append(record(2, 1))
        return found

    monkeypatch.setattr(Ledger, "_told", promote_meanwhile)
    assert len(ledger.entries()) == 2


def test_an_entry_that_does_not_follow_is_refused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(record(1))
    stranger = link(record(5), link(record(4), None))
    with pytest.raises(LedgerError, match="doesn't follow entry 1"):
        ledger.append(stranger)
    assert len(ledger.entries()) == 1


def test_processes_that_append_wait_for_each_other(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    children = []
    for number in range(6):
        if (pid := os.fork()) == 0:
            try:
                for again in range(5):
                    ledger.append(record(10 * number + again + 1))
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 6
    assert len(ledger.entries()) == 30


def test_the_command_checks_and_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(record(1))
    ledger.append(record(2, 1, action="rollback", verdict="rollback"))
    assert ledger_command([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "2. 2026-11-20T12:00:00+00:00 Zoë: rollback from version 1 to version 2, Dice 0.9000" in out
    assert "The chain of 2 entries is sound." in out


def written(*entries: LedgerEntry, first: int = 1) -> list[ModelVersion]:
    """Entries as the registry holds them, numbered in the order given."""
    return [
        ModelVersion(number, entry.run_id, (), {ENTRY: entry.line}, "", "READY")
        for number, entry in enumerate(entries, start=first)
    ]


def test_of_two_that_follow_the_same_entry_the_lower_number_counts() -> None:
    one = link(record(1), None)
    ann, bob = link(record(2, 1, who="Ann"), one), link(record(3, 1, who="Bob"), one)
    assert resolve(written(one, ann, bob), "x").entries == (one, ann)
    assert resolve(written(one, bob, ann), "x").entries == (one, bob)
    after = link(record(4, 2), ann)
    lost_answer = resolve(written(one, ann, ann, bob, after, ann), "x")  # written again, because no answer came
    assert lost_answer.entries == (one, ann, after)
    assert lost_answer.numbers == (1, 2, 5)


def test_what_somebody_makes_by_hand_does_not_count() -> None:
    one = link(record(1), None)
    by_hand = ModelVersion(1, "", (), {"note": "x"}, "", "READY")
    assert resolve([by_hand, *written(one, first=2)], "x").entries == (one,)


def test_an_entry_whose_predecessor_is_gone_is_noticed() -> None:
    one = link(record(1), None)
    two = link(record(2, 1), one)
    three = link(record(3, 2), two)
    with pytest.raises(LedgerError, match="somebody deleted"):
        resolve([*written(one), *written(three, first=3)], "the ledger")
    spoiled = written(one)[0]
    spoiled.tags[ENTRY] = spoiled.tags[ENTRY].replace("0.9", "0.8", 1)
    with pytest.raises(LedgerError, match="Version 1 of the ledger was changed"):
        resolve([spoiled], "the ledger")


@given(st.lists(st.integers(0, 3), max_size=12))
def test_all_who_read_come_to_the_same_chain(choices: list[int]) -> None:
    """Writers add an entry behind any head that was ever read: what counts only grows, whoever reads when."""
    rows: list[ModelVersion] = []
    seen: list[LedgerEntry | None] = [None]
    longest: tuple[LedgerEntry, ...] = ()
    for number, back in enumerate(choices, start=1):
        head = seen[max(0, len(seen) - 1 - back)]  # a slow writer has read an older head
        entry = link(record(number, head.to_version if head else None), head)
        rows += written(entry, first=number)
        chain = resolve(rows, "x")
        assert chain.entries[: len(longest)] == longest
        assert (entry in chain.entries) == (head == (longest[-1] if longest else None))
        longest = chain.entries
        seen.append(chain.head)


def test_a_local_ledger_catches_up_or_contradicts() -> None:
    one = link(record(1), None)
    two, other = link(record(2, 1), one), link(record(3, 1), one)
    chain = Chain((one, two), (1, 2))
    assert missing_from((), chain, "here", "there") == (one, two)
    assert missing_from((one,), chain, "here", "there") == (two,)
    assert missing_from((one, two), chain, "here", "there") == ()
    with pytest.raises(LedgerError, match="Entry 2 of here isn't the one"):
        missing_from((one, other), chain, "here", "there")
    with pytest.raises(LedgerError, match=r"here has 2 entries, .* there knows 1 only"):
        missing_from((one, two), Chain((one,), (1,)), "here", "there")
