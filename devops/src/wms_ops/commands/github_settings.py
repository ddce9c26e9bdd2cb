"""`wms github setup` and `wms github check`: the settings of the repository at GitHub on which the workflows rely."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from wms.command import Command, folder, whole
from wms.errors import DECLINED, UNHEALTHY, UsageError
from wms.names import tell
from wms.paths import ROOT
from wms_ops.base.errors import PullRequestError
from wms_ops.base.question import agrees
from wms_ops.commands.checks_github import findings
from wms_ops.commands.finding import State, show
from wms_ops.loop.contexts import origin_of
from wms_ops.pulls.gh import GitHub, is_at_github
from wms_ops.setup.github.adapter import Outcome, carry_out, keys_here, read, wanted_by
from wms_ops.setup.github.wanted import ENVIRONMENT, PLAN, ROLE, Item, compare

_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)
_NO_PLAN: Final = (404, 422)  # how GitHub refuses an environment that the plan doesn't have


def _of_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repo", type=folder, default=ROOT, metavar="DIR", help="the clone (default: this project's)")


def _of_setup(parser: argparse.ArgumentParser) -> None:
    _of_check(parser)
    parser.add_argument("--dry-run", action="store_true", help="only say what would change")
    parser.add_argument("--yes", action="store_true", help="change it without a question")
    access = parser.add_mutually_exclusive_group()
    access.add_argument("--role-arn", type=_role, metavar="ARN", help="the role that workflows take at AWS")
    access.add_argument(
        "--keys", action="store_true", help="store the AWS keys of this shell's variables, for an account without roles"
    )
    parser.add_argument(
        "--app-id", type=whole(1), metavar="N", help="the GitHub App that sets the check (default: GitHub Actions)"
    )


def _role(text: str) -> str:
    if not _ROLE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a role such as arn:aws:iam::123456789012:role/wms-github")
    return text


def _github(repo: Path) -> GitHub:
    if not is_at_github(url := origin_of(repo)):
        raise UsageError(
            f"The origin {url} isn't at GitHub, so there are no settings; GH_HOST names a server of yours."
        )
    return GitHub(repo)


def _check(arguments: argparse.Namespace) -> int:
    """Print the findings; returns 0, or UNHEALTHY if a setting isn't as wanted. Raises UsageError, as `read` does."""
    github = _github(arguments.repo)
    found = list(findings(compare(wanted_by(arguments.repo), read(github))))
    show(found)
    return UNHEALTHY if any(one.state is State.MISSING for one in found) else 0


def _setup(arguments: argparse.Namespace) -> int:
    """Change what differs; returns 0, DECLINED, or UNHEALTHY if something is left for a person.

    Raises UsageError, CredentialsMissingError, PullRequestError if GitHub refuses a change, and as `read` does.
    """
    github = _github(arguments.repo)
    keys = keys_here() if arguments.keys else {}
    wanted = wanted_by(arguments.repo, arguments.role_arn or "", arguments.app_id)
    there = read(github)
    if keys and (role := there.variables.get(ROLE)):
        raise UsageError(f"The workflows take the role {role}, so no keys are stored; leave --keys out.")
    items: Sequence[Item] = compare(wanted, there)
    if not _announce(items, keys):
        print("Nothing must change.")
    elif arguments.dry_run:
        print("Nothing was changed: --dry-run.")
    elif not arguments.yes and not agrees("Change this at GitHub?", "--yes changes it without a question"):
        print("Nothing was changed.")
        return DECLINED
    else:
        outcome = carry_out(github, wanted, items, keys)
        items = outcome.items
        _tell(outcome, keys)
    show(findings(replace(item, changes=(), text="") for item in items))
    is_open = any(not item.is_fine for item in items)
    return UNHEALTHY if is_open and not arguments.dry_run else 0


def _announce(items: Sequence[Item], keys: Mapping[str, str]) -> bool:
    """Name each change; returns whether there is any."""
    lines = [change.text for item in items for change in item.changes]
    lines += [f"secret {name}: will be set in {ENVIRONMENT} from this shell's variable" for name in keys]
    for line in lines:
        tell(f"- {line}")
    return bool(lines)


def _tell(outcome: Outcome, keys: Mapping[str, str]) -> None:
    """Say what became of the changes. Raises PullRequestError for what isn't as wanted, unless the plan lacks it."""
    if keys:
        print(f"Secrets in {ENVIRONMENT}: {', '.join(outcome.stored) or 'none was stored'}.")
    unmet = [f"the secret {name} isn't there" for name in keys if name not in outcome.stored]
    for item in outcome.items:
        answer = outcome.refused.get(item.name)
        if item.name == "environment" and answer and answer.status in _NO_PLAN:
            tell(
                f"GitHub limits no environment of this repository to a branch ({answer.words}), so nothing would keep "
                f"keys, role and settings from other branches than main, and none of them was stored: {PLAN}. "
                "`wms loop run` on a machine of yours needs none of it."
            )
            return
        said = f"GitHub refuses: {answer.words}" if answer else "GitHub took the request, but it isn't so"
        unmet += [f"{change.text} ({said})" for change in item.changes[:1]]
    if unmet:
        raise PullRequestError(
            f"Not all is set: {'; '.join(unmet)}. A policy of the organisation may forbid it; ask its owner, then run "
            "this again."
        )
    print("All of it is set.")


_CODES: Final = "docs/BRANCH_PROTECTION.md says what each setting is for. Exit codes: 0 "
CHECK: Final = Command(
    "Show which settings of the repository at GitHub aren't as the workflows need them, and what mends them.",
    _of_check,
    _check,
    f"{_CODES}all is as it must be, 4 something isn't, 72 this login may not see it.",
)
SETUP: Final = Command(
    "Set the repository's settings at GitHub: merging, the environment that only main uses, the rule for main.",
    _of_setup,
    _setup,
    f"{_CODES}all is set, 3 you said no, 4 something is left that only a person may do, 72 this login may not change "
    "it, 88 GitHub refuses a change.",
)
