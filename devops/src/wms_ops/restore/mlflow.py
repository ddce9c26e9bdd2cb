"""Rebuilds an MLflow server that was lost: runs, versions with their numbers, the registry's ledger, aliases, tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wms.errors import LedgerError, ModelNotFoundError
from wms.registry import plan
from wms.registry.chain import SUFFIX, Chain, RegistryLedger, missing_from
from wms.registry.gate_tries import TryLog
from wms.registry.ledger import LedgerEntry
from wms.registry.mlflow_rebuild import MARK, RebuiltRegistry, missing_database
from wms.registry.promotion import PromotionClient, repair
from wms.registry.standing import LostEnd, lost_end
from wms.registry.types import PRODUCTION
from wms.text import counted
from wms_ops.release.actor import who
from wms_ops.release.sources import ModelSource
from wms_ops.restore.pasts import ArtifactStore, collect
from wms_ops.restore.plan import Outcome, Plan, Show
from wms_ops.restore.records import made


@dataclass(frozen=True)
class Sources:
    """The sources of a lost run's files: MLflow's own files in the bucket, if any, then published models."""

    artifacts: Callable[[], ArtifactStore | None]
    models: Sequence[ModelSource] = ()


@dataclass(frozen=True)
class _State:
    """What the server lacks: runs, numbers of versions, entries of its ledger; `marks` are numbers nobody knows."""

    runs: tuple[LedgerEntry, ...]
    versions: tuple[int, ...]
    marks: tuple[int, ...]
    entries: tuple[LedgerEntry, ...]


def plan_mlflow(promotions: PromotionClient, entries: Sequence[LedgerEntry], chain: Chain, sources: Sources) -> Plan:
    """Plan the rebuilding of the server of `promotions` from the ledger's entries; `chain` are the registry's own.

    Raises LedgerError if the server holds other promotions or other versions than the ledger's, and the registry's
    errors. `promotions.step` hears "run", "version" and "entry" after each, for tests.
    """
    registry = RebuiltRegistry(promotions.uri, model=promotions.model)
    rebuilding = _Rebuilding(promotions, registry, entries, _look(registry, entries, chain), sources)
    marks = rebuilding.state.marks
    notes = []
    if marks:
        is_one = len(marks) == 1
        notes.append(
            f"{_versions(marks)} {'was' if is_one else 'were'} never Production, so the ledger knows nothing of "
            f"{'it' if is_one else 'them'}; a mark without a model keeps {'its' if is_one else 'each'} number."
        )
    if not (todo := rebuilding.sentences()):
        notes += rebuilding.log_faults()
    return Plan("MLflow", todo, rebuilding.work, notes=notes)


@dataclass(frozen=True)
class _Rebuilding:
    """The work on one server; `done` collects what came back."""

    promotions: PromotionClient
    registry: RebuiltRegistry
    entries: Sequence[LedgerEntry]
    state: _State
    sources: Sources
    done: Outcome = field(default_factory=Outcome)

    def sentences(self) -> list[str]:
        """The plan in whole sentences."""
        state, server, model = self.state, self.registry.server, self.registry.model
        absent = missing_database(self.registry.uri)
        todo = [f"The database {absent} is made anew."] if absent else []
        if state.runs:
            names = ", ".join(f"{one.run_id[:8]} (version {one.to_version})" for one in state.runs)
            verb = _verb(state.runs, "is", "are")
            todo.append(
                f"{counted(len(state.runs), 'run')} at {server} {verb} made anew, or given missing files: {names}."
            )
        if state.versions:
            todo.append(f"{_versions(state.versions)} of {model} {_verb(state.versions, 'is', 'are')} registered anew.")
        if state.entries:
            goes = _verb(state.entries, "goes", "go")
            todo.append(f"{counted(len(state.entries), 'entry')} of the ledger {goes} to {model}{SUFFIX}.")
        head = self.entries[-1]
        wanted = plan.aliases_after(head)
        found = {name: None if absent else self.registry.alias(name) for name in wanted}
        if not todo and {name: one.version if one else None for name, one in found.items()} != wanted:
            todo.append(f"The aliases go back: production to version {head.to_version}.")
        now = found[PRODUCTION]
        if now and now.version != head.to_version:
            changed = f"from version {now.version} to version {head.to_version}"
            todo.append(f"Production changes {changed} (entry {head.seq}, {made(head)}).")
        return todo

    def work(self, show: Show) -> Outcome:
        """Make everything anew: runs, then versions, then the ledger's entries, and last what follows from them."""
        store = self.sources.artifacts() if self.state.runs else None
        for entry in self.state.runs:
            self._restore_run(entry, store, show)
            self.promotions.step("run")
        runs = {entry.to_version: entry.run_id for entry in self.entries}
        if self.state.marks:
            self.registry.add_mark_run()
        for number in sorted({*self.state.versions, *self.state.marks}):
            self.registry.fill(number, runs.get(number, MARK))
            self.promotions.step("version")
        log = TryLog(self.registry, self.entries)
        if (self.state.runs or self.state.versions) and log.is_empty():
            # The log of verdicts was lost with the server; the ledger still names its end.
            self.done.lost += filter(None, [log.go_on(self.entries[-1].run_id, who(), "`wms restore`")])
        self._tag_versions()
        self._write_ledger()
        done = repair(self.promotions)
        self.done.restored.append(
            f"{counted(len(self.state.runs), 'run')}, {counted(len(self.state.versions), 'version')} and "
            f"{counted(len(self.state.entries), 'entry')} of the ledger at {self.registry.server}."
            f"{f' {done.text}' if done else ''}"
        )
        self._say_what_is_lost(store)
        return self.done

    def _tag_versions(self) -> None:
        """Let the versions tell of the entries before the first one is added, beginning with the newest entry.

        After a kill between two entries no reader takes the ledger for whole, and the tags vouch for the entries that
        only this clone's files have.
        """
        if not self.state.entries:
            return
        wanted = plan.tags_after(self.entries)
        present = {one.version: one.tags for one in self.registry.versions()}
        for entry in reversed(self.entries):
            if new := plan.changes(wanted.pop(entry.to_version, {}), present.get(entry.to_version, {})):
                self.registry.set_version_tags(entry.to_version, new)

    def _write_ledger(self) -> None:
        ledger = RegistryLedger(self.promotions.uri, self.promotions.model)
        for entry in self.state.entries:
            if len(ledger.remains().entries) < entry.seq:  # a restore at the same time may have written it
                ledger.add(entry)
                self.promotions.step("entry")
        _refuse_another(self.entries, ledger.read(), self.registry.server)

    def _restore_run(self, entry: LedgerEntry, store: ArtifactStore | None, show: Show) -> None:
        found = collect(entry, store, self.sources.models)
        size = sum(map(len, found.run.files.values()))
        name = f"run {found.run.name} of version {entry.to_version}"
        if self.registry.has_run(entry.run_id):
            self.registry.add_files(found.run)
        else:
            self.registry.add_run(found.run)
        show(f"MLflow: {name}: {counted(len(found.run.files), 'file')}, {size / 2**20:.1f} MiB.")
        if found.used:
            show(f"MLflow: the model of version {entry.to_version} came from {', '.join(found.used)}.")
        if found.missing:
            self.done.fault = ModelNotFoundError("Files of a model are lost, as is said above; all else is restored.")
            self.done.lost.append(
                f"{', '.join(found.missing)} of {name}: no source has it as the ledger knows it, so this version may "
                "be unable to be served, compared or rolled back to. `wms restore bucket` brings deleted objects back."
            )

    def log_faults(self) -> list[str]:
        """The sentence about a log of verdicts that was cut or edited, which only a person may accept."""
        tries = TryLog(self.registry, self.entries).read()
        return [f"The gate can't decide before a person looked into it (code 91): {tries.fault}"] * bool(tries.faults)

    def _say_what_is_lost(self, store: ArtifactStore | None) -> None:
        self.done.lost += self.log_faults()
        if store is not None and store.odd:
            self.done.lost.append(
                f"{counted(len(store.odd), 'file')} of {store.name} with a name that no run can have, such as "
                f"{store.odd[0][:120]!a}: find out who writes there."
            )
        known = {entry.run_id for entry in self.entries}
        if store is not None and (others := store.runs - known - self.registry.known_runs()):
            self.done.lost.append(
                f"Runs that never became Production: MLflow forgot them, but files of {counted(len(others), 'run')} "
                f"are still in {store.name}."
            )
        if self.state.runs:
            self.done.lost.append(
                "The curves of each epoch of these runs, and what MLflow knew of other models: only a backup of its "
                "database has them."
            )


