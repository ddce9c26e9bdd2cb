"""Durable files: whole or not at all, one line at a time, hashed by content."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from wms.errors import TrackingError, UnwritableError
from wms.files import (
    append_line,
    canonical_json,
    cut_torn_tail,
    exclusive_lock,
    lines_holding,
    read_json_lines,
    read_verified,
    remove,
    sha256_file,
    sha256_text,
    write_atomic,
)

RECORDS = 50


def _append_many(path: Path, writer: int) -> None:
    for number in range(RECORDS):
        append_line(path, canonical_json({"writer": writer, "number": number, "padding": "x" * 500}))


def _increment_many(folder: Path) -> None:
    for _ in range(RECORDS):
        with exclusive_lock(folder / "lock"):
            counter = folder / "counter"
            write_atomic(counter, str(int(counter.read_text()) + 1))


def _run_two(target: object, *arguments: tuple[object, ...]) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=target, args=own) for own in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_write_atomic_creates_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_atomic(path, "Zähler\n")
    write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_write_atomic_leaves_nothing_behind_when_it_fails(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    (target / "inside").mkdir(parents=True)
    with pytest.raises(UnwritableError, match=r"Can't write .*folder"):
        write_atomic(target, "a file can't replace a folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_writing_below_a_file_is_unwritable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UnwritableError):
        write_atomic(tmp_path / "file" / "below", "y")
    with pytest.raises(UnwritableError):
        append_line(tmp_path / "file" / "below", "{}")
    with pytest.raises(UnwritableError), exclusive_lock(tmp_path / "file" / "lock"):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full exists on Linux only")
def test_a_full_disk_has_its_own_error(tmp_path: Path) -> None:
    from wms.errors import DiskFullError

    with pytest.raises(DiskFullError, match="No space left"):
        append_line(Path("/dev/full"), "{}")


def test_append_line_refuses_a_newline(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="newline"):
        append_line(tmp_path / "log", "two\nlines")
    assert not (tmp_path / "log").exists()


def test_two_processes_append_without_mixing(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    _run_two(_append_many, (path, 0), (path, 1))
    found = {(value["writer"], value["number"]) for _, value in read_json_lines(path)}
    assert found == {(writer, number) for writer in (0, 1) for number in range(RECORDS)}
    assert len(path.read_bytes().splitlines()) == 2 * RECORDS


def test_the_lock_serialises_read_and_write(tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("0")
    _run_two(_increment_many, (tmp_path,), (tmp_path,))
    assert (tmp_path / "counter").read_text() == str(2 * RECORDS)


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", b""),
        (b'{"a":1}\n', b'{"a":1}\n'),
        (b'{"a":1}\n{"b":', b'{"a":1}\n'),
        (b'{"a":1}\n{"b":2}', b'{"a":1}\n'),
        (b'{"a":1}\n{"b"\n', b'{"a":1}\n'),
        (b'{"a":1}\n\x00\x00\x00', b'{"a":1}\n'),
        (b'{"a"', b""),
        (b"\n", b""),
        (b'{"a":1}\n"' + b"x" * 200_000, b'{"a":1}\n'),
        (b'{"a":1}\n' + b"[" * 200_000 + b"\n", b'{"a":1}\n'),
        (b'{"a":1}\n"' + b"x" * 200_000 + b'"\n', b'{"a":1}\n"' + b"x" * 200_000 + b'"\n'),
    ],
)
def test_cut_torn_tail_keeps_all_whole_lines(tmp_path: Path, content: bytes, kept: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    expected = [json.loads(line) for line in kept.splitlines()]
    assert [value for _, value in read_json_lines(path)] == expected
    assert cut_torn_tail(path) == len(content) - len(kept)
    assert path.read_bytes() == kept
    assert cut_torn_tail(path) == 0


def test_absent_files_have_no_lines_and_no_tail(tmp_path: Path) -> None:
    assert cut_torn_tail(tmp_path / "absent") == 0
    assert list(read_json_lines(tmp_path / "absent")) == []
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("content", [b"{}\n{\n{}\n", b"{}\n{\n{", b"{}\n" + b"[" * 200_000 + b"\n{}\n"])
def test_a_damaged_middle_line_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(TrackingError, match=r"log\.jsonl, line 2 is damaged"):
        list(read_json_lines(path))


def test_hashes_are_those_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes("Zähler".encode())
    expected = hashlib.sha256("Zähler".encode()).hexdigest()
    assert sha256_file(path) == sha256_text("Zähler") == expected
    assert read_verified(path, expected) == path.read_bytes()
    path.write_bytes(b"other")
    with pytest.raises(TrackingError, match="is damaged"):
        read_verified(path, expected)
    with pytest.raises(TrackingError, match="Can't read"):
        read_verified(tmp_path / "absent", expected)


def test_canonical_json_is_one_text_for_equal_values() -> None:
    assert canonical_json({"b": (1, 2), "ä": None}) == canonical_json({"ä": None, "b": [1, 2]})
    assert canonical_json({"b": 1, "ä": "ö"}) == '{"b":1,"ä":"ö"}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_lines_holding_finds_whole_lines_once() -> None:
    content = b"ab a\nbc\nca"
    assert list(lines_holding(content, "a")) == [b"ab a", b"ca"]
    assert list(lines_holding(content, "z")) == []


def test_who_waits_for_a_lock_is_told_and_who_does_not_isnt(tmp_path: Path) -> None:
    path, told = tmp_path / "lock", threading.Event()
    with exclusive_lock(path, waiting=told.set):
        assert not told.is_set()
    with ThreadPoolExecutor(1) as pool:
        with exclusive_lock(path):

            def take() -> str:
                with exclusive_lock(path, waiting=told.set):
                    return "taken"

            taken = pool.submit(take)
            assert told.wait(30) and not taken.done()
        assert taken.result(30) == "taken"


@pytest.mark.skipif(sys.platform == "win32", reason="has no FIFO")
def test_no_file_replaces_a_pipe_or_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "folder", "link"):
        before = (tmp_path / name).lstat()
        for change in (partial(write_atomic, data="text"), remove):
            with pytest.raises(UnwritableError, match="which no file may replace"):
                change(tmp_path / name)
        assert (tmp_path / name).lstat() == before
    assert len(list(tmp_path.iterdir())) == 3
