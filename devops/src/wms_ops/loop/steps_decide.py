"""The steps of the decision: compare the new model with Production, and promote a better model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from wms.config import RunConfig, parse_recipe
from wms.errors import CannotDecideError, ConfigError, NotImprovedError
from wms.files import remove, write_atomic
from wms.registry import promotion
from wms.registry.card_records import COST_TAG, ESTIMATE_TAG, SOURCES_TAG
from wms.registry.companions import read_documents
from wms.registry.gate_types import GateReport
from wms.registry.lineage import FILES
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.plan import Proposal
from wms.registry.promotion import PromotionOutcome
from wms.text import counted
from wms_ops.base.layout import MODELS, main_branch
from wms_ops.base.outputs import github_run
from wms_ops.dataset.fetch import bring
from wms_ops.dataset.history import commits_of
from wms_ops.dataset.versions import file_at, version_at
from wms_ops.gate.decide import decide
from wms_ops.gate.page import render
from wms_ops.gate.report import markdown, stopped
from wms_ops.loop.context import Done, RunContext
from wms_ops.loop.costs import bill_so_far
from wms_ops.loop.workspace import fetch, main_tip
from wms_ops.release.actor import who
from wms_ops.release.publish import publish_documents, publish_model
from wms_ops.report.pictures import gate_pictures
from wms_ops.runs.plan import HELD_BACK

PICTURES = "pictures"


def gate(context: RunContext, values: Mapping[str, str]) -> Done:
    """Compare the run with Production on the same test images; "not improved" is a result, not an error.

    The recipe is main's at the origin, as `main_recipe` reads it. Writes gate.md, gate.html, gate.json and pictures/
    into the run's folder. Raises ConfigError, PipelineError, RegistryUnreachableError,
    RegistryError, ModelNotFoundError, LedgerError, SplitError and the store's errors.
    """
    folder = context.folder
    page, text, figures = folder / "gate.html", folder / "gate.md", folder / "gate.json"
    for old in (page, text, figures, *(folder / PICTURES).glob("*")):
        remove(old)  # of an earlier try of this step, whose verdict counts no more
    bring_data(context, values)
    config, source = main_recipe(context)
    outputs = {"gate_report": text.name, "gate_page": page.name}
    try:
        report, gathered = decide(
            context.registry(),
            values["run_id"],
            config,
            ledger=context.workspace / MODELS,
            source=source,
            witnesses=context.witnesses(),
        )
    except CannotDecideError as error:
        write_atomic(text, stopped(error))
        outputs |= {"decision": "cannot decide", "passes": _word(False), "gate_reason": str(error)}
        return Done(outputs, str(error), CannotDecideError.exit_code)
    write_atomic(figures, report.model_dump_json(indent=2))
    write_atomic(text, markdown(report))
    write_atomic(page, render(report, gathered, config))
    for name, content in gate_pictures(report, gathered, config).items():
        write_atomic(folder / PICTURES / name, content)
    outputs |= _outputs(report)
    return Done(outputs, report.summary, 0 if outputs["passes"] == _word(True) else NotImprovedError.exit_code)


def main_recipe(context: RunContext) -> tuple[RunConfig, str]:
    """The recipe of the origin's main now, its paths in the workspace, and the words that say where it is from.

    Neither a data branch nor an edit in the workspace decides how strict the gate is, and the commit that was trained
    on may rest on an older main. Raises ConfigError for a recipe that main lacks, PipelineError without a main.
    """
    fetch(context.git)
    commit = main_tip(context)
    source = f"{context.recipe} of {main_branch()} at {commit[:12]}"
    text = file_at(context.git, commit, context.recipe)
    if text is None:
        raise ConfigError(f"There is no {source}, and the gate takes main's settings; name a recipe with --recipe.")
    return context.placed(parse_recipe(text, source)), source


def _outputs(report: GateReport) -> dict[str, str]:
    verdict = report.verdict
    champion = "" if verdict.champion_version is None else str(verdict.champion_version)
    sides = {"champion": verdict.champion, "challenger": verdict.challenger}
    scores = {f"{side}_{name}": value for side, means in sides.items() for name, value in means.named().items()}
    return {
        "decision": HELD_BACK if verdict.held_back else verdict.decision,
        # A dry run tells and promotes nothing that isn't better; `off` does.
        "passes": _word(not verdict.held_back and (verdict.decision == "improved" or verdict.mode == "off")),
        "gate_reason": verdict.held_back or verdict.reasons[0],
        "champion_version": champion,
        **{name: f"{value:.6f}" for name, value in scores.items()},
    }


def promote(context: RunContext, values: Mapping[str, str]) -> Done:
    """Publish the model's files to the store, then make the model Production; repetition changes nothing.

    Raises PromotionLostError if Production changed since the gate, and the errors of `promotion.propose`.
    """
    promotions = context.promotions()
    before = promotions.settle().production
    proposal = promotion.propose(promotions, values["run_id"])
    if isinstance(proposal, Proposal):
        before = proposal.from_version
    # First the files, so that every reader of the new Production can fetch it.
    publish_model(
        context.store(), {name: promotions.registry.read_artifact(values["run_id"], f"model/{name}") for name in FILES}
    )
    _keep_origin(context, values, promotions.registry)
    outcome = _execute(context, proposal)
    entry = outcome.entry
    publish_documents(context.store(), entry.weights_sha256, read_documents(promotions.registry, entry.run_id))
    previous = before if outcome.changed else entry.from_version
    outputs = {"version": str(entry.to_version), "previous_version": "" if previous is None else str(previous)}
    return Done(outputs | {"changed": _word(outcome.changed)}, outcome.text)


def _keep_origin(context: RunContext, values: Mapping[str, str], registry: ModelRegistry) -> None:
    """Tag the run with what only the loop knows, for the model card; the tags of an earlier try stay."""
    run = registry.run(values["run_id"])
    pushes = Counter(push.author for push in commits_of(context.git, values["commit"]))
    tags = {
        SOURCES_TAG: ", ".join(f"{author} ({counted(count, 'change')})" for author, count in sorted(pushes.items())),
        ESTIMATE_TAG: values.get("estimated_usd", ""),
        COST_TAG: "" if (bill := bill_so_far(context)) is None else f"{bill.cost.total:.4f}",
    }
    if new := {name: text for name, text in tags.items() if text and name not in run.tags}:
        registry.set_run_tags(run.run_id, new)


def _execute(context: RunContext, proposal: Proposal | PromotionOutcome) -> PromotionOutcome:
    if isinstance(proposal, PromotionOutcome):
        return proposal
    return promotion.execute(context.promotions(), proposal, who=who(), github_run=github_run())


def bring_data(context: RunContext, values: Mapping[str, str]) -> None:
    """Bring the commit's photos to the workspace, for steps that run on another machine than training did."""
    store = context.store()
    bring(store, version_at(context.git, values["commit"], store), context.data, top=context.workspace)


def _word(value: bool) -> str:
    return str(value).lower()
