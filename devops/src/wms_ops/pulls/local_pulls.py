"""Pull requests without GitHub: files on the branch `pull-requests` of any origin, squashed by git.

Each pull request has a folder on that branch: pull.json, README.md, its attachments. Every change is a push that only
passes if no other push came first. A merge is noted before main is pushed, and main's commit names its pull request:
the next process finds a killed merge and doesn't repeat a finished one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from wms.files import write_atomic
from wms.names import reason_against
from wms_ops.base.errors import GitError, PullRequestError
from wms_ops.git.command import Git
from wms_ops.git.scratch import Scratch, scratch_clone
from wms_ops.git.write import push, remote_tip
from wms_ops.pulls.file_branch import BranchEdit, FileBranch, Files, fetch_branch
from wms_ops.pulls.pages import PAGE, RECORD, PullRecord
from wms_ops.pulls.protocol import NO_FILES, Pull, PullState, check_names, check_title, squash_message, without_login
from wms_ops.pulls.records import Book, merged, now, read_book
from wms_ops.pulls.squash import squash

Step = Callable[[str], None]

_OWN = frozenset({RECORD.lower(), PAGE.lower()})


class LocalPulls:
    """The pull requests of the origin `url`; `git` is a clone of it. `step` gets each step's name at its start."""

    def __init__(self, git: Git, url: str, *, step: Step = lambda _: None) -> None:
        self._git, self._url, self._step = git, url, step
        self._shown = without_login(url)

    def find(self, branch: str) -> Pull | None:
        """Return the branch's newest pull request. Raises GitError, PullRequestError for damaged records."""
        with scratch_clone(self._git, self._url, depth=None) as scratch:
            found = read_book(scratch, FileBranch(scratch).look()).newest(branch)
        return found.pull(self._shown) if found else None

    def open(self, branch: str, title: str, body: str, *, draft: bool = False) -> Pull:
        """See PullRequests."""
        title = check_title(title)

        def change(book: Book, tip: str | None) -> BranchEdit[PullRecord]:
            old = book.newest(branch)
            if old and old.state is PullState.MERGED:
                if tip in (None, old.head):
                    return book.write(old)
                old = None
            if tip is None:
                raise PullRequestError(f"There is no branch {branch!r} in the origin; push it first.")
            number, since = (old.number, old.opened_at) if old else (book.next_number(), now())
            is_draft = draft and (old is None or old.draft)  # as at GitHub: an ordinary one stays ordinary
            made = PullRecord(number=number, branch=branch, title=title, body=body, head=tip, opened_at=since)
            return book.write(made.model_copy(update={"draft": is_draft}))

        return self._change("open", branch, change)

    def ended(self, number: int) -> str:
        """See PullRequests."""
        with scratch_clone(self._git, self._url, depth=None) as scratch:
            found = read_book(scratch, FileBranch(scratch).look()).records.get(number)
        if found is None:
            raise PullRequestError(f"There is no pull request {number} in the origin; open it first.")
        return "closed" if found.closed else "merged" if found.state is PullState.MERGED else ""

    def update(self, pull: Pull, body: str, attachments: Mapping[str, bytes] = NO_FILES) -> Pull:
        """See PullRequests; no attachment may be named pull.json or README.md."""
        check_names(attachments, _OWN)

        def change(book: Book, _: str | None) -> BranchEdit[PullRecord]:
            return book.write(book.known(pull).model_copy(update={"body": body}), attachments)

        return self._change("update", pull.branch, change)

    def block(self, pull: Pull, reason: str) -> Pull:
        """See PullRequests."""

        def change(book: Book, _: str | None) -> BranchEdit[PullRecord]:
            old = book.known(pull)
            if old.state is PullState.MERGED:
                raise PullRequestError(f"Pull request {pull.number} is merged already and can't be blocked.")
            _refuse_closed(old)
            changes = {"state": PullState.BLOCKED, "reason": " ".join(reason.split()), "merging": ""}
            return book.write(old.model_copy(update=changes))

        return self._change("block", pull.branch, change)

    def comment(self, commit: str, text: str) -> None:
        """See PullRequests; it's the page commits/SHA.md of the branch."""
        edit = BranchEdit({f"commits/{commit[:12]}.md": text.encode()}, f"Comment on {commit[:12]}\n", None)
        with scratch_clone(self._git, self._url) as scratch:
            FileBranch(scratch, contents=False).change(lambda _: edit)

    def close(self, pull: Pull, comment: str) -> None:
        """See PullRequests."""

        def change(book: Book, _: str | None) -> BranchEdit[PullRecord]:
            old = book.known(pull)
            if old.state is PullState.MERGED:
                raise PullRequestError(f"Pull request {pull.number} is merged already and can't be closed.")
            return book.write(old.model_copy(update={"closed": old.closed or " ".join(comment.split()), "merging": ""}))

        self._change("close", pull.branch, change)

    def merge(self, pull: Pull, *, head: str, title: str, message: str) -> str:
        """See PullRequests. Raises PullRequestError for a conflict, a moved branch, a blocked pull request."""
        with scratch_clone(self._git, self._url, depth=None) as scratch:
            text = squash_message(pull, title, message)

            def intend(book: Book, tip: str | None) -> BranchEdit[PullRecord]:
                old = book.known(pull)
                if old.state is PullState.MERGED:
                    return book.write(old)
                _refuse(old, tip, head)
                return book.write(old.model_copy(update={"head": head, "merging": head}))

            record = self._write(scratch, "intent", pull.branch, intend)
            if record.state is not PullState.MERGED:
                commit = squash(scratch, pull, head, text, lambda: self._step("main: push"))
                self._step("main: pushed")

                def note(book: Book, _: str | None) -> BranchEdit[PullRecord]:
                    old = book.known(pull)
                    return book.write(old if old.merged else merged(old, commit))

                record = self._write(scratch, "result", pull.branch, note)
            self._delete(scratch, record)
        return record.merged

    def export(self, folder: Path) -> None:
        """Write the pages, records and attachments of all pull requests into a folder, for people to read.

        Raises DiskFullError, UnwritableError, GitError.
        """
        with scratch_clone(self._git, self._url) as scratch:
            files = FileBranch(scratch).look()
            # The branch may have been pushed by hand, with names that lead out of the folder.
            names = [name for name in files.names() if reason_against(name) is None]
            for name, content in zip(names, files.read(names), strict=True):
                write_atomic(folder / name, content)

    def _change(self, name: str, branch: str, change: Callable[[Book, str | None], BranchEdit[PullRecord]]) -> Pull:
        with scratch_clone(self._git, self._url, depth=None) as scratch:
            return self._write(scratch, name, branch, change).pull(self._shown)

    def _write(
        self, scratch: Scratch, name: str, branch: str, change: Callable[[Book, str | None], BranchEdit[PullRecord]]
    ) -> PullRecord:
        """Write the edit that `change` makes of all records and of the branch's commit in the origin."""
        self._step(name)

        def make(files: Files) -> BranchEdit[PullRecord]:
            # The branch before main: main then shows whether a missing branch was merged just now.
            tip = fetch_branch(scratch, branch)
            return change(read_book(scratch, files), tip)

        _, record = FileBranch(scratch).change(make, lambda: self._step(f"{name}: push"))
        self._step(f"{name}: pushed")
        return record

    def _delete(self, scratch: Scratch, record: PullRecord) -> None:
        """Delete a merged branch, unless the branch has newer commits."""
        git, url = scratch.git, scratch.url
        if remote_tip(git, url, record.branch) != record.head:
            return
        self._step("delete: push")
        try:
            push(git, url, record.branch, "", record.head)
        except GitError:
            if remote_tip(git, url, record.branch) == record.head:
                raise
        self._step("delete: pushed")


def _refuse(record: PullRecord, tip: str | None, head: str) -> None:
    """Raise PullRequestError for a pull request that may not be merged."""
    _refuse_closed(record)
    if record.state is PullState.BLOCKED:
        raise PullRequestError(f"Pull request {record.number} is blocked: {record.reason} Run the loop for it again.")
    if tip is None:
        raise PullRequestError(f"The branch {record.branch} is gone, but isn't merged; push it again.")
    if tip != head:
        raise PullRequestError(
            f"{record.branch} moved on to {tip[:12]}, but {head[:12]} was looked at; run the loop for it again."
        )


def _refuse_closed(record: PullRecord) -> None:
    if record.closed:
        raise PullRequestError(f"Pull request {record.number} was closed: {record.closed} Run the loop for it again.")
