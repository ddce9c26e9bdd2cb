"""Handles a push that carries photos to main: publishes the photos, then reports the result."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from wms.project import project
from wms_ops.base.layout import main_branch
from wms_ops.dataset.inbox import inbox_files, pair_up
from wms_ops.dataset.plan import NewFile
from wms_ops.dataset.publish import Publication, Watch, publish
from wms_ops.git.command import Git
from wms_ops.hook.refs import PushedRef


def divert(git: Git, ref: PushedRef, remote: str, url: str, *, others: Sequence[PushedRef]) -> None:
    """Publish the photos of `ref` and print the result. Raises the errors of `publish`."""
    # A hook gets no options, so permission to replace a photo comes as `git -c wms.replace=true push`.
    replace = (git.config("wms.replace") or "").lower() in ("true", "yes", "on", "1")
    done = publish(git, ref.local_commit, url, replace=replace, watch=Watch(say=_say))
    for warning in done.warnings[:5]:
        _say(f"warning: {warning}")
    if len(done.warnings) > 5:
        _say(f"warning: and {len(done.warnings) - 5} more of them")
    for line in _told(done, remote):
        _say(line)
    _say("You will see `error: failed to push some refs`. That is expected: no photo may lie in Git.")
    if others:
        names = ", ".join(other.remote_name.split("/", 2)[-1] for other in others)
        _say(f"Not pushed with it: {names}. Push that again by itself.")
    _say(f"Take the photos out of your commits, and keep all else, by: {take_back_command(git, ref, remote)}")


def foretell(git: Git, ref: PushedRef) -> None:
    """Describe what `divert` would do, and change nothing. Raises DataQualityError, PairingError as `divert` would."""
    files = inbox_files(git, ref.local_commit)
    pairs = pair_up([(file.kind, NewFile(file.name, file.blob, 0)) for file in files])
    _say(
        f"dry run: {len(pairs)} photos with their masks would be checked. Those that the data set lacks would be put "
        f"on a data branch. The push to {main_branch()} would be stopped. This was a trial: nothing was changed."
    )


def _told(done: Publication, remote: str) -> list[str]:
    if done.branch is None:
        return [f"All {len(done.plan.present)} photos of this push are in the data set already; nothing was done."]
    if done.repeated:
        return [f"These photos are on branch {done.branch} already; nothing was done."]
    card = [f"What the data set holds now: {done.card.page}"] if done.card else []
    return [
        done.plan.summary,
        f"Uploaded {done.uploaded} files ({done.bytes_up / 1e6:.1f} MB); every file of the new version was found in "
        f"{done.where}.",
        f"Branch {done.branch} is on {remote}. It holds pointers only. A run of the loop opens its pull request.",
        *card,
    ]


def take_back_command(git: Git, ref: PushedRef, remote: str) -> str:
    """The command that takes the photos out of the pushed branch's commits and touches nothing else."""
    branch = ref.local_name.removeprefix("refs/heads/")
    out = git.attempt("symbolic-ref", "--quiet", "--short", "HEAD").stdout.decode("utf-8", "surrogateescape").strip()
    named = [branch] if ref.local_name.startswith("refs/heads/") and branch != out else []
    elsewhere = ["--remote", remote] if remote != project().remote else []
    return shlex.join(["wms", "data", "take-back", *elsewhere, *named])


def _say(line: str) -> None:
    print(f"wms: {line}", file=sys.stderr, flush=True)
