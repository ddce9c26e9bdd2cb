"""The settings of a repository for the fake GitHub: merging, Actions, environments, rulesets, labels, secrets."""

from __future__ import annotations

import base64
from typing import Any

from github_fake import NOT_FOUND, FakeGitHub, Reply, refusal

UPGRADE = "Upgrade to GitHub Pro or make this repository public to enable this feature."
_CUSTOM = "custom_branch_policies"
_POLICY = "deployment_branch_policy"


class FakeSettings:
    """A repository as GitHub makes it. `refuse` maps "METHOD path" to the answer instead of the real one.

    `ignore` holds requests that are answered as carried out and aren't; after the change number `last`, whose answer is
    lost, GitHub is down.
    """

    def __init__(self, github: FakeGitHub) -> None:
        self.repository: dict[str, Any] = {
            **{"default_branch": "main", "permissions": {"admin": True}},
            **{"allow_squash_merge": True, "allow_auto_merge": False},
        }
        self.actions: dict[str, Any] = {
            "default_workflow_permissions": "write",
            "can_approve_pull_request_reviews": False,
        }
        self.environment: dict[str, Any] | None = None
        self.policies: list[dict[str, Any]] = []
        self.variables: dict[str, str] = {}
        self.secrets: dict[str, str] = {}  # as gh encrypted them
        self.rulesets: list[dict[str, Any]] = []
        self.labels: set[str] = set()
        self.repository_secrets: list[str] = []
        self.organisation_secrets: list[str] = []
        self.refuse: dict[str, Reply] = {}
        self.ignore: set[str] = set()
        self.last: int | None = None
        self.changes: list[str] = []
        self._next, self._former = 100, github.more
        github.more = self.answer

    def answer(self, method: str, where: str, asked: dict[str, str], body: Any) -> Reply:
        request = f"{method} {where.strip('/')}"
        if self.last is not None and len(self.changes) >= self.last:
            return refusal(502, "Bad Gateway")
        if request in self.refuse:
            return self.refuse[request]
        if method != "GET":
            self.changes.append(request)
        parts = where.strip("/").split("/")
        done: Reply | None = (200, {}) if request in self.ignore else self._settings(method, parts, asked, body)
        if done is None:
            return self._former(method, where, asked, body) if self._former else NOT_FOUND
        return refusal(502, "Bad Gateway") if method != "GET" and len(self.changes) == self.last else done

    def _settings(self, method: str, parts: list[str], asked: dict[str, str], body: Any) -> Reply | None:
        match parts:
            case [""] | ["actions", "permissions", "workflow"]:
                found = self.actions if parts[1:] else self.repository
                found |= body or {}
                return (204, b"") if body and parts[1:] else (200, found)
            case ["actions", "secrets" | "organization-secrets" as kind]:
                names = self.repository_secrets if kind == "secrets" else self.organisation_secrets
                return _page("secrets", [{"name": name} for name in names], asked)
            case ["environments", "wms", *more]:
                return self._environment(method, more, asked, body)
            case ["rulesets", *which]:
                return self._rulesets(method, which, body)
            case ["labels", *_]:
                self.labels |= {body["name"]} if body else set()
                return (201 if body else 200, {"name": "wms"}) if "wms" in self.labels else NOT_FOUND
        return None

    def _environment(self, method: str, parts: list[str], asked: dict[str, str], body: Any) -> Reply:
        if not parts and method == "PUT":
            self._limit(body)
        if self.environment is None:
            return NOT_FOUND
        match parts:
            case ["deployment-branch-policies", *which]:
                return self._policies(method, which, asked, body)
            case ["variables", *which]:
                return self._variables(method, which, asked, body)
            case ["secrets", *which]:
                return self._secrets(method, which, asked, body)
        return 200, self.environment

    def _limit(self, body: Any) -> None:
        rules = [{"type": "wait_timer", "wait_timer": body["wait_timer"]}] if body.get("wait_timer") else []
        if people := body.get("reviewers"):
            told = [{"type": one["type"], "reviewer": {"id": one["id"]}} for one in people]
            rules.append({"type": "required_reviewers", "reviewers": told})
        self.environment = {"name": "wms", _POLICY: body[_POLICY], "protection_rules": rules}

    def _variables(self, method: str, which: list[str], asked: dict[str, str], body: Any) -> Reply:
        if method == "GET":
            rows = [{"name": name, "value": value} for name, value in self.variables.items()]
            return _page("variables", rows, asked)
        name = which[0] if which else body["name"]
        assert (name in self.variables) == bool(which) and body["value"]
        self.variables[name] = body["value"]
        return (204, b"") if which else (201, {})

    def _secrets(self, method: str, which: list[str], asked: dict[str, str], body: Any) -> Reply:
        if which == ["public-key"]:
            return 200, {"key_id": "1", "key": base64.b64encode(bytes(range(32))).decode()}
        if method == "PUT":
            self.secrets[which[0]] = body["encrypted_value"]
            return 201, {}
        if method == "DELETE":
            return (204, b"") if self.secrets.pop(which[0], None) else NOT_FOUND
        return _page("secrets", [{"name": name} for name in self.secrets], asked)

    def _policies(self, method: str, which: list[str], asked: dict[str, str], body: Any) -> Reply:
        assert self.environment is not None
        if not (self.environment[_POLICY] or {}).get(_CUSTOM):
            return NOT_FOUND
        if method == "POST":
            self.policies.append({"id": self._id(), "type": "branch", **body})
        elif method == "DELETE":
            self.policies = [one for one in self.policies if one["id"] != int(which[0])]
            return 204, b""
        return _page("branch_policies", self.policies, asked)

    def _rulesets(self, method: str, which: list[str], body: Any) -> Reply:
        if method == "GET" and not which:
            return 200, [{name: one[name] for name in ("id", "name", "enforcement")} for one in self.rulesets]
        if method == "POST":
            self.rulesets.append({"id": self._id(), "source_type": "Repository"})
            which = [str(self.rulesets[-1]["id"])]
        found = next(one for one in self.rulesets if one["id"] == int(which[0]))
        found |= body or {}
        for rule in found["rules"]:  # GitHub adds what a request leaves out
            if "parameters" in rule:
                rule["parameters"].setdefault("do_not_enforce_on_create", False)
        return 200, found

    def _id(self) -> int:
        self._next += 1
        return self._next


def _page(key: str, rows: list[Any], asked: dict[str, str]) -> Reply:
    size, page = int(asked.get("per_page", 10)), int(asked.get("page", 1))
    assert size <= 30 or key != "variables"
    return 200, {"total_count": len(rows), key: rows[(page - 1) * size : page * size]}
