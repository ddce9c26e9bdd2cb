"""Terraform for tests: where it is, its settings, and one command of it; the provider comes from TF_PLUGIN_MIRROR."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import servers

ROOTS = Path(__file__).resolve().parents[2] / "infrastructure" / "terraform"


def terraform_environ(folder: Path) -> dict[str, str]:
    """What Terraform needs in its environment; its settings are written into `folder`.

    With TF_PLUGIN_MIRROR, a folder that contains registry.terraform.io, providers come from there alone and are
    linked, not copied. Without Terraform the test is skipped, or fails where tools are required.
    """
    servers.require_tool("terraform")
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "terraform.rc"
    mirror = os.environ.get("TF_PLUGIN_MIRROR")
    source = f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n' if mirror else ""
    settings.write_text(source, encoding="utf-8")
    return {
        "TF_CLI_CONFIG_FILE": str(settings),
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",
    }


def terraform(
    root: Path, *arguments: str, environ: Mapping[str, str], timeout_s: float = 280
) -> subprocess.CompletedProcess[str]:
    """Run `terraform -chdir=ROOT ARGUMENTS` in this process's environment and `environ`; nothing is asked.

    A root's working files (.terraform) go where TF_DATA_DIR says, or into the root.
    """
    return subprocess.run(
        [str(servers.require_tool("terraform")), f"-chdir={root}", *arguments],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def copied_root(name: str, folder: Path) -> Path:
    """A copy of the root module `name` in `folder`, so that the checkout keeps no working file."""
    root = folder / name
    shutil.copytree(ROOTS / name, root, ignore=shutil.ignore_patterns(".terraform*", "terraform.tfvars*", "*.tfstate*"))
    return root


def rendered(template: Path, values: Mapping[str, object], folder: Path) -> str:
    """What Terraform makes of a template file; needs no provider."""
    question = f"jsonencode(templatefile({json.dumps(str(template))}, {json.dumps(values)}))\n"
    answer = subprocess.run(
        [str(servers.require_tool("terraform")), "console"],
        cwd=folder,
        env={**os.environ, **terraform_environ(folder)},
        input=question,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return str(json.loads(json.loads(answer.stdout)))
