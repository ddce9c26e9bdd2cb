"""Changes the Production version: promote, roll back, repair. Safe to race, to repeat and to kill anywhere.

A single write decides: `RegistryLedger.add` adds an entry. Tags, aliases, the two files of the ledger and
model-metadata.json follow from the entries, and the next caller repairs them before doing anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from wms.errors import LedgerError, ModelDamagedError, ModelNotFoundError, PromotionLostError, UsageError
from wms.project import project
from wms.registry import facts as run_facts
from wms.registry import plan
from wms.registry.anchors import Witnesses
from wms.registry.backing import require_backing
from wms.registry.chain import Chain, RegistryLedger, missing_from
from wms.registry.companions import complete, write_cards
from wms.registry.gate_tries import TryLog
from wms.registry.ledger import Ledger, LedgerEntry, link
from wms.registry.metadata import METADATA, write_metadata
from wms.registry.mlflow_store import ModelRegistry, ModelVersion
from wms.registry.plan import Proposal, Standing
from wms.registry.standing import read_standing, require_entry
from wms.registry.types import GateVerdict
from wms.registry.verdicts import read_verdict

_DECIDING = ("start", "settled", "registered", "anchored", "added")
_FOLLOWING = ("tags", "previous", "production", "history", "current", "metadata", "archived", "card", "done")
STEPS = (*_DECIDING, *_FOLLOWING)
"""The steps reported to `PromotionClient.step`, in this order, each after its completion."""


@dataclass(frozen=True)
class PromotionOutcome:
    """A promotion's result; `changed` is False if nothing was left to do. `entry` is the ledger's newest."""

    changed: bool
    entry: LedgerEntry
    text: str


@dataclass(frozen=True)
class PromotionClient:
    """The state that promotions change: a registry, a ledger, model-metadata.json; `step` is for tests."""

    uri: str = field(repr=False)
    ledger: Ledger = field(default_factory=Ledger)
    metadata: Path = METADATA
    model: str = field(default_factory=lambda: project().model)
    step: Callable[[str], None] = lambda _: None
    witnesses: Witnesses = field(default_factory=Witnesses)
    notes: list[str] = field(default_factory=list, repr=False, compare=False)
    """Sentences about what the last change left undone."""

    @cached_property
    def registry(self) -> ModelRegistry:
        return ModelRegistry(self.uri, model=self.model)

    @cached_property
    def entries(self) -> RegistryLedger:
        return RegistryLedger(self.uri, self.model)

    def settle(self, *, trust_alias: bool = True, proven: bool = True) -> Standing:
        """Finish a killed promotion, copy new entries from the registry's ledger, and return the Production version.

        Raises the errors of `read_standing`, which explains the two settings.
        """
        self.step("start")
        more = {"trust_alias": trust_alias, "proven": proven}
        standing = read_standing(self.registry, self.entries, self.ledger, witnesses=self.witnesses, **more)
        chain = standing.chain
        if chain.settled:
            self._require_backing(chain)
            self._catch_up(chain)
        else:
            # The newest entry's promotion was killed or is still running; carrying it out twice is harmless.
            chain = self.carry_out(chain)
        self.step("settled")
        return Standing(chain, chain.head.to_version if chain.head else standing.production)

    def carry_out(self, chain: Chain, own: LedgerEntry | None = None) -> Chain:
        """Make tags, aliases and files agree with the chain; return the chain, which may have grown meanwhile.

        Evidence has to back the newest entry, unless the caller has just decided this entry, its `own`.

        Two processes may run this at once. The process that sets an alias last reads the chain after that, so a late
        writer of an old alias corrects its own mistake.
        """
        while (head := chain.head) is not None:
            if head != own:
                self._require_backing(chain)
            registered = {version.version: version for version in self.registry.versions()}
            wanted = plan.tags_after(chain.entries)
            if head.to_version not in registered:
                raise ModelNotFoundError(
                    f"The ledger says that version {head.to_version} is Production, but the registry at "
                    f"{self.registry.server} doesn't have it. Roll back to another one by `wms rollback --version N`."
                )
            # The new version gets its tags before its alias: a reader of the alias never sees an untagged version.
            self._tag(registered, {head.to_version: wanted[head.to_version]})
            self.step("tags")
            for name, version in plan.aliases_after(head).items():
                if version is not None and version in registered:
                    self.registry.set_alias(name, version)
                else:
                    self.registry.delete_alias(name)
                self.step(name)
            self._catch_up(chain)
            self._tag(registered, wanted)
            self.step("archived")
            self.notes[:] = [note] if (note := write_cards(self.registry, chain)) else []
            self.step("card")
            # Another process may have added an entry meanwhile; then that entry is carried out, too.
            now = self.entries.read()
            if now.head == head:
                self.entries.mark_done(now)
                self.step("done")
                return now
            chain = now
        return chain

    def _require_backing(self, chain: Chain) -> None:
        require_backing(self.registry, chain, self.ledger, self.witnesses, self.entries.where)

    def _tag(self, registered: dict[int, ModelVersion], wanted: dict[int, dict[str, str]]) -> None:
        for version, tags in wanted.items():
            if version in registered and (new := plan.changes(tags, registered[version].tags)):
                self.registry.set_version_tags(version, new)
                registered[version].tags.update(new)

    def _catch_up(self, chain: Chain) -> None:
        """Append the entries that this clone's ledger lacks, and write the files that follow from the ledger."""
        where, server = str(self.ledger.history), self.registry.server
        for entry in missing_from(self.ledger.entries(), chain, where, server):
            try:
                self.ledger.append(entry, step=self.step)
            except LedgerError:
                if entry not in self.ledger.entries():  # else another process of this clone was quicker
                    raise
        if chain.head is not None:
            self.ledger.write_current(chain.head)
            if write_metadata(chain.head, self.metadata):
                self.step("metadata")


