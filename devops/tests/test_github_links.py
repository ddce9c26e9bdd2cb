"""A pull request's text on GitHub: its links lead to the attachments, and it's never too long."""

from __future__ import annotations

from wms_ops.pulls.links import BODY_LIMIT, fitting, linked


def test_links() -> None:
    body = "[a](a.png) [a](./a.png) ![b]( b/c.png ) [n](https://x/a.png) `a.png` [z](a.png.txt)"
    assert linked(body, ["a.png", "b/c.png"], "X") == (
        "[a](X/a.png) [a](X/a.png) ![b]( X/b/c.png ) [n](https://x/a.png) `a.png` [z](a.png.txt)"
    )
    assert linked("<a href='a.png'>", ["a.png"], "X") == "<a href='X/a.png'>"


def test_a_text_that_is_too_long_is_cut_after_a_line() -> None:
    text = "".join(f"| row {number} |\n" for number in range(9_000))
    cut = fitting(text)
    assert BODY_LIMIT - 100 < len(cut) <= BODY_LIMIT
    rows, _, note = cut.partition("\n\n")
    assert text.startswith(rows + "\n")
    assert "it was cut here" in note
    assert fitting("short") == "short"
