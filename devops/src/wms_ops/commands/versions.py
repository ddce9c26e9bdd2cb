"""`wms versions` and `wms lineage`: versions and aliases, the proof of origin, a comparison of two versions."""

from __future__ import annotations

import argparse
import re
from typing import Final

from wms.command import PAGE, Command, any_path, folder, own_file
from wms.errors import DECLINED, LedgerError, ModelNotFoundError, UsageError, WmsError
from wms.files import write_atomic
from wms.names import tell
from wms.paths import ROOT, RUNS
from wms.project import project
from wms.registry.chain import RegistryLedger
from wms.registry.compare_page import compare, render_page, render_table
from wms.registry.ledger import FOLDER, LedgerEntry
from wms.registry.lineage import METADATA, find_entries, iter_table, require_whole
from wms.registry.lineage_links import check_lineage
from wms.registry.mlflow_store import ModelRegistry
from wms_ops.base.question import ask
from wms_ops.commands.promote import PROMOTE
from wms_ops.gate.witnesses import unbacked, witnesses_of
from wms_ops.git.records import require_sound
from wms_ops.release.compare import draw_panels, find_version
from wms_ops.release.evidence import collect
from wms_ops.release.listing import print_versions

_DATA: Final = ROOT / "WMS" / "data" / "dataset"
_HTML: Final = own_file(PAGE + b"[^<]* compared with ")
_MARKDOWN: Final = own_file(rb"### [^\n]* compared with ")
_NAME: Final = re.compile(r"\w[\w.-]*")


def run(options: argparse.Namespace) -> int:
    """List versions, or carry out the chosen option; returns 0.

    Raises LineageError for a broken link, ModelNotFoundError, UsageError, LedgerError, CannotDecideError, and the
    errors of MLflow and of a promotion.
    """
    if (options.html or options.markdown) and not options.compare:
        raise UsageError("--html and --markdown go with --compare A B.")
    if options.promote:  # which needs a server: say so before anything is asked
        ModelRegistry.from_environment()
    registry = ModelRegistry.if_named(options.model)
    if options.lineage:
        _lineage(options, registry)
    elif options.find:
        _find(options)
    elif options.compare:
        _compare(options, registry)
    else:
        _list(options, registry)
        if options.promote:
            return _promote(options)
    return 0


def _list(options: argparse.Namespace, registry: ModelRegistry | None) -> None:
    """Print the versions, also where nobody vouches for an entry of the ledger: the list then says so."""
    entries = require_sound(options.models)
    damage: WmsError | None
    if registry is None:
        damage = unbacked(entries, options.models, options.model)
    else:
        ledger = RegistryLedger(registry.uri, registry.model)
        try:
            found = ledger.read().entries
        except LedgerError as error:
            damage = error
        else:
            damage = unbacked(found, options.models, options.model, ledger.where)
            if found[: len(entries)] == entries and not isinstance(damage, LedgerError):
                entries = found
    print_versions(entries, registry, damage=str(damage or ""), as_json=options.json)


def _lineage(options: argparse.Namespace, registry: ModelRegistry | None) -> None:
    model = registry.model if registry else project().model
    witnesses = witnesses_of(options.models, model)
    evidence = collect(options.models, repo=options.repo, runs=options.runs, registry=registry, witnesses=witnesses)
    links = check_lineage(evidence)
    for line in iter_table(links):
        tell(line)
    require_whole(links)
    holding = sum(link.state == "holds" for link in links)
    print(f"{holding} of {len(links)} links hold, {len(links) - holding} couldn't be checked here, none is broken.")


def _find(options: argparse.Namespace) -> None:
    found = find_entries(require_sound(options.models), options.find)
    if not found:
        raise ModelNotFoundError(
            f"No promoted model has {options.find!r}: give a version, or at least 6 digits of a commit, config hash, "
            "data version, run id or weights."
        )
    for entry in found:
        tell(_way_back(entry))