def propose(promotions: PromotionClient, run_id: str, *, force: str | None = None) -> Proposal | PromotionOutcome:
    """Propose the promotion of a run, to be confirmed; a PromotionOutcome if the run is Production already.

    Raises the errors of `plan.propose`, `facts.gather` and `PromotionClient.settle`.

    >>> client = PromotionClient("http://localhost:5000")
    >>> proposal = propose(client, "0a1b2c3d" * 4)  # doctest: +SKIP
    >>> execute(client, proposal, who="a@example.org").text  # doctest: +SKIP
    'Version 4 (run 0a1b2c3d...) is Production, instead of version 3.'
    """
    standing = promotions.settle(proven=force is None)
    registry = promotions.registry
    known = [version.version for version in registry.versions() if version.run_id == run_id]
    head = standing.chain.head
    if head is not None and head.run_id == run_id:
        return PromotionOutcome(
            False, head, f"Run {run_id} is Production already: version {head.to_version}, since {head.at}."
        )
    facts = run_facts.gather(registry, run_id)
    tries = TryLog(registry, standing.chain.entries).about(run_id, facts.weights_sha256)
    if force is None:
        tries.require_sound(run_id)
    verdict, version = read_verdict(registry, run_id), min(known, default=None)
    found = plan.propose(facts, verdict, version, standing, earlier=tries.found, force=force)
    if force is None and isinstance(verdict, GateVerdict):
        tries.require_logged(verdict)
    return replace(found, verdict=f"{found.verdict}; {tries.where} was cut or edited") if tries.faults else found


def go_on(promotions: PromotionClient, run_id: str, who: str, reason: str) -> str:
    """Let a log of verdicts that was cut or edited go on, on record; returns a sentence, empty for a sound log."""
    return TryLog(promotions.registry, promotions.entries.read().entries).go_on(run_id, who, reason)


def propose_rollback(
    promotions: PromotionClient, version: int | None = None, *, reason: str = ""
) -> Proposal | PromotionOutcome:
    """Propose the way back to `version`, or to the previous Production; a PromotionOutcome if nothing is left to do.

    Without `version` Production goes back once: a repeated call says so and doesn't return to the abandoned version.
    Raises UsageError without an earlier Production, or for a version that never was Production; ModelNotFoundError or
    ModelDamagedError if the version can't be served any more, or differs from the promoted model.
    """
    standing = promotions.settle(trust_alias=False)
    head, production = standing.chain.head, standing.production
    require_entry(standing, promotions.registry.server)
    if head is None:
        raise UsageError("Nothing was ever promoted here, so there is nothing to roll back to.")
    if version is None and head.action == "rollback":
        back = f"from version {head.from_version} to version {head.to_version} at {head.at}"
        more = "To go to another one, name it: `wms rollback --version N`."
        return PromotionOutcome(False, head, f"Production was rolled back already, {back}. {more}")
    target = head.from_version if version is None else version
    if target is None:
        raise UsageError(f"Version {production} is the first Production, so there is nothing to roll back to.")
    registry = promotions.registry
    if target == production:
        promotions.carry_out(standing.chain)
        return PromotionOutcome(False, head, f"Version {target} is Production already.")
    found = next((one for one in registry.versions() if one.version == target), None)
    if found is None:
        raise ModelNotFoundError(f"The registry at {registry.server} has no version {target}.")
    known = standing.chain.about(target)
    if known is None and all(entry.from_version != target for entry in standing.chain.entries):
        raise UsageError(
            f"Version {target} never was Production, so there is no way back to it; let the gate compare it, then "
            f"promote it with `wms promote --version {target}`."
        )
    facts = run_facts.gather(registry, found.run_id)
    if known and (known.weights_sha256, known.onnx_sha256) != (facts.weights_sha256, facts.onnx_sha256):
        raise ModelDamagedError(
            f"The run {found.run_id} of version {target} holds another model now than the one that was promoted, so "
            "nothing was changed; restore its artifacts, or roll back to another version."
        )
    means = known.metrics if known else facts.measured
    words = f"rollback: {reason}" if reason else "rollback"
    return Proposal("rollback", facts, target, production, means, head.metrics, words)


