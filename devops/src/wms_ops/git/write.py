"""Trees, commits and pushes without a work tree; the repository's own index stays as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from wms_ops.base.settings import GitSettings
from wms_ops.git.command import Git

# A user's settings may split the index or leave parts of the tree out of it.
_PLAIN = ("-c", "core.splitIndex=false", "-c", "core.sparseCheckout=false")


def write_tree(
    git: Git, tree: str | None, entries: Iterable[tuple[str, str, str]], index: Path, *, missing_ok: bool = False
) -> str:
    """Write a tree with other entries than `tree` (None: than an empty tree) and return its id.

    An entry is (mode, Git object, path); mode 0 takes a path out. `index` is a temporary file. With `missing_ok` the
    objects needn't be here, as in a partial clone. Raises GitError.
    """
    own = {"GIT_INDEX_FILE": str(index)}
    rows = "".join(f"{mode} {blob}\t{path}\0" for mode, blob, path in entries).encode("utf-8", "surrogateescape")
    try:
        git.raw(*_PLAIN, "read-tree", tree or "--empty", environ=own)
        git.raw(*_PLAIN, "update-index", "--add", "--replace", "-z", "--index-info", data=rows, environ=own)
        options = ["--missing-ok"] if missing_ok else []
        return git.raw(*_PLAIN, "write-tree", *options, environ=own).decode("ascii").strip()
    finally:
        index.unlink(missing_ok=True)


def write_commit(
    git: Git,
    tree: str,
    parents: Sequence[str],
    message: bytes,
    *options: str,
    environ: Mapping[str, str] | None = None,
    encoding: str = "UTF-8",
) -> str:
    """Write a commit, its message in `encoding`, and return its id.

    `environ` names author and committer, by default as `identity` does; `options` are those of git commit-tree. Raises
    GitError.
    """
    line = ["-c", f"i18n.commitEncoding={encoding}", "commit-tree", tree]
    line += [part for parent in parents for part in ("-p", parent)]
    own = identity(git) if environ is None else environ
    return git.raw(*line, *options, "-F", "-", data=message, environ=own).decode("ascii").strip()


def identity(git: Git) -> dict[str, str]:
    """Return the variables that name an author and a committer, where the user has set no name yet, as on a runner."""
    chosen: dict[str, str] = {}
    given = GitSettings.read()
    for who, address in (("AUTHOR", given.git_author_email), ("COMMITTER", given.git_committer_email)):
        if not (address or given.email or git.config(f"{who.lower()}.email") or git.config("user.email")):
            chosen |= {f"GIT_{who}_NAME": "wms data", f"GIT_{who}_EMAIL": "wms-data@users.noreply.github.com"}
        elif not git.ok("var", f"GIT_{who}_IDENT"):  # an address without a name
            chosen |= {f"GIT_{who}_NAME": "wms data"}
    return chosen


def author_of(git: Git, commit: str) -> dict[str, str]:
    """Return Git's variables that name a commit's author, so that another commit gets the same author."""
    name, email = git("rev-list", "--max-count=1", "--no-commit-header", "--format=%an%n%ae", commit).split("\n")
    return {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email}


def push(git: Git, url: str, branch: str, commit: str, expected: str) -> None:
    """Move a branch of `url` from `expected` ("": no branch yet) to `commit` ("" deletes the branch).

    The hook doesn't see this push. Raises GitError if the branch is elsewhere, or if the origin refuses.
    """
    ref = f"refs/heads/{branch}"
    git("push", "--quiet", "--no-verify", f"--force-with-lease={ref}:{expected}", url, f"{commit}:{ref}")


def remote_tip(git: Git, url: str, branch: str) -> str | None:
    """Return the present commit of a branch of `url`, None for a missing branch. Raises GitError."""
    ref = f"refs/heads/{branch}"
    # Git compares ends of names, so that longer names may be listed, too.
    lines = [line.split("\t") for line in git("ls-remote", url, ref).splitlines()]
    return next((commit for commit, name in lines if name == ref), None)
