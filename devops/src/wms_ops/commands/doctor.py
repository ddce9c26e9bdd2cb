"""`wms doctor`: checks the requirements of a user's next step, and names the command that repairs each defect."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from wms.command import Command, folder, nearest
from wms.errors import UNHEALTHY, LedgerError, ModelDamagedError
from wms.json_text import to_json
from wms.paths import ROOT
from wms_ops.base.layout import DVC_CONFIG
from wms_ops.commands.advice import AGAIN, reason, remedy
from wms_ops.commands.checks import import_libraries
from wms_ops.commands.checks_settings import missing_library
from wms_ops.commands.finding import Finding, State, show
from wms_ops.commands.parallel import LIMIT_S, ask_all
from wms_ops.commands.roles import CHECKS, ROLES


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the examination."""
    names = ", ".join(ROLES)
    parser.add_argument("role", nargs="?", type=_role, metavar="ROLE", help=f"whose work is looked at: {names}")
    parser.add_argument("--repo", type=folder, default=ROOT, metavar="DIR", help="the clone (default: this project's)")
    parser.add_argument("--json", action="store_true", help="print one JSON array instead of text")


def _role(name: str) -> str:
    if name not in ROLES:
        raise argparse.ArgumentTypeError(
            f"there is no role {name!r}{nearest(name, list(ROLES))}; choose {', '.join(ROLES)}"
        )
    return name


def run(options: argparse.Namespace) -> int:
    """Print the findings; returns 0 if every requirement is met, else UNHEALTHY.

    All checks run in parallel, and a check without an answer in time counts as not met.
    """
    findings = examine(options.repo, role=options.role)
    if options.json:
        print(to_json([asdict(one) for one in findings], indent=2))
    else:
        show(findings)
        lacking = [one.name for one in findings if one.state is State.MISSING]
        whom = f" for {'an' if options.role == 'operator' else 'a'} {options.role}" if options.role else ""
        print(f"\nMissing{whom}: {', '.join(lacking)}." if lacking else f"\nAll that is needed{whom} is here.")
    return UNHEALTHY if any(one.state is State.MISSING for one in findings) else 0


def examine(repo: Path, limit_s: float = LIMIT_S, role: str | None = None) -> list[Finding]:
    """The findings of a role's checks, in their order; without a role, of the checks that suit everybody."""
    import_libraries()
    table = ROLES[role] if role else CHECKS
    answers = ask_all({name: check for name, (check, _) in table.items()}, repo, limit_s)
    found = []
    for name, (_, is_needed) in table.items():
        finding = _finding(name, answers[name], is_needed, limit_s)
        if role and finding.state is not State.FINE:
            finding = replace(finding, state=State.MISSING if is_needed else State.OPTIONAL)
        found.append(finding)
    return found


def _finding(name: str, answer: object, is_needed: bool, limit_s: float) -> Finding:
    """The answer, where it is a finding; else a finding about the exception, or about the silence."""
    if isinstance(answer, Finding):
        return answer
    is_damage = isinstance(answer, LedgerError | ModelDamagedError)
    state = State.MISSING if is_needed or is_damage else State.OPTIONAL
    if isinstance(answer, ModuleNotFoundError) and (lacking := missing_library(answer)):
        return Finding(name, state, *lacking)
    late = f"no answer within {limit_s:.0f} s"
    said = (reason(answer), remedy(answer)) if isinstance(answer, Exception) else (late, AGAIN)
    if said[1].startswith("restore the file") and f"{DVC_CONFIG} " in f"{said[0]} ".replace(",", " "):
        said = (said[0], f"git restore {DVC_CONFIG}")
    return Finding(name, state, *said)


COMMAND: Final = Command(
    "Look at what the next step needs: what is fine, what isn't, and the command that mends it.",
    declare,
    run,
    "Exit codes: 0 all that is needed is here, 4 something is missing.",
)
