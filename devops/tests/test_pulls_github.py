"""What is GitHub's own about pull requests, asked by the real gh: checks, reviews, merges that wait, refusals."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from github_fake import REPO
from github_office import Office
from pull_yard import BRANCH, Yard

from wms_ops.base.errors import AccessDeniedError, PullRequestError, StoreUnreachableError
from wms_ops.git.command import Git
from wms_ops.pulls.gh import GitHub
from wms_ops.pulls.gh_pulls import GhPulls
from wms_ops.pulls.protocol import Pull, PullState

pytest_plugins = ["github_office"]


def test_the_verdict_is_a_check(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SERVER_URL": "https://github.example", "REPOSITORY": REPO, "RUN_ID": "77"}.items():
        monkeypatch.setenv(f"GITHUB_{name}", value)
    pull, head = office.opened()
    assert pull.url == "http://github.localhost/acme/meters/pull/1"
    assert office.check(head) == ("pending", "The loop is at work.")
    office.pulls.block(pull, "Dice is\nworse. " + "x" * 200)
    assert office.check(head) == ("failure", "Dice is worse. " + "x" * 122 + "...")
    assert office.fake.statuses[head]["target_url"] == "https://github.example/acme/meters/actions/runs/77"
    office.pulls.open(BRANCH, "Add data", "Again.")
    office.merge(pull, head)
    assert office.check(head)[0] == "success"
    assert head in office.fake.approved


def test_the_check_is_there_before_the_pull_request(office: Office) -> None:
    _, head = office.opened()
    assert office.github.calls[:2] == [f"POST /statuses/{head}", "POST /pulls"]


def test_a_check_that_is_required_is_enough(office: Office) -> None:
    """The verdict was the last thing that main waited for: GitHub calls that a clean status."""
    office.fake.needs = {"check"}
    pull, head = office.opened()
    assert office.merge(pull, head) == office.yard.tip("main")
    assert office.waits == 0
    assert "PUT /pulls/1/merge" in office.github.calls


def test_it_merges_by_itself_while_somebody_waits(office: Office) -> None:
    office.fake.needs, office.fake.forbidden = {"check", "review"}, {"own"}
    pull, head = office.opened()
    office.meanwhile = lambda: (office.fake.approved.add(head), office.fake.settle())  # type: ignore[method-assign]
    assert office.merge(pull, head) == office.yard.tip("main")
    assert office.yard.main()[0] == "Add data (#1)"
    assert office.yard.tip(BRANCH) == ""
    assert "PUT /pulls/1/merge" not in office.github.calls
    assert Git(office.yard.origin)("log", "-1", "--format=%b", "main").startswith("All of it.")


def test_who_may_not_approve_says_so_and_leaves_it_to_a_person(office: Office) -> None:
    office.fake.needs, office.fake.forbidden = {"check", "review"}, {"own"}
    pull, head = office.opened()
    assert office.merge(pull, head) == ""
    assert len(office.said) == 2
    assert "Can not approve your own pull request" in office.said[0]
    assert "as soon as all that main requires is there" in office.said[1]
    assert office.yard.main() == ["Start"]
    assert office.yard.tip(BRANCH) == head
    office.fake.approved.add(head)
    office.fake.settle()
    assert office.merge(pull, head) == office.yard.tip("main")
    assert office.yard.tip(BRANCH) == ""


def test_a_review_that_is_not_required_is_not_missed(office: Office) -> None:
    office.fake.needs, office.fake.forbidden = {"check"}, {"own", "auto-merge"}
    pull, head = office.opened()
    assert office.merge(pull, head) == office.yard.tip("main")
    assert len(office.said) == 1


def test_a_review_that_is_missing_where_nothing_may_wait(office: Office) -> None:
    office.fake.needs, office.fake.forbidden = {"check", "review"}, {"own", "auto-merge"}
    pull, head = office.opened()
    with pytest.raises(
        PullRequestError,
        match=r"auto-merge, .* is off \(`wms github setup` .*: At least 1 approving review .*BRANCH_PROTECTION\.md",
    ):
        office.merge(pull, head)
    assert office.yard.main() == ["Start"]


def test_a_verdict_against_it_stops_a_merge_that_waits(office: Office) -> None:
    office.fake.needs, office.fake.forbidden = {"check", "review"}, {"own"}
    pull, head = office.opened()
    office.merge(pull, head)
    assert office.fake.pulls[1]["auto_merge"]
    office.pulls.block(pull, "The newer data is worse.")
    office.fake.needs = {"review"}  # even where somebody has forgotten to require the check
    office.fake.approved.add(head)
    office.fake.settle()
    assert office.yard.main() == ["Start"]


def test_github_notices_a_push_late(office: Office) -> None:
    pull, _ = office.opened()
    newer = office.yard.more(BRANCH, notes="metadata")
    office.fake.lag = 3
    assert office.merge(pull, newer) == office.yard.tip("main")
    assert office.waits > 0
    assert office.yard.show("notes", "main") == "metadata"


def test_one_that_a_person_closed_is_theirs(office: Office) -> None:
    pull, head = office.opened()
    office.fake.pulls[1]["state"] = "closed"
    assert office.pulls.find(BRANCH) is None
    with pytest.raises(PullRequestError, match="was closed by a person"):
        office.merge(pull, head)
    with pytest.raises(PullRequestError, match="was closed by a person"):
        office.pulls.block(pull, "Worse.")
    assert office.pulls.open(BRANCH, "Add data", "Better.").number == 2


def test_the_branch_that_github_deletes_by_itself(office: Office) -> None:
    office.fake.needs, office.fake.forbidden = {"check", "review"}, {"own"}
    pull, head = office.opened()

    def meanwhile() -> None:
        office.fake.approved.add(head)
        office.fake.settle()
        office.fake.git("update-ref", "-d", f"refs/heads/{BRANCH}")

    office.meanwhile = meanwhile  # type: ignore[method-assign]
    assert office.merge(pull, head) == office.yard.tip("main")
    assert office.said[1:] == []


def test_nothing_to_merge(office: Office) -> None:
    office.yard.clone("push", "--quiet", "origin", f"origin/main:refs/heads/{BRANCH}")
    with pytest.raises(PullRequestError, match=f"No commits between main and {BRANCH}"):
        office.pulls.open(BRANCH, "Add data", "")


def test_what_the_settings_forbid_is_named(office: Office) -> None:
    office.yard.branch()
    office.fake.forbidden = {"create"}
    with pytest.raises(PullRequestError, match=r"not permitted to create .*docs/BRANCH_PROTECTION\.md says what"):
        office.pulls.open(BRANCH, "Add data", "")
    office.fake.forbidden = set()
    pull = office.pulls.open(BRANCH, "Add data", "")
    office.github.read_only = True
    with pytest.raises(PullRequestError, match="Resource not accessible by integration"):
        office.pulls.block(pull, "Worse.")


@pytest.mark.parametrize(("status", "kind"), [(401, AccessDeniedError), (502, StoreUnreachableError)])
def test_without_a_login_and_without_github(office: Office, status: int, kind: type[Exception]) -> None:
    head = office.yard.branch()
    office.github.refuse_with = status
    pull = Pull(1, BRANCH, "Add data", PullState.OPEN, "", head)
    for act in (
        lambda: office.pulls.find(BRANCH),
        lambda: office.pulls.open(BRANCH, "Add data", ""),
        lambda: office.merge(pull, head),
    ):
        with pytest.raises(kind):
            act()


def test_pictures_are_linked_by_their_address(office: Office) -> None:
    pull, _ = office.opened()
    pictures = {"pictures/before 1.png": b"PNG", "gate.html": b"<p>"}
    text = '![before](<pictures/before 1.png> "title") [gate](gate.html) <img src="pictures/before%201.png"> [x](y.md)'
    office.pulls.update(pull, text, pictures)
    there = f"http://github.localhost/{REPO}/raw/{office.yard.tip('pull-requests')}/0001"
    assert office.fake.pulls[1]["body"] == (
        f'![before](<{there}/pictures/before%201.png> "title") [gate]({there}/gate.html) '
        f'<img src="{there}/pictures/before%201.png"> [x](y.md)'
    )
    office.pulls.update(pull, "[gate](gate.html)")
    assert office.fake.pulls[1]["body"] == f"[gate]({there}/gate.html)"


def test_other_peoples_pictures_are_not_fetched(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the origin allows it, as GitHub does: the branch grows by pictures, and a runner begins with nothing."""
    pull, _ = office.opened()
    office.yard.branch("data/2", notes="x")
    origin = Git(office.yard.origin)
    origin("config", "uploadpack.allowFilter", "true")
    office.pulls.update(pull, "", {"big.png": b"0" * 99})
    second = office.pulls.open("data/2", "Add data", "")
    big = origin("rev-parse", "pull-requests:0001/big.png")
    runner = Yard(office.yard.folder / "runner")
    runner.folder.mkdir()
    origin("clone", "--quiet", "--single-branch", office.yard.url, str(runner.clone.folder))
    seen: list[bool] = []
    real = Git.attempt

    def attempt(self: Git, *arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
        if arguments[0] == "push":
            listed = real(self, "cat-file", "--batch-all-objects", "--batch-check").stdout.decode()
            assert origin("rev-parse", "pull-requests^{tree}") in listed
            seen.append(big in listed)
        return real(self, *arguments, **more)

    monkeypatch.setattr(Git, "attempt", attempt)
    GhPulls(runner.clone, office.yard.url, GitHub(runner.clone.folder)).update(second, "", {"small.png": b"1"})
    assert seen == [False]
    assert origin.raw("show", "pull-requests:0001/big.png") == b"0" * 99
    assert origin.raw("show", "pull-requests:0002/small.png") == b"1"
    assert origin("fsck", "--no-dangling") == ""


class CutOffError(BaseException):
    """The end of a process, as far as a test in the same one can have it."""


@pytest.mark.parametrize("waits", [False, True], ids=["merges at once", "merges by itself"])
def test_cut_off_after_anything_that_changes_and_run_again(
    office: Office, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    office.fake.needs = {"check", "review"} if waits else {"check"}
    office.fake.forbidden = {"own"} if waits else set()
    left = [0]

    def until(real: Any, changes: Any) -> Any:
        def attempt(self: Any, *arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
            done: subprocess.CompletedProcess[bytes] = real(self, *arguments, **more)
            left[0] -= changes(arguments)
            if changes(arguments) and left[0] == 0:
                raise CutOffError
            return done

        return attempt

    def ours(arguments: tuple[str, ...]) -> bool:
        return arguments[0] == "push" and not arguments[-1].startswith("+HEAD")  # those are the yard's

    def go(head: str) -> str:
        pull = office.pulls.open(BRANCH, "Add data", "Better.")
        office.pulls.update(pull, "![a](a.png)", {"a.png": b"PNG"})
        if waits:
            office.meanwhile = lambda: (office.fake.approved.add(head), office.fake.settle())  # type: ignore[method-assign]
        return office.merge(pull, head)

    monkeypatch.setattr(GitHub, "_attempt", until(GitHub._attempt, lambda said: "GET" not in said))
    monkeypatch.setattr(Git, "attempt", until(Git.attempt, ours))
    for number in range(1, 100):
        head = office.yard.branch(BRANCH, images__dvc=f"photos of {number}\n")
        left[0] = number
        try:
            commit = go(head)
        except CutOffError:
            left[0] = 0
            commit = go(head)
        assert commit == office.yard.tip("main")
        assert len(office.yard.main()) == 1 + number
        assert office.yard.tip(BRANCH) == ""
        assert len(office.fake.pulls) == number
        assert "/raw/" in office.fake.pulls[number]["body"]
        if left[0] > 0:
            break
    assert number == (9 if waits else 10)  # so many changes, and one time without a cut


def test_a_commit_without_a_pull_request_gets_one_comment_of_ours(office: Office) -> None:
    head = office.yard.branch()
    office.fake.login = "mallory"
    office.fake.answer("POST", f"/commits/{head}/comments", {}, {"body": "<!-- wms -->\nI'm the pipeline."})
    office.fake.login = "ana"
    for text in ("a.png is grey.", "a.png is grey, and so is b.png."):
        office.pulls.comment(head, text)
    said = [(one["user"]["login"], one["body"]) for one in office.fake.commit_comments[head]]
    assert said[0] == ("mallory", "<!-- wms -->\nI'm the pipeline.")
    assert said[1:] == [("ana", "<!-- wms -->\na.png is grey, and so is b.png.")]
    assert not office.fake.pulls


def test_a_block_right_after_a_push_is_on_the_new_commit(office: Office) -> None:
    pull, _ = office.opened()
    office.fake.lag = 3
    head = office.yard.more(more__dvc="outs\n")
    assert office.pulls.block(pull, "No better.").head == head
    assert office.check(head) == ("failure", "No better.")
