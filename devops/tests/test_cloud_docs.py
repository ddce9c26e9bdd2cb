"""docs/cloud.md says what the code does: commands, names, settings, variables, exit codes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from wms_ops.commands.main import main
from wms_ops.targets.aws import boot, names, reap
from wms_ops.targets.aws.settings import CloudSettings
from wms_ops.targets.host.backup import KEPT
from wms_ops.targets.host.config import Pace

HOUSE = Path(__file__).resolve().parents[2]
PAGE = HOUSE / "docs" / "cloud.md"
TEXT = PAGE.read_text(encoding="utf-8")
SECTION = (HOUSE / "README.md").read_text(encoding="utf-8").partition("## In the cloud\n")[2].partition("\n## ")[0]
NAMES = names.Names("ENV", "ACCOUNT", "REGION")
CALLED = sorted(set(re.findall(r"wms ((?:cloud|cost) [a-z]+)", TEXT + SECTION)))
OF_GITHUB = {
    "AWS_ROLE_ARN",
    "WMS_TFVARS",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
}


@pytest.mark.parametrize("words", CALLED)
def test_each_command_exists(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words.split(), "--help"])
    assert ended.value.code == 0, capsys.readouterr().err


def test_the_commands_for_people_are_told() -> None:
    assert set(CALLED) >= {f"cloud {name}" for name in ("environ", "allow", "revoke", "store", "reap")}


def test_each_script_exists_and_can_be_run() -> None:
    found = set(re.findall(r"(?:devops|WMS)/scripts/[\w-]+\.\w+", TEXT + SECTION))
    mine = {f"devops/scripts/{name}.sh" for name in ("deploy-to-cloud", "cloud-status", "stop-cloud", "cleanup-aws")}
    assert mine < found
    assert all((HOUSE / name).is_file() for name in found)
    assert all(os.access(HOUSE / name, os.X_OK) for name in mine)


def test_the_options_are_those_of_deploy(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cloud", "deploy", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    named = set(re.findall(r"`(--[a-z-]+)(?: \d+)?`", TEXT))
    assert {"--yes", "--hours", "--idle-minutes"} == named <= known


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (PAGE.parent / link).is_file(), link


@pytest.mark.parametrize(
    "name",
    [
        NAMES.state_bucket,
        NAMES.dvc_bucket,
        NAMES.mlflow_bucket,
        NAMES.prefix,
        NAMES.password_parameter,
        NAMES.boot_parameter,
        NAMES.state_key("instance"),
        NAMES.state_key("persistent"),
        NAMES.lease_key,
        names.ENVIRONMENT_TAG,
        names.PART_TAG,
        names.LAUNCH_TAG,
        names.DEADLINE_TAG,
        names.OWNER_TAG,
    ],
)
def test_each_name_at_aws(name: str) -> None:
    assert f"`{name}`" in TEXT


def test_the_settings_and_their_example() -> None:
    example = (HOUSE / "infrastructure/terraform/wms.tfvars.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)\s*=", example, re.MULTILINE)) == set(CloudSettings.model_fields)
    for name in ("environment", "instance_type", "existing_instance_profile", "hours", "idle_minutes"):
        assert re.search(rf"`{name}\b", TEXT), name
        assert name in CloudSettings.model_fields
    assert f"({CloudSettings().hours:.0f} hours without it)" in TEXT
    assert f"MLflow (port {CloudSettings().mlflow_port}) and the service (port {CloudSettings().service_port})" in TEXT


def test_each_variable_is_read_by_something() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (HOUSE / "devops/src").rglob("*.py"))
    yaml = (HOUSE / ".github/workflows/cloud.yml").read_text(encoding="utf-8")
    for name in set(re.findall(r"`((?:WMS|AWS)_[A-Z_]+)", TEXT)):
        assert (name in yaml) if name in OF_GITHUB else (f'"{name}"' in code), name


def test_the_figures() -> None:
    plain = " ".join(TEXT.split())
    assert f"within {boot.LIMIT_S / 60:.0f} minutes" in plain
    assert Pace().backup_s == 300 and "every five minutes if it has changed" in plain
    assert KEPT == 12 and "Twelve are kept" in plain
    assert reap.GRACE.total_seconds() == 600 and "ten minutes after the deadline" in plain
    schedule = re.search(r'cron: "([\d,]+) \*', (HOUSE / ".github/workflows/reaper.yml").read_text(encoding="utf-8"))
    assert schedule and len(schedule[1].split(",")) == 2 and "looks twice an hour" in plain


def test_the_exit_codes_are_on_the_page_of_all() -> None:
    known = re.findall(r"^\| (\d+) \|", (HOUSE / "docs/exit-codes.md").read_text(encoding="utf-8"), re.MULTILINE)
    rows = re.findall(r"^\| ([\d, ]+) \|", TEXT, re.MULTILINE)
    codes = {code for row in rows for code in row.split(", ")}
    assert {"70", "71", "84", "85", "86", "97"} <= codes <= set(known)


def test_it_says_what_was_never_run() -> None:
    assert "**No real AWS account was ever used.**" in TEXT
