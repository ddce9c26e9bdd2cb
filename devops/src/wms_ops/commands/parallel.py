"""Asks questions in parallel, within a time limit: late answers are ignored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

LIMIT_S: Final = 10.0
"""Seconds that all questions together may take."""


def ask_all(
    questions: Mapping[str, Callable[[Path], object]], repo: Path, limit_s: float = LIMIT_S
) -> dict[str, object]:
    """The answers by the questions' names: the function's result, its exception, or None if late.

    Threads that import the same library at a time may lock each other out, so callers import libraries before.
    A late question goes on in a daemon thread, which doesn't keep the process from ending.
    """
    answers: dict[str, object] = dict.fromkeys(questions)

    def ask(name: str, question: Callable[[Path], object]) -> None:
        try:
            answers[name] = question(repo)
        except Exception as error:  # a bug, too, is an answer: the other questions are still of use
            answers[name] = error

    threads = [threading.Thread(target=ask, args=(name, question), daemon=True) for name, question in questions.items()]
    for thread in threads:
        thread.start()
    until = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    # A copy, because late threads still write into the original.
    return dict(answers)
