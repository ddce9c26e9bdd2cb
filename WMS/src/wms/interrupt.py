"""Ctrl-C, heard at once whatever a library did to it."""

from __future__ import annotations

import signal
import threading


def hear_ctrl_c() -> None:
    """Install Python's own handler of Ctrl-C once more; nothing happens outside the main thread.

    polars, which MLflow imports too, replaces it by one after which the system resumes a blocking call: a question,
    a wait for a process or a lock would go on, and the interrupt come only after it.
    """
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)
