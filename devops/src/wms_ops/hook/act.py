"""Handles a push that carries photos to main: publishes the photos, then reports the result."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from wms.project import project
from wms.text import counted
from wms_ops.base.errors import CredentialsMissingError, PushRefusedError
from wms_ops.base.layout import main_branch
from wms_ops.dataset.inbox import inbox_files, pair_up
from wms_ops.dataset.plan import NewFile
from wms_ops.dataset.publish import Publication, Watch, publish
from wms_ops.dataset.raw import RawPush, push_raw
from wms_ops.dataset.returned import read_returned
from wms_ops.dataset.stored import without_places
from wms_ops.git.command import Git
from wms_ops.hook.refs import PushedRef
from wms_ops.storage.codes import is_without_keys


def divert(git: Git, ref: PushedRef, remote: str, url: str, *, others: Sequence[PushedRef]) -> None:
    """Publish the photos of `ref` and print the result; without any keys, push them for a workflow to publish.

    Raises the errors of `publish` and `push_raw`.
    """
    # A hook gets no options, so permission to replace a photo comes as `git -c wms.replace=true push`.
    replace = (git.config("wms.replace") or "").lower() in ("true", "yes", "on", "1")
    try:
        done = publish(git, ref.local_commit, url, replace=replace, watch=Watch(say=_say))
        warnings, places, lines, new = done.warnings, done.places, _told(done, remote), done.branch
        stems = [*done.plan.added, *done.plan.replaced, *done.plan.present]
    except CredentialsMissingError as error:
        if not is_without_keys(error):
            raise
        if replace:
            raise PushRefusedError(
                "Photos of the data set can be replaced only with keys to its bucket, and there are none here, so "
                "nothing was pushed: ask a colleague who has keys, or give the new photos other names."
            ) from error
        raw = push_raw(git, ref.local_commit, url, Watch(say=_say))
        warnings, places, lines, new = raw.warnings, raw.places, _told_raw(raw, remote), raw.branch
        stems = [pair.stem for pair in raw.pairs]
    for warning in warnings[:5]:
        _say(f"warning: {warning}")
    if len(warnings) > 5:
        _say(f"warning: and {len(warnings) - 5} more of them")
    if places:
        _say(without_places(places))
    for line in lines:
        _say(line)
    if new and read_returned(git):
        from wms_ops.pulls.blocked import replace_returned

        replace_returned(git, url, new, stems, remote=remote, say=_say)
    _say("You will see `error: failed to push some refs`. That is expected: no photo may lie in Git.")
    if others:
        names = ", ".join(other.remote_name.split("/", 2)[-1] for other in others)
        _say(f"Not pushed with it: {names}. Push that again by itself.")
    if tags := [other.remote_name.split("/", 2)[-1] for other in others if other.is_tag and not other.deletes]:
        _say(
            f"A tag on commits with photos can't be pushed either: once they are taken out, put {', '.join(tags)} onto "
            f"your new commit (`git tag --force {shlex.quote(tags[0])}`, with -a as before), and push the tag then."
        )
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
        return [
            f"What this push brings ({counted(len(done.plan.present), 'photo')}) is in the data set already; "
            "nothing was done."
        ]
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


def _told_raw(raw: RawPush, remote: str) -> list[str]:
    if raw.repeated and not raw.raw:
        return [f"These photos were merged already: {raw.branch} on {remote} has them; nothing was done."]
    if raw.repeated:
        return [f"These photos are on branch {raw.branch} already and wait there for GitHub; nothing was done."]
    return [
        f"There are no AWS keys here, so GitHub merges these photos: all {len(raw.pairs)} passed the data check, and "
        f"branch {raw.branch} on {remote} holds them with their masks.",
        "Without keys nobody can see here whether the data set has one of the names already. If it has, the "
        f"pipeline at GitHub refuses {raw.branch} and says so.",
    ]


def take_back_command(git: Git, ref: PushedRef, remote: str) -> str:
    """The command that takes the photos out of the pushed branch's commits and touches nothing else."""
    branch = ref.local_name.removeprefix("refs/heads/")
    out = git.attempt("symbolic-ref", "--quiet", "--short", "HEAD").stdout.decode("utf-8", "surrogateescape").strip()
    named = ["--commits-of", branch] if ref.local_name.startswith("refs/heads/") and branch != out else []
    elsewhere = ["--remote", remote] if remote != project().remote else []
    return shlex.join(["wms", "data", "take-back", *elsewhere, *named])


def _say(line: str) -> None:
    print(f"wms: {line}", file=sys.stderr, flush=True)
