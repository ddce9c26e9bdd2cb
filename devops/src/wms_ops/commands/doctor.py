"""`wms doctor`: checks the requirements of a user's next step, and names the command that repairs each defect."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Final

from wms.command import Command, folder
from wms.errors import UNHEALTHY, LedgerError, ModelDamagedError
from wms.json_text import to_json
from wms.paths import ROOT
from wms_ops.commands.advice import AGAIN, reason, remedy
from wms_ops.commands.checks import CHECKS, Finding, State, import_libraries
from wms_ops.commands.parallel import LIMIT_S, ask_all

_WORDS: Final = {State.FINE: "fine", State.MISSING: "MISSING", State.OPTIONAL: "optional"}


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the examination."""
    parser.add_argument("--repo", type=folder, default=ROOT, metavar="DIR", help="the clone (default: this project's)")
    parser.add_argument("--json", action="store_true", help="print one JSON array instead of text")


def run(options: argparse.Namespace) -> int:
    """Print the findings; returns 0 if every requirement is met, else UNHEALTHY.

    All checks run in parallel, and a check without an answer in time counts as not met.
    """
    findings = examine(options.repo)
    if options.json:
        print(to_json([asdict(one) for one in findings], indent=2))
    else:
        for one in findings:
            print(f"{one.name:13} {_WORDS[one.state]:9} {one.text}")
            if one.mend:
                print(f"{'':23} -> {one.mend}")
        lacking = [one.name for one in findings if one.state is State.MISSING]
        print(f"\nMissing: {', '.join(lacking)}." if lacking else "\nAll that is needed is here.")
    return UNHEALTHY if any(one.state is State.MISSING for one in findings) else 0


def examine(repo: Path, limit_s: float = LIMIT_S) -> list[Finding]:
    """The findings of all checks, in their order."""
    import_libraries()
    answers = ask_all({name: check for name, (check, _) in CHECKS.items()}, repo, limit_s)
    found = []
    for name, (_, is_needed) in CHECKS.items():
        answer = answers[name]
        if not isinstance(answer, Finding):
            is_damage = isinstance(answer, LedgerError | ModelDamagedError)
            state = State.MISSING if is_needed or is_damage else State.OPTIONAL
            late = f"no answer within {limit_s:.0f} s"
            said = (reason(answer), remedy(answer)) if isinstance(answer, Exception) else (late, AGAIN)
            answer = Finding(name, state, *said)
        found.append(answer)
    return found


COMMAND: Final = Command(
    "Look at what the next step needs: what is fine, what isn't, and the command that mends it.",
    declare,
    run,
    "Exit codes: 0 all that is needed is here, 4 something is missing.",
)
