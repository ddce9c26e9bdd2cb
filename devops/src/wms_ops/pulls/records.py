"""All local pull requests together, as the branch holds them, and corrected by main's history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from wms_ops.base.errors import PullRequestError
from wms_ops.git.scratch import Scratch
from wms_ops.pulls.file_branch import BranchEdit, Files
from wms_ops.pulls.pages import PAGE, RECORD, PullRecord, index_page, is_record, parse_record, pull_page
from wms_ops.pulls.protocol import NO_FILES, Pull, PullState
from wms_ops.pulls.squash import fetch_main, squashed

Records = Mapping[int, PullRecord]


@dataclass(frozen=True)
class Book:
    """Records by number: as they are on the branch, and with the merges that main proves."""

    kept: Records
    records: Records

    def newest(self, branch: str) -> PullRecord | None:
        """Return a branch's newest pull request that isn't closed without a merge."""
        mine = [record for record in self.records.values() if record.branch == branch and not record.closed]
        return max(mine, key=lambda record: record.number, default=None)

    def known(self, pull: Pull) -> PullRecord:
        """Return the present record of a pull request. Raises PullRequestError for an unknown one."""
        found = self.records.get(pull.number)
        if found is None or found.branch != pull.branch:
            raise PullRequestError(
                f"There is no pull request {pull.number} of {pull.branch} in the origin; open it first."
            )
        return found

    def next_number(self) -> int:
        """Return a number that no pull request has."""
        return max(self.records, default=0) + 1

    def write(self, record: PullRecord, attachments: Mapping[str, bytes] = NO_FILES) -> BranchEdit[PullRecord]:
        """Return the edit of the branch that keeps `record` and its attachments."""
        after = {**self.records, record.number: record}
        files = {f"{record.folder}/{name}": content for name, content in attachments.items()}
        for number, entry in after.items():
            if entry != self.kept.get(number):
                files[f"{entry.folder}/{RECORD}"] = entry.to_json()
                files[f"{entry.folder}/{PAGE}"] = pull_page(entry).encode()
        files[PAGE] = index_page(after.values()).encode()
        return BranchEdit(files, f"Pull request {record.number} is {record.standing}: {record.title}\n", record)


def read_book(scratch: Scratch, files: Files) -> Book:
    """Return the branch's records; a squash on main without a record of the merge, as after a kill, counts as merged.

    Raises PullRequestError for a damaged record or an origin without main, GitError.
    """
    names = [name for name in files.names() if is_record(name)]
    found = [parse_record(content, name) for name, content in zip(names, files.read(names), strict=True)]
    kept = {record.number: record for record in found}
    if all(record.state is PullState.MERGED for record in found):
        return Book(kept, kept)
    on_main = squashed(scratch.git, fetch_main(scratch))
    records = {}
    for number, record in kept.items():
        commit = on_main.get((number, record.branch))
        records[number] = merged(record, commit) if commit and record.state is not PullState.MERGED else record
    return Book(kept, records)


def merged(record: PullRecord, commit: str) -> PullRecord:
    """Return the pull request as merged, with main's commit `commit`."""
    changes = {"state": PullState.MERGED, "merged": commit, "merged_at": now()}
    return record.model_copy(update={**changes, "merging": "", "reason": "", "closed": ""})


def now() -> str:
    """Return the time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
