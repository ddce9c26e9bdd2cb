"""The wrapper around git: all commands run here, and a failure is a single sentence."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

from wms.errors import DiskFullError
from wms.git import command, environment, place
from wms_ops.base.errors import GitError

ZERO = "0" * 40
"""The id that git writes for a missing commit."""

OLDEST_GIT: Final = (2, 38)  # `git merge-tree --write-tree`
_FULL = "No space left on device"
# Settings whose values git collects; an empty value forgets those before it.
_LISTS = re.compile(r"^(http\.(.*\.)?extraheader|credential\.(.*\.)?helper)$")


@dataclass(frozen=True)
class Git:
    """A repository: `folder` is the work tree or the bare folder.

    `settings` are added to every command's config, and `environ` to the environment. `handed` are the settings of
    another repository, as `handed_on` gives them: the settings of `git -c` and of the environment are among them, so
    neither counts again.

    >>> Git(Path.cwd())("rev-parse", "--is-bare-repository")
    'false'
    """

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    handed: tuple[tuple[str, str], ...] | None = field(default=None, repr=False)

    @classmethod
    def bare(cls, folder: Path, settings: Mapping[str, str] | None = None) -> Self:
        """Return a repository without a work tree, named to git: `safe.bareRepository` may forbid git to find it."""
        return cls(folder, settings or {}, {"GIT_DIR": str(folder.absolute())})

    def at_address(self, url: str) -> Self:
        """Return the repository with the settings that keep git from rewriting `url`.

        Git itself tells addresses after its rewriting (`url.*.insteadOf`), which would rewrite them a second time.
        """
        return replace(self, settings={**self.settings, **_as_told(url)})

    def handed_on(self, pattern: str, after: Self) -> tuple[tuple[str, str], ...]:
        """Return the settings that the repository `after` needs to have the values of this one, in git's order.

        The names match `pattern`; with them come all settings of `git -c` and of the environment.
        """
        theirs = [(key, value) for scope, key, value in self._listed() if scope == "command" or re.match(pattern, key)]
        has = [(key, value) for scope, key, value in after._listed() if scope != "command" and re.match(pattern, key)]
        if theirs[: len(has)] == has:
            return tuple(theirs[len(has) :])
        # Other files are included there: what is a list starts anew.
        resets = dict.fromkeys(key for key, _ in [*has, *theirs] if _LISTS.search(key))
        return (*((key, "") for key in resets), *theirs)

    def _listed(self) -> Iterator[tuple[str, str, str]]:
        """Yield scope, name and value of each setting, in the order in which git reads them."""
        line = command(self.folder, "config", "--null", "--show-scope", "--list", pinned=False)
        parts = self._run(line).stdout.decode("utf-8", "surrogateescape").split("\0")
        for scope, item in zip(parts[::2], parts[1::2], strict=False):
            key, given, value = item.partition("\n")
            yield scope, key, value if given else "true"  # a name alone is a switch that is on

    def __call__(self, *arguments: str, data: bytes | None = None) -> str:
        """Run `git ARGUMENTS` and return the output without the last line end. Raises GitError, DiskFullError."""
        return self.raw(*arguments, data=data).decode("utf-8", "surrogateescape").removesuffix("\n")

    def raw(self, *arguments: str, data: bytes | None = None, environ: Mapping[str, str] | None = None) -> bytes:
        """Run `git ARGUMENTS` and return the output's bytes; `environ` extends the environment. Raises as a call."""
        done = self.attempt(*arguments, data=data, environ=environ)
        if done.returncode:
            raise self._error(arguments, done)
        return done.stdout

    def ok(self, *arguments: str) -> bool:
        """Return whether the command succeeds."""
        return self.attempt(*arguments).returncode == 0

    def names(self, *arguments: str, data: bytes | None = None) -> Iterator[str]:
        """Yield the items of a command's NUL-separated output, such as file names of any content."""
        for item in self.raw(*arguments, data=data).split(b"\0"):
            if item:
                yield item.decode("utf-8", "surrogateescape")

    def files(self, commit: str, *paths: str) -> Iterator[tuple[str, str, str]]:
        """Yield mode, Git object and path of a commit's files, of all or below `paths`. Raises GitError."""
        for line in self.names("ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths):
            about, path = line.split("\t", 1)
            mode, _, blob = about.split()
            yield mode, blob, path

    def commits(self, *names: str) -> list[str | None]:
        """Return the commit of each name, id or tag; None for an unknown name or an object that is no commit."""
        asked = "".join(f"{name}^{{commit}}\n" for name in names)
        lines = self("cat-file", "--batch-check=%(objecttype) %(objectname)", data=asked.encode()).split("\n")
        return [line.removeprefix("commit ") if line.startswith("commit ") else None for line in lines]

    def commit(self, name: str) -> str:
        """Return the id of the commit that `name` stands for. Raises GitError for an unknown name."""
        done = self.attempt("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if done.returncode:
            raise GitError(f"There is no commit {name!r} in {self.folder}; `git log --all` shows those that are here.")
        return done.stdout.decode("ascii").strip()

    def config(self, name: str) -> str | None:
        """Return a value as the user has configured it, also by `git -c`, or None."""
        done = self._run(command(self.folder, "config", "--get", name, pinned=False))
        return done.stdout.decode("utf-8", "surrogateescape").strip() if done.returncode == 0 else None

    def switched(self, name: str) -> bool | None:
        """Return whether the user has switched an option on or off, by any of git's words for it; None for neither."""
        done = self._run(command(self.folder, "config", "--type=bool", "--get", name, pinned=False))
        return {b"true": True, b"false": False}.get(done.stdout.strip())

    def blobs(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yield the contents of Git objects, one after another. Raises GitError for a missing object."""
        # One process for all objects: starting one for each photo would take longer than reading.
        with subprocess.Popen(
            command(self.folder, "cat-file", "--batch"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environ(),
        ) as process:
            if process.stdin is None or process.stdout is None:
                raise GitError("`git cat-file` can't be talked to; run this again.")
            for name in names:
                process.stdin.write(f"{name}\n".encode())
                process.stdin.flush()
                header = process.stdout.readline().split()
                if len(header) != 3:
                    raise GitError(f"Git can't read the object {name}; run `git fsck`, or fetch what is missing.")
                yield process.stdout.read(int(header[2]))
                process.stdout.read(1)  # the line end behind each object

    def attempt(
        self, *arguments: str, data: bytes | None = None, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the command and return its result, of any exit code."""
        return self._run(command(self.folder, *arguments), data, environ)

    def _run(
        self, line: list[str], data: bytes | None = None, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                line, input=data, capture_output=True, env={**self._environ(), **(environ or {})}, check=False
            )
        except FileNotFoundError as error:
            raise GitError("git isn't installed or isn't on PATH; install it and run this again.") from error

    def _environ(self) -> dict[str, str]:
        kept = environment() | dict(self.environ)
        start = int(kept.get("GIT_CONFIG_COUNT") or "0")
        if self.handed is not None:
            kept.pop("GIT_CONFIG_PARAMETERS", None)
            start = 0
        # By the environment and not by `-c`, since a setting may hold a token and a command line is public.
        pairs = (*(self.handed or ()), *self.settings.items())
        for number, (key, value) in enumerate(pairs, start):
            kept |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return kept | {"GIT_CONFIG_COUNT": str(start + len(pairs))}

    @staticmethod
    def _error(arguments: tuple[str, ...], done: subprocess.CompletedProcess[bytes]) -> Exception:
        settings = 2 * sum(word == "-c" for word in arguments)  # options come first, each with its value
        name = arguments[settings] if settings < len(arguments) else ""
        said = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        if any(_FULL in line for line in said):
            return DiskFullError(f"No space left on the disk during `git {name}`; free some and run it again.")
        words = next((line for line in said if line.startswith(("fatal:", "error:", " ! "))), said[-1] if said else "")
        reason = words.removeprefix("fatal:").removeprefix("error:").strip() or f"exit code {done.returncode}"
        return GitError(f"`git {name}` failed: {reason.rstrip('.')}.")


def here() -> Git:
    """Return the repository of the working directory. Raises GitError outside of a repository."""
    return Git(Path(Git(Path.cwd())("rev-parse", "--show-toplevel")))


def repository_of_hook() -> Git:
    """Return the repository for which git runs a hook, also a bare one or one named by `git --git-dir`.

    Raises GitError outside of a repository.
    """
    told = Git(Path.cwd(), environ=place())
    folder = Path(told("rev-parse", "--absolute-git-dir"))
    if told("rev-parse", "--is-bare-repository") == "true" or not told.ok("rev-parse", "--show-toplevel"):
        return replace(told, folder=folder, environ={**told.environ, "GIT_DIR": str(folder)})
    top = told("rev-parse", "--show-toplevel")
    named = {"GIT_DIR": str(folder), "GIT_WORK_TREE": top} if told.environ else {}
    return replace(told, folder=Path(top), environ={**told.environ, **named})


def _as_told(url: str) -> dict[str, str]:
    return {f"url.{url}.{key}": url for key in ("insteadOf", "pushInsteadOf")} if url and "\n" not in url else {}


def require_git(said: str | None = None) -> str:
    """Return git's version, `said` or what `git --version` prints. Raises GitError if git is too old or missing."""
    text = (said if said is not None else Git(Path.cwd())("--version")).strip()
    found = re.search(r"(\d+)\.(\d+)", text)
    numbers = (int(found[1]), int(found[2])) if found else (0, 0)
    if numbers < OLDEST_GIT:
        wanted = ".".join(map(str, OLDEST_GIT))
        raise GitError(f"{text or 'git'} is too old: git {wanted} or newer is needed; install that one.")
    return text
