"""Terraform for tests: where it is, its settings, and one command of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import servers
from terraform_provider import ROOTS, source_of_this_machine


def terraform_environ(folder: Path, *, provider: bool = True) -> dict[str, str]:
    """What Terraform needs in its environment; its settings are written into `folder`.

    Providers come from a mirror on this machine, linked and not copied, or from the registry; terraform_provider.py
    says how they are found. Without Terraform, or without its `provider` where the test needs one, the test is
    skipped, or fails where tools are required.
    """
    program = servers.require_tool("terraform")
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "terraform.rc"
    settings.write_text(source_of_this_machine(program) if provider else "", encoding="utf-8")
    return {
        "TF_CLI_CONFIG_FILE": str(settings),
        "TF_PLUGIN_CACHE_DIR": "",  # the tester's own isn't made for processes that use it at once
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
    return copied(ROOTS / name, folder)


def copied(root_module: Path, folder: Path) -> Path:
    """A copy of a root module in `folder`."""
    root = folder / root_module.name
    shutil.copytree(root_module, root, ignore=shutil.ignore_patterns(".terraform", "terraform.tfvars*", "*.tfstate*"))
    return root


def rendered(template: Path, values: Mapping[str, object], folder: Path) -> str:
    """What Terraform makes of a template file; needs no provider."""
    question = f"jsonencode(templatefile({json.dumps(str(template))}, {json.dumps(values)}))\n"
    answer = subprocess.run(
        [str(servers.require_tool("terraform")), "console"],
        cwd=folder,
        env={**os.environ, **terraform_environ(folder, provider=False)},
        input=question,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return str(json.loads(json.loads(answer.stdout)))
