"""The steps that inform people: the records in Git, the report, and the pull request with its verdict."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from wms.errors import PromotionLostError, WmsError
from wms.files import write_atomic
from wms.registry.ledger import CURRENT, HISTORY, parse_history
from wms.registry.metadata import metadata_of
from wms.registry.types import from_to, means_in
from wms_ops.base.errors import BranchContentError, PipelineError
from wms_ops.base.layout import METADATA, MODELS, SPLITS, main_branch
from wms_ops.base.outputs import github_run
from wms_ops.dataset.history import AUTHOR, authors
from wms_ops.dataset.losses import SOURCE, common
from wms_ops.dataset.proofs import sources_since
from wms_ops.dataset.review import RECORDS, refuse_foreign
from wms_ops.dataset.versions import file_at
from wms_ops.git.trailers import with_trailers
from wms_ops.loop.context import Done, RunContext
from wms_ops.loop.costs import bill_so_far
from wms_ops.loop.drafts import require_open
from wms_ops.loop.steps_data import CARD
from wms_ops.loop.steps_decide import PICTURES
from wms_ops.loop.workspace import check_out, commit_and_push, fetch, main_tip, stand_at, tip
from wms_ops.release.upstream import model_tag
from wms_ops.report.pull_request import pull_body, refused_merge
from wms_ops.report.verdict import pull_title
from wms_ops.runs.plan import was_refused
from wms_ops.runs.record import RunRecord, StepState

BODY = "pull-request.md"


def metadata(context: RunContext, values: Mapping[str, str]) -> Done:
    """Commit ledger and model-metadata.json to the data branch. Raises GitError if the branch moved on."""
    check_out(context, values["commit"], values["branch"])
    head = context.promotions().settle().chain.head  # writes what this checkout lacks
    if head is None or head.run_id != values["run_id"]:
        raise PromotionLostError(
            f"Production isn't version {values['version']} any more, so nothing was put on record; run the loop again."
        )
    message = f"Promote version {values['version']} (run {values['run']})"
    commit = commit_and_push(context, values["branch"], RECORDS, message, before=values["commit"])
    _tag(context, model_tag(int(values["version"])), commit)
    return Done({"commit": commit}, f"Ledger and {METADATA} are on {values['branch']} ({commit[:12]}).")


def _tag(context: RunContext, name: str, commit: str) -> None:
    """Keep a model's original commits reachable: main has them only squashed."""
    git = context.git
    git("tag", "--force", name, commit)
    pushed = git("ls-remote", context.url, f"refs/tags/{name}").split()[:1]
    if pushed != [commit]:
        git("push", "--quiet", "--no-verify", "--force", context.url, f"refs/tags/{name}")


def report(context: RunContext, record: RunRecord) -> Done:
    """Write the pull request's text from the results of all steps. Raises DiskFullError, UnwritableError."""
    gate_text, card_text = _read(context.folder / "gate.md"), _read(context.folder / CARD)
    body, pictures = context.folder / BODY, sorted(attachments(context))
    links = [("the run on GitHub", address)] if (address := github_run(context.environ)) else []
    text = pull_body(
        record,
        gate_markdown=gate_text,
        card_markdown=card_text,
        pictures=pictures,
        links=links,
        bill=bill_so_far(context),
    )
    write_atomic(body, text)
    return Done({"body": body.name}, f"The report is {body}.")


def attachments(context: RunContext) -> dict[str, bytes]:
    """Pictures and the gate's page, by the names under which the report refers to them."""
    found = {f"{PICTURES}/{path.name}": path.read_bytes() for path in sorted((context.folder / PICTURES).glob("*.png"))}
    if page := _read(context.folder / "gate.html"):
        found["gate.html"] = page.encode()
    return found


