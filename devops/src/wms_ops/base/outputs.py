"""The files and commands by which a GitHub workflow's step reports; outside of GitHub Actions they do nothing."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wms.errors import from_os_error
from wms.pipes import print_command

if TYPE_CHECKING:
    from wms_ops.base.settings import GithubSettings

Level = Literal["notice", "warning", "error"]

SUMMARY_LIMIT = 1024 * 1024
"""Bytes. GitHub drops a larger step summary as a whole."""

_CUT = "\n\nThe summary is longer than GitHub shows; it was cut here.\n"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def put_outputs(values: Mapping[str, object]) -> None:
    """Append named values to the file in GITHUB_OUTPUT: True as "true", None as "", text of any content.

    Raises ValueError for a name that GitHub refuses, DiskFullError or UnwritableError.
    """
    # Text from outside, such as a commit's title, must not be able to add a value of its own.
    _append(_told().github_output, "".join(_assignment(name, _text(value)) for name, value in values.items()))


def add_summary(markdown: str) -> None:
    """Append to the step's summary, cut where GitHub would drop it. Raises DiskFullError or UnwritableError."""
    target = _told().github_step_summary
    if not target or not markdown:
        return
    whole = markdown if markdown.endswith("\n") else markdown + "\n"
    written = Path(target).stat().st_size if Path(target).exists() else 0
    if written + len(_bytes(whole)) > SUMMARY_LIMIT:
        free = max(SUMMARY_LIMIT - written - len(_bytes(_CUT)), 0)
        kept = _bytes(whole)[:free].decode("utf-8", "ignore")
        # Cut at a line's end: half a row would break a table.
        whole = kept[: kept.rfind("\n") + 1] + _CUT if free else ""
    _append(target, whole)


def annotate(
    level: Level, text: str, *, title: str | None = None, file: str | None = None, line: int | None = None
) -> None:
    """Show a text on the run's page, and in the pull request's diff where `file` (and `line`, from 1) are given."""
    if not on_actions():
        return
    position = {"title": title, "file": file, "line": line}
    given = ",".join(f"{key}={_property(str(value))}" for key, value in position.items() if value is not None)
    print_command(f"::{level}{' ' + given if given else ''}::{_data(text)}")


def mask(secret: str) -> None:
    """Have GitHub replace each line of a secret by *** in the log."""
    if on_actions():
        for line in secret.splitlines():
            if line.strip():
                print_command(f"::add-mask::{_data(line)}")


def on_actions() -> bool:
    """Return whether this process is a step of a workflow on GitHub."""
    return _told().github_actions == "true"


def github_run(variables: Mapping[str, str] | None = None) -> str:
    """Return the address of the GitHub Actions run that this process is part of; empty elsewhere."""
    told = _told(variables)
    parts = (told.github_server_url, told.github_repository, told.github_run_id)
    return "{}/{}/actions/runs/{}".format(*parts) if all(parts) else ""


def _told(environ: Mapping[str, str] | None = None) -> GithubSettings:
    from wms_ops.base.settings import GithubSettings  # brings pydantic, which a program that tells nothing doesn't need

    return GithubSettings.read(environ)


def _assignment(name: str, value: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} can't be the name of an output.")
    if "\n" not in value and "\r" not in value:
        return f"{name}={value}\n"
    mark = f"end_{secrets.token_hex(16)}"  # random, so that no value can contain the mark
    return f"{name}<<{mark}\n{value}\n{mark}\n"


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _append(target: str, text: str) -> None:
    if not target or not text:
        return
    try:
        with Path(target).open("ab") as stream:
            stream.write(_bytes(text))
    except OSError as error:
        raise from_os_error(error, target) from error


def _bytes(text: str) -> bytes:
    """Return UTF-8; bytes of a file name that aren't UTF-8 come out as \\udcxx."""
    # Git hands such bytes on as lone surrogates, which strict UTF-8 refuses.
    return text.encode("utf-8", "backslashreplace")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    # A property ends at a colon or a comma; a message doesn't.
    return _data(text).replace(":", "%3A").replace(",", "%2C")
