"""`wms init`: the names of a team's own repository, and the data set and the model that the team has already."""

from __future__ import annotations

import argparse
import shlex
from typing import Final

from wms.command import Command, any_path, whole
from wms.errors import DECLINED, UsageError
from wms.paths import ROOT
from wms.project import MEANINGS, Project, why_refused
from wms_ops.base.errors import CredentialsExpiredError, CredentialsMissingError, StoreUnreachableError
from wms_ops.base.layout import METADATA, MODELS
from wms_ops.base.question import agrees, ask, on_terminal
from wms_ops.base.settings import StoreSettings
from wms_ops.git.command import Git, here
from wms_ops.setup.data import Adoption, plan_adoption
from wms_ops.setup.files import Change, changes, remote_of, write
from wms_ops.setup.names import NAMES, choose, option, propose, remotes
from wms_ops.setup.owners import PATH as CODEOWNERS
from wms_ops.setup.owners import owner_changes
from wms_ops.storage.config import URL_VARIABLE
from wms_ops.storage.marker import claim
from wms_ops.storage.remote import S3Remote

_INSTEAD: Final = "add --yes"
_SILENT: Final = (CredentialsMissingError, CredentialsExpiredError, StoreUnreachableError)


def _declare(parser: argparse.ArgumentParser) -> None:
    for name in NAMES:
        parser.add_argument(option(name), metavar="NAME" if name != "bucket" else "URL", help=MEANINGS[name])
    parser.add_argument(
        "--owner",
        nargs="+",
        default=[],
        metavar="OWNER",
        help="who reviews code at GitHub: @USER, @ORG/TEAM",
    )
    parser.add_argument(
        "--data",
        nargs="+",
        type=any_path,
        metavar="FILE",
        help="adopt a data set that is in DVC: the .dvc files of photos and of masks, or one with both folders",
    )
    parser.add_argument("--images", default="images", metavar="FOLDER", help="folder of photos in that one .dvc file")
    parser.add_argument("--masks", default="masks", metavar="FOLDER", help="folder of masks (default %(default)s)")
    parser.add_argument(
        "--adopt-model",
        nargs="?",
        type=whole(1),
        const=0,
        metavar="VERSION",
        help="begin the ledger with the version that MLflow has as Production, or with this one",
    )
    parser.add_argument("--alias", default="", help="the alias of that version, if it isn't production")
    parser.add_argument("--yes", action="store_true", help="don't ask; take the proposals")


def _run(arguments: argparse.Namespace) -> int:
    """Write the names; returns 0, or DECLINED after a no. Raises UsageError, and the errors of what is adopted."""
    if arguments.alias and arguments.adopt_model is None:
        raise UsageError("--alias goes with --adopt-model.")
    git = here()
    _refuse_other_project(git)
    proposed, given = propose(git, arguments.remote), {name: getattr(arguments, name) for name in NAMES}
    asks = on_terminal() and not arguments.yes and not arguments.data and arguments.adopt_model is None
    asks = asks and not any(value is not None for value in given.values()) and not arguments.owner
    names = _asked(proposed) if asks else choose(proposed, given)
    wanted = (*changes(git.folder, names), *owner_changes(git.folder, arguments.owner))
    adoption = _adoption(git, names, arguments)
    wanted += adoption.pointers if adoption else ()
    _show(names, wanted)
    if asks and wanted and not agrees("Write this?", _INSTEAD):
        print("Nothing was changed.")
        return DECLINED
    _claim(git, names)
    write(git.folder, wanted)
    if adoption:
        _tell(adoption)
    if arguments.adopt_model is not None:
        _adopt_model(git, names, arguments.adopt_model or None, arguments.alias)
    _say_next(git, names)
    return 0


def _refuse_other_project(git: Git) -> None:
    """Raise UsageError in a repository without this project; name both clones if the code is another clone's."""
    if not (git.folder / "hooks" / "pre-push").is_file():
        raise UsageError(
            f"{git.folder} doesn't hold this project, so nothing was written: merge the project first, as docs/SETUP.md"
            " says, or run this in the clone that has it."
        )
    if git.folder.resolve() != ROOT.resolve():
        print(f"These are the names of {git.folder}; the code that runs, and its other commands, are those of {ROOT}.")


