"""Decides from values alone whether a promotion may happen, and which state of the registry it leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from wms.errors import CannotDecideError, NotImprovedError, PromotionLostError
from wms.registry.chain import Chain
from wms.registry.earlier import contradiction
from wms.registry.gate_settings import GateSettings, GateTry, held_back
from wms.registry.ledger import LedgerEntry, LedgerRecord
from wms.registry.types import PREVIOUS, PRODUCTION, GateVerdict, Means, NoVerdict, decision_now, from_to

STATUS, ARCHIVED = "status", "archived"
"""The tag with a version's state, `production` or `archived`, and the latter value."""

PROMOTED, ENTRY_NUMBER = "promoted", "ledger_entry"
"""Tags of a version that was Production: when and by whom, and the number of the ledger's entry."""

_LASTING = ("verdict", "data_version", "git_commit", "config_hash", "weights_sha256", "onnx_sha256")

NOTHING = Means(dice=0, iou=0)

SMOKE = "smoke deployment: "
"""The beginning of the reason when the loop rolls back because the new version failed its smoke deployment."""


@dataclass(frozen=True)
class Standing:
    """The ledger's chain and the version that is Production."""

    chain: Chain
    production: int | None

    @property
    def text(self) -> str:
        """The Production version and the time of its promotion, as the beginning of a sentence."""
        if self.production is None:
            return "Nothing is Production"
        head = self.chain.head
        since = f", promoted by {head.who} at {head.at}" if head and head.to_version == self.production else ""
        return f"Production is version {self.production}{since}"


@dataclass(frozen=True)
class PromotionFacts:
    """The facts of a run that is to become Production; the hashes are of its own artifacts."""

    run_id: str
    weights_sha256: str
    onnx_sha256: str
    measured: Means
    git_commit: str
    config_hash: str
    data_version: str
    training_data_count: int  # the training split
    data_set_count: int  # training, validation and test
    trained_at: str
    attempts: int | None = None  # seeds trained, of which validation chose this run; None: one
    files: Mapping[str, str] = field(default_factory=dict)  # name -> SHA-256 of the card and the run's own files


@dataclass(frozen=True)
class Proposal:
    """A change of Production to be confirmed: the proposal holds only while `from_version` is Production.

    `forced` means that a person takes responsibility, regardless of gate and registry. `settings` are the gate's behind
    the newest verdict, None without such a verdict.
    """

    action: Literal["promote", "rollback", "adopt"]
    facts: PromotionFacts
    version: int | None  # None: not registered yet
    from_version: int | None
    metrics: Means
    baseline: Means
    verdict: str
    forced: bool = False
    settings: GateSettings | None = None

    def holds(self, standing: Standing) -> bool:
        """Whether Production is still what this change starts from."""
        if self.action == "adopt":
            return standing.chain.head is None and standing.production in (None, self.version)
        return standing.production == self.from_version

    @property
    def text(self) -> str:
        """A sentence for the person who confirms."""
        target = f"version {self.version}" if self.version is not None else "a new version"
        before = f"version {self.from_version}" if self.from_version is not None else "nothing"
        verb = {"promote": "Promote", "rollback": "Roll back to", "adopt": "Adopt"}[self.action]
        gate = f" The gate's settings: {self.settings.text}." if self.settings else ""
        if self.action == "adopt":
            return (
                f"{verb} {target} (run {self.facts.run_id}) as Production: the ledger begins with it; Dice "
                f"{self.metrics.dice:.4f}, IoU {self.metrics.iou:.4f}; {self.verdict}."
            )
        return (
            f"{verb} {target} (run {self.facts.run_id}): Production is {before} now; "
            f"{from_to(self.baseline, self.metrics)}; {self.verdict}.{gate}"
        )


