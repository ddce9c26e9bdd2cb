"""`wms promote`, `rollback`, and the facts about Production in `wms versions` for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from wms.command import Command, any_path, new_folder, own_file, recorded, whole
from wms.errors import DECLINED, ModelNotFoundError, UsageError
from wms.names import harmless, tell
from wms.paths import ROOT
from wms.project import project
from wms.registry import promotion
from wms.registry.adoption import propose_adoption
from wms.registry.companions import read_documents
from wms.registry.ledger import FOLDER, Ledger
from wms.registry.lineage import FILES
from wms.registry.metadata import BEGINNING, METADATA, baseline_json, metadata_fault, read_metadata, write_metadata
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.plan import Proposal
from wms.registry.promotion import PromotionClient, PromotionOutcome
from wms.registry.standing import require_entry
from wms.settings import TrackingSettings
from wms_ops.base.outputs import github_run, put_outputs
from wms_ops.base.question import agrees
from wms_ops.gate.witnesses import witnesses_of
from wms_ops.git.records import require_history, require_sound
from wms_ops.pulls.gh import GitHub
from wms_ops.release.actor import who
from wms_ops.release.publish import publish_documents, publish_model, publish_release, release_documents
from wms_ops.storage.config import read_remote
from wms_ops.storage.remote import S3Remote


def _promote(arguments: argparse.Namespace) -> int:
    """Promote a run or a version, roll back, repair or adopt; returns 0 also if nothing was left to do.

    Raises WmsError.
    """
    _refuse_nonsense(arguments)
    promotions = _client_of(arguments)
    if arguments.repair:
        return _restore(arguments)
    require_sound(arguments.ledger)  # damage is refused before anything changes
    read_metadata(arguments.metadata, promotions.ledger)
    proposal = _propose(promotions, arguments)
    if isinstance(proposal, Proposal):
        print(harmless(proposal.text, keep="\n"))
        if not arguments.yes and not agrees("Go on?", "add --yes"):
            print("Nothing was changed.")
            return DECLINED
        _publish(
            promotions.registry, proposal.facts.run_id, arguments
        )  # before it's Production: it can be fetched then
        proposal = promotion.execute(promotions, proposal, who=who(), github_run=github_run())
    else:
        if arguments.force and (told := promotion.go_on(promotions, proposal.entry.run_id, who(), arguments.force)):
            tell(told)
        _publish(promotions.registry, proposal.entry.run_id, arguments)
    _publish_card(promotions.registry, proposal, arguments)
    _tell(proposal)
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    """Restore aliases, tags and files from the ledger; returns 0. Raises WmsError."""
    done = promotion.repair(_client_of(arguments))
    tell(done.text if done else "Nothing was ever promoted here, so there is nothing to repair.")
    return 0


def _metadata(arguments: argparse.Namespace) -> int:
    """Write model-metadata.json from the ledger, first updated from the registry if MLFLOW_TRACKING_URI is set."""
    _require_ledger(arguments.ledger)
    require_history(arguments.ledger)
    ledger = Ledger(arguments.ledger)
    if TrackingSettings.read().mlflow_tracking_uri:
        promotions = _client_of(arguments)
        standing = promotions.settle()
        require_entry(standing, promotions.registry.server)
        head = standing.chain.head
    else:
        head = ledger.current()
        if head is not None:
            ledger.write_current(head)
            write_metadata(head, arguments.metadata)
    if head is None:
        if not _reset(arguments.metadata, ledger):
            raise ModelNotFoundError(
                "Nothing was ever promoted, so there is nothing to write; use `wms promote` first."
            )
        print(f"{arguments.metadata} was damaged; now it says that no model is Production yet.")
        return 0
    print(f"{arguments.metadata} describes version {head.to_version} (run {head.run_id}).")
    return 0


def _reset(path: Path, ledger: Ledger) -> bool:
    """Replace a damaged model-metadata.json where nothing was ever promoted; returns whether it was damaged."""
    return bool(path.exists() and metadata_fault(path, ledger)) and write_metadata(None, path)


def _baseline(arguments: argparse.Namespace) -> int:
    """Print Production's version, run, Dice and IoU as JSON; zeros and a note if nothing ever was Production."""
    _require_ledger(arguments.ledger)
    require_sound(arguments.ledger)
    uri, ledger = TrackingSettings.read().mlflow_tracking_uri or None, Ledger(arguments.ledger)
    print(baseline_json(uri, ledger, arguments.model, witnesses_of(arguments.ledger, arguments.model)))
    return 0


def _require_ledger(folder: Path) -> None:
    """Raise UsageError for a missing folder if no registry is there to ask instead."""
    if not TrackingSettings.read().mlflow_tracking_uri and not folder.is_dir():
        raise UsageError(f"{folder} isn't a folder, so no ledger lies there; name another one by --ledger.")


def _client_of(arguments: argparse.Namespace) -> PromotionClient:
    uri = ModelRegistry.from_environment().uri
    witnesses = witnesses_of(arguments.ledger, arguments.model)
    return PromotionClient(uri, Ledger(arguments.ledger), arguments.metadata, arguments.model, witnesses=witnesses)


