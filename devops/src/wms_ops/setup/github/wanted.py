"""What the repository's settings at GitHub must be, compared with what they are: no request is made here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wms_ops.pulls.protocol import CHECK

Json = Mapping[str, Any]

ENVIRONMENT: Final = "wms"
"""The environment of the workflows: what only main's jobs may read lies there."""

LABEL: Final = "wms"
RULESET: Final = "wms"
ACTIONS: Final = 15368
"""The number of GitHub Actions among GitHub's apps."""

KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
ROLE: Final = "AWS_ROLE_ARN"
SETUP: Final = "wms github setup"

_HERE: Final = f"environments/{ENVIRONMENT}"
_VARIABLES: Final = f"{_HERE}/variables"
_POLICIES: Final = f"{_HERE}/deployment-branch-policies"
_CUSTOM: Final = {"protected_branches": False, "custom_branch_policies": True}
_MERGE: Final = ("allow_squash_merge", "allow_auto_merge")
_ACTIONS: Final = {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": True}
_STATUS: Final = "required_status_checks"
PLAN: Final = "make the repository public, or choose a plan of GitHub with them for private repositories"


@dataclass(frozen=True)
class Wanted:
    """What a clone asks for; an empty text asks for nothing. `app` sets the check; None leaves the app as it is."""

    main: str
    region: str = ""
    role: str = ""
    tfvars: str = ""
    app: int | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The environment's variables."""
        every = {"AWS_REGION": self.region, ROLE: self.role, "WMS_TFVARS": self.tfvars}
        return {name: value for name, value in every.items() if value}


@dataclass(frozen=True)
class There:
    """What GitHub has, in its own JSON; `no_rulesets` are its words where the plan has none."""

    repository: Json
    actions: Json
    environment: Json | None
    policies: Sequence[Json]
    variables: Mapping[str, str]
    secrets: frozenset[str]
    ruleset: Json | None
    no_rulesets: str
    has_label: bool
    repository_secrets: Sequence[str]
    organisation_secrets: Sequence[str] = ()


@dataclass(frozen=True)
class Change:
    """A request that brings a setting to what is wanted; `path` is below the repository's."""

    text: str
    method: str
    path: str
    body: Json | None = None


@dataclass(frozen=True)
class Item:
    """One part of the settings. `text` holds where nothing must change; what a person must do is a text and a command.

    `hints` are of use and no defect.
    """

    name: str
    text: str
    changes: tuple[Change, ...] = ()
    defects: tuple[tuple[str, str], ...] = ()
    hints: tuple[tuple[str, str], ...] = ()

    @property
    def is_fine(self) -> bool:
        """Whether all is as wanted."""
        return not self.changes and not self.defects


def compare(wanted: Wanted, there: There) -> list[Item]:
    """Return the settings with their changes. Those of one item build on each other, in their order."""
    return [
        _merging(there),
        _actions(there),
        _environment(wanted, there),
        _ruleset(wanted, there),
        _label(there),
        _keys(there),
        _repository_secrets(there),
    ]


def _merging(there: There) -> Item:
    lacking = {name: True for name in _MERGE if there.repository.get(name) is not True}
    text = f"{' and '.join(lacking)}: off, will be on"
    changes = (Change(text, "PATCH", "", lacking),) if lacking else ()
    return Item("merging", "squash and auto-merge are allowed", changes)


def _actions(there: There) -> Item:
    differs = [name for name, value in _ACTIONS.items() if there.actions.get(name) != value]
    text = ", ".join(f"{name}: {_word(there.actions.get(name))}, will be {_word(_ACTIONS[name])}" for name in differs)
    changes = (Change(text, "PUT", "actions/permissions/workflow", _ACTIONS),) if differs else ()
    return Item("actions", "a workflow's token only reads unless its file says more, and may approve", changes)


def _word(value: object) -> str:
    return (
        {True: "on", False: "off", None: "unknown"}[value] if value is None or isinstance(value, bool) else str(value)
    )


def _environment(wanted: Wanted, there: There) -> Item:
    text = (
        f"only {wanted.main} deploys to {ENVIRONMENT}, which has {', '.join(sorted(there.variables)) or 'no variable'}"
    )
    return Item("environment", text, (*_limits(wanted, there), *_variables(wanted, there)))


def _limits(wanted: Wanted, there: There) -> Iterator[Change]:
    """Main's own rule comes before others go, so that main is never locked out by a command that was stopped."""
    found = there.environment
    if found is None or found.get("deployment_branch_policy") != _CUSTOM:
        state = "isn't there" if found is None else "may be used by other branches"
        yield Change(
            f"environment {ENVIRONMENT}: {state}, will be limited to chosen branches", "PUT", _HERE, _limited(found)
        )
    mine = [one for one in there.policies if one["name"] == wanted.main and one.get("type", "branch") == "branch"]
    if not mine:
        body = {"name": wanted.main, "type": "branch"}
        yield Change(f"environment {ENVIRONMENT}: {wanted.main} may deploy to it", "POST", _POLICIES, body)
    for one in there.policies:
        if one not in mine:
            kind = one.get("type", "branch")
            text = f"environment {ENVIRONMENT}: the {kind} {one['name']} may deploy to it, will not any more"
            yield Change(text, "DELETE", f"{_POLICIES}/{one['id']}")


def _limited(found: Json | None) -> Json:
    """The environment's body, with a person's own rules: GitHub takes away what a request leaves out."""
    body: dict[str, Any] = {"deployment_branch_policy": _CUSTOM}
    for rule in (found or {}).get("protection_rules") or []:
        if rule["type"] == "wait_timer":
            body["wait_timer"] = rule["wait_timer"]
        elif rule["type"] == "required_reviewers":
            body["prevent_self_review"] = rule.get("prevent_self_review", False)
            body["reviewers"] = [{"type": one["type"], "id": one["reviewer"]["id"]} for one in rule["reviewers"]]
    return body


def _variables(wanted: Wanted, there: There) -> Iterator[Change]:
    for name, value in wanted.variables.items():
        before = there.variables.get(name)
        if before is not None and _plain(before) == _plain(value):
            continue
        shown = "the text of wms.tfvars" if name == "WMS_TFVARS" else value
        method, path = ("POST", _VARIABLES) if before is None else ("PATCH", f"{_VARIABLES}/{name}")
        yield Change(f"variable {name}: will be {shown}", method, path, {"name": name, "value": value})


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _ruleset(wanted: Wanted, there: There) -> Item:
    if there.no_rulesets:
        text = f"GitHub has no rulesets here ({there.no_rulesets}): a blocked pull request can be merged by hand"
        return Item("ruleset", "", defects=((text, PLAN),))
    found = there.ruleset or {}
    app = wanted.app or _app(found) or ACTIONS
    is_default = there.repository.get("default_branch") == wanted.main
    body = _ruleset_body(found, app, "~DEFAULT_BRANCH" if is_default else f"refs/heads/{wanted.main}")
    named = f"{CHECK} of app {app}{' (GitHub Actions)' if app == ACTIONS else ''}"
    fine = f"{wanted.main} requires {named}, and is neither deleted nor overwritten"
    if not there.ruleset:
        text = (
            f"ruleset {RULESET}: isn't there, will require {named} and keep {wanted.main} from deletion and overwriting"
        )
        return Item("ruleset", fine, (Change(text, "POST", "rulesets", body),))
    differs = [name for name, value in body.items() if (found.get(name) or type(value)()) != value]
    words = {
        "target": "isn't about branches",
        "enforcement": f"is {found.get('enforcement')}",
        "conditions": f"isn't about {wanted.main} alone",
        "bypass_actors": "may be bypassed",
        "rules": f"lacks a rule, or {named}",
    }
    text = f"ruleset {RULESET}: {', '.join(words[name] for name in differs)}; will not any more"
    changes = (Change(text, "PUT", f"rulesets/{found['id']}", body),) if differs else ()
    return Item("ruleset", fine, changes)


def _ruleset_body(found: Json, app: int, ref: str) -> dict[str, Any]:
    """The ruleset, with the rules and checks that people added."""
    refs = ((found.get("conditions") or {}).get("ref_name") or {}).get("include") or []
    include = refs if ref in refs or "~ALL" in refs else [*refs, ref]
    return {
        "name": RULESET,
        "target": "branch",
        "enforcement": "active",
        "conditions": {"ref_name": {"include": include, "exclude": []}},
        "bypass_actors": [],
        "rules": _rules(found.get("rules") or [], app),
    }


def _rules(found: Sequence[Json], app: int) -> list[Json]:
    kinds = {rule["type"] for rule in found}
    added = [{"type": kind} for kind in ("deletion", "non_fast_forward", _STATUS) if kind not in kinds]
    return [_with_check(rule, app) if rule["type"] == _STATUS else rule for rule in (*found, *added)]


def _with_check(rule: Json, app: int) -> Json:
    parameters = {"strict_required_status_checks_policy": False, **(rule.get("parameters") or {})}
    checks, ours = parameters.get(_STATUS) or [], {"context": CHECK, "integration_id": app}
    if [one for one in checks if one["context"] == CHECK] != [ours]:
        checks = [*(one for one in checks if one["context"] != CHECK), ours]
    return {**rule, "parameters": {**parameters, _STATUS: checks}}


def _app(found: Json) -> int | None:
    """The app that the ruleset names for the check."""
    for rule in found.get("rules") or []:
        for one in (rule.get("parameters") or {}).get(_STATUS) or []:
            if one["context"] == CHECK and one.get("integration_id"):
                return int(one["integration_id"])
    return None


def _label(there: There) -> Item:
    body = {"name": LABEL, "color": "1d76db", "description": "What the loop from photo to model reports"}
    changes = () if there.has_label else (Change(f"label {LABEL}: isn't there", "POST", "labels", body),)
    return Item("label", f"issues of this project have the label {LABEL}", changes)


def _keys(there: There) -> Item:
    held = [name for name in KEYS if name in there.secrets]
    if role := there.variables.get(ROLE):
        unused = "; ".join(f"gh secret delete {name} --env {ENVIRONMENT}" for name in held)
        hints = ((f"{', '.join(held)}: not used beside the role {role}", unused),) if held else ()
        return Item("keys", f"workflows take the role {role}", hints=hints)
    if set(KEYS[:2]) <= set(held):
        return Item("keys", f"{ENVIRONMENT} has the secrets {', '.join(held)}")
    text = f"{ENVIRONMENT} has neither a role nor keys, so workflows start nothing at AWS"
    return Item("keys", "", hints=((text, f"{SETUP} --role-arn ARN, or {SETUP} --keys"),))


def _repository_secrets(there: There) -> Item:
    defects = tuple(
        (
            f"{name}: whoever may push a branch can read this secret of the repository; "
            f"what a workflow needs belongs into {ENVIRONMENT}",
            f"gh secret delete {name}",
        )
        for name in there.repository_secrets
    )
    hints = tuple(
        (
            f"{name}: whoever may push a branch can read this secret of the organisation",
            "ask an owner of the organisation to take this repository off the secret's list, unless all may know it",
        )
        for name in there.organisation_secrets
    )
    return Item("secrets", "the repository itself has none", defects=defects, hints=hints)
