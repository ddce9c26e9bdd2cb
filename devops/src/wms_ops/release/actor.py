"""The person or workflow that changes Production, as the ledger names them."""

from __future__ import annotations

import getpass

from wms.git import answer
from wms.names import harmless
from wms.paths import ROOT
from wms_ops.base.settings import GithubSettings


def who() -> str:
    """The acting person: on GitHub the login, else Git's user name, else the system's."""
    if actor := GithubSettings.read().github_actor:
        return harmless(actor)
    name = (answer(ROOT, "config", "user.name") or b"").decode("utf-8", "replace").strip()
    try:
        return harmless(name or getpass.getuser())
    except (OSError, KeyError):  # a user without a name
        return "unknown"
