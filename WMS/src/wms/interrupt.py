"""Makes Ctrl-C interrupt at once, even after a library replaced Python's handler."""

from __future__ import annotations

import signal
import threading


def hear_ctrl_c() -> None:
    """Install Python's handler of Ctrl-C again; does nothing outside the main thread.

    polars, which MLflow imports too, installs a handler after which the system resumes a blocking call: a prompt, or a
    wait for a process or a lock, would continue and delay the interrupt until its end.
    """
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)
