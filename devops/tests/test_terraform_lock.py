"""The pinned provider: a newer one and another program under its name are refused, by Terraform itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from servers import require_tool
from terraform_provider import REGISTRY, ROOTS, installation, pinned, platform_of
from terraform_tool import copied_root, terraform, terraform_environ

LOCKS = sorted(ROOTS.glob("*/.terraform.lock.hcl"))
ROOT_NAMES = sorted(path.parent.name for path in ROOTS.glob("*/versions.tf"))


def init_with(version: str, root: Path, folder: Path, *options: str) -> tuple[int, str]:
    """What `terraform init` says where an attacker's mirror has its own program as this version of the provider."""
    program = require_tool("terraform")
    kind = f"terraform-provider-aws_v{version}_x5"
    evil = folder / "mirror" / REGISTRY / "hashicorp" / "aws" / version / platform_of(program) / kind
    evil.parent.mkdir(parents=True)
    evil.write_text("#!/bin/sh\ntouch /attacked\n", encoding="utf-8")
    evil.chmod(0o755)
    settings = folder / "attacked.rc"
    settings.write_text(installation("filesystem_mirror", "path", str(folder / "mirror")), encoding="utf-8")
    environ = {**terraform_environ(folder, provider=False), "TF_CLI_CONFIG_FILE": str(settings)}
    done = terraform(root, "init", "-backend=false", "-no-color", *options, environ=environ)
    return done.returncode, " ".join(re.sub(r"[│╷╵]", " ", done.stdout + done.stderr).split())


@pytest.mark.parametrize("name", ROOT_NAMES)
@pytest.mark.attack("a compromised dependency or release", "a newer Terraform provider", "an exact version")
def test_a_newer_provider_is_not_taken_even_without_the_lock_file(name: str, tmp_path: Path) -> None:
    root = copied_root(name, tmp_path)
    (root / ".terraform.lock.hcl").unlink()
    code, said = init_with("5.999.0", root, tmp_path)
    assert code != 0
    assert "no available releases match the given constraints 5.100.0" in said


@pytest.mark.parametrize("options", [(), ("-lockfile=readonly",)], ids=["plain", "readonly"])
@pytest.mark.attack("a compromised dependency or release", "another program as the pinned provider", "the lock file")
def test_another_program_under_the_pinned_version_is_not_taken(options: tuple[str, ...], tmp_path: Path) -> None:
    code, said = init_with("5.100.0", copied_root("instance", tmp_path), tmp_path, *options)
    assert code != 0
    assert "doesn't match any of the checksums previously recorded in the dependency lock file" in said


def test_every_root_pins_one_version_and_the_packages_of_all_platforms() -> None:
    """15 sums: HashiCorp's list of 5.100.0 has a package for each of its platforms, and the manifest."""
    assert [path.parent.name for path in LOCKS] == ROOT_NAMES, "copy the lock file of a root that has it"
    (text,) = {path.read_text(encoding="utf-8") for path in LOCKS}
    (provider,) = pinned()
    version = re.fullmatch(r"= (\d+\.\d+\.\d+)", provider.version)
    assert version, f"{provider.version} takes other versions, too"
    assert f'version     = "{version[1]}"\n  constraints = "{version[1]}"' in text
    sums = re.findall(r'"zh:([0-9a-f]{64})",', text)
    assert len(set(sums)) == len(sums) == 15
