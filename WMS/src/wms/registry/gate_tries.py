"""Every verdict of the gate, kept in the registry for good: a run's own verdict is replaced by the run's next gate.

A verdict is a version of the registered model `<model>.verdicts`, as an entry of the ledger is one of `<model>.ledger`:
a version and its tags appear together, and they outlive the run. A killed gate leaves either no version or a whole one,
and two gates at once leave two.

MLflow lets people edit and delete versions, and a deleted newest version leaves no gap in the numbers. So each version
carries the hash of its verdict, and each verdict names the hashes of those before that no other verdict names yet.
The newest ones are named outside the log: each run by a tag, and the ledger by the entry of each promotion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from wms.errors import CannotDecideError, RegistryError
from wms.files import sha256_text
from wms.records import StoredRecord
from wms.registry.earlier import scores_as, tried_by
from wms.registry.gate_settings import GateTry
from wms.registry.ledger import LedgerEntry
from wms.registry.mlflow_store import ModelRegistry, ModelVersion
from wms.registry.types import GateVerdict
from wms.text import counted

SUFFIX: Final = ".verdicts"
TRY, GOES_ON, DIGEST = "verdict", "goes_on", "sha256"
"""Tags of such a version: a GateTry or else a GoesOn as JSON, and the SHA-256 of that text."""

LOGGED: Final = "gate.logged"
"""Tag of a run: the log's name and the SHA-256 of the run's newest verdict there."""

_MOST_NAMED: Final = 200  # hashes in one verdict: a tag of MLflow holds 100,000 characters
_PAGE: Final = 1000


class GoesOn(StoredRecord):
    """A person's word, or that of `wms restore`, that the log goes on; its `faults` don't count any more."""

    at: str
    who: str
    reason: str
    faults: tuple[str, ...]
    before: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of it in a sentence."""
        return f"At {self.at} {self.who} let the log go on, {self.reason}, although {_shown(self.faults)}."


@dataclass(frozen=True)
class Tries:
    """The verdicts on record about a model, oldest first, in the log `where`.

    `faults` are traces of deleted and edited verdicts that nobody accepted, `heads` the hashes that no verdict of the
    log names yet, `unproven` the number of verdicts of older code, which have no hash, `naming` the runs whose tag
    names a verdict that is gone.
    """

    found: tuple[GateTry, ...] = ()
    faults: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    unproven: int = 0
    accepted: tuple[GoesOn, ...] = ()
    where: str = ""
    naming: tuple[str, ...] = ()
    by_digest: Mapping[str, GateTry] = field(default_factory=dict)
    """The verdicts by the SHA-256 of their text."""

    def digest_of(self, verdict: GateVerdict) -> str:
        """The SHA-256 by which the log knows a verdict; empty for a verdict that isn't there."""
        wanted = tried_by(verdict)
        if wanted is None:
            return ""
        # Without the names of verdicts before, and without what older code didn't record.
        bare = wanted.model_copy(update={"scores": {}, "card_sha256": ""})
        alike = (wanted, bare)
        same = [digest for digest, one in self.by_digest.items() if one.model_copy(update={"before": ()}) in alike]
        return same[-1] if same else ""

    @property
    def fault(self) -> str:
        """The sentences about a log that was cut or edited, without a beginning; empty for a sound log."""
        if not self.faults:
            return ""
        return (
            f"the log of verdicts {self.where} was cut or edited ({_shown(self.faults)}), so a refusal may be missing. "
            f"{self._named_by}"
            "A person who looked into it may go on by `wms promote RUN --force REASON`, also with the run that is "
            "Production; the log keeps the reason."
        )

    @property
    def _named_by(self) -> str:
        if not self.naming:
            return ""
        runs = f"run {self.naming[0]}" + (f" and {len(self.naming) - 1} more" if self.naming[1:] else "")
        return f"The tag {LOGGED} of {runs} names what is gone: look whether the gate ever decided about that run. "

    @property
    def warnings(self) -> tuple[str, ...]:
        """The sentences about what a sound log can't vouch for."""
        told = [f"The log of verdicts {self.where} has a gap: {one.text}" for one in self.accepted]
        if self.unproven:
            told.append(
                f"{counted(self.unproven, 'verdict')} in {self.where} came from older code, without a hash: nobody "
                "can tell whether they were edited."
            )
        return tuple(told)

    def require_logged(self, verdict: GateVerdict) -> str:
        """Return the SHA-256 by which the log knows a verdict, empty for one of older code, which logged none.

        Raises CannotDecideError for a verdict that the log doesn't have: anybody may edit a run's files and tags.
        """
        digest = self.digest_of(verdict)
        if not digest and tried_by(verdict) is not None:
            raise CannotDecideError(
                f"The verdict in run {verdict.run_id} isn't in {self.where}, where the gate keeps each one, so it was "
                f"edited, or the log was lost; run `wms gate --run {verdict.run_id}` and promote again."
            )
        return digest

    def require_sound(self, run_id: str) -> None:
        """Raise CannotDecideError if the log was cut or edited."""
        if self.faults:
            raise CannotDecideError(f"Run {run_id} isn't promoted: {self.fault}")