def _versions(numbers: Sequence[int]) -> str:
    return f"{_verb(numbers, 'Version', 'Versions')} {', '.join(map(str, numbers))}"


def _verb(things: Sequence[object], one: str, more: str) -> str:
    return one if len(things) == 1 else more


def _look(registry: RebuiltRegistry, entries: Sequence[LedgerEntry], chain: Chain) -> _State:
    _refuse_another(entries, chain, registry.server)
    is_new = missing_database(registry.uri) is not None  # asking MLflow would make the database
    present = {} if is_new else {one.version: one for one in registry.versions()}
    _refuse_a_gap(entries, chain, lost_end(tuple(present.values()), entries[-1]))
    by_number = {entry.to_version: entry for entry in entries}
    for number, entry in by_number.items():
        if number in present and present[number].run_id != entry.run_id:
            raise LedgerError(
                f"Version {number} of {registry.model} at {registry.server} is of run {present[number].run_id}, but by "
                f"the ledger it is of run {entry.run_id}, so nothing was changed: another project or a new beginning "
                "uses this server. Name another server by MLFLOW_TRACKING_URI, or rename that model in MLflow, then "
                "run `wms restore` again."
            )
    last = max([*by_number, *(entry.from_version or 0 for entry in entries)], default=0)
    absent = [number for number in range(1, last + 1) if number not in present]
    newest = {entry.run_id: entry for entry in entries}
    runs = tuple(entry for run_id, entry in newest.items() if is_new or _is_incomplete(registry, run_id))
    return _State(
        runs,
        tuple(number for number in absent if number in by_number),
        tuple(number for number in absent if number not in by_number),
        tuple(entry for entry in entries[len(chain.entries) :] if entry not in chain.beyond),
    )


def _refuse_a_gap(entries: Sequence[LedgerEntry], chain: Chain, lost: LostEnd | None) -> None:
    """Raise LedgerError where the registry tells of later entries than the ones that were found."""
    beyond = [entry for entry in chain.beyond if entry not in entries]
    if not beyond and lost is None:
        return
    told = lost.text if lost else f"ends with entry {entries[-1].seq}, but the registry has entry {beyond[-1].seq}"
    raise LedgerError(
        f"The ledger, as far as this clone and the registry have it, {told}, so nothing was changed; run `git pull`, "
        "then `wms restore` again, or run it in the clone that promoted."
    )


def _is_incomplete(registry: RebuiltRegistry, run_id: str) -> bool:
    needed = ("model/production.pth", "model/production.onnx", "model/production.json")
    return not registry.has_run(run_id) or bool(registry.absent_artifacts(run_id, needed))


def _refuse_another(entries: Sequence[LedgerEntry], chain: Chain, server: str) -> None:
    """Raise LedgerError where the registry's entries aren't the first ones of the ledger."""
    missing_from(entries[: len(chain.entries)], chain, "the ledger", server)
