"""What the hook does with a push that carries photos to main: publish them, then say what was done."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from wms_ops.dataset.layout import INBOX, MAIN
from wms_ops.dataset.publish import Publication, Watch, publish
from wms_ops.git import Git
from wms_ops.hook.refs import PushedRef


def divert(git: Git, ref: PushedRef, remote: str, url: str, *, others: Sequence[PushedRef]) -> None:
    """Publish the photos of `ref` and print the result. Raises what `publish` raises."""
    replace = (git.config("wms.replace") or "").lower() in ("true", "yes", "on", "1")
    done = publish(git, ref.local_commit, url, replace=replace, watch=Watch(say=_say))
    for warning in done.warnings[:5]:
        _say(f"warning: {warning}")
    if len(done.warnings) > 5:
        _say(f"warning: and {len(done.warnings) - 5} more of them")
    for line in _told(done, remote):
        _say(line)
    _say(f"The push was stopped on purpose, so that no photo lies in {MAIN} itself; git calls that an error below.")
    if others:
        names = ", ".join(other.remote_name.split("/", 2)[-1] for other in others)
        _say(f"Not pushed with it: {names}. Push that again by itself.")
    _say(f"Bring your {MAIN} back in step: {back_in_step(git, ref, done.base)}")


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
        f"Branch {done.branch} is on {remote}: it holds pointers only, and its pull request is where training starts.",
        *card,
    ]


def back_in_step(git: Git, ref: PushedRef, base: str) -> str:
    """The one command after which the local branch is as over there, with all that isn't a photo kept."""
    if not git.ok("cat-file", "-e", f"{base}^{{commit}}"):
        return f"git pull --rebase, after git rm -r --cached {INBOX}"
    start = git("merge-base", ref.local_commit, base) if git.ok("merge-base", ref.local_commit, base) else base
    changed = git.names("diff-tree", "-r", "-z", "--name-only", start, ref.local_commit)
    if all(name.startswith(f"{INBOX}/") for name in changed):
        return f"git reset --keep {base[:12]}"
    subject = ref.local_commit[:12]
    keep = f"git restore --source={start[:12]} --staged --worktree -- {INBOX}"
    return f"git reset --soft {start[:12]} && {keep} && git commit -C {subject}"


def _say(line: str) -> None:
    print(f"wms: {line}", file=sys.stderr, flush=True)
