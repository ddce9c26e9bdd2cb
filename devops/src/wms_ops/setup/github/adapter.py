"""Reads the settings at GitHub, and changes them, by `gh`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from wms.errors import ConfigError, UsageError
from wms.project import FILE, read_project
from wms_ops.base.errors import AccessDeniedError, CredentialsMissingError
from wms_ops.base.settings import AwsSettings, StoreSettings
from wms_ops.pulls.gh import REPO, GhResponse, GitHub
from wms_ops.pulls.gh_api import refusal
from wms_ops.setup.github.wanted import ENVIRONMENT, KEYS, LABEL, RULESET, Item, There, Wanted, compare

TFVARS: Final = "infrastructure/terraform/wms.tfvars"

_HERE: Final = f"environments/{ENVIRONMENT}"
_POLICIES: Final = "deployment-branch-policies"
_SHARED: Final = "actions/organization-secrets"
_PAGE: Final = 30  # GitHub hands out no more variables at once


def wanted_by(repo: Path, role: str = "", app: int | None = None) -> Wanted:
    """Return what a clone asks for. Raises ConfigError for a wms.toml or a wms.tfvars that can't be read."""
    names, path = read_project(repo / FILE), repo / TFVARS
    try:
        tfvars = path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{TFVARS} can't be read ({error}); correct it, then run this again.") from error
    return Wanted(names.main_branch, names.region, role, tfvars.strip() and tfvars, app)


def keys_here() -> dict[str, str]:
    """Return the AWS keys in this process's variables.

    Raises CredentialsMissingError without any, UsageError for those of another store, such as the local cloud's.
    """
    found = AwsSettings.read()
    if endpoint := StoreSettings.read().endpoint:
        raise UsageError(
            f"The keys here are those of {endpoint}, not of AWS, so none is stored; use a shell without it."
        )
    every = (found.aws_access_key_id, found.aws_secret_access_key, found.aws_session_token)
    if not all(every[:2]):
        raise CredentialsMissingError(
            f"--keys takes {KEYS[0]} and {KEYS[1]} from this shell, which lacks them; set them, then run this again."
        )
    return {name: value for name, value in zip(KEYS, every, strict=True) if value}


def read(github: GitHub) -> There:
    """Read the settings.

    Raises AccessDeniedError for a login that may not change them, PullRequestError if GitHub refuses to hand one out,
    and the errors of `GitHub.ask`.
    """
    repository = _repository(github)
    environment = _get(github, _HERE, may_lack=True)

    def inside(path: str, key: str = "") -> list[Any]:
        return [] if environment is None else _listed(github, f"{_HERE}/{path}", key or path)

    rulesets = github.ask(f"{REPO}/rulesets?includes_parents=false&per_page=100", what="the rulesets")
    ours = [] if _without_plan(rulesets) else [one for one in _handed(rulesets, "rulesets") if one["name"] == RULESET]
    return There(
        repository=repository,
        actions=_get(github, "actions/permissions/workflow"),
        environment=environment,
        policies=inside(_POLICIES, "branch_policies"),
        variables={one["name"]: one["value"] for one in inside("variables")},
        secrets=frozenset(one["name"] for one in inside("secrets")),
        ruleset=_get(github, f"rulesets/{ours[0]['id']}") if ours else None,
        no_rulesets=rulesets.words if _without_plan(rulesets) else "",
        has_label=_get(github, f"labels/{LABEL}", may_lack=True) is not None,
        repository_secrets=[one["name"] for one in _listed(github, "actions/secrets", "secrets")],
        organisation_secrets=[one["name"] for one in _listed(github, _SHARED, "secrets")],
    )


@dataclass(frozen=True)
class Outcome:
    """The settings as they are after the changes, GitHub's refusals by the items' names, and the stored keys' names."""

    items: Sequence[Item]
    refused: Mapping[str, GhResponse]
    stored: Sequence[str] = ()


def carry_out(github: GitHub, wanted: Wanted, items: Sequence[Item], keys: Mapping[str, str]) -> Outcome:
    """Make the changes and read everything again; keys are stored where only main may read them, else not at all.

    Each change may be the last: run again, it goes on from what is there. Raises as `read` does.
    """
    answers = {item.name: _make(github, item) for item in items}
    there = read(github)
    if keys and not compare(wanted, there)[2].changes:
        _store(github, keys, there.secrets)
        there = read(github)
    after = compare(wanted, there)
    # What another run did meanwhile is refused, too, and as wanted.
    refused = {one.name: answer for one in after if (answer := answers[one.name]) and not one.is_fine}
    return Outcome(after, refused, [name for name in keys if name in there.secrets])


def _make(github: GitHub, item: Item) -> GhResponse | None:
    """Make an item's changes, up to the first that GitHub refuses: then return its answer."""
    for change in item.changes:
        path = f"{REPO}/{change.path}" if change.path else REPO
        answer = github.ask(path, method=change.method, body=change.body, what=change.text)
        if not answer.ok:
            return answer
    return None


def _store(github: GitHub, keys: Mapping[str, str], held: frozenset[str]) -> None:
    for name in KEYS:
        if name in keys:
            github.set_secret(name, ENVIRONMENT, keys[name])
        elif name in held:  # an earlier session's token beside newer keys would make AWS refuse them
            answer = github.ask(f"{REPO}/{_HERE}/secrets/{name}", method="DELETE", what=f"the secret {name}")
            if not answer.ok and answer.status != 404:
                raise refusal(answer, f"delete the secret {name} of {ENVIRONMENT}")


def _repository(github: GitHub) -> Mapping[str, Any]:
    answer = github.ask(REPO, what="the repository")
    found: Mapping[str, Any] = answer.data if answer.ok else {}
    if not (found.get("permissions") or {}).get("admin"):
        raise AccessDeniedError(
            "This login isn't an administrator of the repository at GitHub, so its settings can neither be looked at "
            "nor changed; ask an owner of it to run `wms github setup`."
        )
    return found


def _without_plan(answer: GhResponse) -> bool:
    return answer.status == 403 and "upgrade" in answer.words.lower()


def _get(github: GitHub, path: str, *, may_lack: bool = False) -> Any:
    answer = github.ask(f"{REPO}/{path}", what=path)
    return None if may_lack and answer.status == 404 else _handed(answer, path)


def _listed(github: GitHub, path: str, key: str) -> list[Any]:
    found: list[Any] = []
    for page in count(1):
        answer = github.ask(f"{REPO}/{path}?per_page={_PAGE}&page={page}", what=path)
        # An environment that any branch may use has no list, and neither has a person's repository.
        if answer.status == 404 and path.endswith((_POLICIES, _SHARED)):
            break
        found += (listed := _handed(answer, path)[key])
        if len(listed) < _PAGE:
            break
    return found


def _handed(answer: GhResponse, what: str) -> Any:
    if not answer.ok:
        raise refusal(answer, f"hand out {what}")
    return answer.data
