"""A run's verdict in words: a sentence, a title, and the next steps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from wms.errors import DataQualityError
from wms.metrics import DICE, IOU, METRICS, title_of
from wms.project import project
from wms_ops.base.layout import INBOX
from wms_ops.base.text import code, plain, safe
from wms_ops.runs.plan import HELD_BACK, failed_step, nothing_new
from wms_ops.runs.record import RunRecord, StepState

LONGEST: Final = 600
"""Most characters of an error's text that a sentence quotes."""


class PullVerdict(StrEnum):
    """A run's result for its reader; `promoted` only if the model was also deployed and recorded."""

    PROMOTED = "promoted"
    BLOCKED = "blocked"
    FAILED = "failed"
    NOTHING = "nothing to do"
    RUNNING = "running"


def verdict_of(record: RunRecord) -> PullVerdict:
    """The verdict so far; `blocked` means that the gate refused, `failed` that a step couldn't be carried out."""
    if failed_step(record) is not None:
        return PullVerdict.FAILED
    if nothing_new(record):
        return PullVerdict.NOTHING
    values = record.outputs
    if "decision" in values and not _passes(values):
        return PullVerdict.BLOCKED
    if record.step("metadata").state is StepState.DONE and _passes(values):
        return PullVerdict.PROMOTED
    return PullVerdict.RUNNING


def headline(record: RunRecord) -> str:
    """The verdict as a sentence of Markdown, with its scores."""
    values = record.outputs
    match verdict_of(record):
        case PullVerdict.PROMOTED:
            text = _promotion(values)
        case PullVerdict.BLOCKED if values["decision"] == "not improved":
            text = _refusal(values)
        case PullVerdict.BLOCKED if values["decision"] == HELD_BACK:
            text = f"**Blocked:** the gate's settings are looser than at an earlier try. {_reason(values)}"
        case PullVerdict.BLOCKED:
            text = f"**Blocked:** the gate can't decide. {_reason(values)}"
        case PullVerdict.FAILED:
            text = _failure(record)
        case PullVerdict.NOTHING:
            text = "**Nothing to do:** main has all of this data already."
        case _:
            now = next((step.name for step in record.steps if step.state is StepState.RUNNING), "none")
            text = f"**Not over yet:** the step at work is {now}."
    return text


def pull_title(record: RunRecord) -> str:
    """The pull request's title, a line of plain text; with a merge the title becomes that of main's commit."""
    values = record.outputs
    photos = _photos(values.get("photos_new", ""))
    match verdict_of(record):
        case PullVerdict.PROMOTED if values.get("champion_version"):
            title = f"Version {values['version']}: {photos}, Dice {_change(values, 'dice')}"
        case PullVerdict.PROMOTED:
            title = f"Version {values['version']}, the first: {photos}, Dice {_score(values, 'challenger_dice')}"
        case PullVerdict.BLOCKED if values["decision"] == "not improved":
            title = f"Blocked: {photos}, Dice {_change(values, 'dice')}"
        case PullVerdict.BLOCKED if values["decision"] == HELD_BACK:
            title = f"Blocked: {photos}, the gate is looser than at an earlier try"
        case PullVerdict.BLOCKED:
            title = f"Blocked: {photos}, the gate can't decide"
        case PullVerdict.FAILED:
            failed = failed_step(record)
            title = f"Blocked: {photos}, the step {failed.name if failed else 'unknown'} failed"
        case PullVerdict.NOTHING:
            title = "Nothing new for the data set"
        case _:
            title = f"{photos[:1].upper()}{photos[1:]}: the run isn't over yet"
    return plain(title)