class TryLog:
    """The verdicts that a registry keeps about all runs; `entries` are the ledger's, whose hashes must be in the log.

    A caller reads them before the log: what they name was logged before.
    """

    def __init__(self, registry: ModelRegistry, entries: Sequence[LedgerEntry] = ()) -> None:
        self._versions = _Versions(registry.uri, model=registry.model + SUFFIX)
        self._entries = entries

    def is_empty(self) -> bool:
        """Whether the log has no version at all, as on a new server; raises what `read` raises."""
        return not self._versions.versions()

    def add(self, verdict: GateVerdict) -> None:
        """Keep a verdict that names its settings; other verdicts are left out.

        Raises RegistryUnreachableError, RegistryError.
        """
        if (tried := tried_by(verdict)) is not None:
            text = tried.model_copy(update={"before": self.read().heads}).model_dump_json()
            self._append(verdict.run_id, TRY, text)

    def go_on(self, run_id: str, who: str, reason: str) -> str:
        """Accept the log's faults, on record, if there are any; returns a sentence about them, else an empty text.

        Raises RegistryUnreachableError, RegistryError.
        """
        accepted: list[str] = []
        # Once more, since a version after a deleted newest one is what shows that number's gap.
        while (tries := self.read()).faults and len(accepted) < _MOST_NAMED:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            word = GoesOn(at=now, who=who, reason=reason, faults=tries.faults, before=tries.heads)
            self._append(run_id, GOES_ON, word.model_dump_json())
            accepted += tries.faults
        return f"The log of verdicts {tries.where} goes on, although {_shown(accepted)}." if accepted else ""

    def about(self, run_id: str, weights_sha256: str, verdict: GateVerdict | None = None) -> Tries:
        """The verdicts about a run, and about runs with the same weights; raises what `read` raises.

        With a `verdict` also those about runs that scored the same on the same test photos, as weights do that were
        changed by a hair.
        """
        tries = self.read()
        mine = tuple(
            tried
            for tried in tries.found
            if run_id == tried.run_id
            or weights_sha256 == tried.weights_sha256
            or (verdict and scores_as(tried, verdict))
        )
        return replace(tries, found=mine)

    def read(self) -> Tries:
        """All verdicts on record. Raises RegistryUnreachableError, RegistryError."""
        named = {digest: "" for entry in self._entries for digest in entry.verdict_log or ()}
        named |= self._versions.named_by_runs()  # before the versions, which another gate may add to
        tries = resolve(self._versions.versions(), tuple(named), self._versions.model)
        naming = [run for digest, run in named.items() if run and _gone(digest) in tries.faults]
        return replace(tries, naming=tuple(naming))

    def _append(self, run_id: str, tag: str, text: str) -> None:
        digest = sha256_text(text)
        self._versions.add_version(run_id, {tag: text, DIGEST: digest})
        self._versions.set_run_tags(run_id, {LOGGED: f"{self._versions.model} {digest}"})


def resolve(versions: Sequence[ModelVersion], witnessed: Sequence[str], where: str) -> Tries:
    """Read the log from its versions; `witnessed` are hashes of verdicts that runs and ledger name."""
    found, accepted, faults = list[GateTry](), list[GoesOn](), list[str]()
    present, before, unproven = dict[str, None](), dict[str, None](), 0
    by_digest: dict[str, GateTry] = {}
    for version in versions:
        name, is_try = f"version {version.version}", TRY in version.tags
        text = version.tags.get(TRY if is_try else GOES_ON, "")
        digest = sha256_text(text)
        if version.tags.get(DIGEST, digest) != digest:
            faults.append(f"{name} was edited (SHA-256 {digest[:16]})")
            continue
        present[digest] = None
        unproven += DIGEST not in version.tags
        try:
            record = (GateTry if is_try else GoesOn).parse(text, name, RegistryError, "")
        except RegistryError:
            faults.append(f"{name} can't be read (SHA-256 {digest[:16]})")
            continue
        before |= dict.fromkeys(record.before)
        if isinstance(record, GateTry):
            found.append(record)
            by_digest[digest] = record
        else:
            accepted.append(record)
    numbers = {version.version for version in versions}
    faults += [f"version {number} is gone" for number in range(1, max(numbers, default=0)) if number not in numbers]
    told = {fault for word in accepted for fault in word.faults}
    missing = {d: _gone(d) for d in dict.fromkeys([*witnessed, *before]) if d not in present and _gone(d) not in told}
    # A missing one is named again, so that no later version of the log hides it.
    heads = [digest for digest in [*missing, *present] if digest not in before]
    return Tries(
        tuple(found),
        tuple(fault for fault in [*faults, *missing.values()] if fault not in told),
        tuple(heads[-_MOST_NAMED:]),
        unproven,
        tuple(accepted),
        where,
        by_digest=by_digest,
    )


class _Versions(ModelRegistry):
    """The versions of the log, and what the server's runs tell of them."""

    def named_by_runs(self) -> dict[str, str]:
        """The hash of each run's newest verdict in this log, with the run's id, deleted runs included."""

        def work() -> dict[str, str]:
            from mlflow.entities import ViewType

            client, token = self._client, ""
            where = [one.experiment_id for one in client.search_experiments(ViewType.ALL, max_results=_PAGE)]
            told: list[tuple[str, str]] = []
            while where:
                words = f"tags.`{LOGGED}` LIKE '%'"
                page = client.search_runs(where, words, ViewType.ALL, max_results=_PAGE, page_token=token or None)
                told += [(run.data.tags[LOGGED], run.info.run_id) for run in page]
                if not (token := page.token or ""):
                    break
            split = [(*text.rpartition(" "), run_id) for text, run_id in told]
            return {digest: run_id for model, _, digest, run_id in split if model == self.model}

        return self._call("reading which verdicts the runs name", work)


def _gone(digest: str) -> str:
    return f"a verdict is gone (SHA-256 {digest[:16]})"


def _shown(faults: Sequence[str]) -> str:
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    return f"{', '.join(faults[:3])}{more}"