def propose(
    facts: PromotionFacts,
    found: GateVerdict | NoVerdict | None,
    version: int | None,
    standing: Standing,
    *,
    earlier: Sequence[GateTry] = (),
    force: str | None = None,
) -> Proposal:
    """Propose a run as Production; `found` is the gate's newest verdict about the run, `earlier` are those on record.

    `force` is a person's reason. Raises the errors of `accept`; with `force` none.
    """
    known_verdict = found if isinstance(found, GateVerdict) else None
    verdict = accept(facts, found, standing, earlier) if force is None else known_verdict
    production, chain = standing.production, standing.chain
    known = chain.about(production) if production is not None else None
    fits = verdict is not None and verdict.champion_version == production
    return Proposal(
        action="promote",
        facts=facts,
        version=version,
        from_version=production,
        metrics=verdict.challenger if verdict and verdict.weights_sha256 == facts.weights_sha256 else facts.measured,
        baseline=verdict.champion if verdict and fits else known.metrics if known else NOTHING,
        verdict=f"forced: {force} ({_beside(facts, found, standing)})" if force is not None else verdict_words(verdict),
        forced=force is not None,
        settings=verdict.settings if verdict else None,
    )


def _beside(facts: PromotionFacts, found: GateVerdict | NoVerdict | None, standing: Standing) -> str:
    """The words for the gate's newest record about a run that is promoted past the gate: it may not fit any more."""
    if found is None:
        return "no verdict of the gate"
    told = f"gate: {decision_now(found, standing.production)}"
    if isinstance(found, GateVerdict):
        told += ", about another model" * (not _is_about(facts, found))
        told += ", before a rollback" * _is_before_rollback(found, standing)
    return told


def _is_about(facts: PromotionFacts, verdict: GateVerdict) -> bool:
    """Whether a verdict is about a run's present weights and card."""
    same = (verdict.run_id, verdict.weights_sha256) == (facts.run_id, facts.weights_sha256)
    # The card holds the ONNX file's hash and how masks are cut: all that was scored. Older verdicts don't name it.
    return same and verdict.card_sha256 in ("", facts.files.get("production.json"))


def _is_before_rollback(verdict: GateVerdict, standing: Standing) -> bool:
    """Whether Production was rolled back after a verdict."""
    head = standing.chain.head
    # The loop takes a model back by itself where its deployment failed, and may try that one again.
    rejected = head is not None and head.action == "rollback" and not head.verdict.startswith(f"rollback: {SMOKE}")
    return head is not None and rejected and verdict.decided_at < head.at


def verdict_words(verdict: GateVerdict | None) -> str:
    """The ledger's words for a verdict that let a run pass."""
    if verdict is not None and verdict.mode == "off":
        return f"gate off ({verdict.decision})"
    return "improved"


def accept(
    facts: PromotionFacts, verdict: GateVerdict | NoVerdict | None, standing: Standing, earlier: Sequence[GateTry] = ()
) -> GateVerdict:
    """Return the gate's newest verdict about a run, if that verdict lets the run pass.

    Raises CannotDecideError without a verdict about these weights; NotImprovedError, also for a verdict by looser
    settings than those of a refusal among the `earlier` verdicts about these weights; PromotionLostError if Production
    isn't the version that the gate compared with.
    """
    again = f"run `wms gate --run {facts.run_id}` and promote again"
    if verdict is None:
        raise CannotDecideError(f"Run {facts.run_id} has no verdict of the gate; {again}.")
    if isinstance(verdict, NoVerdict):
        raise CannotDecideError(
            f'The gate\'s newest word about run {facts.run_id} is "{verdict.decision}", and only the newest counts. '
            f"{verdict.reason} Then {again}."
        )
    if not _is_about(facts, verdict):
        raise CannotDecideError(f"The verdict in run {facts.run_id} is about another model; {again}.")
    if verdict.decision != "improved" and verdict.mode != "off":
        why = " ".join(verdict.reasons).rstrip(".") or "its scores aren't better than Production's"
        raise NotImprovedError(f"The gate didn't let run {facts.run_id} pass: {why}.")
    if text := contradiction(verdict, earlier):
        raise CannotDecideError(f"Run {facts.run_id} isn't promoted. {text}")
    if held := held_back(verdict.settings, earlier) or verdict.held_back:
        raise NotImprovedError(f"Run {facts.run_id} isn't promoted. {held}")
    if verdict.champion_version != standing.production:
        compared = "no model" if verdict.champion_version is None else f"version {verdict.champion_version}"
        raise PromotionLostError(f"{standing.text}, but the gate compared with {compared}; {again}.")
    head = standing.chain.head
    if head is not None and _is_before_rollback(verdict, standing):
        raise PromotionLostError(
            f"Production was rolled back at {head.at}, after the gate's verdict about run {facts.run_id}; {again}, or, "
            "if that run is what was rolled back, promote it with --force REASON."
        )
    return verdict


