"""The whole team's Production: the ledger on the remote's main branch, joined with the local ledger."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from wms.errors import ModelNotFoundError, WmsError
from wms.files import write_atomic
from wms.project import project
from wms.registry.anchors import AnchorPlace, MainHistory, Witnesses
from wms.registry.chain import RegistryLedger, missing_from
from wms.registry.ledger import HISTORY, Ledger, LedgerEntry
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.standing import read_standing, require_entry
from wms.registry.sync import newer_chain
from wms_ops.git.command import Git
from wms_ops.pulls.gh import GitHub

PATH = f"WMS/models/{HISTORY}"
# A fetch must not wait for a password that nobody types.
_NO_PROMPT = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=10"}


def current_production(
    models: Path,
    git: Git,
    github: GitHub | None,
    show: Callable[[str], None],
    registry: ModelRegistry | None = None,
    *,
    bucket: AnchorPlace | None = None,
) -> LedgerEntry:
    """The newest entry of the team's ledger.

    Asked in this order: `git fetch`, `gh`, the last fetch. If none answers, the ledger in `models` counts, and a
    sentence says so. If all are empty, the `registry` is asked if given. The team's main vouches for the entries,
    and the `bucket` for those that main lacks. Raises LedgerError for a ledger that is damaged, contradicts the
    team's or has an entry that nobody vouches for, and if Production is in no ledger; ModelNotFoundError before the
    first promotion; RegistryUnreachableError, RegistryError, the bucket's errors.
    """
    here = Ledger(models).entries()
    content = _fetched(git)
    if content is None and github:
        content = _from_github(github)
    if content is None and (done := git.attempt("cat-file", "blob", _last())).returncode == 0:
        show("The remote doesn't answer; taking the ledger that was fetched last.")
        content = done.stdout
    if content is None:
        show("The remote has no ledger or doesn't answer; taking the one in this folder.")
    theirs = _parse(content) if content else ()
    entries = newer_chain(here, theirs)
    witnesses = Witnesses(None if content is None else MainHistory(theirs, "the remote's main"), bucket)
    if not entries and (entry := _from_registry(models, registry, show, witnesses)) is not None:
        return entry
    if not entries:
        raise ModelNotFoundError("No model was promoted yet: the ledger is empty. Push photos, or promote a run first.")
    _require_vouched(entries, models, registry, witnesses, show)
    return entries[-1]


def _require_vouched(
    entries: Sequence[LedgerEntry],
    models: Path,
    registry: ModelRegistry | None,
    witnesses: Witnesses,
    show: Callable[[str], None],
) -> None:
    """Raise LedgerError for entries of this folder beyond main's that neither the bucket nor the registry knows."""
    where = str(Ledger(models).history)
    witnesses.check(entries, where)
    if witnesses.merged(entries, where) == len(entries):
        return
    if registry is not None:
        missing_from(entries, RegistryLedger(registry.uri, registry.model).read(), where, registry.server)
    elif witnesses.bucket is None:
        show(
            f"Entry {entries[-1].seq} of {where} isn't on the remote's main yet, and nothing else that could vouch for "
            "it was asked; `wms sync --from s3` asks the bucket."
        )


def _last() -> str:
    return f"refs/remotes/{project().remote}/{project().main_branch}:{PATH}"


def model_tag(version: int) -> str:
    """The tag that keeps a version's original commits reachable: main has them only squashed."""
    return f"model-v{version}"


def fetch_model_tag(git: Git, version: int) -> None:
    """Fetch a version's tag; a remote without the tag, or without an answer, is no error."""
    ref = f"refs/tags/{model_tag(version)}"
    git.attempt("fetch", "--quiet", "--no-tags", project().remote, f"+{ref}:{ref}", environ=_NO_PROMPT)


def _fetched(git: Git) -> bytes | None:
    """The ledger of the remote's branch, empty if the branch has no ledger; None if the remote doesn't answer."""
    done = git.attempt("fetch", "--quiet", "--no-tags", project().remote, project().main_branch, environ=_NO_PROMPT)
    if done.returncode:
        return None
    found = git.attempt("cat-file", "blob", f"FETCH_HEAD:{PATH}")
    return found.stdout if found.returncode == 0 else b""


def _from_github(github: GitHub) -> bytes | None:
    try:
        return github.read_file(PATH, project().main_branch)
    except ModelNotFoundError:
        return b""
    except WmsError:
        return None


def _from_registry(
    models: Path, registry: ModelRegistry | None, show: Callable[[str], None], witnesses: Witnesses
) -> LedgerEntry | None:
    """The registry's newest entry; None if nothing was ever promoted."""
    ledger = Ledger(models)
    if registry is None:
        return ledger.current()
    entries = RegistryLedger(registry.uri, registry.model)
    standing = read_standing(registry, entries, ledger, witnesses=witnesses)
    require_entry(standing, registry.server)
    if standing.chain.head is not None:
        show(f"The ledger is empty here; taking the one of {registry.server}.")
    return standing.chain.head


def _parse(content: bytes) -> tuple[LedgerEntry, ...]:
    with tempfile.TemporaryDirectory(prefix="wms-ledger-") as folder:
        write_atomic(Path(folder) / HISTORY, content)
        return Ledger(Path(folder)).entries()
