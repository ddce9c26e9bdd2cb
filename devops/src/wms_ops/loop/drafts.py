"""The draft of a run's pull request: opened once the data is checked, and a person who closes it stops the run."""

from __future__ import annotations

from collections.abc import Callable

from wms.errors import WmsError
from wms_ops.base.errors import PullRequestError
from wms_ops.base.outputs import github_run
from wms_ops.loop.context import RunContext
from wms_ops.loop.steps_data import CARD
from wms_ops.report.pull_request import draft_body
from wms_ops.report.verdict import pull_title
from wms_ops.runs.plan import next_step
from wms_ops.runs.record import RunRecord, StepState


def open_draft(context: RunContext, record: RunRecord, say: Callable[[str], None]) -> RunRecord:
    """Open the draft of a run that is about to train, and return the record with its number.

    A draft only tells: where it can't be opened, the run goes on, and its last part opens an ordinary pull request.
    In place of one that a person has closed none is opened, since that would pass over the decision.
    """
    if next_step(record) != "up":
        return record
    card = context.folder / CARD
    links = [("the run on GitHub", address)] if (address := github_run(context.environ)) else []
    try:
        require_open(context, record)
        text = draft_body(record, card.read_text(encoding="utf-8") if card.is_file() else "", links)
        pull = context.pulls.open(record.outputs.get("branch", record.branch), pull_title(record), text, draft=True)
    except WmsError as error:
        say(f"warning: no draft of the pull request was opened: {error}")
        return record
    say(f"Pull request {pull.number} is a draft until the verdict.")
    budget = record.step("budget")
    return record.with_step(budget.model_copy(update={"outputs": {**budget.outputs, "pull": str(pull.number)}}))


def without_closed(context: RunContext, record: RunRecord, say: Callable[[str], None]) -> RunRecord:
    """Return the record, with the promotion as failed if a person has closed or merged the draft.

    Then no instance is started.
    """
    try:
        require_open(context, record, before_verdict=True)
    except PullRequestError as error:
        say(f"Failed: {error}")
        failed = {"state": StepState.FAILED, "exit_code": error.exit_code, "text": str(error)}
        return record.with_step(record.step("promote").model_copy(update=failed))
    return record


def require_open(context: RunContext, record: RunRecord, *, before_verdict: bool = False) -> None:
    """Raise PullRequestError if a person has closed the run's pull request: nothing is promoted or merged then.

    `before_verdict` no run has merged it, so a person did.
    """
    number = record.outputs.get("pull")
    end = context.pulls.ended(int(number)) if number else ""
    if end == "merged" and before_verdict:
        raise PullRequestError(
            f"A person merged pull request {number} before the verdict, so main has the photos, and nothing was "
            "promoted: this run's branch is over. The next push trains on them, too."
        )
    if end != "closed":
        return
    version = record.outputs.get("version") if record.step("promote").state is StepState.DONE else None
    now = (
        f"Version {version} is Production already: `wms rollback` takes that back. Or reopen the pull request"
        if version
        else "Nothing was promoted. To go on, reopen the pull request"
    )
    raise PullRequestError(f"A person closed pull request {number}, so nothing is merged. {now}, then run this again.")
