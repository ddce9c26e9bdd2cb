"""A local pull request: what is kept of it, and the pages that people read."""

from __future__ import annotations

from collections.abc import Iterable

from wms.records import StoredRecord
from wms_ops.base.errors import PullRequestError
from wms_ops.pulls.file_branch import SHELF
from wms_ops.pulls.protocol import CHECK, Pull, PullState

RECORD, PAGE = "pull.json", "README.md"


class PullRecord(StoredRecord):
    """A local pull request, as its pull.json holds it.

    `reason` says why it's blocked; `merging` is the branch's commit whose merge was begun; `merged` is main's commit;
    times are UTC, ISO 8601.
    """

    number: int
    branch: str
    title: str
    body: str
    head: str
    state: PullState = PullState.OPEN
    reason: str = ""
    merging: str = ""
    merged: str = ""
    opened_at: str = ""
    merged_at: str = ""

    @property
    def folder(self) -> str:
        """The folder on the branch."""
        return f"{self.number:04d}"

    def pull(self, url: str) -> Pull:
        """The same as the protocol's value; `url` is that of the origin. What follows the # is in Git's notation."""
        address = f"{url}#{SHELF}:{self.folder}/{PAGE}"
        return Pull(self.number, self.branch, self.title, self.state, address, self.head)

    def to_json(self) -> bytes:
        """The content of pull.json."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def parse_record(content: bytes, path: str) -> PullRecord:
    """The content of a pull.json. Raises PullRequestError if it's damaged."""
    where, hint = f"{path} on the branch {SHELF}", "restore it from an older commit"
    found = PullRecord.parse(content, where, PullRequestError, hint)
    if f"{found.folder}/{RECORD}" != path:
        raise PullRequestError(f"{where} is damaged: it's that of number {found.number}; {hint}.")
    return found


def is_record(path: str) -> bool:
    """Whether a path on the branch is some pull request's pull.json."""
    folder, _, name = path.partition("/")
    return name == RECORD and folder.isdecimal() and len(folder) >= 4


def pull_page(record: PullRecord) -> str:
    """A pull request as a page: title, where it stands, its body."""
    return f"# {one_line(record.title)} (#{record.number})\n\n{_state(record)}\n\n{record.body.strip()}\n"


def index_page(records: Iterable[PullRecord]) -> str:
    """The list of all pull requests, newest first."""
    rows = [
        f"| [{one.number}]({one.folder}/{PAGE}) | {one.state} | `{one.branch}` | {one_line(one.title)} |\n"
        for one in sorted(records, key=lambda one: -one.number)
    ]
    return "# Pull requests\n\n| number | state | branch | title |\n|---:|---|---|---|\n" + "".join(rows)


def one_line(text: str) -> str:
    """Text that means nothing in a heading or in a table's cell of Markdown but itself."""
    return " ".join("".join(f"\\{sign}" if sign in "\\`*_[]<>|" else sign for sign in text).split())


def _state(record: PullRecord) -> str:
    into = f"`{record.branch}` into `main`"
    if record.state is PullState.MERGED:
        return f"**Merged**: {into}, as `{record.merged}`, at {record.merged_at}. The check `{CHECK}` passed."
    if record.state is PullState.BLOCKED:
        return f"**Blocked**: {into}. The check `{CHECK}` failed: {record.reason}"
    begun = f" Merging `{record.merging}` was begun." if record.merging else ""
    return f"**Open**: {into}. The check `{CHECK}` is pending.{begun}"
