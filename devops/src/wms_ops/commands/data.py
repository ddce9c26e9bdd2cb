"""`wms data`: the data set's versions by command, as used by the hook and the workflows."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wms.command import Command, any_path, nothing, own_file
from wms.errors import WmsError
from wms.files import write_atomic
from wms.project import project
from wms.text import counted
from wms_ops.base.console import counting
from wms_ops.base.layout import DATA_BRANCHES, DATA_SET, INBOX, main_branch
from wms_ops.base.outputs import add_summary, put_outputs
from wms_ops.dataset import branches
from wms_ops.dataset.inbox import inbox_files
from wms_ops.dataset.losses import common, refuse_losses
from wms_ops.dataset.publish import Watch, delete_branch, open_store, publish, verify
from wms_ops.dataset.review import refuse_foreign
from wms_ops.dataset.split_records import told
from wms_ops.dataset.stored import without_places
from wms_ops.dataset.versions import dvc_config_at, pointers_at, version_at
from wms_ops.git.command import Git, here

Named = dict[str, str | int]


def command(
    text: str, run: Callable[[Git, argparse.Namespace], Named], declare: Callable[[argparse.ArgumentParser], None]
) -> Command:
    """Make a command on the clone of the working directory; results also go to GITHUB_OUTPUT, if set."""

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--remote", default=project().remote, help="name or URL (default %(default)s)")
        declare(parser)

    def start(arguments: argparse.Namespace) -> int:
        put_outputs(run(here(), arguments))
        return 0

    return Command(text, add, start)


def _of_merge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("commit", nargs="?", default="HEAD")
    parser.add_argument("--replace", action="store_true", help="take other content for names that are there")
    parser.add_argument("--if-any", action="store_true", help="do nothing, successfully, if the commit holds no photos")
    parser.add_argument("--delete-branch", metavar="BRANCH", help="delete this branch of photos once they are safe")
    parser.add_argument("--summary", action="store_true", help="append the card to GITHUB_STEP_SUMMARY")
    parser.add_argument(
        "--card", type=own_file(b"### Data set: "), help="write the data set's card, as Markdown, there"
    )


def _of_join(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("branch", nargs="?", help=f"such as {DATA_BRANCHES}20261121-103000")
    which.add_argument("--all", action="store_true", help="every data branch of the remote that holds pointers")


def _of_remove(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="names without extension")


def _of_take_back(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("branch", nargs="?", help="a data branch of the remote, such as data/20261121-103000")
    which.add_argument("--commits-of", metavar="LOCAL_BRANCH", help="instead of the branch that is checked out")


def _of_fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=any_path, default=Path(DATA_SET), help="where to (default %(default)s)")


def _of_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("commit", nargs="?", default="HEAD")
    parser.add_argument("--base", help="a branch such as origin/main: what it held when this one began must be there")


def url_of(git: Git, remote: str) -> str:
    """Return the address of a remote, or of an address that the user gave, as git rewrites it (`url.*.insteadOf`)."""
    is_name = git.ok("remote", "get-url", remote)
    return git("remote", "get-url", "--push", remote) if is_name else git("ls-remote", "--get-url", remote)


def _merge(git: Git, arguments: argparse.Namespace) -> Named:
    commit = git.commit(arguments.commit)
    if arguments.if_any and not inbox_files(git, commit):
        print("The commit holds no photos; there is nothing to merge.")
        return {"branch": "", "new": 0}
    url = url_of(git, arguments.remote)
    if arguments.delete_branch:
        refuse_foreign(
            git, _remote_main(git, url), commit, arguments.delete_branch
        )  # a deleted branch would take other changes with it
    watch = Watch(say=lambda text: print(text, flush=True))
    done = publish(git, commit, url, replace=arguments.replace, watch=watch)
    if done.places:
        print(without_places(done.places))
    print(done.plan.summary)
    if done.branch is None:
        print("The data set holds all of these photos already; nothing was done.")
    else:
        print(f"The photos are on branch {done.branch}{' already' if done.repeated else ''}.")
    if done.card and arguments.card:
        write_atomic(arguments.card, done.card.markdown.read_bytes())
    if done.card and arguments.summary:
        add_summary(done.card.markdown.read_text(encoding="utf-8"))
    if arguments.delete_branch:
        delete_branch(git, url, arguments.delete_branch, commit)
        print(f"Branch {arguments.delete_branch} is deleted: its photos are in the data set's store.")
    counts: Named = {"existing": len(done.plan.base.images.files), "total": len(done.plan.result.images.files)}
    return {"branch": done.branch or "", "new": len(done.plan.added), "replaced": len(done.plan.replaced), **counts}


def _remote_main(git: Git, url: str) -> str:
    git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", url, f"refs/heads/{main_branch()}")
    return git("ls-remote", url, f"refs/heads/{main_branch()}").split()[0]


def _join(git: Git, arguments: argparse.Namespace) -> Named:
    url = url_of(git, arguments.remote)
    if not arguments.all:
        done = branches.join_into(git, url, arguments.branch)
        print(_joined(done))
        return {"commit": done.commit, "existing": done.before, "total": done.after}
    refused: list[WmsError] = []
    count = 0
    for one in branches.join_all(git, url):
        if isinstance(one, branches.Joined):
            count += 1
            print(_joined(one))
        else:
            refused.append(one[1])
            print(f"{one[0]}: {one[1]}")
    if refused:
        raise refused[0]
    return {"joined": count}


def _joined(done: branches.Joined) -> str:
    word = "now holds" if done.changed else "holds already"
    photos = f"{counted(done.before, 'photo')}: {done.after} in all.{told(done.moved)}"
    return f"{done.branch} {word} all of {main_branch()}'s {photos}"


def _resolve(git: Git, _: argparse.Namespace) -> Named:
    before, after, moved = branches.resolve_pointers(git)
    print(
        f"Both .dvc files are settled and staged: {counted(before, 'photo')} on our side, {after} in the union. "
        f"Commit now.{told(moved)}"
    )
    return {"existing": before, "total": after, "moved": moved}


def _remove(git: Git, arguments: argparse.Namespace) -> Named:
    branch, before, after = branches.remove(git, url_of(git, arguments.remote), arguments.names)
    print(
        f"Branch {branch} is pushed: {counted(before, 'photo')} before, {after} after. Their files stay in the remote."
    )
    return {"branch": branch, "existing": before, "total": after}


def _take_back(git: Git, arguments: argparse.Namespace) -> Named:
    if arguments.branch:
        return _bring_back(git, arguments)
    from wms_ops.dataset.takeback import take_back

    return {"taken_back": take_back(git, arguments.remote, url_of(git, arguments.remote), arguments.commits_of, print)}


def _bring_back(git: Git, arguments: argparse.Namespace) -> Named:
    from wms_ops.dataset.comeback import bring_back
    from wms_ops.pulls.blocked import show_what_was_wrong

    url = url_of(git, arguments.remote)
    done = bring_back(git, url, arguments.branch)
    if not done.stems:
        print(f"{done.branch} adds no photo that {main_branch()} lacks; there is nothing to bring back.")
        return {"brought_back": 0}
    there = f"; {done.there} more files were there already" if done.there else ""
    print(
        f"{counted(done.written, 'file')} of {counted(len(done.stems), 'pair')} of {done.branch} are in {INBOX}{there}."
    )
    show_what_was_wrong(git, url, done.branch, print)
    word = "-c wms.replace=true " if done.replaced else ""
    print(
        f"Mend them there, look at them by `wms data check {INBOX}`, then:\n"
        f"  git add {INBOX}\n"
        '  git commit -m "Mended photos"\n'
        f"  git {word}push {arguments.remote} {main_branch()}\n"
        f"That push makes a new data branch, closes the old pull request and deletes {done.branch}."
    )
    return {"brought_back": done.written}


def _fetch(git: Git, arguments: argparse.Namespace) -> Named:
    from wms_ops.dataset.fetch import bring, refuse_foreign

    store = open_store(dvc_config_at(git, git.commit("HEAD")), git)
    version, folder = version_at(git, "HEAD", store), git.folder / arguments.folder
    if folder != git.folder / DATA_SET:  # which is the store's, as with DVC; another folder may be a person's own
        refuse_foreign(folder, version)
    with counting("Fetching files") as on_progress:
        done = bring(store, version, folder, on_progress, top=git.folder)
    print(f"Fetched {done.downloaded} files; {done.there} were there, {done.removed} others were removed.")
    return {"downloaded": done.downloaded, "there": done.there}


def _verify(git: Git, arguments: argparse.Namespace) -> Named:
    commit = git.commit(arguments.commit)
    base = git.commit(arguments.base) if arguments.base else None
    store = open_store(dvc_config_at(git, commit), git)
    version = version_at(git, commit, store)
    if pointers_at(git, commit):
        verify(store, version)
    if base:
        # What main gained since the branch began is no loss: `join` brings it in.
        refuse_losses(git, common(git, base, commit), commit, lambda commit: version_at(git, commit, store))
    print(
        f"{store.config.url} holds all {counted(len(version.oids), 'file')} of "
        f"{counted(len(version.images.files), 'photo')}."
    )
    return {"total": len(version.images.files)}


MERGE: Final = command("Merge the photos of a commit and push a data branch, as the hook does.", _merge, _of_merge)
JOIN: Final = command("Bring main's photos into a data branch by the union of the manifests.", _join, _of_join)
RESOLVE: Final = command("Settle the .dvc files of a merge that git stopped.", _resolve, nothing)
REMOVE: Final = command("Remove photos from the data set, on a branch of its own.", _remove, _of_remove)
TAKE_BACK: Final = command(
    "Take photos that are in the data set out of the commits not pushed yet; with BRANCH, bring the new photos and "
    f"masks of that data branch into {INBOX} again, to be mended.",
    _take_back,
    _of_take_back,
)
FETCH: Final = command(
    "Bring the data set of the checked-out commit here: only what isn't there yet.", _fetch, _of_fetch
)
VERIFY: Final = command("Check that the remote holds every file of a commit's data set.", _verify, _of_verify)
