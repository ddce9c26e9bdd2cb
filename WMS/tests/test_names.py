"""Names that others have chosen: what stays in its folder on every system, and what is Git's own."""

from __future__ import annotations

import pytest

from wms.data.manifest import Manifest
from wms.errors import ManifestError
from wms.names import first_collision, harmless, is_git, reason_against

GIT = [
    ".git",
    ".GIT",
    ".Git.",
    ".git ",
    ".git. .",
    "git~1",
    "GIT~12",
    ".g\u200cit",
    "\ufeff.git",
    ".git::$INDEX",
    ".git\\x",
]


@pytest.mark.parametrize("sign", ["\u202e", "\u200b", "\x1b", "\n", "\u3164", "\u2800", "\u034f", "\ufe0f", "\u115f"])
def test_signs_that_show_nothing_are_shown(sign: str) -> None:
    assert harmless(f"An{sign}a") == "An\ufffda"
    assert harmless("Jürgen Łukasz 水表 é") == "Jürgen Łukasz 水表 é"


@pytest.mark.parametrize("part", GIT)
def test_git_s_folder_under_each_of_its_names(part: str) -> None:
    assert is_git(part)
    assert reason_against(f"runs/{part}/config") is not None
    with pytest.raises(ManifestError, match=r"Git's own folder|leaves its folder"):
        Manifest({f"{part}/config": "0" * 32})


@pytest.mark.parametrize("name", [".gitignore", "git", "a.git", ".github", "git~a", "digit~1", "photo.gît"])
def test_what_only_looks_like_it(name: str) -> None:
    assert not is_git(name) and reason_against(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *((name, "stays in its folder") for name in ("", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b")),
        *((name, "can't be seen") for name in ("a\\b", "C:a", "a\0b", "a\nb", "a\u202egpj", "a\ud800", "a\u2028")),
        *((name, "on Windows") for name in ("a.", "a /b", "nul", "a/CON.json", "Com1", "lpt9.x.y")),
        *((name, "longer than") for name in ("a" * 256, "/".join(["ü" * 100] * 6), "/".join(["a"] * 40))),
    ],
)
def test_names_that_lead_elsewhere(name: str, reason: str) -> None:
    assert reason in str(reason_against(name))


@pytest.mark.parametrize("name", ["a", ".dvc/config", "dir/ü b.txt", "a b/c..d", "console", "com10", "a\u202fb.png"])
def test_plain_names(name: str) -> None:
    assert reason_against(name) is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "A"], ("A", "a")),
        (["a/\u00fc", "a/u\u0308"], ("a/u\u0308", "a/\u00fc")),
        (["a", "a/b"], ("a/b", "a")),
        (["x/a/b", "X/A"], ("X/A", "x/a/b")),
        (["a/b", "a/c", "A/d", "ab"], None),
    ],
)
def test_two_names_for_one_file(names: list[str], expected: tuple[str, str] | None) -> None:
    assert first_collision(names) == expected
