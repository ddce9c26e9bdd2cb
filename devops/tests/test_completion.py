"""`wms completion`: the scripts complete in a real shell, without Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from servers import require_tool

from wms_ops.commands.main import main

# What bash does at a Tab: the words so far in COMP_WORDS, the completing function called, its answers in COMPREPLY.
PRESS_TAB = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
how=$(complete -p wms); function=${how##*-F }; function=${function%% *}
"$function" wms "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts for bash and zsh."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh"):
        with pytest.MonkeyPatch.context() as patch, (folder / shell).open("w", encoding="utf-8") as file:
            patch.setattr("sys.stdout", file)
            assert main(["completion", shell]) == 0
    return folder


def tab(scripts: Path, *words: str) -> set[str]:
    """What bash offers after these words; the last one is being typed."""
    command = ["bash", "--norc", "--noprofile", "-c", PRESS_TAB, "bash", str(scripts / "bash"), "wms", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return {line.strip() for line in done.stdout.splitlines() if line.strip()}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("da",), {"data"}),
        (("data", "ta"), {"take-back"}),
        (("pro",), {"promote"}),
        (("cloud", "re"), {"revoke", "reap"}),
        (("loop", "smoke"), {"smoke-deploy"}),
        (("data", "check", "--out"), {"--output"}),
        (("train", "--res"), {"--resume"}),
        (("sync", "--from", ""), {"github", "s3"}),
        (("runs", "--js"), {"--json"}),
        (("versions", "--pro"), {"--promote"}),
        (("runs", "be"), {"best"}),
    ],
)
def test_bash_completes(scripts: Path, words: tuple[str, ...], offered: set[str]) -> None:
    assert tab(scripts, *words) == offered


def test_hidden_options_are_not_offered(scripts: Path) -> None:
    offered = tab(scripts, "promote", "--r")
    assert "--reason" in offered
    assert "--rollback" not in offered


def test_zsh_reads_its_script(scripts: Path) -> None:
    assert (scripts / "zsh").read_text(encoding="utf-8").startswith("#compdef wms")
    zsh = require_tool("zsh")
    subprocess.run([zsh, "-n", str(scripts / "zsh")], check=True, timeout=60)
