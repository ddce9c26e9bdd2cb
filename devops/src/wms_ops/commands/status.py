"""`wms status`: a screen about branch, data set, Production, instance, the loop's runs and open data branches."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from wms.command import Command, folder
from wms.json_text import to_json
from wms.names import harmless
from wms.paths import ROOT
from wms.project import project
from wms.registry.ledger import Ledger
from wms_ops.base.layout import DATA_BRANCHES, LOOP, MODELS
from wms_ops.base.settings import GitSettings
from wms_ops.commands.advice import reason
from wms_ops.commands.cloud import facts, module_of
from wms_ops.commands.newer import ask_registry, import_client
from wms_ops.commands.parallel import LIMIT_S, ask_all
from wms_ops.dataset.versions import pointers_at
from wms_ops.git.command import Git
from wms_ops.git.records import find_fault, require_history
from wms_ops.runs.store import RunStore
from wms_ops.targets.factory import chosen_target, cloud_in

_LAST_RUNS: Final = 3

Part = dict[str, Any]


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the screen."""
    parser.add_argument("--repo", type=folder, default=ROOT, metavar="DIR", help="the clone (default: this project's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(options: argparse.Namespace) -> int:
    """Print the state; returns 0, also offline: a part that couldn't be read says so."""
    import_client()
    answers = ask_all(_QUESTIONS, options.repo)
    found = {name: _part(answer) for name, answer in answers.items()}
    if options.json:
        print(to_json(found, indent=2))
        return 0
    for name, part in found.items():
        text = part["unknown"] if "unknown" in part else _TEXTS[name](part)
        print(harmless(f"{name.replace('_', ' '):13} {text}", keep="\n"))
    return 0


def _part(answer: object) -> Part:
    """The answer, or a sentence about its absence under the key `unknown`."""
    if isinstance(answer, dict):
        return answer
    why = reason(answer) if isinstance(answer, Exception) else f"no answer within {LIMIT_S:.0f} s"
    return {"unknown": f"not known: {why}"}


def repository(repo: Path) -> Part:
    """Folder, branch and commit. Raises GitError outside of a clone."""
    git = Git(repo)
    changed = git("status", "--porcelain", "--untracked-files=no")
    branch = git("rev-parse", "--abbrev-ref", "HEAD")
    return {"folder": str(repo), "branch": branch, "commit": git("rev-parse", "HEAD"), "changed": bool(changed)}


def data_set(repo: Path) -> Part:
    """The data set's version at the checked-out commit, as its .dvc files name it. Raises ManifestError, GitError."""
    pointers = pointers_at(Git(repo), "HEAD")
    if not pointers:
        return {"version": None, "images": 0, "bytes": 0}
    images = pointers["images"]
    return {"version": images.oid.removesuffix(".dir"), "images": images.nfiles, "bytes": images.size}


def production(repo: Path) -> Part:
    """Production by the ledger of this clone, what is wrong with the records, and whether the registry is ahead.

    Raises LedgerError.
    """
    require_history(repo / MODELS)
    entry = Ledger(repo / MODELS).current()
    fault = find_fault(repo)
    damage = {"damage": str(fault.error)} if fault else {}
    if view := ask_registry(repo, Ledger(repo / MODELS).entries()):
        damage["registry"] = view.text
    if entry is None:
        return {"version": None} | damage
    scores = {"dice": entry.metrics.dice, "iou": entry.metrics.iou}
    return {"version": entry.to_version, "run_id": entry.run_id, "since": entry.at, **scores} | damage


def instance(repo: Path) -> Part:
    """The present instance of the target named by WMS_CLOUD. Raises the target's errors."""
    name = chosen_target()
    cloud = cloud_in(repo / LOOP, lambda _: None, name)
    more: Part = module_of(name).summary(cloud)
    return facts(cloud) | more


def loop_runs(repo: Path) -> Part:
    """The newest runs of the loop on this machine, and a sentence for each damaged record."""
    records, damaged = RunStore(repo / LOOP / "runs").read_all()
    newest = reversed(records[-_LAST_RUNS:])
    found: Part = {"runs": [{"id": one.id, "outcome": str(one.outcome), "reason": one.reason} for one in newest]}
    return found | ({"damaged": [str(error) for error in damaged]} if damaged else {})


def data_branches(repo: Path) -> Part:
    """Data branches at the origin; offline those of the last fetch."""
    # Short limits and no prompts: the screen has to appear offline, too.
    git = Git(repo, {"http.lowSpeedLimit": "1000", "http.lowSpeedTime": "5"})
    told = GitSettings.read()
    silent = {
        "GIT_TERMINAL_PROMPT": told.git_terminal_prompt or "0",
        "GIT_SSH_COMMAND": told.git_ssh_command or "ssh -o BatchMode=yes -o ConnectTimeout=5",
    }
    asked = git.attempt("ls-remote", "--heads", project().remote, f"refs/heads/{DATA_BRANCHES}*", environ=silent)
    if asked.returncode == 0:
        lines = asked.stdout.decode("utf-8", "replace").splitlines()
        return {"branches": [line.split("\trefs/heads/")[1] for line in lines], "asked": True}
    known = git("for-each-ref", "--format=%(refname:lstrip=3)", f"refs/remotes/{project().remote}/{DATA_BRANCHES}*")
    return {"branches": known.split(), "asked": False}


def _instance_text(part: Part) -> str:
    more = [f"until {part['until']}" if part.get("until") else "", part.get("mlflow") or "", part.get("cost", "")]
    return ", ".join([f"{part['target']}: {part['state']}", *filter(None, more)])


def _production_text(part: Part) -> str:
    damage = "".join(f"\n{'':14}{part[name]}" for name in ("damage", "registry") if name in part)
    if part["version"] is None:
        return f"no model is Production yet{damage}"
    scores = f"Dice {part['dice']:.4f}, IoU {part['iou']:.4f}"
    return f"version {part['version']}, {scores}, since {part['since'][:16]}{damage}"


def _runs_text(part: Part) -> str:
    lines = [f"{one['id']}  {one['outcome']}  {one['reason']}".rstrip() for one in part["runs"]]
    lines += part.get("damaged", [])
    return f"\n{'':14}".join(lines) or "none on this machine yet"


def _branches_text(part: Part) -> str:
    listed = ", ".join(part["branches"]) or "none"
    return listed if part["asked"] else f"{listed} by the last fetch (the origin didn't answer)"


def _data_text(part: Part) -> str:
    if part["version"] is None:
        return "empty: no photos were merged yet"
    return f"{part['images']} photos, version {part['version'][:12]}"


_QUESTIONS: Final[Mapping[str, Callable[[Path], Part]]] = {
    "repository": repository,
    "data_set": data_set,
    "production": production,
    "instance": instance,
    "loop_runs": loop_runs,
    "data_branches": data_branches,
}
_TEXTS: Final[Mapping[str, Callable[[Part], str]]] = {
    "repository": lambda part: (
        f"{part['folder']}, branch {part['branch']}, commit {part['commit'][:10]}{', changed' * part['changed']}"
    ),
    "data_set": _data_text,
    "production": _production_text,
    "instance": _instance_text,
    "loop_runs": _runs_text,
    "data_branches": _branches_text,
}

COMMAND: Final = Command(
    "Show on one screen: branch, data set, Production, instance, the loop's runs, open data branches.", declare, run
)
