"""Pull requests for the fake GitHub, on a real bare origin: what its API does to branches, `git` does here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from github_fake import HOST, NOT_FOUND, REPO, FakeGitHub, Reply, refusal

IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in {"NAME": "GitHub", "EMAIL": "noreply@github.com"}.items()
}


class FakePulls:
    """Pull requests of the origin. `needs` is what main requires: "check", "review"; `forbidden` what isn't allowed.

    `forbidden` may hold "create", "draft" (as in a private repository on the Free plan), "own" (approving one's own),
    "auto-merge". As on GitHub, a closed pull request keeps the commit that its branch had last.
    """

    def __init__(self, github: FakeGitHub, origin: Path) -> None:
        self.origin = origin
        self.pulls: dict[int, dict[str, Any]] = {}
        self.login = "ana"  # whose token asks
        self.statuses: dict[str, dict[str, Any]] = {}  # the newest of each commit
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.comments: dict[str, list[str]] = {}
        self.commit_comments: dict[str, list[dict[str, Any]]] = {}
        self.approved: set[str] = set()
        self.needs: set[str] = set()
        self.forbidden: set[str] = set()
        self.lag = 0  # how often a pull request is told with an older head than its branch has
        github.more = self.answer

    def git(self, *arguments: str, data: str = "") -> str:
        command = ["git", "-C", str(self.origin), *arguments]
        done = subprocess.run(
            command, input=data, capture_output=True, text=True, check=True, env={**os.environ, **IDENTITY}
        )
        return done.stdout.strip()

    def tip(self, branch: str) -> str:
        return self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")

    def answer(self, method: str, where: str, asked: Mapping[str, str], body: Any) -> Reply:
        match method, where.strip("/").split("/"):
            case _, ["pulls", *parts]:
                return self._pulls(method, parts, asked, body)
            case "GET", ["git", "ref", "heads", *parts]:
                tip = self.tip("/".join(parts))
                return (200, {"object": {"sha": tip}}) if tip else NOT_FOUND
            case ("POST", ["statuses", commit]) | ("GET", ["commits", commit, "statuses"]):
                return self._statuses(commit, asked, body)
            case _, ["commits" | "comments" | "issues" as kind, which, *_] if "comments" in where:
                return self._comments(method, kind, which, body)
            case "POST", ["graphql"]:
                return self._graphql(body["query"], body["variables"])
        return NOT_FOUND

    def _comments(self, method: str, kind: str, which: str, body: Any) -> Reply:
        if kind == "issues":
            texts = self.comments.setdefault(which, [])
            texts += [body["body"]] if method == "POST" else []
            return 200, [{"body": text} for text in texts]
        if kind == "comments":
            comment = next(one for every in self.commit_comments.values() for one in every if one["id"] == int(which))
            comment |= body
            return 200, comment
        found = self.commit_comments.setdefault(which, [])
        if method == "POST":
            number = sum(map(len, self.commit_comments.values())) + 1
            found.append({"id": number, "user": {"login": self.login}, **body})
            return 201, found[-1]
        return 200, found

    def _statuses(self, commit: str, asked: Mapping[str, str], body: Any) -> Reply:
        if body:
            assert len(body["description"]) <= 140
            return 201, self.set_status(commit, self.login, **body)
        start = (int(asked["page"]) - 1) * int(asked["per_page"])
        return 200, self.history.get(commit, [])[::-1][start : start + int(asked["per_page"])]

    def set_status(self, commit: str, login: str, **status: str) -> dict[str, Any]:
        """What a token with `statuses: write` may do at any commit."""
        self.statuses[commit] = {**status, "creator": {"login": login}}
        self.history.setdefault(commit, []).append(self.statuses[commit])
        return self.statuses[commit]

    def _pulls(self, method: str, parts: list[str], asked: Mapping[str, str], body: Any) -> Reply:
        if not parts and method == "POST":
            return self._create(body)
        if not parts:
            return 200, [self.told(number) for number in sorted(self.pulls, reverse=True) if self._fits(number, asked)]
        number = int(parts[0])
        if number not in self.pulls:
            return NOT_FOUND
        if parts[1:] == ["reviews"]:
            return self._review(body)
        if parts[1:] == ["merge"]:
            return self._merge(number, body)
        self.pulls[number] |= body or {}
        return 200, self.told(number)

    def _review(self, body: Mapping[str, str]) -> Reply:
        if "own" in self.forbidden:
            return refusal(422, "Unprocessable Entity", "Can not approve your own pull request")
        self.approved.add(body["commit_id"])
        return 200, {}

    def told(self, number: int) -> dict[str, Any]:
        """A pull request as the API tells it."""
        pull = self.pulls[number]
        tip = self.tip(pull["branch"])
        if pull["state"] == "open" and tip:
            self.lag = max(self.lag - 1, 0)
            pull["head_sha"] = pull["head_sha"] if self.lag else tip
        return {
            **{key: pull[key] for key in ("number", "title", "body", "state", "merged_at", "merge_commit_sha")},
            "head": {"ref": pull["branch"], "sha": pull["head_sha"]},
            "base": {"ref": "main", "repo": {"html_url": f"http://{HOST}/{REPO}"}},
            "html_url": f"http://{HOST}/{REPO}/pull/{number}",
            "node_id": f"PR_{number}",
            "mergeable": None if pull["state"] != "open" else self._tree(pull) is not None,
            "draft": pull["draft"],
            "auto_merge": pull["auto_merge"] and {"merge_method": "squash"},
        }

    def settle(self) -> None:
        """What GitHub does in its own time: merge what was asked for and now has all that main requires."""
        for number, pull in self.pulls.items():
            if pull["state"] == "open" and pull["auto_merge"] and not self._lacking(pull):
                self._squash(number, pull["auto_merge"]["title"], pull["auto_merge"]["text"])

    def _fits(self, number: int, asked: Mapping[str, str]) -> bool:
        return f"acme:{self.pulls[number]['branch']}" == asked["head"] and asked["state"] == "all"

    def _create(self, body: Mapping[str, Any]) -> Reply:
        branch = body["head"]
        if "create" in self.forbidden:
            return refusal(403, "GitHub Actions is not permitted to create or approve pull requests.")
        if not self.tip(branch):
            return refusal(422, "Validation Failed", "head is invalid")
        if any(pull["branch"] == branch and pull["state"] == "open" for pull in self.pulls.values()):
            return refusal(422, "Validation Failed", f"A pull request already exists for acme:{branch}.")
        if not self.git("rev-list", f"main..{branch}"):
            return refusal(422, "Validation Failed", f"No commits between main and {branch}")
        if body["draft"] and "draft" in self.forbidden:
            return refusal(422, "Validation Failed", "Draft pull requests are not supported in this repository.")
        number = len(self.pulls) + 1
        empty = {"state": "open", "merged_at": None, "merge_commit_sha": None, "auto_merge": None}
        about = {
            "number": number,
            "title": body["title"],
            "body": body["body"],
            "branch": branch,
            "draft": body["draft"],
        }
        self.pulls[number] = {**empty, **about, "head_sha": self.tip(branch)}
        return 201, self.told(number)

    def _merge(self, number: int, body: Mapping[str, str]) -> Reply:
        pull = self.pulls[number]
        if body["sha"] != self.tip(pull["branch"]):
            return refusal(409, "Head branch was modified. Review and try the merge again.")
        if pull["draft"]:
            return refusal(405, "Pull Request is still a draft")
        if self._tree(pull) is None:
            return refusal(405, "Pull Request is not mergeable")
        if lacking := self._lacking(pull):
            return refusal(
                405, f"At least 1 approving {sorted(lacking)[0]} is required by reviewers with write access."
            )
        assert body["merge_method"] == "squash"
        return 200, {"merged": True, "sha": self._squash(number, body["commit_title"], body["commit_message"])}

    def _graphql(self, query: str, variables: Mapping[str, str]) -> Reply:
        if "viewer" in query:
            return 200, {"data": {"viewer": {"login": self.login}}}
        pull = self.pulls[int(variables["id"].removeprefix("PR_"))]
        if "markPullRequestReadyForReview" in query:
            pull["draft"] = False
            return 200, {"data": {}}
        if "disablePullRequestAutoMerge" in query:
            pull["auto_merge"] = None
            return 200, {"data": {}}
        error = None
        if pull["draft"]:
            error = "Pull request Pull request is in draft state"
        elif "auto-merge" in self.forbidden:
            error = "Auto merge is not allowed for this repository"
        elif variables["head"] != self.tip(pull["branch"]):
            error = "Head sha didn't match expected head oid"
        elif not self._lacking(pull) or not self.needs:
            error = "Pull request Pull request is in clean status"
        if error:
            return 200, {"data": None, "errors": [{"type": "UNPROCESSABLE", "message": error}]}
        pull["auto_merge"] = {"title": variables["title"], "text": variables["text"]}
        return 200, {"data": {}}

    def _lacking(self, pull: Mapping[str, Any]) -> set[str]:
        tip = self.tip(pull["branch"])
        there = {"review"} if tip in self.approved else set()
        if self.statuses.get(tip, {}).get("state") == "success":
            there.add("check")
        return self.needs - there

    def _tree(self, pull: Mapping[str, Any]) -> str | None:
        command = ["git", "-C", str(self.origin), "merge-tree", "--write-tree", "main", pull["branch"]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.split()[0] if done.returncode == 0 else None

    def _squash(self, number: int, title: str, text: str) -> str:
        pull = self.pulls[number]
        commit = self.git("commit-tree", str(self._tree(pull)), "-p", "main", "-F", "-", data=f"{title}\n\n{text}")
        self.git("update-ref", "refs/heads/main", commit)
        closed = {"state": "closed", "merged_at": "2026-11-21T10:00:00Z", "merge_commit_sha": commit}
        pull |= {**closed, "head_sha": self.tip(pull["branch"]), "auto_merge": None}
        return commit