def execute(promotions: PromotionClient, proposal: Proposal, *, who: str, github_run: str = "") -> PromotionOutcome:
    """Carry out a proposal.

    Raises PromotionLostError if Production is another version by now, the errors of `plan.accept` if the gate has a new
    verdict, and the errors of `PromotionClient.settle`.
    """
    past_doubt = proposal.forced or proposal.action == "adopt"
    standing = promotions.settle(trust_alias=proposal.action != "rollback", proven=not past_doubt)
    chain, facts = standing.chain, proposal.facts
    if not proposal.holds(standing):
        return _late(promotions, standing, proposal)
    log = TryLog(promotions.registry, chain.entries)
    if proposal.forced:
        log.go_on(facts.run_id, who, proposal.verdict)
    tries, evidence = log.about(facts.run_id, facts.weights_sha256), ""
    if proposal.action == "promote" and not proposal.forced:  # while somebody was asked, the gate may have run again
        tries.require_sound(facts.run_id)
        verdict = plan.accept(facts, read_verdict(promotions.registry, facts.run_id), standing, tries.found)
        proposal, evidence = replace(proposal, settings=verdict.settings), tries.require_logged(verdict)
    record, note = plan.record_of(proposal, who, github_run, tries.heads, evidence), ""
    if proposal.version is None:
        found = promotions.registry.register(facts.run_id, plan.lasting_tags(record))
        record = record.model_copy(update={"to_version": found.version})
    else:
        note = complete(promotions.registry, proposal.version)
    promotions.step("registered")
    entry = link(record, chain.head)
    promotions.witnesses.catch_up(chain.entries, promotions.entries.where)  # those of older code
    promotions.witnesses.announce(entry)  # first: an entry without an anchor is nobody's promotion
    promotions.step("anchored")
    chain, counts = promotions.entries.add(entry)
    promotions.step("added")
    # Another process added its entry first; this entry is in the registry, but no reader counts it.
    if not counts:
        return _late(promotions, Standing(chain, chain.head.to_version if chain.head else None), proposal)
    promotions.carry_out(chain, entry)
    before = f"instead of version {entry.from_version}" if entry.from_version is not None else "the first one"
    text = f"Version {entry.to_version} (run {facts.run_id}) is Production, {before}.{note}{''.join(promotions.notes)}"
    return PromotionOutcome(True, entry, text)


def repair(promotions: PromotionClient) -> PromotionOutcome | None:
    """Restore aliases, tags and files from the registry's ledger; None if nothing was ever promoted.

    Raises LedgerError if a version is Production that no ledger knows.
    """
    standing = promotions.settle(trust_alias=False)
    require_entry(standing, promotions.registry.server)
    head = promotions.carry_out(standing.chain).head
    return (
        PromotionOutcome(
            False, head, f"Everything agrees: Production is version {head.to_version}.{''.join(promotions.notes)}"
        )
        if head
        else None
    )


def _late(promotions: PromotionClient, standing: Standing, proposal: Proposal) -> PromotionOutcome:
    """Handle a quicker promotion: raise PromotionLostError, or finish the other promotion if it is of the same run."""
    head = standing.chain.head
    if head is not None and head.run_id == proposal.facts.run_id:
        promotions.carry_out(standing.chain)
        return PromotionOutcome(False, head, f"Run {head.run_id} is Production already: version {head.to_version}.")
    if proposal.action == "adopt":
        raise PromotionLostError(f"{standing.text} by now, so version {proposal.version} wasn't adopted.")
    was = "nothing" if proposal.from_version is None else f"version {proposal.from_version}"
    raise PromotionLostError(
        f"{standing.text}, no longer {was}; nothing was changed. Run the gate again, then promote again."
    )
