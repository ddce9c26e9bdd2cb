"""The report of an acceptance, as JSON and Markdown, and its signature by an SSH key."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wms.errors import UsageError
from wms.files import write_atomic
from wms.json_text import to_json
from wms_ops.accept.facts import Facts, Seam, SeamState
from wms_ops.base.text import plain, safe
from wms_ops.git.command import Git

NAMESPACE: Final = "wms-accept"
"""What a signature is for, so that one made for something else isn't taken for it."""

REPORT: Final = "report.json"
PAGE: Final = "report.md"
_LIMIT_S: Final = 120


def write_report(folder: Path, facts: Facts, seams: Sequence[Seam]) -> Path:
    """Write both reports; returns the path of the JSON, which is what a signature covers."""
    listed = [{"name": one.name, "state": str(one.state), "text": one.text, "mend": one.mend} for one in seams]
    write_atomic(folder / PAGE, page(facts, seams))
    write_atomic(folder / REPORT, to_json({"facts": facts.model_dump(mode="json"), "seams": listed}, indent=1) + "\n")
    return folder / REPORT


def page(facts: Facts, seams: Sequence[Seam]) -> str:
    """The report as Markdown.

    Texts of GitHub and AWS are escaped.
    """
    failed = [one.name for one in seams if one.state is SeamState.FAILED]
    verdict = f"**Not accepted**: {', '.join(failed)}." if failed else "**Accepted.**"
    lines = [
        f"# Acceptance of {safe(facts.repository)}",
        "",
        f"{verdict} Account {safe(facts.account)}, region {safe(facts.region)}, environment "
        f"{safe(facts.environment)}; begun {facts.begun_at:%Y-%m-%d %H:%M} UTC with {facts.photos} drawn photos.",
        "",
        "| seam | | what was seen | what to do |",
        "|---|---|---|---|",
        *(f"| {one.name} | {one.state} | {safe(plain(one.text))} | {safe(plain(one.mend))} |" for one in seams),
        "",
        "| job | result | seconds |",
        "|---|---|---:|",
        *(f"| {safe(job.name)} | {safe(job.result)} | {job.seconds:.0f} |" for job in facts.jobs),
    ]
    return "\n".join(lines) + "\n"


def signing_key(git: Git, given: Path | None) -> Path | None:
    """The key that was named, else the one by which this clone's user signs commits if it is an SSH key's file.

    Raises UsageError for a key that can't be used, before anything is started for a report that nobody could sign.
    """
    named = git.config("user.signingkey") if (git.config("gpg.format") or "") == "ssh" else None
    key = given or (Path(named).expanduser() if named and not named.startswith(("key::", "ssh-")) else None)
    if key is None:
        return None
    if not key.is_file():
        raise UsageError(f"The key {key} isn't there; name the file of an SSH key with --key.")
    if shutil.which("ssh-keygen") is None:
        raise UsageError("ssh-keygen isn't installed, which signs the report; install OpenSSH, or leave --key out.")
    _signature(key, b"")
    return key


def sign(report: Path, key: Path) -> Path:
    """Sign a report beside itself; returns the signature's path. Raises UsageError if the key doesn't sign."""
    signature = report.with_name(f"{report.name}.sig")
    write_atomic(signature, _signature(key, report.read_bytes()))
    return signature


def _signature(key: Path, content: bytes) -> bytes:
    """Sign bytes. Raises UsageError if the key doesn't sign, such as one whose passphrase nobody types."""
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key)]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:  # it asks a terminal for the passphrase
        failed, said = True, f"ssh-keygen had no passphrase for it within {_LIMIT_S} s"
    else:
        failed = bool(done.returncode) or not done.stdout
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[:300] or "ssh-keygen failed"
    if failed:
        raise UsageError(
            f"{key} doesn't sign the report: {said.rstrip('.')}. Run this again with another --key, or with an "
            "ssh-agent that holds this one."
        )
    return done.stdout