def advice(record: RunRecord) -> tuple[str, ...]:
    """The next steps after a run that doesn't merge, as lines of Markdown; empty for a run that merges."""
    verdict = verdict_of(record)
    if verdict is PullVerdict.BLOCKED and record.outputs["decision"] == "not improved":
        return (
            "Look at the test photos that lost most: they are in the pictures here and on the gate's page. Then look "
            "at the new masks. Each must mark the strip of its own photo, and nothing else.",
            f"If a mask is wrong: {_take_back(record)} brings the photos and masks back into `{INBOX}`. Mend "
            f"them, commit, and `{_push()}`. That makes a new data branch and pull request, and closes this one.",
            "If the masks are right, close this pull request and delete its branch. Main and Production are as they "
            "were.",
        )
    if verdict is PullVerdict.BLOCKED and record.outputs["decision"] == HELD_BACK:
        return ("The sentence above says which settings were stricter. Main and Production are as they were.",)
    if verdict is PullVerdict.BLOCKED:
        return (
            "The sentence above says what stands in the way and how to mend it. Main and Production are as they were.",
            f"Then ask the gate again: {_again(record)}.",
        )
    if verdict is not PullVerdict.FAILED:
        return ()
    failed = failed_step(record)
    if failed is not None and failed.exit_code == DataQualityError.exit_code:
        return (
            f"{_take_back(record)} brings the photos and masks back into `{INBOX}`. Mend the files named above, check "
            f"them by `wms data check {INBOX}`, commit, and `{_push()}`.",
            "That push makes a new data branch, which is checked again. No pull request was opened for this one; main "
            "and Production are as they were.",
        )
    return (
        "The sentence above says what went wrong. Mend that.",
        f"Then run the loop again: the workflow, or {_again(record)}. It goes on where it stopped.",
    )


def _take_back(record: RunRecord) -> str:
    return code(f"wms data take-back {record.outputs.get('branch', record.branch)}")


def _again(record: RunRecord) -> str:
    return code(f"wms loop run --branch {record.branch}")


def _promotion(values: Mapping[str, str]) -> str:
    version = f"**Promoted:** version {safe(values['version'])} is Production"
    if not values.get("champion_version"):
        return f"{version}, the first one: {_scores(values)}."
    although = "" if values["decision"] == "improved" else ", although the gate found it not improved"
    return f"{version}{although}: {_scores(values)}."


def _refusal(values: Mapping[str, str]) -> str:
    champion, reason = values.get("champion_version"), values.get("gate_reason", "")
    if not champion or "gate." in reason:  # a setting of the recipe refuses, whatever the champion scores
        return f"**Blocked:** the new model doesn't pass the gate: {_scores(values)}. {_quoted(reason)}".rstrip()
    return f"**Blocked:** the new model isn't better than version {safe(champion)}: {_scores(values)}."


def _failure(record: RunRecord) -> str:
    failed = failed_step(record)
    if failed is None:
        return "**Failed.**"
    if failed.exit_code == DataQualityError.exit_code:
        return f"**Blocked:** the data check refuses the photos. {_quoted(failed.text)}"
    passed = "the new model passed the gate, but " if failed.name in ("promote", "smoke-deploy", "metadata") else ""
    return f"**Blocked:** {passed}the step {failed.name} failed. {_quoted(failed.text)}"


def _scores(values: Mapping[str, str]) -> str:
    first = not values.get("champion_version")
    names = (name for name in METRICS if name in (DICE, IOU) or f"challenger_{name}" in values)
    return ", ".join(
        f"{title_of(name)} {_score(values, f'challenger_{name}') if first else _change(values, name)}" for name in names
    )


def _change(values: Mapping[str, str], metric: str) -> str:
    return f"{_score(values, f'champion_{metric}')} → {_score(values, f'challenger_{metric}')}"


def _score(values: Mapping[str, str], name: str) -> str:
    try:
        return f"{float(values[name]):.4f}"
    except (KeyError, ValueError):
        return "unknown"


def _photos(count: str) -> str:
    if not count:
        return "photos"
    return "1 new photo" if count == "1" else f"{plain(count)} new photos"


def _passes(values: Mapping[str, str]) -> bool:
    return values.get("passes", str(values.get("decision") == "improved").lower()) == "true"


def _reason(values: Mapping[str, str]) -> str:
    return _quoted(values.get("gate_reason", ""))


def _quoted(text: str) -> str:
    words = plain(text)
    return safe(words if len(words) <= LONGEST else f"{words[:LONGEST]} ...")


def _push() -> str:
    return f"git push {project().remote} {project().main_branch}"
