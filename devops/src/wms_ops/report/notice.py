"""Tells a person that a data branch was blocked, that a run failed, or that the reaper ended something.

WMS_NOTIFY says how: an issue at GitHub, which e-mails everybody who watches the repository, or a webhook.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from wms.errors import UsageError, WmsError
from wms.loopback import is_loopback
from wms.paths import ROOT
from wms_ops.base.errors import PullRequestError
from wms_ops.base.settings import NoticeSettings
from wms_ops.base.text import plain, safe
from wms_ops.pulls.gh import REPO, GitHub

ISSUE: Final = "issue"
LABEL: Final = "wms"
_TIMEOUT_S: Final = 10


@dataclass(frozen=True)
class Notice:
    """A title, which names the subject (a branch, a region) and is the same each time, a sentence, and an address."""

    title: str
    text: str
    url: str = ""


def check_way() -> None:
    """Raise UsageError if WMS_NOTIFY is neither empty, `issue`, nor an https address (http on this machine)."""
    way = NoticeSettings.read().wms_notify
    if not way or way == ISSUE:
        return
    try:
        parts = urlsplit(way)  # which leaves out line ends, and takes blanks
        good = way.isascii() and way.isprintable() and " " not in way and bool(parts.hostname) and parts.port != 0
        good = good and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(way)))
    except ValueError:
        good = False
    if not good:  # the value isn't shown: a webhook's address is as good as a password
        raise UsageError(
            "WMS_NOTIFY must be issue, or the address of a webhook that begins with https:// and has no blanks; "
            "correct it."
        )


def tell(notice: Notice, folder: Path = ROOT) -> bool:
    """Tell a person in the way of WMS_NOTIFY; returns whether that was done. `folder` is a clone, for the issue.

    A notice that can't be delivered changes no outcome: a line on standard error says so.
    """
    way = NoticeSettings.read().wms_notify
    if not way:
        return False
    try:
        check_way()
        if way == ISSUE:
            _file_issue(notice, GitHub(folder))
        else:
            _post(way, notice)
    except WmsError as error:
        print(f"warning: nobody was told of this by WMS_NOTIFY. {error}", file=sys.stderr, flush=True)
        return False
    return True


def _post(address: str, notice: Notice) -> None:
    import httpx

    host = urlsplit(address).hostname
    text = " ".join(plain(part) for part in (f"{notice.title}.", notice.text, notice.url) if part)
    # `text` is what Slack and Mattermost show, `content` what Discord shows. Neither may wake everybody up: a text from
    # a branch or a tag could hold <!channel> or @everyone.
    quiet = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "@\u200b")
    body = {"text": quiet, "content": text, "allowed_mentions": {"parse": []}}
    try:
        answer = httpx.post(address, json=body, timeout=_TIMEOUT_S, follow_redirects=False)
        said = "" if answer.is_success else f"answers {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = f"doesn't answer ({type(error).__name__})"  # the error's own text has the address, which is a secret
    if said:
        raise PullRequestError(f"The webhook at {host} {said}; check its address.")


def _file_issue(notice: Notice, github: GitHub) -> None:
    """Open an issue, or add a comment to the open one of the same title; say nothing twice in a row."""
    query = f"state=open&labels={LABEL}&sort=created&direction=desc&per_page=100"
    found = github.ask(f"{REPO}/issues?{query}", what="the open issues")
    if not found.ok:
        raise PullRequestError(f"GitHub refuses to list issues: {found.words}.")
    body = f"{safe(notice.text)}\n\n{notice.url}".strip()
    same = [one for one in found.data if one["title"] == plain(notice.title)]
    if not same:
        data = {"title": plain(notice.title), "body": body, "labels": [LABEL]}
        done = github.ask(f"{REPO}/issues", method="POST", body=data, what="a new issue")
    else:
        path = f"{REPO}/issues/{same[0]['number']}/comments"
        said = github.ask(f"{path}?per_page=100", what="the issue's comments")
        if not said.ok:
            raise PullRequestError(f"GitHub refuses to list the issue's comments: {said.words}.")
        last = [same[0]["body"], *(one["body"] for one in said.data)][-1]
        if last == body:
            return
        done = github.ask(path, method="POST", body={"body": body}, what="a comment on the issue")
    if not done.ok:
        raise PullRequestError(f"GitHub refuses the issue: {done.words}.")
