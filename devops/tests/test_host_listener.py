"""A job's output comes from a bucket that others may write to: it's bounded, cut into lines, and harmless."""

from __future__ import annotations

from pathlib import Path

import pytest

from wms_ops.base.errors import CloudError
from wms_ops.targets.host.listener import MOST_OUTPUT, Listener


def test_whole_lines_are_shown_whatever_the_pieces(tmp_path: Path) -> None:
    shown: list[str] = []
    listener = Listener(tmp_path / "a folder" / "job.log", shown.append)
    for piece in (b"one\ntw", b"o\r\nthree\rfour", "\nfünf".encode()[:3]):
        listener.hear(piece)
    assert shown == ["one", "two", "three", "four"]
    listener.close()
    assert shown[-1] == "f\ufffd"
    assert (tmp_path / "a folder" / "job.log").read_bytes().startswith(b"one\ntwo\r\nthree\rfour")


def test_the_terminal_is_left_alone(tmp_path: Path) -> None:
    shown: list[str] = []
    listener = Listener(tmp_path / "job.log", shown.append)
    listener.hear("\x1b]0;owned\x07\x1b[2Jgone\tüber \u202e\n".encode())
    assert shown == ["\ufffd]0;owned\ufffd\ufffd[2Jgone\tüber \ufffd"]


def test_output_without_an_end_is_given_up(tmp_path: Path) -> None:
    shown: list[str] = []
    listener = Listener(tmp_path / "job.log", shown.append)
    piece = b"x" * 2**20
    with pytest.raises(CloudError, match="bytes of output, so it was given up"):
        for _ in range(MOST_OUTPUT // len(piece) + 1):
            listener.hear(piece)
            assert len(listener._rest) <= len(piece), "no line grows without an end"
    assert (tmp_path / "job.log").stat().st_size == MOST_OUTPUT