def _way_back(entry: LedgerEntry) -> str:
    return (
        f"version {entry.to_version} ({entry.action} {entry.at} by {entry.who}): run {entry.run_id}, "
        f"commit {entry.git_commit[:12]}, config {entry.config_hash[:12]}, data {entry.data_version[:12]}, "
        f"weights {entry.weights_sha256[:12]}"
    )


def _compare(options: argparse.Namespace, registry: ModelRegistry | None) -> None:
    before, after = (find_version(text, options.runs, registry) for text in options.compare)
    found = compare(before.side, after.side)
    if options.html:
        panels, note = draw_panels(found, before, after, options.data)
        write_atomic(options.html, render_page(found, panels, note))
        print(f"Wrote {options.html}.")
    table = render_table(found)
    if options.markdown:
        write_atomic(options.markdown, table)
        print(f"Wrote {options.markdown}.")
    if not options.html and not options.markdown:
        print(table, end="")


def _promote(options: argparse.Namespace) -> int:
    """Ask for the version or run to promote, then call the promotion, which shows the change and asks again."""
    question = "Which version or run should become Production? (none: Enter) "
    answer = ask(question, "use `wms promote`")
    if not answer:
        print("Nothing was changed.")
        return DECLINED
    if not _NAME.fullmatch(answer):
        raise UsageError(f"{answer!r} is neither a version nor a run; give one that stands in the tables.")
    number = answer.removeprefix("v")
    chosen = ["--version", number] if number.isdecimal() else [answer]
    where = ["--ledger", str(options.models), "--metadata", str(options.repo / METADATA), "--model", options.model]
    return PROMOTE([*chosen, *where])


def _of_list(parser: argparse.ArgumentParser) -> None:
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--promote", action="store_true", help="choose a version or run to become Production")
    action.add_argument("--json", action="store_true", help="print one JSON object instead of the tables")
    # check_model.py had these before `wms lineage` and `wms versions compare`.
    action.add_argument("--lineage", action="store_true", help=argparse.SUPPRESS)
    action.add_argument("--find", metavar="TEXT", help=argparse.SUPPRESS)
    action.add_argument("--compare", nargs=2, metavar=("A", "B"), help=argparse.SUPPRESS)
    for name, kind in (("--html", _HTML), ("--markdown", _MARKDOWN)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=any_path, default=_DATA, help=argparse.SUPPRESS)
    _add_paths(parser)


def _of_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("compare", nargs=2, metavar="VERSION", help="two versions, runs or run folders")
    parser.add_argument("--html", type=_HTML, metavar="FILE", help="write a page with pictures")
    parser.add_argument("--markdown", type=_MARKDOWN, metavar="FILE", help="write the pull request's table")
    parser.add_argument("--data", type=any_path, metavar="DIR", default=_DATA, help="photos and masks for the pictures")
    _add_paths(parser)
    parser.set_defaults(lineage=False, find=None, promote=False)


def _of_lineage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "find", nargs="?", metavar="TEXT", help="list models by version, or by digits of a commit, config, data, run "
        "or weights, instead of checking the one in --models"
    )  # fmt: skip
    _add_paths(parser)
    parser.set_defaults(promote=False, compare=None, html=None, markdown=None)


def _run_lineage(options: argparse.Namespace) -> int:
    options.lineage = options.find is None
    return run(options)


def _add_paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=folder, default=FOLDER, metavar="DIR", help="model and ledger")
    parser.add_argument(
        "--model", default=project().model, metavar="NAME", help="registered model (default %(default)s)"
    )
    parser.add_argument("--runs", type=folder, default=RUNS, metavar="DIR", help="where trainings are kept")
    parser.add_argument("--repo", type=folder, default=ROOT, metavar="DIR", help="the clone that has the commits")


_CODES: Final = "Exit codes: 0 in order, 40 nothing found, 91 nothing to compare, 95 a link of the lineage is broken."
LIST: Final = Command("List the model's versions, and the runs that wait to become one.", _of_list, run, _CODES)
COMPARE: Final = Command("Put two versions or runs side by side.", _of_compare, run, _CODES)
LINEAGE: Final = Command(
    "Check by hash where the model in --models is from, or find models by what they were made from.",
    _of_lineage,
    _run_lineage,
    _CODES,
)
