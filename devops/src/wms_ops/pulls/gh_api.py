"""GitHub's API for pull requests: a method for each request, a sentence for each refusal."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import quote

from wms_ops.base.errors import PullRequestError
from wms_ops.base.layout import main_branch
from wms_ops.pulls.gh import REPO, GhResponse, GitHub
from wms_ops.pulls.protocol import CHECK
from wms_ops.pulls.verdicts import Verdict

Json = dict[str, Any]

_PAGE = 100
_DESCRIPTION = 140  # characters that GitHub takes
_MARK = "<!-- wms -->"  # nobody sees it, and it tells this project's comment from others
_SETTINGS = "docs/BRANCH_PROTECTION.md says what the repository's settings must allow."
_AUTO_MERGE = """
mutation($id: ID!, $head: GitObjectID!, $title: String!, $text: String!) {
  enablePullRequestAutoMerge(input: {pullRequestId: $id, expectedHeadOid: $head, mergeMethod: SQUASH,
    commitHeadline: $title, commitBody: $text}) { pullRequest { number } }
}"""
_READY = """
mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) { pullRequest { number } } }"""
_NO_AUTO_MERGE = """
mutation($id: ID!) { disablePullRequestAutoMerge(input: {pullRequestId: $id}) { pullRequest { number } } }"""


@dataclass(frozen=True)
class PullApi:
    """Requests about pull requests into main. All raise the errors of `GitHub.ask`, and PullRequestError if refused."""

    github: GitHub

    def newest(self, branch: str) -> Json | None:
        """Return the branch's newest pull request, without those that a person closed."""
        # The colon is escaped, since gh reads `:NAME` as a placeholder of its own.
        head = f"{{owner}}%3A{quote(branch, safe='')}"
        query = f"state=all&base={main_branch()}&head={head}&sort=created&direction=desc&per_page=100"
        found = self._get(f"pulls?{query}", f"the pull requests of {branch}")
        mine = [pull for pull in found if pull["head"]["ref"] == branch]
        return next((pull for pull in mine if pull["state"] == "open" or pull["merged_at"]), None)

    def get(self, number: int) -> Json:
        """Return a pull request."""
        found: Json = self._get(f"pulls/{number}", f"pull request {number}")
        return found

    def tip(self, branch: str) -> str | None:
        """Return a branch's commit, None for a missing branch."""
        answer = self.github.ask(f"{REPO}/git/ref/heads/{quote(branch)}", what=f"the branch {branch}")
        return None if answer.status == 404 else str(_done(answer, f"look at {branch}")["object"]["sha"])

    def create(self, branch: str, title: str, body: str, *, draft: bool = False) -> Json | None:
        """Open a new pull request, an ordinary one where GitHub's plan has no drafts; None if there is one by now."""
        data = {"title": title, "body": body, "head": branch, "base": main_branch(), "draft": draft}
        answer = self.github.ask(f"{REPO}/pulls", method="POST", body=data, what="a new pull request")
        if draft and answer.status == 422 and "draft" in answer.words.lower():
            return self.create(branch, title, body)
        if answer.status == 422 and "already exists" in answer.words:
            return None
        created: Json = _done(answer, f"open a pull request of {branch}")
        return created

    def edit(self, number: int, **changes: str) -> Json:
        """Change a pull request's title, body or state."""
        path, what = f"{REPO}/pulls/{number}", f"pull request {number}"
        edited: Json = _done(self.github.ask(path, method="PATCH", body=changes, what=what), f"change {what}")
        return edited

    def make_ready(self, pull: Json) -> None:
        """Make a draft an ordinary pull request, which only GraphQL does; nothing for one that is."""
        if pull.get("draft"):
            what = f"the draft of pull request {pull['number']}"
            _done(self.github.graphql(_READY, {"id": pull["node_id"]}, what), f"end {what}")

    def comments(self, number: int) -> list[str]:
        """Return the texts of a pull request's first hundred comments."""
        found = self._get(f"issues/{number}/comments?per_page=100", f"the comments of pull request {number}")
        return [str(comment["body"]) for comment in found]

    def comment(self, number: int, text: str) -> None:
        """Add a comment to a pull request."""
        path, what = f"{REPO}/issues/{number}/comments", f"a comment on pull request {number}"
        _done(self.github.ask(path, method="POST", body={"body": text}, what=what), f"write {what}")

    def comment_commit(self, commit: str, text: str) -> None:
        """Comment on a commit, in the place of this login's earlier comment that has the mark of this project."""
        what = f"a comment on {commit[:12]}"
        found = self._get(f"commits/{commit}/comments?per_page=100", f"the comments of {commit[:12]}")
        marked = [one for one in found if str(one["body"]).startswith(_MARK)]
        login = self.login() if marked else ""
        ours = next((one for one in marked if (one.get("user") or {}).get("login") == login), None)
        path = f"{REPO}/comments/{ours['id']}" if ours else f"{REPO}/commits/{commit}/comments"
        method, body = "PATCH" if ours else "POST", {"body": f"{_MARK}\n{text}"}
        _done(self.github.ask(path, method=method, body=body, what=what), f"write {what}")

    def verdicts(self, commit: str) -> list[Verdict]:
        """Return all statuses of this project's check on a commit, newest first."""
        # Not the combined status, which tells nobody's name; and to the last page, where an old failure may stand.
        found: list[Json] = []
        for page in count(1):
            path = f"commits/{commit}/statuses?per_page={_PAGE}&page={page}"
            found += (listed := self._get(path, f"the checks of {commit[:12]}"))
            if len(listed) < _PAGE:
                break
        ours = (status for status in found if status["context"] == CHECK)
        return [
            Verdict(
                str(one["state"]), str((one.get("creator") or {}).get("login", "")), str(one.get("description") or "")
            )
            for one in ours
        ]

    def login(self) -> str:
        """Return the login under which GitHub sees this command; that of a workflow's token is ACTIONS."""
        answer = self.github.graphql("query { viewer { login } }", {}, "this login's name")
        return str(_done(answer, "tell this login's name")["data"]["viewer"]["login"])

    def set_verdict(self, commit: str, state: str, text: str, url: str) -> None:
        """Set this project's check on a commit; `url` leads to the workflow run, if any."""
        short = text if len(text) <= _DESCRIPTION else text[: _DESCRIPTION - 3] + "..."
        data = {"state": state, "context": CHECK, "description": short, **({"target_url": url} if url else {})}
        answer = self.github.ask(f"{REPO}/statuses/{commit}", method="POST", body=data, what=f"the check {CHECK}")
        _done(answer, f"set the check {CHECK}")

    def approve(self, number: int, commit: str) -> GhResponse:
        """Approve a commit of a pull request; the caller judges a refusal."""
        data = {"event": "APPROVE", "commit_id": commit, "body": f"The check {CHECK} passed."}
        path = f"{REPO}/pulls/{number}/reviews"
        return self.github.ask(path, method="POST", body=data, what=f"the approval of pull request {number}")

    def merge_by_itself(self, pull: Json, commit: str, title: str, text: str) -> GhResponse:
        """Have GitHub squash the pull request once main's requirements hold; refused where they hold already."""
        variables = {"id": pull["node_id"], "head": commit, "title": title, "text": text}
        return self.github.graphql(_AUTO_MERGE, variables, f"the merge of pull request {pull['number']}")

    def stop_merging(self, pull: Json) -> None:
        """Revoke the request of `merge_by_itself`, if any."""
        if pull.get("auto_merge"):
            what = f"the merge of pull request {pull['number']}"
            _done(self.github.graphql(_NO_AUTO_MERGE, {"id": pull["node_id"]}, what), f"stop {what}")

    def merge_now(self, number: int, commit: str, title: str, text: str) -> GhResponse:
        """Squash the pull request now if its branch is at `commit`; the caller judges a refusal."""
        data = {"sha": commit, "merge_method": "squash", "commit_title": title, "commit_message": text}
        path = f"{REPO}/pulls/{number}/merge"
        return self.github.ask(path, method="PUT", body=data, what=f"the merge of pull request {number}")

    def _get(self, path: str, what: str) -> Any:
        return _done(self.github.ask(f"{REPO}/{path}", what=what), f"hand out {what}")


def refusal(answer: GhResponse, doing: str) -> PullRequestError:
    """Return the error for GitHub's refusal to do something."""
    if answer.status == 404:
        return PullRequestError(f"GitHub refuses to {doing}: it isn't there, or this login may not see it.")
    return PullRequestError(f"GitHub refuses to {doing}: {answer.words}. {_SETTINGS}")


def _done(answer: GhResponse, doing: str) -> Any:
    if not answer.ok:
        raise refusal(answer, doing)
    return answer.data
