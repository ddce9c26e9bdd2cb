"""The pre-push hook's entry: `python -m wms_ops.hook.main REMOTE URL`, with the pushed refs on standard input."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from wms.errors import UsageError, WmsError, run_main
from wms_ops.base.errors import PushRefusedError
from wms_ops.base.layout import KINDS, inbox, main_branch
from wms_ops.git.command import Git, repository_of_hook
from wms_ops.hook.dry_run import SETTING, is_dry_run
from wms_ops.hook.pictures import added_by, refuse_pictures
from wms_ops.hook.refs import (
    PushedRef,
    may_change_data_set,
    parse,
    photos_in,
    photos_left,
    refuse_deletion,
    refuse_elsewhere,
    refuse_strays,
    refuse_unknown,
)

STOPPED = 1
"""The exit code of a push that was stopped because its photos went to a data branch: git pushes nothing then."""


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 to let the push go on. Raises WmsError."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 2:
        raise UsageError("The hook takes the remote's name and its URL, as git gives them to hooks/pre-push.")
    git = repository_of_hook().at_address(arguments[1])
    try:
        return _look(git, *arguments)
    except WmsError:
        _say_if_dry(git)
        raise


def _look(git: Git, remote: str, url: str) -> int:
    refs = parse(sys.stdin.read().splitlines())
    refuse_unknown(git, refs)
    carrying = {ref: photos for ref in refs if (photos := photos_in(git, ref, remote))}
    # All refs are checked before any photo is published: a refused ref stops the whole push.
    to_main = [ref for ref in carrying if ref.to_main]
    for ref, photos in carrying.items():
        # A tag beside main (`git push --follow-tags`) waits: main's photos are published, and the push is stopped.
        if not (ref.is_tag and to_main and set(photos) <= set(carrying[to_main[0]])):
            refuse_elsewhere(ref, photos)
        refuse_strays(photos)
    refuse_pictures(git, refs, remote)
    for ref in refs:
        _refuse_private(git, ref, remote)
    for ref in refs:
        refuse_deletion(ref)
        _refuse_more_than_data(git, ref, remote)
        # A ref that carries photos to main is stopped in any case, so its pointers don't reach main.
        if ref not in carrying and may_change_data_set(git, ref, remote):
            from wms_ops.hook.pointers import refuse_worse_data_set

            refuse_worse_data_set(git, ref, url)
    if not to_main:
        return _unless_a_trial(git)
    # Git itself refuses a push with two sources for main.
    (ref,) = to_main
    left = photos_left(git, ref.local_commit)
    if not left:
        from wms_ops.hook.act import take_back_command

        raise PushRefusedError(
            f"A commit of this push adds {carrying[ref][0]!r} (and {len(carrying[ref]) - 1} more) that a later one "
            f"removes: they would stay in {main_branch()}'s history for good, so nothing was pushed. Take them out of "
            f"your commits, and keep all else, by: {take_back_command(git, ref, remote)}"
        )
    from wms_ops.hook.act import divert, foretell

    if is_dry_run(git):
        foretell(git, ref)
        return STOPPED
    divert(git, ref, remote, url, others=[other for other in refs if other != ref])
    return STOPPED


def _unless_a_trial(git: Git) -> int:
    """Let the push go on, unless the user switched trials on."""
    if git.switched(SETTING):
        print(f"wms: {SETTING} is on: the push would pass, and nothing was pushed.", file=sys.stderr)
        return STOPPED
    return 0


def _refuse_more_than_data(git: Git, ref: PushedRef, remote: str) -> None:
    """Refuse changes that the loop wouldn't accept from a data branch: better now than after the push."""
    if ref.deletes or not ref.takes_photos:
        return
    tip, main = git.commits(ref.local_commit, f"refs/remotes/{remote}/{main_branch()}")
    if tip and main:
        from wms_ops.dataset.review import refuse_foreign

        refuse_foreign(git, main, tip, ref.remote_name.removeprefix("refs/heads/"))


def _refuse_private(git: Git, ref: PushedRef, remote: str) -> None:
    """Refuse photos with places or names on a data branch: Git would keep them for good, whatever is stored later."""
    if ref.deletes or not ref.takes_photos:
        return
    tip, there, main = git.commits(ref.local_commit, ref.remote_commit, f"refs/remotes/{remote}/{main_branch()}")
    folders = tuple(f"{inbox(kind)}/" for kind in KINDS)
    known = [commit for commit in (there, main) if commit]
    added = [one for one in added_by(git, tip, known) if one.path.startswith(folders)] if tip else []
    if not added:
        return
    from wms_ops.dataset.stored import as_stored

    contents = zip(added, git.blobs(one.blob for one in added), strict=True)
    private = sorted({one.path for one, content in contents if as_stored(one.path, content) != content})
    if private:
        target = ref.remote_name.split("/", 2)[-1]
        raise PushRefusedError(
            f"{len(private)} photos of the push to {target} ({private[0]!r} first) carry GPS, serial numbers or names, "
            "which Git would keep for good, so nothing was pushed. A push to main leaves them out, with keys to the "
            f"bucket or without: git push {remote} {ref.local_name.removeprefix('refs/heads/')}:{main_branch()}"
        )


def _say_if_dry(git: Git) -> None:
    with contextlib.suppress(WmsError, ModuleNotFoundError):  # the refusal itself is what to tell
        if is_dry_run(git):
            print("wms: dry run: the push would be stopped; nothing was changed.", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_main(main))
