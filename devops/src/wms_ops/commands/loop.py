"""`wms loop`: runs the loop, whole or step by step."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from wms.command import Command, folder, new_folder
from wms.json_text import to_json
from wms.names import harmless, tell
from wms.paths import ROOT
from wms.regular import read_regular
from wms_ops.base.errors import PipelineError
from wms_ops.base.layout import DATA_BRANCHES, RECIPE
from wms_ops.base.outputs import add_summary, annotate, put_outputs
from wms_ops.git.command import Git
from wms_ops.loop import contexts
from wms_ops.loop.console import ConsoleTeller, summary, verdict
from wms_ops.loop.driver import conclude, one_at_a_time, run_loop
from wms_ops.loop.parts import PARTS, TELL, now_at, run_part
from wms_ops.loop.steps import carry_out
from wms_ops.loop.steps_publish import BODY
from wms_ops.runs.plan import LAST, code_of, exit_code, failed_step
from wms_ops.runs.record import STEPS, RunOutcome, RunRecord
from wms_ops.targets.factory import cloud_in


def _add_folder(parser: argparse.ArgumentParser, kind: Callable[[str], Path] = new_folder) -> None:
    parser.add_argument("--folder", type=kind, default=contexts.FOLDER, help="where the loop lives (%(default)s)")


def _add_options(parser: argparse.ArgumentParser, *, branch_required: bool = False) -> None:
    _add_folder(parser)
    parser.add_argument("--branch", required=branch_required, help=f"such as {DATA_BRANCHES}20261121-103000")
    parser.add_argument("--repo", type=folder, default=ROOT, help="a clone; its origin is worked with")
    parser.add_argument("--recipe", default=RECIPE, help="as main has it (default %(default)s)")


def _of_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep-up", action="store_true", help="leave MLflow and the service running at the end")
    _add_options(parser)


def _of_step(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", help="id of the run that this step belongs to; by default the branch's newest")
    _add_options(parser)


def _of_part(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("part", choices=tuple(PARTS), help="which part: " + "; ".join(map(_told, PARTS)))
    parser.add_argument("--commit", metavar="SHA", required=True, help="the whole commit that was pushed to it")
    _add_options(parser, branch_required=True)


def _told(part: str) -> str:
    return f"{part} ({', '.join(PARTS[part])})"


def _of_list(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser, folder)
    parser.add_argument("--json", action="store_true", help="print one JSON array of the runs' records")


def _run(arguments: argparse.Namespace) -> int:
    """Run the loop to its end; returns the code of its outcome. Raises WmsError."""
    teller = ConsoleTeller()
    url = contexts.origin_of(arguments.repo)
    branch = arguments.branch or _newest_branch(arguments.repo, url)
    cloud = cloud_in(arguments.folder, teller.line)
    cloud.storage_up()
    make = contexts.context_factory(arguments.folder, url, cloud, recipe=arguments.recipe, show=teller.line)
    record = run_loop(make, contexts.run_store(arguments.folder), branch, teller, keep_up=arguments.keep_up)
    teller.console.print(summary(record))
    teller.console.print(verdict(record))
    if record.outcome is not RunOutcome.MERGED:
        annotate("error", verdict(record))
    return exit_code(record)


def _one(step_name: str, arguments: argparse.Namespace) -> int:
    """Run a step as a command: its named values also go to GITHUB_OUTPUT; returns the step's exit code."""
    store = contexts.run_store(arguments.folder)
    url = contexts.origin_of(arguments.repo)
    cloud = cloud_in(arguments.folder)
    with one_at_a_time(store.folder):
        record = _record(step_name, arguments, url)  # a mistake is told before anything is started
        cloud.storage_up()
        context = contexts.context_factory(arguments.folder, url, cloud, recipe=arguments.recipe)(record)
        record = carry_out(context, store, record, step_name)
        if step_name == LAST:
            record = conclude(store, record)
    step = record.step(step_name)
    print(harmless(step.text, keep="\n"))
    put_outputs(step.outputs)
    return step.exit_code or 0


