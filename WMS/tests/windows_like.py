"""Runs `wms` as far like Windows as Linux allows: `python windows_like.py ARGUMENTS`, or `--hook ARGUMENTS`.

Only the project's own modules are deceived: what they import by the names `os`, `sys`, `signal` and `time` lacks
everything that Python's documentation calls Unix only, `sys.platform` is "win32", `os.name` is "nt", POSIX' modules
can't be imported, and `msvcrt` locks. The standard library and the libraries of others stay those of Linux: they have
builds of their own for Windows. For all code, a file that is open can't be replaced or deleted, and the
lines of a text end in CR LF unless the code names another end.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import importlib
import importlib.abc
import importlib.machinery
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

OURS = ("wms", "wms_ops", "predicts")
GONE_MODULES = {
    *("fcntl", "pwd", "grp", "resource", "termios", "pty", "tty", "posix", "syslog", "crypt", "spwd", "nis"),
    *("readline", "curses"),
}
GONE = {
    "os": "fork forkpty getuid geteuid getgid getegid getgroups getpgid getpgrp getsid setsid setuid setgid setpgid "
    "killpg nice uname sysconf confstr fchmod fchown chown lchown chroot mkfifo mknod openpty ttyname tcgetpgrp "
    "statvfs fstatvfs sync pread pwrite preadv pwritev posix_fallocate posix_fadvise posix_spawn sendfile wait wait3 "
    "wait4 waitid WNOHANG WIFEXITED WEXITSTATUS WIFSIGNALED WTERMSIG sched_getaffinity sched_setaffinity sched_yield "
    "getloadavg O_NONBLOCK O_DIRECTORY O_NOFOLLOW O_CLOEXEC O_SYNC O_DSYNC O_NOCTTY O_TMPFILE O_PATH memfd_create "
    "pipe2 eventfd major minor makedev lchmod fdatasync initgroups ctermid getxattr setxattr listxattr geteuid "
    "get_blocking set_blocking fwalk environb fchdir getresuid pidfd_open register_at_fork copy_file_range",
    "signal": "SIGKILL SIGHUP SIGALRM SIGUSR1 SIGUSR2 SIGQUIT SIGCHLD SIGCLD SIGPIPE SIGSTOP SIGTSTP SIGCONT SIGWINCH "
    "SIGTTIN SIGTTOU SIGBUS SIGTRAP SIGSYS SIGURG SIGIO SIGVTALRM SIGPROF setitimer getitimer alarm pause "
    "pthread_sigmask pthread_kill sigwait sigpending sigtimedwait siginterrupt ITIMER_REAL SIG_BLOCK SIG_SETMASK",
    "sys": "abiflags getdlopenflags setdlopenflags",
    "time": "tzset clock_settime pthread_getcpuclockid CLOCK_BOOTTIME CLOCK_MONOTONIC_RAW",
}
VALUES = {
    "sys": {"platform": "win32"},
    "os": {"name": "nt", "O_BINARY": 0, "O_NOINHERIT": 0, "supports_dir_fd": frozenset()},
    "signal": {"CTRL_C_EVENT": 0, "CTRL_BREAK_EVENT": 1, "SIGBREAK": 21},
    "time": {},
}  # fmt: skip


class Deceiver(ModuleType):
    """A module as it is on Windows; what isn't hidden or replaced is that of the real module, also what is set."""

    def __init__(self, real: ModuleType) -> None:
        super().__init__(real.__name__, real.__doc__)
        gone = frozenset(GONE[real.__name__].split())
        self.__dict__.update({"_real": real, "_gone": gone, **VALUES[real.__name__]})

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__["_gone"]:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} (on Windows)")
        return getattr(self.__dict__["_real"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_real"], name, value)


def _msvcrt() -> ModuleType:
    """The one function of msvcrt that the project calls, with Windows' errors."""
    module = ModuleType("msvcrt")

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert count > 0, "Windows locks bytes"
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if mode == LK_LOCK:  # gives up after ten seconds there; at once here
                raise OSError(errno.EDEADLOCK, "Resource deadlock avoided") from None
            raise PermissionError(errno.EACCES, "Permission denied") from None

    LK_LOCK = 1
    for name, value in {"locking": locking, "LK_LOCK": LK_LOCK, "LK_NBLCK": 2, "LK_UNLCK": 0}.items():
        setattr(module, name, value)
    return module


def _deceive() -> None:
    fakes: dict[str, ModuleType] = {real.__name__: Deceiver(real) for real in (os, sys, signal, time)}
    fakes["msvcrt"] = _msvcrt()
    real_import = builtins.__import__

    def windows_import(
        name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] = (), level: int = 0
    ) -> Any:
        top = name.partition(".")[0]
        if level == 0 and top in GONE_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r} (on Windows)", name=name)
        found = fakes.get(top) if level == 0 else None
        if found is None:
            return real_import(name, globals, locals, fromlist or (), level)
        return importlib.import_module(name) if "." in name and fromlist else found

    ours = {**vars(builtins), "__import__": windows_import}

    class Finder(importlib.abc.MetaPathFinder):
        """Gives the project's modules another `import`."""

        def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
            spec = importlib.machinery.PathFinder.find_spec(name, path, target)
            if name.partition(".")[0] not in OURS or spec is None or spec.loader is None:
                return None
            real = spec.loader.exec_module

            def run(module: ModuleType) -> None:
                module.__dict__["__builtins__"] = ours
                real(module)

            spec.loader.exec_module = run  # type: ignore[method-assign]
            return spec

    sys.meta_path.insert(0, Finder())


def _is_open(path: object) -> bool:
    """Whether this process has a file open, which Windows neither replaces nor deletes."""
    try:
        wanted = os.stat(os.fspath(path))  # type: ignore[call-overload]  # noqa: PTH116
    except (OSError, TypeError):
        return False
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found = os.fstat(int(descriptor.name))
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False


def _keep_open_files() -> None:
    """Let os.replace, os.rename, os.unlink and os.remove refuse an open file, as Windows does."""

    def guarded(real: Callable[..., Any], count: int) -> Callable[..., Any]:
        def call(*paths: Any, **more: Any) -> Any:
            for path in paths[:count]:
                if not more.get("dir_fd") and not Path(os.fsdecode(path)).is_dir() and _is_open(path):
                    raise PermissionError(errno.EACCES, "The process cannot access the file (on Windows)", path)
            return real(*paths, **more)

        return call

    for name, count in (("replace", 2), ("rename", 2), ("unlink", 1), ("remove", 1)):
        setattr(os, name, guarded(getattr(os, name), count))


def _end_lines() -> None:
    """Write each line of a text with Windows' end, unless the code names another; reading takes any end in any case."""
    real = io.open

    def windows_open(  # noqa: PLR0917
        file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None, newline: Any = None,
        *more: Any, **named: Any,
    ) -> Any:  # fmt: skip
        if "b" not in mode and newline is None and set(mode) & set("wax"):
            newline = "\r\n"
        return real(file, mode, buffering, encoding, errors, newline, *more, **named)

    io.open = builtins.open = windows_open


def begin() -> None:
    """Let this process see Windows from now on."""
    _end_lines()
    _deceive()
    _keep_open_files()


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    begin()
    if arguments[:1] == ["--hook"]:
        from wms.errors import run_main
        from wms_ops.hook.main import main as hook

        return run_main(hook, arguments[1:])
    from wms_ops.commands.main import main as wms

    return wms(arguments)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "devops" / "src"))
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
    sys.exit(main(sys.argv[1:]))
