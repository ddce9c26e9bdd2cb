"""A local pull request: its record, and the pages for people."""

from __future__ import annotations

from collections.abc import Iterable

from wms.records import StoredRecord
from wms_ops.base.errors import PullRequestError
from wms_ops.base.layout import main_branch
from wms_ops.pulls.file_branch import SHELF
from wms_ops.pulls.protocol import CHECK, Pull, PullState

RECORD, PAGE = "pull.json", "README.md"


class PullRecord(StoredRecord):
    """A local pull request, as its pull.json holds it.

    `reason` says why a blocked pull request is blocked, `closed` why one was closed without a merge; `merging` is the
    branch's commit whose merge was begun; `merged` is main's commit; times are UTC, ISO 8601. A draft has the state
    open, as older code knows it, and `draft`.
    """

    number: int
    branch: str
    title: str
    body: str
    head: str
    state: PullState = PullState.OPEN
    draft: bool = False
    reason: str = ""
    merging: str = ""
    merged: str = ""
    closed: str = ""
    opened_at: str = ""
    merged_at: str = ""

    @property
    def standing(self) -> str:
        """The state as a word for people."""
        return "closed" if self.closed else str(self.known_state)

    @property
    def known_state(self) -> PullState:
        """The state in the protocol's words."""
        return PullState.DRAFT if self.draft and self.state is PullState.OPEN else self.state

    @property
    def folder(self) -> str:
        """The folder on the branch."""
        return f"{self.number:04d}"

    def pull(self, url: str) -> Pull:
        """Return the protocol's value; `url` is that of the origin. The part after the # is in Git's notation."""
        address = f"{url}#{SHELF}:{self.folder}/{PAGE}"
        reason = self.reason if self.state is PullState.BLOCKED else ""
        return Pull(self.number, self.branch, self.title, self.known_state, address, self.head, reason)

    def to_json(self) -> bytes:
        """Return the content of pull.json."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def parse_record(content: bytes, path: str) -> PullRecord:
    """Return the record in a pull.json. Raises PullRequestError for a damaged record."""
    where, hint = f"{path} on the branch {SHELF}", "restore it from an older commit"
    found = PullRecord.parse(content, where, PullRequestError, hint)
    if f"{found.folder}/{RECORD}" != path:
        raise PullRequestError(f"{where} is damaged: it's that of number {found.number}; {hint}.")
    return found


def is_record(path: str) -> bool:
    """Return whether a path on the branch is a pull request's pull.json."""
    folder, _, name = path.partition("/")
    return name == RECORD and folder.isdecimal() and len(folder) >= 4


def pull_page(record: PullRecord) -> str:
    """Return a pull request as a page: title, state, body."""
    return f"# {one_line(record.title)} (#{record.number})\n\n{_state(record)}\n\n{record.body.strip()}\n"


def index_page(records: Iterable[PullRecord]) -> str:
    """Return the list of all pull requests, newest first."""
    rows = [
        f"| [{pull.number}]({pull.folder}/{PAGE}) | {pull.standing} | `{pull.branch}` | {one_line(pull.title)} |\n"
        for pull in sorted(records, key=lambda record: -record.number)
    ]
    return "# Pull requests\n\n| number | state | branch | title |\n|---:|---|---|---|\n" + "".join(rows)


def one_line(text: str) -> str:
    """Return the text literally, for a heading or a table's cell of Markdown."""
    return " ".join("".join(f"\\{sign}" if sign in "\\`*_[]<>|" else sign for sign in text).split())


def _state(record: PullRecord) -> str:
    into = f"`{record.branch}` into `{main_branch()}`"
    if record.state is PullState.MERGED:
        return f"**Merged**: {into}, as `{record.merged}`, at {record.merged_at}. The check `{CHECK}` passed."
    if record.closed:
        return f"**Closed** without a merge: {into}. {record.closed}"
    if record.state is PullState.BLOCKED:
        return f"**Blocked**: {into}. The check `{CHECK}` failed: {record.reason}"
    begun = f" Merging `{record.merging}` was begun." if record.merging else ""
    if record.draft:
        return f"**Draft**: {into}. The run is at work, and the check `{CHECK}` is pending."
    return f"**Open**: {into}. The check `{CHECK}` is pending.{begun}"