def _asked(proposed: Project) -> Project:
    """Ask for each name; the Enter key alone takes the proposal. Raises UsageError, KeyboardInterrupt."""
    for name in NAMES:
        shown = getattr(proposed, name)
        while answer := ask(f"{MEANINGS[name]} [{shown}]: ", _INSTEAD):
            if not (reason := why_refused(name, answer)):
                proposed = choose(proposed, {name: answer})
                break
            print(f"That is {answer!r}, {reason}.")
    return proposed


def _adoption(git: Git, names: Project, arguments: argparse.Namespace) -> Adoption | None:
    """Plan the adoption of a data set, and send the manifests that it lacks; None without one."""
    if not arguments.data:
        return None
    store = S3Remote(remote_of(git.folder, names))
    adoption = plan_adoption(git.folder, arguments.data, (arguments.images, arguments.masks), store)
    claim(store, names.project)
    store.upload(adoption.manifests)  # before the pointers, which promise that the manifests are stored
    return adoption


def _claim(git: Git, names: Project) -> None:
    """Mark the bucket as this project's, if the store answers. Raises StoreConfigError for another project's."""
    if not names.bucket:
        return
    later = "whether the bucket is free for this project is checked at the first push"
    if StoreSettings.read().wms_dvc_url:
        print(f"{URL_VARIABLE} leads to another bucket on this machine, so {later} without it.")
        return
    store = S3Remote(remote_of(git.folder, names))
    try:
        new = claim(store, names.project)
    except _SILENT as error:
        print(f"{error}\nSo {later}.")
        return
    print(f"{store.config.url} is {'now ' if new else ''}marked as this project's.")


def _show(names: Project, wanted: tuple[Change, ...]) -> None:
    for name in NAMES:
        print(f"  {name:12} {getattr(names, name) or '(not chosen yet)'}")
    if not wanted:
        print("The files say all of this already; nothing was changed.")
    for change in wanted:
        print(f"{change.path}: {change.what}")


def _tell(adoption: Adoption) -> None:
    left = f"; {adoption.left_out} other files of the directory stay outside" if adoption.left_out else ""
    count = len(adoption.version.pairs)
    print(f"Adopted {count} photos with their masks: all of them are in the bucket, and none was moved{left}.")


def _adopt_model(git: Git, names: Project, version: int | None, alias: str) -> None:
    from wms.registry.ledger import Ledger
    from wms.registry.mlflow_store import ModelRegistry
    from wms.registry.promotion import PromotionClient
    from wms_ops.gate.witnesses import witnesses_of
    from wms_ops.release.actor import who
    from wms_ops.setup.model import adopt

    uri = ModelRegistry.from_environment().uri
    files = Ledger(git.folder / MODELS), git.folder / METADATA
    witnesses = witnesses_of(git.folder / MODELS, names.model)
    print(adopt(PromotionClient(uri, *files, names.model, witnesses=witnesses), version, alias, who=who()))


def _say_next(git: Git, names: Project) -> None:
    """Print the commands that bring the names to everybody."""
    paths = git.names("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    written = ("wms.toml", ".gitignore", ".dvc/config", ".github/workflows/", CODEOWNERS)
    ours = (*written, "WMS/data/dataset/", f"{MODELS}/", METADATA)
    files = [path[3:] for path in paths if path[3:].startswith(ours)]
    branch_there = f"refs/remotes/{names.remote}/{names.main_branch}"
    if names.remote in remotes(git) and not git.ok("rev-parse", "--verify", "--quiet", branch_there):
        print(f"{names.remote} has no branch {names.main_branch} as far as this clone knows; the first push makes it.")
    print("Next:")
    if names.remote not in (known := remotes(git)):
        new = f"rename {known[0]} {names.remote}" if len(known) == 1 else f"add {names.remote} URL"
        print(f"  git remote {new}")
    if files:
        branch = git.attempt("symbolic-ref", "--quiet", "--short", "HEAD").stdout.decode("utf-8", "replace").strip()
        target = names.main_branch if branch == names.main_branch else f"HEAD:{names.main_branch}"
        print(f"  git add {shlex.join(files)}")
        print('  git commit -m "Name this project"')
        print(f"  git push {names.remote} {target}")
    if not names.bucket:
        print("  wms init --bucket s3://BUCKET/dvc")
    print("  wms hook\n  wms doctor")


COMMAND: Final = Command(
    "Name this project: in wms.toml, in .dvc/config and in the workflows. Asks for each name in a terminal; with "
    "options or --yes it takes those, and proposals for the rest. Repeated, it changes nothing.",
    _declare,
    _run,
)
