"""A commit's message as Git stores the message, and the `Key: value` lines in its last paragraph.

This module reads and writes trailers itself, not by `git interpret-trailers` or `%(trailers)`: their results depend on
each user's settings, and a setting may even run a program.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from wms_ops.git.command import Git

NUMBER, BRANCH = "Pull-Request", "Data-Branch"
"""The trailers by which main's commit names its pull request."""

_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)\s*:\s*(.*)")
_BY_GIT = ("(cherry picked from commit ", "[")  # other lines that git lets stand among them
_ENCODING = re.compile(rb"^encoding (\S+)$", re.MULTILINE)


def messages(git: Git, commits: Iterable[str]) -> Iterator[str]:
    """Yield the messages of commits, as they are stored. Raises GitError for a missing commit."""
    for raw in git.blobs(commits):
        header, _, message = raw.partition(b"\n\n")
        named = _ENCODING.search(header)
        try:
            yield message.decode(named[1].decode("ascii") if named else "utf-8", "replace")
        except (LookupError, UnicodeDecodeError):
            yield message.decode("utf-8", "replace")


def trailers_of(git: Git, commit: str) -> dict[str, list[str]]:
    """Return the trailers of a commit. Raises GitError."""
    (message,) = messages(git, [commit])
    return trailers(message)


def trailers(message: str) -> dict[str, list[str]]:
    """Return a message's trailers by their key in lower case; none where the last paragraph holds other text, too.

    >>> trailers("Add data\\n\\nData-Commit: 1a2b\\nData-Removed: 3\\n")
    {'data-commit': ['1a2b'], 'data-removed': ['3']}
    """
    found: dict[str, list[str]] = {}
    last: list[str] = []
    for line in _last_paragraph(message)[1]:
        # An indented line continues the trailer above.
        if line[:1].isspace() and last:
            last[-1] = f"{last[-1]} {line.strip()}".strip()
        elif match := _LINE.fullmatch(line.rstrip()):
            last = found.setdefault(match[1].lower(), [])
            last.append(match[2])
        elif not line.startswith(_BY_GIT):
            return {}
    return found


def with_trailers(message: str, added: Mapping[str, str]) -> str:
    """Return the message with these trailers at its end, instead of its own trailers of the same keys."""
    text, paragraph = _last_paragraph(message)
    if not trailers(message):
        text, paragraph = message.rstrip(), []
    taken = {key.lower() for key in added}
    kept = list[str]()
    dropping = False
    for line in paragraph:
        if not line[:1].isspace():
            match = _LINE.fullmatch(line.rstrip())
            dropping = bool(match and match[1].lower() in taken)
        if not dropping:
            kept.append(line)
    block = "\n".join([*kept, *(f"{key}: {value}" for key, value in added.items())])
    return f"{text}\n\n{block}\n" if text else f"{block}\n"


def _last_paragraph(message: str) -> tuple[str, list[str]]:
    """Return the text before the last paragraph, and its lines; the first paragraph is a title, never trailers."""
    text, separator, last = message.rstrip().rpartition("\n\n")
    return (text.rstrip(), last.splitlines()) if separator else (last, [])
