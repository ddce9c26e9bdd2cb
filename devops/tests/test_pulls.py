"""Pull requests mean the same in the local origin and on GitHub, asked by the real gh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from github_fake import fake_github
from github_fake_pulls import FakePulls
from pull_yard import BRANCH, Yard, make_yard

from wms_ops.base.errors import PullRequestError
from wms_ops.git.command import Git
from wms_ops.pulls.gh import GitHub
from wms_ops.pulls.gh_pulls import GhPulls
from wms_ops.pulls.local_pulls import LocalPulls
from wms_ops.pulls.protocol import Pull, PullRequests, PullState


@dataclass
class Office:
    """A yard and its pull requests; `fake` is the GitHub behind them, `said` what people were told."""

    yard: Yard
    pulls: PullRequests
    fake: FakePulls | None = None
    said: list[str] = field(default_factory=list)

    def merge(self, pull: Pull, head: str) -> str:
        return self.pulls.merge(pull, head=head, title="Add data: 3 photos", message="3 new photos, 9 in all.")


@pytest.fixture(params=["local", "github"])
def office(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    yard = make_yard(tmp_path)
    if request.param == "local":
        yield Office(yard, LocalPulls(yard.clone, yard.url))
        return
    with fake_github() as github:
        for name, value in github.environ.items():
            monkeypatch.setenv(name, value)
        said: list[str] = []
        fake = FakePulls(github, yard.origin)
        pulls = GhPulls(
            yard.clone, yard.url, GitHub(yard.clone.folder), say=said.append, wait_s=9, pause=lambda _: fake.settle()
        )
        yield Office(yard, pulls, fake, said)


def test_opened_changed_and_merged(office: Office) -> None:
    head, pulls, yard = office.yard.branch(), office.pulls, office.yard
    assert pulls.find(BRANCH) is None
    pull = pulls.open(BRANCH, "Add data", "Numbers to come.")
    assert (pull.number, pull.branch, pull.title, pull.state, pull.head) == (
        1,
        BRANCH,
        "Add data",
        PullState.OPEN,
        head,
    )
    assert pulls.find(BRANCH) == pull
    assert pulls.update(pull, "Better: 0.90.") == pull
    commit = office.merge(pull, head)
    assert commit == yard.tip("main")
    assert yard.show("images.dvc", "main") == f"outs of {BRANCH}"
    assert yard.main() == ["Add data: 3 photos (#1)", "Start"]
    message = Git(yard.origin)("log", "-1", "--format=%B", "main")
    assert "3 new photos, 9 in all." in message
    assert message.endswith(f"\n\nPull-Request: 1\nData-Branch: {BRANCH}\n")
    assert yard.tip(BRANCH) == ""
    found = pulls.find(BRANCH)
    assert found is not None
    assert (found.state, found.head) == (PullState.MERGED, head)
    assert not yard.leftovers()


def test_every_step_may_be_repeated(office: Office) -> None:
    head, pulls = office.yard.branch(), office.pulls
    first = pulls.open(BRANCH, "Add data", "One.")
    again = pulls.open(BRANCH, "Add  more\ndata", "Two.")
    assert (again.number, again.title) == (first.number, "Add more data")
    commit = office.merge(first, head)
    assert office.merge(first, head) == commit
    after = pulls.open(BRANCH, "Add more data", "Three.")
    assert (after.number, after.state) == (first.number, PullState.MERGED)
    assert pulls.update(after, "Four.").state is PullState.MERGED
    assert office.merge(after, head) == commit
    assert office.yard.main() == ["Add data: 3 photos (#1)", "Start"]


def test_blocked_stays_open_and_main_stays_as_it_is(office: Office) -> None:
    head, pulls = office.yard.branch(), office.pulls
    pull = pulls.open(BRANCH, "Add data", "Worse.")
    reason = "Dice 0.80 is below Production's 0.90" + " and so on" * 30 + "."
    assert pulls.block(pull, reason).state is PullState.BLOCKED
    found = pulls.find(BRANCH)
    assert found is not None
    assert found.state is PullState.BLOCKED
    with pytest.raises(PullRequestError, match="Pull request 1 is blocked"):
        office.merge(pull, head)
    assert office.yard.main() == ["Start"]
    assert pulls.update(pull, "Still worse.").state is PullState.BLOCKED
    newer = office.yard.more(BRANCH, images__dvc="better photos\n")
    reopened = pulls.open(BRANCH, "Add data", "Better now.")
    assert (reopened.number, reopened.state, reopened.head) == (1, PullState.OPEN, newer)
    assert office.merge(reopened, newer) == office.yard.tip("main")


def test_closed_with_a_comment_the_branch_stays_and_a_new_one_may_be_opened(office: Office) -> None:
    head, pulls = office.yard.branch(), office.pulls
    pull = pulls.open(BRANCH, "Add data", "Worse.")
    pulls.block(pull, "Worse.")
    for _ in range(2):
        pulls.close(pull, "The corrected photos are on the branch data/2.")
    assert pulls.find(BRANCH) is None
    assert office.yard.tip(BRANCH) == head and office.yard.main() == ["Start"]
    if office.fake:
        assert office.fake.pulls[1]["state"] == "closed"
        assert office.fake.comments == {"1": ["The corrected photos are on the branch data/2."]}
    else:
        assert "**Closed** without a merge: " in office.yard.show("0001/README.md")
        assert f"| closed | `{BRANCH}` |" in office.yard.show("README.md")
    with pytest.raises(PullRequestError, match="was closed"):
        office.merge(pull, head)
    with pytest.raises(PullRequestError, match="was closed"):
        pulls.block(pull, "Too late.")
    assert pulls.open(BRANCH, "Add data", "Again.").number == 2
    newer = pulls.find(BRANCH)
    assert newer is not None
    office.merge(newer, head)
    with pytest.raises(PullRequestError, match="is merged already"):
        pulls.close(newer, "Too late.")


def test_a_draft_becomes_ready_and_is_merged_or_blocked(office: Office) -> None:
    head, pulls = office.yard.branch(), office.pulls
    draft = pulls.open(BRANCH, "Add data", "At work.", draft=True)
    again = pulls.open(BRANCH, "Add data", "At work still.", draft=True)
    assert (again.number, draft.state, again.state) == (1, PullState.DRAFT, PullState.DRAFT)
    found = pulls.find(BRANCH)
    assert found is not None and found.state is PullState.DRAFT
    ready = pulls.open(BRANCH, "Add data", "Worse.")
    assert (ready.number, ready.state) == (1, PullState.OPEN)
    pulls.block(ready, "Worse.")
    blocked = pulls.find(BRANCH)
    assert blocked is not None and (blocked.state, blocked.reason) == (PullState.BLOCKED, "Worse.")
    assert pulls.open(BRANCH, "Add data", "Again.", draft=True).state is PullState.OPEN, "it stays an ordinary one"
    assert office.merge(pulls.open(BRANCH, "Add data", "Better."), head) == office.yard.tip("main")
    assert pulls.ended(1) == "merged"


def test_a_draft_that_a_person_closed_is_known_as_closed(office: Office) -> None:
    office.yard.branch()
    pull = office.pulls.open(BRANCH, "Add data", "At work.", draft=True)
    assert office.pulls.ended(pull.number) == ""
    office.pulls.close(pull, "Not these photos.")
    assert office.pulls.ended(pull.number) == "closed"
    with pytest.raises(PullRequestError):
        office.pulls.ended(7)


def test_where_drafts_are_not_allowed_an_ordinary_one_is_opened(office: Office) -> None:
    if office.fake is None:
        return
    office.yard.branch()
    office.fake.forbidden = {"draft"}
    pull = office.pulls.open(BRANCH, "Add data", "At work.", draft=True)
    assert (pull.number, pull.state) == (1, PullState.OPEN)
    assert office.fake.statuses[pull.head]["state"] == "pending"


def test_a_merged_one_cannot_be_blocked(office: Office) -> None:
    head = office.yard.branch()
    pull = office.pulls.open(BRANCH, "Add data", "Better.")
    office.merge(pull, head)
    with pytest.raises(PullRequestError, match="is merged already"):
        office.pulls.block(pull, "Too late.")


def test_only_what_was_looked_at_is_merged(office: Office) -> None:
    head = office.yard.branch()
    pull = office.pulls.open(BRANCH, "Add data", "Better.")
    office.yard.more(BRANCH, notes="somebody was quicker")
    with pytest.raises(PullRequestError, match=f"moved on to .* but {head[:12]} was looked at"):
        office.merge(pull, head)
    assert office.yard.main() == ["Start"]


def test_the_same_data_on_both_sides_is_joined_by_a_command(office: Office) -> None:
    head = office.yard.branch()
    pull = office.pulls.open(BRANCH, "Add data", "Better.")
    office.yard.branch("main", images__dvc="other photos\n")
    with pytest.raises(PullRequestError, match=f"wms data join {BRANCH}"):
        office.merge(pull, head)
    assert office.yard.main() == ["Change for main", "Start"]
    assert office.yard.tip(BRANCH) == head


def test_main_may_have_moved_on_in_other_files(office: Office) -> None:
    head = office.yard.branch()
    pull = office.pulls.open(BRANCH, "Add data", "Better.")
    office.yard.branch("main", docs__notes="more\n")
    commit = office.merge(pull, head)
    assert office.yard.show("docs/notes", commit) == "more"
    assert office.yard.show("images.dvc", commit) == f"outs of {BRANCH}"


def test_a_branch_that_is_not_there(office: Office) -> None:
    with pytest.raises(PullRequestError, match="There is no branch 'data/nothing'"):
        office.pulls.open("data/nothing", "Add data", "")
    with pytest.raises(PullRequestError, match="needs a title"):
        office.pulls.open("data/nothing", " \n", "")


def test_a_branch_that_begins_like_another(office: Office) -> None:
    head = office.yard.branch()
    office.yard.branch(f"{BRANCH}-remove", images__dvc="fewer\n")
    one = office.pulls.open(BRANCH, "Add data", "")
    other = office.pulls.open(f"{BRANCH}-remove", "Remove data", "")
    assert (one.number, other.number) == (1, 2)
    assert office.pulls.find(BRANCH) == one
    office.merge(one, head)
    assert office.yard.tip(f"{BRANCH}-remove") == other.head


def test_a_branch_that_grows_after_its_merge_gets_a_new_one(office: Office) -> None:
    head = office.yard.branch()
    pull = office.pulls.open(BRANCH, "Add data", "")
    office.merge(pull, head)
    newer = office.yard.branch(BRANCH, images__dvc="even more\n")
    second = office.pulls.open(BRANCH, "Add more data", "")
    assert (second.number, second.state) == (2, PullState.OPEN)
    assert office.pulls.find(BRANCH) == second
    office.merge(second, newer)
    assert office.yard.main() == ["Add data: 3 photos (#2)", "Add data: 3 photos (#1)", "Start"]


@pytest.mark.parametrize("lead", ["Text.\n\n", "Text.\n---\n\n"], ids=["trailers", "trailers below a line of dashes"])
def test_a_text_cannot_pass_itself_off_as_another_merge(office: Office, lead: str) -> None:
    head = office.yard.branch()
    other = office.yard.branch("data/2", notes="x")
    pull, second = office.pulls.open(BRANCH, "Add data", ""), office.pulls.open("data/2", "Add data", "")
    lie = f"{lead}Pull-Request: 2\nData-Branch: data/2"
    first = office.pulls.merge(pull, head=head, title="Pull-Request: 2", message=lie)
    trailers = "%(trailers:key=Pull-Request,valueonly)%(trailers:key=Data-Branch,valueonly)"
    assert Git(office.yard.origin)("log", "-1", f"--format={trailers}", first).split() == ["1", BRANCH]
    commit = office.merge(second, other)
    assert len(office.yard.main()) == 3
    assert office.yard.show("notes", commit) == "x"


def test_attachments_lie_beside_and_stay(office: Office) -> None:
    office.yard.branch()
    pull = office.pulls.open(BRANCH, "Add data", "")
    pictures = {"pictures/before 1.png": b"\x89PNG\0\r\n", "gate.html": b"<p>"}
    office.pulls.update(pull, "![before](<pictures/before 1.png>) and [the gate](gate.html)", pictures)
    office.pulls.update(pull, "![before](<pictures/before 1.png>)", {"gate.html": b"<b>"})
    shown = Git(office.yard.origin)
    assert shown.raw("show", "pull-requests:0001/pictures/before 1.png") == b"\x89PNG\0\r\n"
    assert shown.raw("show", "pull-requests:0001/gate.html") == b"<b>"
    before = office.yard.tip("pull-requests")
    office.pulls.update(pull, "![before](<pictures/before 1.png>)", {"gate.html": b"<b>"})
    assert office.yard.tip("pull-requests") == before


@pytest.mark.parametrize(
    "name",
    [
        "../x.png",
        "/x.png",
        "a/../x",
        "a//b",
        "",
        ".git/config",
        "a\nb",
        "a\\b",
        "./a",
        "a/.GIT/x",
        "a/git~1/x",
        ".git./x",
    ],
)
def test_names_that_lead_elsewhere_are_refused(office: Office, name: str) -> None:
    office.yard.branch()
    pull = office.pulls.open(BRANCH, "Add data", "")
    with pytest.raises(PullRequestError, match="can't be an attachment's name"):
        office.pulls.update(pull, "", {name: b"x"})
    with pytest.raises(PullRequestError, match="can't be an attachment's name"):
        office.pulls.update(pull, "", {"a": b"x", "a/b": b"x"})


def test_one_that_nobody_has_opened(office: Office) -> None:
    head = office.yard.branch()
    unknown = Pull(7, BRANCH, "Add data", PullState.OPEN, "", head)
    for act in (
        lambda: office.pulls.update(unknown, ""),
        lambda: office.pulls.block(unknown, "no"),
        lambda: office.merge(unknown, head),
    ):
        with pytest.raises(PullRequestError):
            act()
    assert office.yard.main() == ["Start"]
