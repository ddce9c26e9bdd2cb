"""The environment .venv: made by Python's own venv, filled by uv, and never left so that a second run can't finish."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wms.errors import InstallError, UsageError
from wms.files import parse_json, remove, write_atomic
from wms.install.trouble import sentence
from wms.json_text import to_json
from wms.libraries import MEGABYTES, TOOLS, lock_of

OLDEST: Final = (3, 11)
_TESTS: Final = r"[/\\]tests[/\\]"
"""Files that no program imports: their bytecode would be a twentieth of core."""
_PROGRESS: Final = frozenset(("Building", "Built", "Downloading", "Installed", "Prepared", "Resolved", "Uninstalled"))
"""The first words of uv's lines that are for users; the rest tells about a failure, or names hundreds of packages."""
_LEADS: Final = ("PYTHONPATH", "PYTHONHOME")
_SECRET: Final = re.compile(r"(?i)^(?!pip_|uv_)(?:.*_)?(access_key|credentials?|passw(or)?d|pat|secret|token)(?:_.*)?$")
"""Such as AWS_SECRET_ACCESS_KEY, GH_TOKEN, ACTIONS_ID_TOKEN_REQUEST_URL; not the login of a package index."""


@dataclass(frozen=True)
class Environment:
    """The folder `.venv` of the repository at `root`; `offline` is a wheelhouse, None where there is a network."""

    root: Path
    offline: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder of the environment."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The environment's Python."""
        return self._program("python")

    def _program(self, name: str) -> Path:
        return self.activate.with_name(f"{name}.exe" if os.name == "nt" else name)

    @property
    def activate(self) -> Path:
        """The script that a shell reads; venv writes it last, so an environment without it was never finished."""
        return self.folder / ("Scripts" if os.name == "nt" else "bin") / "activate"

    def _is_finished(self) -> bool:
        return self.activate.is_file() and self.activate.stat().st_size > 0  # a full disk leaves an empty one

    @property
    def _record(self) -> Path:
        return self.folder / ".installed"

    @property
    def _begun(self) -> Path:
        """A file that is there while packages are changed; after a kill a package may lack files."""
        return self.folder / ".installing"

    def record(self) -> dict[str, Any]:
        """What is installed: `groups`, and the `digest` of their locks. Empty if nothing is, or not to the end.

        Former versions of this project left an empty file, and had installed everything.
        """
        try:
            text = self._record.read_text(encoding="utf-8")
            value = parse_json(text) if text.strip() else {"groups": sorted(MEGABYTES)}
        except (OSError, ValueError):
            return {}
        known = isinstance(value, dict) and isinstance(value.get("groups"), list)
        return value if known and set(map(str, value["groups"])) <= set(MEGABYTES) else {}

    def has_lost_record(self) -> bool:
        """Whether a record is there that can't be read, so that nothing tells which groups are installed."""
        return self._record.exists() and not self.record()

    def is_unfinished(self) -> bool:
        """Whether the last installation was cut off, so that .venv holds packages which its record doesn't name."""
        return self._begun.exists() or not self.record()

    def is_ready(self, digest: str) -> bool:
        """Whether the last installation ended well and made what `digest` stands for, and venv had ended, too."""
        whole = self._is_finished() and self.python.exists()
        return whole and self.record().get("digest") == digest and not self._begun.exists()

    def make(self) -> None:
        """Make the environment, or look at the one that is there. Raises UsageError with the remedy."""
        if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
            raise UsageError(
                f"{sys.executable} has no venv, which the installation needs; install it (on Debian and Ubuntu: "
                f"apt install python3-venv), then run this again."
            )
        starts, is_link = self._starts(), self.folder.is_symlink()
        if starts and self._is_finished() and self._answer("import pip") is not None:
            return
        if is_link and not starts:
            raise UsageError(f"{self.folder} links to an environment that doesn't start; remove it, then go on.")
        # --clear only where a venv was: its Python is gone, or a former run was killed while making it.
        venv = (self.folder / "pyvenv.cfg").exists()
        holds = is_link or not venv or self._is_finished() or self._begun.exists() or self.record()
        if starts and holds:  # packages lie in it, or uv made it without pip: its own Python adds what is missing
            base = self._answer("import sys; print(sys._base_executable)")
            self.run([base or sys.executable, "-m", "venv", str(self.folder)])
        else:
            self.run([sys.executable, "-m", "venv", *(["--clear"] if venv else []), str(self.folder)])

    def _starts(self) -> bool:
        """Whether the environment's Python starts. Raises UsageError for a Python that is too old."""
        answer = self._answer("import sys; print('%d.%d' % sys.version_info[:2])")
        if answer is not None and tuple(map(int, answer.split("."))) < OLDEST:
            raise UsageError(
                f"{self.folder} is of Python {answer}, which is too old; delete that folder, then run this again with "
                f"Python 3.11 or newer."
            )
        return answer is not None

    def _answer(self, code: str) -> str | None:
        """What the environment's Python prints for the code; None if it can't."""
        try:
            done = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=False)
        except OSError:
            return None
        return None if done.returncode else done.stdout.strip()

    def add_tools(self) -> None:
        """Bring uv and setuptools by pip, which checks their hashes. Raises InstallError or DiskFullError."""
        # pip, too, takes a package of a killed installation for whole.
        again = ["--force-reinstall"] if self._begun.exists() or not self._program("uv").is_file() else []
        write_atomic(self._begun, "")
        lock = ("--require-hashes", "--requirement", str(self.root / TOOLS))
        self.run(self.pip("install", *self._place(), *again, *lock))

    def pip(self, verb: str, *words: str) -> list[str]:
        """The command line of the environment's pip."""
        quiet = ("--quiet", "--disable-pip-version-check", "--retries", "2", "--no-input")
        return [str(self.python), "-m", "pip", verb, *quiet, *words]

    def fill(self, groups: Iterable[str], digest: str) -> None:
        """Bring .venv to exactly the packages of the groups, and the project itself; then write the record."""
        groups = sorted(groups)
        again = [word for name in self._torn() for word in ("--reinstall-package", name)]
        self.add_tools()
        uv = [str(self._program("uv")), "pip"]
        which = ["--python", str(self.python), "--no-build-isolation"]
        locks = [str(self.root / path) for path in (TOOLS, *map(lock_of, groups))]
        self.run([*uv, "sync", *which, *again, *self._place(), "--require-hashes", *locks])
        self.run([*uv, "install", *which, *self._place(), "--quiet", "--no-deps", "--editable", str(self.root)])
        self._compile()
        write_atomic(self._record, to_json({"groups": groups, "digest": digest}))
        remove(self._begun)

    def _torn(self) -> list[str]:
        """The packages that lack files, if the last installation was cut off; uv would take them for whole."""
        if not self._begun.exists():
            return []
        torn = []
        for folder in self._packages().glob("*.dist-info"):
            record = folder / "RECORD"
            lines = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
            files = [(folder.parent / row[0], row[2]) for row in csv.reader(lines) if len(row) == 3]
            if not files or any(not _has(path, size) for path, size in files if path.suffix != ".pyc"):
                torn.append(folder.name.partition("-")[0])
        return torn

    def _packages(self) -> Path:
        return Path(self._answer("import sysconfig; print(sysconfig.get_path('purelib'))") or self.folder)

    def _place(self) -> list[str]:
        return ["--no-index", "--find-links", str(self.offline)] if self.offline else []

    def _compile(self) -> None:
        """Keep bytecode: each start of Python with PyTorch else compiles for ten seconds where the shell forbids it."""
        print("Compiling bytecode ...", flush=True)
        # Some packages hold templates that are no Python; a file that can't be compiled is no failure.
        words = ["-m", "compileall", "-q", "-q", "-j", "0", "-x", _TESTS, str(self._packages())]
        subprocess.run([str(self.python), *words], check=False, stdin=subprocess.DEVNULL)

    def run(self, command: list[str]) -> None:
        """Run pip, uv or venv and hand their lines on. Raises the sentence for their failure."""
        said: deque[str] = deque(maxlen=200)
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=clean_environ(),
            )
        except OSError as error:
            raise InstallError(f"{command[0]} can't be started ({error.strerror}); run this again.") from error
        with process:
            assert process.stdout is not None  # noqa: S101 # nosec B101 - a pipe
            for line in process.stdout:
                said.append(line)
                if not _PROGRESS.isdisjoint(line.split()[:1]):
                    print(line.rstrip(), flush=True)
        if process.returncode:
            raise sentence(said, str(self.offline or ""))


def clean_environ() -> dict[str, str]:
    """The environment for pip and uv: without what leads Python elsewhere, and without keys, tokens and passwords.

    A package that has no wheel is built by its own code, which has no business with them.
    """
    return {name: text for name, text in os.environ.items() if name not in _LEADS and not _SECRET.search(name)}


def _has(path: Path, size: str) -> bool:
    try:
        return path.stat().st_size == int(size or path.stat().st_size)
    except OSError:
        return False
