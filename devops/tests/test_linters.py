"""The linters for security and shell, at their strictest: each finding is mended, or explained beside it in the file.

Ruff, mypy and the dependency rules are `make lint`; checkov is in test_terraform.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import servers

ROOT = Path(__file__).resolve().parents[2]
REASON = {
    "zizmor": re.compile(r"# zizmor: ignore\[[\w,-]+\](.*)"),
    "nosec": re.compile(r"# nosec B\d+(?:, ?B\d+)*(.*)"),
    "shellcheck": re.compile(r"# shellcheck disable=[\w,]+(.*)"),
}


def tool(name: str) -> str:
    """The linter of this environment: the test is skipped without it, or fails where tools are required."""
    return str(servers.require_tool(name, Path(sys.executable).with_name(name)))


def files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    return [path for name in listed if name and (path := ROOT / os.fsdecode(name)).is_file()]


def shell_scripts() -> dict[str, str]:
    """The text of every shell script by its name; in Terraform's templates a value stands for each variable."""
    found = {}
    for path in files():
        if "samples" in path.parts or not re.match(rb"#!.*\b(?:ba|z)?sh\b", path.read_bytes()[:80]):
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".tftpl":
            text = re.sub(r"(?<!\$)\$\{[a-z_0-9]+\}", "1", text).replace("$${", "${")
        found[str(path.relative_to(ROOT))] = text
    return found


def lint(*command: str, text: str | None = None) -> None:
    done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing_in_the_workflows() -> None:
    lint(tool("zizmor"), "--persona", "auditor", "--offline", "--no-progress", ".github")


def test_zizmor_finds_what_is_to_be_found(tmp_path: Path) -> None:
    """The same call on a workflow that runs a pull request's title."""
    steps = "[{run: 'echo ${{ github.event.pull_request.title }}'}]"
    text = f"on: pull_request_target\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: {steps}\n"
    (tmp_path / "bad.yml").write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=r"error\[template-injection\]"):
        lint(tool("zizmor"), "--persona", "auditor", "--offline", "--no-progress", str(tmp_path / "bad.yml"))


def test_actionlint_finds_nothing_in_the_workflows() -> None:
    lint(tool("actionlint"), "-shellcheck", tool("shellcheck"))


@pytest.mark.parametrize("name", shell_scripts())
def test_shellcheck_finds_nothing(name: str) -> None:
    text = shell_scripts()[name]
    folder = str((ROOT / name).parent)
    lint(tool("shellcheck"), "--severity", "style", "--external-sources", "--source-path", folder, "-", text=text)


def test_bandit_finds_nothing() -> None:
    lint(tool("bandit"), "--quiet", "--recursive", "--configfile", "pyproject.toml", "WMS/src", "devops/src")


def test_each_exception_has_its_reason_beside_it() -> None:
    """In the line itself, or in the line above it."""
    bare = []
    for path in files():
        if path.suffix not in (".py", ".yml", ".sh") or "tests" in path.parts:
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            for kind, pattern in REASON.items():
                if (found := pattern.search(line)) and not (
                    len(found[1].strip(" -")) > 5
                    or (number and lines[number - 1].strip().startswith(("#", '"""')))
                    or re.search(r'assert .*, "', line)
                ):
                    bare.append(f"{path.relative_to(ROOT)}:{number + 1} {kind}")
    assert not bare
