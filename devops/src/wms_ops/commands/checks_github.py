"""The settings of the repository at GitHub, as findings: for `wms github check` and `wms doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from wms.errors import WmsError
from wms_ops.commands.advice import reason, remedy
from wms_ops.commands.finding import Finding, State
from wms_ops.loop.contexts import origin_of
from wms_ops.pulls.gh import GitHub, is_at_github
from wms_ops.setup.github.adapter import read, wanted_by
from wms_ops.setup.github.wanted import SETUP, Item, compare


def findings(items: Iterable[Item]) -> Iterator[Finding]:
    """Yield what is fine and what isn't, with the command that mends it."""
    for item in items:
        yield from (Finding(item.name, State.MISSING, one.text, SETUP) for one in item.changes)
        yield from (Finding(item.name, State.MISSING, *one) for one in item.defects)
        yield from (Finding(item.name, State.OPTIONAL, *one) for one in item.hints)
        if item.is_fine and item.text:
            yield Finding(item.name, State.FINE, item.text)


def check_repository(repo: Path) -> Finding:
    """The settings of a repository at GitHub, on which the workflows rely; where they can't be asked for, why."""
    url = origin_of(repo)
    if not is_at_github(url):
        return Finding("repository", State.FINE, f"no settings are needed: {url} isn't at GitHub")
    try:
        items = compare(wanted_by(repo), read(GitHub(repo)))
    except WmsError as error:
        text = f"the settings at GitHub couldn't be checked: {reason(error)}"
        return Finding("repository", State.OPTIONAL, text, remedy(error))
    wrong = [item.name for item in items if not item.is_fine]
    if wrong:
        text = f"settings at GitHub aren't as the workflows need them: {', '.join(wrong)}"
        return Finding("repository", State.OPTIONAL, text, "wms github check")
    return Finding("repository", State.FINE, "the settings at GitHub are as the workflows need them")