def record_of(
    proposal: Proposal,
    who: str,
    github_run: str,
    verdict_log: tuple[str, ...] | None = None,
    verdict_sha256: str = "",
) -> LedgerRecord:
    """The ledger's record of a proposal that is carried out now; a new version's number isn't known yet."""
    facts = proposal.facts
    return LedgerRecord(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        who=who,
        action="rollback" if proposal.action == "rollback" else "promote",  # older code reads no third word
        from_version=proposal.from_version,
        to_version=proposal.version or 0,
        run_id=facts.run_id,
        weights_sha256=facts.weights_sha256,
        onnx_sha256=facts.onnx_sha256,
        metrics=proposal.metrics,
        baseline=proposal.baseline,
        verdict=proposal.verdict,
        git_commit=facts.git_commit,
        config_hash=facts.config_hash,
        data_version=facts.data_version,
        training_data_count=facts.training_data_count,
        data_set_count=facts.data_set_count,
        attempts=facts.attempts,
        trained_at=facts.trained_at,
        github_run=github_run,
        files=dict(facts.files),
        gate=proposal.settings,
        verdict_log=verdict_log,
        verdict_sha256=verdict_sha256,
    )


def aliases_after(head: LedgerEntry) -> dict[str, int | None]:
    """The version of each alias once an entry is carried out; None: no version has the alias."""
    return {PREVIOUS: head.from_version, PRODUCTION: head.to_version}


def lasting_tags(record: LedgerRecord) -> dict[str, str]:
    """The tags of a version that no later promotion of another version changes."""
    means = {name: repr(value) for name, value in record.metrics.named().items()}
    return {**means, **{name: str(getattr(record, name)) for name in _LASTING}}


def is_begun(tags: Mapping[str, str]) -> bool:
    """Whether a version comes from a promotion killed before its entry: such a version never was Production."""
    return tags.keys() >= {"dice", "iou", *_LASTING} and tags.keys().isdisjoint({STATUS, PROMOTED, ENTRY_NUMBER})


def tags_after(entries: Sequence[LedgerEntry]) -> dict[int, dict[str, str]]:
    """The tags of each version that the ledger names, once its newest entry is carried out."""
    tags: dict[int, dict[str, str]] = {}
    for entry in entries:
        if entry.from_version is not None:
            tags.setdefault(entry.from_version, {})
        mine = tags.setdefault(entry.to_version, {})
        mine |= {PROMOTED: f"{entry.at} by {entry.who}", ENTRY_NUMBER: str(entry.seq)}
        # A rollback leaves the tags of the version's own promotion.
        if entry.action == "promote" or "verdict" not in mine:
            mine |= lasting_tags(entry)
    for version, mine in tags.items():
        mine[STATUS] = PRODUCTION if version == entries[-1].to_version else ARCHIVED
    return tags


def changes(wanted: Mapping[str, str], present: Mapping[str, str]) -> dict[str, str]:
    """The tags that must be set: those of `wanted` that differ from `present`.

    >>> changes({"status": "archived", "dice": "0.9"}, {"dice": "0.9"})
    {'status': 'archived'}
    """
    return {key: value for key, value in wanted.items() if present.get(key) != value}
