"""What Terraform may change of the persistent resources: judged by its plan, before anything is changed.

A state may hold more than this project's resources, or a setting may be wrong. So a plan may delete nothing that holds
or guards data, and may change only what the root's files declare and what AWS shows as this environment's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from wms_ops.base.errors import UnsafePlanError
from wms_ops.storage.names import ENVIRONMENT_TAG, Names
from wms_ops.targets.aws.context import STORE_ROOT
from wms_ops.targets.aws.terraform import ROOTS

_HARMLESS: Final = frozenset({"no-op", "read", "create", "forget"})
_KEEPING: Final = _HARMLESS | {"update"}
_FORMAT: Final = re.compile(r"1\.\d+")
_DATA: Final = ("aws_s3_bucket", "aws_ecr_repository")
# As `terraform fmt` writes them. A `removed` block says that a former version's resource may go.
_DECLARED: Final = re.compile(r'^(?:resource "(\w+)" "(\w+)"|removed \{\n  from += (\w+)\.(\w+))', re.MULTILINE)


def plan_judge(
    names: Names, root: Path = ROOTS / STORE_ROOT, *, end: bool = False
) -> Callable[[Mapping[str, Any]], None]:
    """The judge of a plan, in the form of `terraform show -json`; to `end` the environment it may delete data, too.

    The judge raises UnsafePlanError with the addresses of what may not be changed.
    """
    texts = (_DECLARED.findall(path.read_text(encoding="utf-8")) for path in root.glob("*.tf"))
    declared = {(one[0] or one[2], one[1] or one[3]) for found in texts for one in found}

    def refusal(resource: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """The reason why a resource may not be changed as planned; empty if it may."""
        kind = str(resource["type"])
        # By the name, which is one of a kind: a tag may be on another bucket of the team's, too.
        may_go = end and (_has_own_name(found, names) or found.get("name") == names.prefix)
        if not _KEEPING.issuperset(resource["change"]["actions"]) and kind.startswith(_DATA) and not may_go:
            return "deletes what holds or guards data"
        if resource.get("module_address") or (kind, resource["name"]) not in declared:
            return "isn't in this version's files"
        return "" if _is_own(found, names) else f"doesn't carry the tag {ENVIRONMENT_TAG}={names.environment}"

    def judge(plan: Mapping[str, Any]) -> None:
        try:
            refused = _refused(plan, refusal)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UnsafePlanError(
                f"Nothing was changed, because Terraform's plan has another form than that of version 1.11 "
                f"({type(error).__name__}: {error}); install that version and run this again."
            ) from error
        if refused:
            told = "; ".join(f"{why}: {', '.join(addresses)}" for why, addresses in refused.items())
            raise UnsafePlanError(
                f"Nothing was changed, because Terraform would delete or change what it must not ({told}); run this on "
                "the newest main with the right settings, and if it says the same there, mend the state "
                f"s3://{names.state_bucket}/{names.state_key(STORE_ROOT)}: docs/cloud.md#what-terraform-may-not-change."
            )

    return judge


def _refused(
    plan: Mapping[str, Any], refusal: Callable[[Mapping[str, Any], Mapping[str, Any]], str]
) -> dict[str, list[str]]:
    """The addresses of what may not be changed as planned, by reason. Raises for a plan of another form."""
    if not _FORMAT.fullmatch(plan["format_version"]) or plan.get("errored") or not plan.get("complete", True):
        raise ValueError("its format, or a plan that is cut off")
    refused: dict[str, list[str]] = {}
    # `before` doesn't do: for what a plan deletes, it is what the state said before AWS was asked.
    module = plan.get("prior_state", {}).get("values", {}).get("root_module", {})
    at_aws = {(one["address"], one.get("deposed_key")): one["values"] for one in module.get("resources", ())}
    for one in plan.get("resource_changes", ()):
        read = one["change"]["before"] if "importing" in one["change"] else None
        found = read or at_aws.get((one["address"], one.get("deposed")), {})
        if not _HARMLESS.issuperset(one["change"]["actions"]) and (why := refusal(one, found)):
            refused.setdefault(why, []).append(one["address"])
    return refused


def _is_own(found: Mapping[str, Any], names: Names) -> bool:
    """Whether a resource, as Terraform has just read it from AWS, is this environment's.

    What has no tags is so by the unique name of its bucket, repository or role. A bucket that was made a moment ago has
    no tags yet.
    """
    tag = (found.get("tags_all") or {}).get(ENVIRONMENT_TAG)
    return tag == names.environment if tag is not None else _has_own_name(found, names)


def _has_own_name(found: Mapping[str, Any], names: Names) -> bool:
    return any(found.get(key) in own for key, own in _own(names))


def _own(names: Names) -> Iterator[tuple[str, set[str]]]:
    account_wide = {names.role_prefix, *(f"{names.role_prefix}-{who}" for who in ("instance", "mlflow", "github"))}
    yield "bucket", {names.dvc_bucket, names.mlflow_bucket}
    yield "repository", {names.prefix}
    yield "role", account_wide
    yield "name", account_wide