def _publish(registry: ModelRegistry, run_id: str, arguments: argparse.Namespace) -> None:
    """Copy a run's model to the requested destinations; files already uploaded aren't sent again."""
    if not arguments.publish and not arguments.publish_release:
        return
    files = {name: registry.read_artifact(run_id, f"model/{name}") for name in FILES}
    if arguments.publish:
        store = S3Remote(read_remote(ROOT))
        sent = publish_model(store, files)
        print(f"{store.config.url} {'has got' if sent else 'has'} the model's files.")
    if arguments.publish_release:
        sent = publish_release(GitHub(ROOT), files)
        print(f"A release on GitHub {'has got' if sent else 'has'} the model's files.")


def _publish_card(registry: ModelRegistry, outcome: PromotionOutcome, arguments: argparse.Namespace) -> None:
    """Bring the model card to the destinations of the model's files: it exists only once the model is Production."""
    if not arguments.publish and not arguments.publish_release:
        return
    documents, weights = read_documents(registry, outcome.entry.run_id), outcome.entry.weights_sha256
    if arguments.publish:
        publish_documents(S3Remote(read_remote(ROOT)), weights, documents)
    if arguments.publish_release:
        release_documents(GitHub(ROOT), weights, documents)


def _of_promote(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run's id, or its name such as run_20261121_103000_...")
    parser.add_argument("--version", type=whole(1), metavar="N", help="a registered version instead of a run")
    parser.add_argument(
        "--adopt",
        type=whole(1),
        metavar="VERSION",
        help="begin the ledger with a version that is Production without one",
    )
    parser.add_argument(
        "--force", type=recorded, metavar="REASON", help="promote without the gate; the reason goes on record"
    )
    # promote-model.py had these before `wms rollback` and `wms restore`.
    parser.add_argument("--rollback", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--repair", action="store_true", help=argparse.SUPPRESS)
    _add_change(parser)


def _of_rollback(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", type=whole(1), metavar="N", help="an earlier Production (default: the one before)")
    _add_change(parser)
    parser.set_defaults(run=None, adopt=None, force=None, rollback=True, repair=False)


def _add_change(parser: argparse.ArgumentParser) -> None:
    text = "why it is rolled back or adopted, for the ledger"
    parser.add_argument("--reason", type=recorded, default="", metavar="TEXT", help=text)
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument("--publish", action="store_true", help="first copy the files to S3, for `wms sync --from s3`")
    parser.add_argument("--publish-release", action="store_true", help="and to a GitHub release, for `wms sync`")
    add_files(parser)


def _add_ledger(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ledger", type=new_folder, default=FOLDER, metavar="DIR", help="where the ledger lies")
    parser.add_argument(
        "--model", default=project().model, metavar="NAME", help="registered model (default %(default)s)"
    )


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the places of the ledger and of model-metadata.json, and the model's name."""
    _add_ledger(parser)
    kind = own_file(BEGINNING, named=METADATA.name, kind=any_path)
    parser.add_argument("--metadata", type=kind, default=METADATA, metavar="FILE", help="model-metadata.json")


def _refuse_nonsense(arguments: argparse.Namespace) -> None:
    named = (arguments.run is not None) + (arguments.version is not None)
    if arguments.repair:
        if named or arguments.rollback or arguments.adopt is not None:
            raise UsageError("--repair stands alone.")
    elif arguments.adopt is not None:
        if named or arguments.rollback or arguments.force is not None:
            raise UsageError("--adopt VERSION goes alone, or with --reason TEXT.")
    elif arguments.rollback:
        if arguments.run is not None or arguments.force is not None:
            raise UsageError("--rollback goes with --version N or alone, and with --reason TEXT.")
    elif named > 1:
        raise UsageError("A run and --version N exclude each other; give one of them.")
    elif not named:
        raise UsageError("Give a run or --version N; `wms promote --help` shows all there is.")
    elif arguments.force is not None and not arguments.force.strip():
        raise UsageError("--force needs a reason, which goes on record.")


def _propose(promotions: PromotionClient, arguments: argparse.Namespace) -> Proposal | PromotionOutcome:
    if arguments.adopt is not None:
        return propose_adoption(promotions, arguments.adopt, reason=arguments.reason)
    if arguments.rollback:
        return promotion.propose_rollback(promotions, arguments.version, reason=arguments.reason)
    if arguments.run is not None:
        run_id = promotions.registry.find_run(arguments.run).run_id
    else:
        found = [one for one in promotions.registry.versions() if one.version == arguments.version]
        if not found:
            raise ModelNotFoundError(
                f"The registry at {promotions.registry.server} has no version {arguments.version}."
            )
        run_id = found[0].run_id
    return promotion.propose(promotions, run_id, force=arguments.force)


def _tell(outcome: PromotionOutcome) -> None:
    print(harmless(outcome.text, keep="\n"))
    entry = outcome.entry
    put_outputs({"version": entry.to_version, "run_id": entry.run_id, "changed": outcome.changed})


PROMOTE: Final = Command("Make a run or a registered version Production.", _of_promote, _promote)
ROLLBACK: Final = Command("Go back to an earlier Production.", _of_rollback, _promote)
METADATA_FILE: Final = Command("Write model-metadata.json for the model that is Production.", add_files, _metadata)
BASELINE: Final = Command(
    "Print the Dice and IoU that a new model has to beat, as one line of JSON.", _add_ledger, _baseline
)
