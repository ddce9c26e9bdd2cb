"""Questions that are asked side by side and never for long: an answer that is late is done without."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from wms.errors import WmsError

LIMIT_S: Final = 10.0
"""How long all questions together may take."""


def ask_all(
    questions: Mapping[str, Callable[[Path], object]], repo: Path, limit_s: float = LIMIT_S
) -> dict[str, object]:
    """The answers by the questions' names: what the function returned, the WmsError it raised, or None if it's late.

    A late question goes on in a daemon thread, which doesn't keep the process from ending.
    """
    answers: dict[str, object] = dict.fromkeys(questions)

    def ask(name: str, question: Callable[[Path], object]) -> None:
        try:
            answers[name] = question(repo)
        except (WmsError, OSError) as error:
            answers[name] = error

    threads = [threading.Thread(target=ask, args=(name, question), daemon=True) for name, question in questions.items()]
    for thread in threads:
        thread.start()
    until = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return dict(answers)
