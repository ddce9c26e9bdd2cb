"""What a step of a workflow is told: its outputs, its summary, annotations, masks. Elsewhere all of it does nothing."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wms.errors import from_os_error

if TYPE_CHECKING:
    from wms_ops.base.settings import GithubSettings

Level = Literal["notice", "warning", "error"]

SUMMARY_LIMIT = 1024 * 1024
"""Bytes. GitHub drops a step's summary as a whole if it's larger."""

_CUT = "\n\nThe summary is longer than GitHub shows; it was cut here.\n"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def put_outputs(values: Mapping[str, object]) -> None:
    """Append named values to the file in GITHUB_OUTPUT: True as "true", None as "", whatever a value holds.

    Raises ValueError for a name that GitHub doesn't take, DiskFullError or UnwritableError.
    """
    # Text from outside, such as a commit's title, must not be able to add a value of its own.
    _append(_told().github_output, "".join(_assignment(name, _text(value)) for name, value in values.items()))


def add_summary(markdown: str) -> None:
    """Append to the step's summary, cut where GitHub would drop it. Raises DiskFullError or UnwritableError."""
    target = _told().github_step_summary
    if not target or not markdown:
        return
    whole = markdown if markdown.endswith("\n") else markdown + "\n"
    there = Path(target).stat().st_size if Path(target).exists() else 0
    if there + len(_bytes(whole)) > SUMMARY_LIMIT:
        room = max(SUMMARY_LIMIT - there - len(_bytes(_CUT)), 0)
        kept = _bytes(whole)[:room].decode("utf-8", "ignore")
        whole = kept[: kept.rfind("\n") + 1] + _CUT if room else ""
    _append(target, whole)


def annotate(level: Level, text: str, *, file: str | None = None, line: int | None = None) -> None:
    """Show a text on the run's page, and in the pull request's diff where `file` (and `line`, from 1) are given."""
    if not on_actions():
        return
    places = {"file": file, "line": line}
    given = ",".join(f"{key}={_property(str(value))}" for key, value in places.items() if value is not None)
    print(f"::{level}{' ' + given if given else ''}::{_data(text)}", flush=True)


def mask(secret: str) -> None:
    """Have GitHub replace a secret by *** wherever it would appear in the log, each of its lines by itself."""
    if on_actions():
        for line in secret.splitlines():
            if line.strip():
                print(f"::add-mask::{_data(line)}", flush=True)


def on_actions() -> bool:
    """Whether this is a step of a workflow on GitHub."""
    return _told().github_actions == "true"


def github_run(variables: Mapping[str, str] | None = None) -> str:
    """The address of the GitHub Actions run that this is part of; empty elsewhere."""
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
    mark = f"end_{secrets.token_hex(16)}"  # nobody can have written it into the value
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
    """UTF-8; a file name's bytes that aren't come out as \\udcxx."""
    return text.encode("utf-8", "backslashreplace")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