def _part(arguments: argparse.Namespace) -> int:
    """Carry out a part; returns 0, or the code of a step that failed, and for `tell` that of the run's outcome."""
    teller = ConsoleTeller()
    url = contexts.origin_of(arguments.repo)
    cloud = cloud_in(arguments.folder, teller.line)
    cloud.storage_up()
    store = contexts.shared_runs(arguments.folder, cloud)
    with one_at_a_time(store.folder):
        if arguments.part == next(iter(PARTS)):
            git = contexts.workspace(arguments.folder, url)
            record = store.begin(arguments.branch, arguments.commit, now_at(git, arguments.branch, arguments.commit))
        else:
            record = store.resume(arguments.branch, arguments.commit)
        make = contexts.context_factory(arguments.folder, url, cloud, recipe=arguments.recipe, show=teller.line)
        record = run_part(make, store, record, arguments.part, teller)
    is_over = record.outcome is not RunOutcome.RUNNING
    put_outputs({"run": record.id, "over": is_over, "passes": record.outputs.get("passes") == "true"})
    if arguments.part == TELL:
        teller.console.print(summary(record))
        teller.line(verdict(record))
        _conclude(record, store.path(record.id) / record.outputs.get("body", BODY))
        return exit_code(record)
    if (failed := failed_step(record)) is None:
        return 0
    annotate("error", f"{failed.name}: {failed.text}")
    return code_of(failed)


def _conclude(record: RunRecord, body: Path) -> None:
    """Show the report as the job's summary, and in a word on the run's page what kept the branch from main."""
    if body.is_file():
        add_summary(read_regular(body).decode("utf-8", "replace"))
    if exit_code(record):
        title = "Not improved" if record.outcome is RunOutcome.BLOCKED else "The pipeline failed"
        annotate("error", verdict(record), title=title)


def _record(step_name: str, arguments: argparse.Namespace, url: str) -> RunRecord:
    store = contexts.run_store(arguments.folder)
    if arguments.run:
        return store.load(arguments.run)
    branch = arguments.branch or _newest_branch(arguments.repo, url)
    newest = store.newest(branch)
    # The first step begins a new run, unless the newest run hasn't ended.
    first = step_name == STEPS[0]
    if newest is None or (first and newest.outcome is not RunOutcome.RUNNING):
        return store.create(branch)
    return newest


def _newest_branch(repo: Path, url: str) -> str:
    lines = Git(repo)("ls-remote", "--heads", url, f"refs/heads/{DATA_BRANCHES}*").splitlines()
    names = sorted(line.split("\trefs/heads/")[1] for line in lines)
    if not names:
        raise PipelineError("No data branch waits at the origin; push photos to main first, then run the loop.")
    return names[-1]


def _list(arguments: argparse.Namespace) -> int:
    """Print the runs so far; returns 0, or PipelineError's code after naming each damaged record on standard error."""
    folder = arguments.folder
    runs, damaged = contexts.run_store(folder).read_all()
    for error in damaged:
        print(f"error: {error}", file=sys.stderr)
    code = damaged[0].exit_code if damaged else 0
    if arguments.json:
        print(to_json([record.model_dump(mode="json") for record in runs], indent=2))
        return code
    for record in runs:
        tell(f"{record.started_at}  {record.id}  {record.outcome}  {record.reason}")
    with contextlib.suppress(IndexError):
        ConsoleTeller().console.print(summary(runs[-1]))
    if not runs and not damaged:
        print(f"The loop hasn't run in {folder} yet.")
    return code


_CODES: Final = "Exit codes: 0 merged, 90 not improved, 91 can't decide, 85 another run is at it; docs/exit-codes.md."
RUN: Final = Command("All steps, for the newest data branch or the one that is named.", _of_run, _run, _CODES)
PART: Final = Command(
    "A part of the steps, as a job of a workflow carries it out, with the run's record and files in the bucket.",
    _of_part,
    _part,
    f"{_CODES} Only the part tell ends with the run's own code; the others end with 0 once their steps are done.",
)
LIST: Final = Command("List the runs so far.", _of_list, _list)


def step(name: str) -> Command:
    """The command for a step of the loop."""
    text = f"Only the step {name}, with what the steps before it left."
    return Command(text, _of_step, partial(_one, name), _CODES)
