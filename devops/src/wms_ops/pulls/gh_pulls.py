"""Pull requests on GitHub, by `gh`: the verdict is a required check, the merge a squash, pictures lie on a branch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

from wms_ops.base.errors import GitError, PullRequestError
from wms_ops.base.outputs import annotate, github_run, on_actions
from wms_ops.base.poll import T, poll
from wms_ops.git.command import Git
from wms_ops.git.scratch import scratch_clone
from wms_ops.git.write import push, remote_tip
from wms_ops.pulls.file_branch import BranchEdit, FileBranch, Files
from wms_ops.pulls.gh import GhResponse, GitHub
from wms_ops.pulls.gh_api import Json, PullApi, refusal
from wms_ops.pulls.links import fitting, linked
from wms_ops.pulls.protocol import CHECK, NO_FILES, Pull, PullState, check_names, check_title, conflict, squash_message
from wms_ops.pulls.verdicts import standing

_PAUSE_S = 3.0


def _warn(text: str) -> None:
    if on_actions():
        annotate("warning", text)
    else:
        print(f"warning: {text}", file=sys.stderr)


class GhPulls:
    """The pull requests of the repository on GitHub that `git`, a clone, and `url`, its origin, belong to.

    `say` gets warnings about steps that failed without harm. GitHub may take `wait_s` seconds to notice a push, or to
    merge by itself; `pause` waits.
    """

    def __init__(
        self,
        git: Git,
        url: str,
        github: GitHub,
        *,
        say: Callable[[str], None] = _warn,
        wait_s: float = 120.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._git, self._url, self._api = git, url, PullApi(github)
        self._say, self._pause, self._tries = say, pause, max(int(wait_s / _PAUSE_S), 1)

    def find(self, branch: str) -> Pull | None:
        """See PullRequests. All methods raise the errors of `GitHub.ask` and PullRequestError."""
        found = self._api.newest(branch)
        return self._pull(found) if found else None

    def open(self, branch: str, title: str, body: str, *, draft: bool = False) -> Pull:
        """See PullRequests."""
        title, body = check_title(title), fitting(body)
        tip, old = self._api.tip(branch), self._api.newest(branch)
        if old and old["merged_at"] and tip in (None, old["head"]["sha"]):
            return self._pull(old)
        if tip is None:
            raise PullRequestError(f"There is no branch {branch!r} on GitHub; push it first.")
        # Before there is a pull request: after a failure here its number would be unknown. The check sits on a commit,
        # so a newer tip needs a new one: an older verdict says nothing about it.
        self._api.set_verdict(tip, "pending", "The loop is at work.", github_run())
        made = None if old and not old["merged_at"] else self._api.create(branch, title, body, draft=draft)
        if made is None:
            old = self._api.newest(branch)
            if old is None or old["merged_at"]:
                raise PullRequestError(f"The pull request of {branch} was closed just now; run this again.")
            self._api.stop_merging(old)
            made = self._api.edit(old["number"], title=title, body=body)
            if not draft:
                self._api.make_ready(made)
                made["draft"] = False
        return self._value(made, PullState.DRAFT if made.get("draft") else PullState.OPEN, tip)

    def ended(self, number: int) -> str:
        """See PullRequests."""
        there = self._api.get(number)
        return "" if there["state"] == "open" else "merged" if there["merged_at"] else "closed"

    def update(self, pull: Pull, body: str, attachments: Mapping[str, bytes] = NO_FILES) -> Pull:
        """See PullRequests; attachments go to the branch pull-requests, to which the body's links then lead."""
        check_names(attachments)
        there = self._api.get(pull.number)
        folder = f"{pull.number:04d}"

        def attach(files: Files) -> BranchEdit[list[str]]:
            new = {f"{folder}/{name}": content for name, content in attachments.items()}
            names = {name.removeprefix(f"{folder}/") for name in (*files.names(folder), *new)}
            return BranchEdit(new, f"Files of pull request {pull.number}\n", sorted(names))

        with scratch_clone(self._git, self._url) as scratch:
            commit, names = FileBranch(scratch, contents=False).change(attach)
        address = f"{there['base']['repo']['html_url']}/raw/{commit}/{folder}"
        return self._pull(self._api.edit(pull.number, body=fitting(linked(body, names, address))))

    def block(self, pull: Pull, reason: str) -> Pull:
        """See PullRequests."""
        there = self._api.get(pull.number)
        if there["merged_at"]:
            raise PullRequestError(f"Pull request {pull.number} is merged already and can't be blocked.")
        self._refuse_closed(there)
        self._api.stop_merging(there)
        # A pull request is told with its branch's former commit for a while after a push.
        head = self._api.tip(there["head"]["ref"]) or there["head"]["sha"]
        self._api.set_verdict(head, "failure", " ".join(reason.split()), github_run())
        return self._value(there, PullState.BLOCKED, head, reason)

    def comment(self, commit: str, text: str) -> None:
        """See PullRequests."""
        self._api.comment_commit(commit, fitting(text))

    def close(self, pull: Pull, comment: str) -> None:
        """See PullRequests."""
        there = self._api.get(pull.number)
        if there["merged_at"]:
            raise PullRequestError(f"Pull request {pull.number} is merged already and can't be closed.")
        if there["state"] != "open":
            return
        self._api.stop_merging(there)
        if comment not in self._api.comments(pull.number):  # of a run that was killed before it closed
            self._api.comment(pull.number, comment)
        self._api.edit(pull.number, state="closed")

    def merge(self, pull: Pull, *, head: str, title: str, message: str) -> str:
        """See PullRequests. A login without the right to approve is a warning only."""
        there = self._noticed(pull, head)
        if not there["merged_at"]:
            self._refuse(there, pull, head)
            subject, _, text = squash_message(pull, title, message).partition("\n\n")
            self._api.set_verdict(head, "success", "The model was promoted and deployed.", github_run())
            if not (answer := self._api.approve(pull.number, head)).ok:
                self._say(
                    f"GitHub doesn't let this login approve pull request {pull.number} ({answer.words}); where main "
                    "requires a review, a person has to give it, or another login: see docs/BRANCH_PROTECTION.md."
                )
            later = self._api.merge_by_itself(there, head, subject, text)
            if later.ok:
                there = self._waited(pull)
            else:  # nothing is left to wait for, or the repository doesn't allow it
                there = self._merged_now(pull, head, subject, text, is_off="not allowed" in later.words.lower())
        if not there["merged_at"]:
            self._refuse_closed(there)
            return ""
        self._delete(there)
        return str(there["merge_commit_sha"])

    def _noticed(self, pull: Pull, head: str) -> Json:
        """Return the pull request, once GitHub has noticed the push to its branch."""

        def is_noticed(there: Json) -> bool:
            known = there["state"] != "open" or there["head"]["sha"] == head
            return known or self._api.tip(pull.branch) != head

        return self._poll(lambda: self._api.get(pull.number), is_noticed)

    def _refuse(self, there: Json, pull: Pull, head: str) -> None:
        """Raise PullRequestError for a pull request that may not be merged."""
        self._refuse_closed(there)
        tip = there["head"]["sha"]
        if tip != head:
            raise PullRequestError(
                f"{pull.branch} moved on to {tip[:12]}, but {head[:12]} was looked at; run the loop for it again."
            )
        if self._state(there)[0] is PullState.BLOCKED:
            raise PullRequestError(f"Pull request {pull.number} is blocked: see its checks. Run the loop for it again.")

    @staticmethod
    def _refuse_closed(there: Json) -> None:
        if there["state"] != "open":
            raise PullRequestError(f"Pull request {there['number']} was closed by a person; reopen it there to go on.")

    def _waited(self, pull: Pull) -> Json:
        """Return the pull request once GitHub has merged the branch by itself, or after too long a wait."""
        there = self._poll(lambda: self._api.get(pull.number), lambda there: there["state"] != "open")
        if there["state"] == "open":
            self._say(
                f"Pull request {pull.number} passed and is merged by GitHub as soon as all that main requires is "
                f"there, such as a review: see {there['html_url']}."
            )
        return there

    def _merged_now(self, pull: Pull, head: str, subject: str, text: str, *, is_off: bool) -> Json:
        def attempt() -> tuple[GhResponse, Json]:
            answer = self._api.merge_now(pull.number, head, subject, text)
            return answer, self._api.get(pull.number)

        def is_settled(found: tuple[GhResponse, Json]) -> bool:
            answer, there = found
            # Main got another commit at this moment; or GitHub hasn't checked yet whether the branch can be merged.
            early = "base branch was modified" in answer.words.lower() or there["mergeable"] is None
            return answer.ok or bool(there["merged_at"]) or not early

        answer, there = self._poll(attempt, is_settled)
        if answer.ok:
            return {**there, "merged_at": True, "merge_commit_sha": answer.data["sha"]}
        if there["merged_at"]:
            return there
        if there["mergeable"] is False:
            raise conflict(pull.branch, [])
        doing = f"merge pull request {pull.number}"
        if is_off:
            doing += " now, and auto-merge, which would wait, is off (`wms github setup` switches it on)"
        raise refusal(answer, doing)

    def _poll(self, look: Callable[[], T], until: Callable[[T], bool]) -> T:
        return poll(look, None, until=until, pause_s=_PAUSE_S, most_looks=self._tries, sleep=self._pause)

    def _delete(self, there: Json) -> None:
        """Delete the merged branch, unless the branch has newer commits or GitHub has deleted it."""
        branch, head = there["head"]["ref"], there["head"]["sha"]
        try:
            if remote_tip(self._git, self._url, branch) == head:
                push(self._git, self._url, branch, "", head)
        except GitError as error:
            self._say(f"{branch} is merged, but can't be deleted: {error}")

    def _pull(self, there: Json) -> Pull:
        state, reason = self._state(there)
        return self._value(there, state, there["head"]["sha"], reason)

    def _state(self, there: Json) -> tuple[PullState, str]:
        """The state, and the reason of a blocked one."""
        if there["merged_at"]:
            return PullState.MERGED, ""
        found = standing(self._api.verdicts(there["head"]["sha"]), self._api.login)
        if found.ignored:
            self._say(
                f"{found.ignored} set the check {CHECK} of pull request {there['number']} over a failure of another "
                "login, which isn't believed: it stays blocked. Find out why, and run the loop for it again."
            )
        if found.state == "failure":
            return PullState.BLOCKED, found.reason
        return (PullState.DRAFT if there.get("draft") else PullState.OPEN), ""

    @staticmethod
    def _value(there: Json, state: PullState, head: str, reason: str = "") -> Pull:
        return Pull(there["number"], there["head"]["ref"], there["title"], state, there["html_url"], head, reason)