def pull_request(context: RunContext, record: RunRecord) -> Done:
    """Open the pull request; merge if the model was promoted and deployed, else block with the reason.

    Refused data opens none: its commit gets the report as a comment. Raises PullRequestError, and BranchContentError
    for a branch that changes more than data.
    """
    values = record.outputs
    if "body" not in values:
        raise PipelineError("There is no report; run the step report first.")
    branch = values.get("branch", record.branch)
    text = (context.folder / values["body"]).read_text(encoding="utf-8")
    if was_refused(record):
        return _told(context, branch, values.get("commit") or record.pushed, text)
    require_open(context, record)
    title = pull_title(record)
    pull = context.pulls.open(branch, title, text)
    pull = context.pulls.update(pull, text, attachments(context))
    named = {"pull": str(pull.number), "pull_url": pull.url}
    if not may_merge(record):
        reason = reason_to_block(record)
        context.pulls.block(pull, reason)
        return Done({**named, "merged": ""}, f"Pull request {pull.number} is blocked: {reason}")
    try:
        fetch(context.git)
        main, commit = main_tip(context), values["commit"]
        refuse_foreign(context.git, main, commit, branch)
        require_records(context, values, main)
        message = merge_message(record, sources_since(context.git, main, commit))
        if brought := ", ".join(authors(context.git, main, commit)):
            message = with_trailers(message, {AUTHOR: brought})
        merged = context.pulls.merge(pull, head=commit, title=title, message=message)
    except WmsError as error:
        with contextlib.suppress(WmsError):  # a person may have closed it: what stopped the merge says more
            context.pulls.block(pull, str(error))
            context.pulls.update(pull, refused_merge(str(error), text), attachments(context))
        raise
    landed = f"is merged into {main_branch()} ({merged[:12]})"
    state = landed if merged else "waits for a review; it merges by itself then"
    return Done({**named, "merged": merged}, f"Pull request {pull.number} {state}.")


def _told(context: RunContext, branch: str, refused: str, text: str) -> Done:
    """Comment on the refused commit, or on the branch's if none is known, if the origin still has the branch."""
    now = tip(context.git, branch)
    commit = refused or now
    if now is None or commit is None:
        return Done({}, f"{branch} isn't at the origin any more, so there is no commit to comment on.")
    context.pulls.comment(commit, text)
    return Done({}, f"No pull request was opened; a comment on {commit[:12]} says why.")


def require_records(context: RunContext, values: Mapping[str, str], main: str) -> None:
    """Refuse to merge records that no promotion of this run has written: a run's own record is only a claim.

    Raises PromotionLostError if the commit's ledger doesn't end with the run's promotion, LedgerError for an entry that
    neither main nor an anchor vouches for, BranchContentError for other records than follow from the ledger and from
    the splits from which the branch began, and the errors of Git and the store.
    """
    git, commit, branch = context.git, values["commit"], values["branch"]
    stand_at(context, commit, branch)  # whose settings name the bucket of the anchors
    name = f"{HISTORY} of {branch}"
    entries = parse_history((file_at(git, commit, f"{MODELS}/{HISTORY}") or "").encode(), name)
    head = entries[-1] if entries else None
    if head is None or (str(head.to_version), head.run_id) != (values.get("version"), values.get("run_id")):
        raise PromotionLostError(f"{name} doesn't end with the promotion of this run, so nothing was merged.")
    context.witnesses().check(entries, name)
    expected = {f"{MODELS}/{CURRENT}": head.page, METADATA: metadata_of(head).text}
    wrong = [path for path, text in expected.items() if file_at(git, commit, path) != text]
    if not (file_at(git, commit, SPLITS) or "").startswith(file_at(git, common(git, main, commit), SPLITS) or ""):
        wrong.append(SPLITS)
    if wrong:
        raise BranchContentError(f"{branch} has another {' and '.join(wrong)} than the run wrote; nothing was merged.")


def may_merge(record: RunRecord) -> bool:
    """Whether every step required before a merge is done."""
    needed = ("validate", "train", "gate", "promote", "smoke-deploy", "metadata")
    return all(record.step(name).state is StepState.DONE for name in needed)


def reason_to_block(record: RunRecord) -> str:
    """The reason against a merge, in a sentence."""
    failed = next((step for step in record.steps if step.state is StepState.FAILED), None)
    if failed is not None:
        return f"The step {failed.name} failed: {failed.text}"
    return record.outputs.get("gate_reason", "No verdict was reached.")


def merge_message(record: RunRecord, sources: Sequence[str] = ()) -> str:
    """The body of the merge commit on main; `sources` name the inboxes whose photos it brings, as Git trees."""
    values = record.outputs
    return (
        f"{values['photos_new']} new photos, {values['photos_total']} in all. Version {values['version']}: "
        f"{from_to(*(means_in(values, side) for side in ('champion', 'challenger')))}."
        + ("\n\n" if sources else "")
        + "\n".join(f"{SOURCE}: {source}" for source in sources)
    )


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
