"""GitHub's API for pull requests: one request and one sentence each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from wms_ops.base.errors import PullRequestError
from wms_ops.base.layout import MAIN
from wms_ops.pulls.gh import REPO, GhResponse, GitHub
from wms_ops.pulls.protocol import CHECK

Json = dict[str, Any]

_DESCRIPTION = 140  # characters that GitHub takes
_SETTINGS = "docs/BRANCH_PROTECTION.md says what the repository's settings must allow."
_AUTO_MERGE = """
mutation($id: ID!, $head: GitObjectID!, $title: String!, $text: String!) {
  enablePullRequestAutoMerge(input: {pullRequestId: $id, expectedHeadOid: $head, mergeMethod: SQUASH,
    commitHeadline: $title, commitBody: $text}) { pullRequest { number } }
}"""
_NO_AUTO_MERGE = """
mutation($id: ID!) { disablePullRequestAutoMerge(input: {pullRequestId: $id}) { pullRequest { number } } }"""


@dataclass(frozen=True)
class PullApi:
    """Requests about pull requests into main. All raise what `GitHub.ask` does, and PullRequestError if refused."""

    github: GitHub

    def newest(self, branch: str) -> Json | None:
        """The branch's newest pull request, but for those that a person closed."""
        # Whole, since a name with a colon in front of it would be one of gh's own placeholders.
        head = f"{{owner}}%3A{quote(branch, safe='')}"
        query = f"state=all&base={MAIN}&head={head}&sort=created&direction=desc&per_page=100"
        found = self._get(f"pulls?{query}", f"the pull requests of {branch}")
        mine = [one for one in found if one["head"]["ref"] == branch]
        return next((one for one in mine if one["state"] == "open" or one["merged_at"]), None)

    def get(self, number: int) -> Json:
        """A pull request."""
        found: Json = self._get(f"pulls/{number}", f"pull request {number}")
        return found

    def tip(self, branch: str) -> str | None:
        """A branch's commit, None if there is no such branch."""
        answer = self.github.ask(f"{REPO}/git/ref/heads/{quote(branch)}", what=f"the branch {branch}")
        return None if answer.status == 404 else str(_done(answer, f"look at {branch}")["object"]["sha"])

    def create(self, branch: str, title: str, body: str) -> Json | None:
        """A new pull request; None if there is an open one, which somebody has made just now."""
        data = {"title": title, "body": body, "head": branch, "base": MAIN}
        answer = self.github.ask(f"{REPO}/pulls", method="POST", body=data, what="a new pull request")
        if answer.status == 422 and "already exists" in answer.words:
            return None
        created: Json = _done(answer, f"open a pull request of {branch}")
        return created

    def edit(self, number: int, **changes: str) -> Json:
        """Change a pull request's title or body."""
        path, what = f"{REPO}/pulls/{number}", f"pull request {number}"
        edited: Json = _done(self.github.ask(path, method="PATCH", body=changes, what=what), f"change {what}")
        return edited

    def verdict(self, commit: str) -> str:
        """The state of this project's check on a commit: success, failure, pending, or "" without any."""
        found = self._get(f"commits/{commit}/status?per_page=100", f"the checks of {commit[:12]}")
        return next((str(one["state"]) for one in found["statuses"] if one["context"] == CHECK), "")

    def set_verdict(self, commit: str, state: str, text: str, url: str) -> None:
        """Set this project's check on a commit; `url` leads to the run, if there is one."""
        short = text if len(text) <= _DESCRIPTION else text[: _DESCRIPTION - 3] + "..."
        data = {"state": state, "context": CHECK, "description": short, **({"target_url": url} if url else {})}
        answer = self.github.ask(f"{REPO}/statuses/{commit}", method="POST", body=data, what=f"the check {CHECK}")
        _done(answer, f"set the check {CHECK}")

    def approve(self, number: int, commit: str) -> GhResponse:
        """Approve a commit of a pull request; a refusal is the caller's to judge."""
        data = {"event": "APPROVE", "commit_id": commit, "body": f"The check {CHECK} passed."}
        path = f"{REPO}/pulls/{number}/reviews"
        return self.github.ask(path, method="POST", body=data, what=f"the approval of pull request {number}")

    def merge_by_itself(self, pull: Json, commit: str, title: str, text: str) -> GhResponse:
        """Have GitHub squash it once all that main requires is there; refused where nothing is left to wait for."""
        variables = {"id": pull["node_id"], "head": commit, "title": title, "text": text}
        return self.github.graphql(_AUTO_MERGE, variables, f"the merge of pull request {pull['number']}")

    def stop_merging(self, pull: Json) -> None:
        """Take back what `merge_by_itself` asked for, if it did."""
        if pull.get("auto_merge"):
            what = f"the merge of pull request {pull['number']}"
            _done(self.github.graphql(_NO_AUTO_MERGE, {"id": pull["node_id"]}, what), f"stop {what}")

    def merge_now(self, number: int, commit: str, title: str, text: str) -> GhResponse:
        """Squash it now if its branch is at `commit`; a refusal is the caller's to judge."""
        data = {"sha": commit, "merge_method": "squash", "commit_title": title, "commit_message": text}
        path = f"{REPO}/pulls/{number}/merge"
        return self.github.ask(path, method="PUT", body=data, what=f"the merge of pull request {number}")

    def _get(self, path: str, what: str) -> Any:
        return _done(self.github.ask(f"{REPO}/{path}", what=what), f"hand out {what}")


def refusal(answer: GhResponse, doing: str) -> PullRequestError:
    """What to say where GitHub refuses to do something."""
    if answer.status == 404:
        return PullRequestError(f"GitHub refuses to {doing}: it isn't there, or this login may not see it.")
    return PullRequestError(f"GitHub refuses to {doing}: {answer.words}. {_SETTINGS}")


def _done(answer: GhResponse, doing: str) -> Any:
    if not answer.ok:
        raise refusal(answer, doing)
    return answer.data
