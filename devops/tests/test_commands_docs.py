"""Every `wms ...` command that the documents, the workflows and the scripts name is one that the parser accepts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from wms_ops.commands.main import find, parse
from wms_ops.commands.tree import TREE, Leaf

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / ".github").rglob("*.y*ml")),
    *sorted((ROOT / "devops" / "scripts").glob("*.sh")),
    ROOT / "infrastructure" / "terraform" / "README.md",
]
NAMES = "|".join(map(re.escape, TREE.members))
COMMAND = re.compile(rf"(?:\.venv/bin/)?\bwms (?:{NAMES}|--\w+)\b[^`\n#]*")
NUMBERS = {"N": "3", "VERSION": "3", "STEP": "gate"}
"""Placeholders for which a word won't do."""


def commands() -> list[tuple[str, str]]:
    """Each command once, with the file that names it: in code spans, in indented blocks, in `run:` lines."""
    found: dict[str, str] = {}
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)  # diagrams
            blocks = re.findall(r"^    (.+)$", text, re.MULTILINE)
            spans = [span.replace("\n", " ") for span in re.findall(r"`([^`]*)`", text)]
            pieces = blocks + spans
        else:
            pieces = re.findall(r"^\s*(?:- )?run: (.+)$", text, re.MULTILINE) + re.findall(r"`([^`\n]+)`", text)
        for piece in pieces:
            for match in COMMAND.finditer(piece):
                found.setdefault(match[0].strip(), path.name)
    return sorted(found.items())


def words_of(command: str) -> list[str]:
    """The command's words, with something in the place of each placeholder."""
    plain = command.partition("wms ")[2].partition(" && ")[0]
    plain = re.sub(r'\)"?$|\)" .*$', "", plain)  # eval "$(wms ...)"
    plain = re.sub(
        r"[\[\]]|\.\.\.|(?<= )\$[A-Z_]+\b|\$\{[^}]*\}", "", plain
    )  # what may be left out, what may be repeated
    words = shlex.split(re.sub(r'"\$HOURS"', "2", plain))
    return [NUMBERS.get(word, word) for word in words]


@pytest.mark.parametrize(("command", "where"), commands())
def test_a_command_that_is_told_exists(command: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("exists", "is_dir"):  # the documents name folders of their readers
        monkeypatch.setattr(Path, name, lambda _: True)
    node, path, rest = find(words_of(command))
    if isinstance(node, Leaf) and rest not in ([], ["--help"]):  # the rest of the sentences only name a command
        parse(node, path, rest)


def test_the_commands_are_found() -> None:
    told = {command.split()[1] for command, _ in commands()}
    assert {"data", "train", "predict", "gate", "promote", "sync", "loop", "cloud", "cost", "serve"} <= told
    assert len(commands()) > 60


def test_no_document_names_an_old_module() -> None:
    old = re.compile(r"python3? -m wms(?!_ops(?:\.targets\.host|\.hook\.main)?\b(?!\.))")
    for path in SOURCES:
        assert not old.search(path.read_text(encoding="utf-8")), path.name
