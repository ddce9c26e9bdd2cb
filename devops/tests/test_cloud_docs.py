"""The pages about the cloud say what the code does: names, settings, variables, fixed values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wms_ops.commands.main import main
from wms_ops.storage import names
from wms_ops.targets.aws import boot, reap
from wms_ops.targets.aws.settings import CloudSettings
from wms_ops.targets.host.backup import KEPT
from wms_ops.targets.host.config import Pace

HOUSE = Path(__file__).resolve().parents[2]
TEXT = (HOUSE / "docs/cloud.md").read_text(encoding="utf-8")
DEPLOYMENT = (HOUSE / "docs/DEPLOYMENT.md").read_text(encoding="utf-8")
NAMES = names.Names("ENV", "ACCOUNT", "REGION")
OF_AWS = {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"}
"""Read by AWS's own libraries, and no setting of this project."""


@pytest.mark.parametrize(
    "name",
    [
        NAMES.state_bucket,
        NAMES.dvc_bucket,
        NAMES.mlflow_bucket,
        NAMES.prefix,
        NAMES.password_parameter,
        NAMES.certificate_parameter,
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
    block = re.search(r"cat > infrastructure/terraform/wms\.tfvars <<'EOF'\n(.*?)    EOF\n", DEPLOYMENT, re.DOTALL)
    assert block
    academy = dict(re.findall(r"^ +(\w+)\s*= (.*)$", block[1], re.MULTILINE))
    assert set(academy) == {"region", "existing_instance_profile", "hours"}
    assert academy["region"] in ('"us-east-1"', '"us-west-2"')  # all that Academy allows
    assert CloudSettings(existing_instance_profile="LabInstanceProfile", hours=float(academy["hours"])).hours < 4


def test_the_options_are_those_of_deploy(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cloud", "deploy", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    named = set(re.findall(r"^\| `(--[a-z-]+)(?: \d+)?` \|", DEPLOYMENT, re.MULTILINE))
    assert {"--yes", "--hours", "--idle-minutes"} == named <= known


def test_the_ports() -> None:
    ports = dict(re.findall(r"^\| (MLflow|the service) \| (\d+) \|", TEXT, re.MULTILINE))
    assert ports == {"MLflow": str(CloudSettings().mlflow_port), "the service": str(CloudSettings().service_port)}


def test_each_variable_is_a_setting_or_read_by_a_workflow() -> None:
    settings = (HOUSE / "docs/settings.md").read_text(encoding="utf-8")
    workflows = "".join(path.read_text(encoding="utf-8") for path in (HOUSE / ".github").rglob("*.y*ml"))
    pages = [HOUSE / "README.md", *(path for path in (HOUSE / "docs").glob("*.md") if path.name != "settings.md")]
    named = {
        name for page in pages for name in re.findall(r"`((?:WMS|AWS)_[A-Z_\d]+)", page.read_text(encoding="utf-8"))
    }
    assert len(named) > 15
    assert not {name for name in named - OF_AWS if f"`{name}`" not in settings and f".{name} " not in workflows}


def test_the_fixed_values() -> None:
    table = TEXT.partition("| fixed | value |\n")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| ([^|]+) \| (\d+)(?: \w+)? \|$", table, re.MULTILINE))
    assert {float(value) for value in rows.values()} == {
        CloudSettings().hours,
        boot.LIMIT_S / 60,
        Pace().backup_s / 60,
        KEPT,
        reap.GRACE.total_seconds() / 60,
    }
    assert float(rows["copies kept"]) == KEPT
    assert float(rows["MLflow must answer within"]) == boot.LIMIT_S / 60
    assert float(rows["a changed database is copied every"]) == Pace().backup_s / 60
    assert float(rows["the reaper waits after a deadline"]) == reap.GRACE.total_seconds() / 60


def test_the_reapers_schedule() -> None:
    workflow = (HOUSE / ".github/workflows/reap-orphans.yaml").read_text(encoding="utf-8")
    minutes = re.search(r'cron: "([\d,]+) \*', workflow)
    told = re.search(
        r"^\| starts \| at minutes (\d+) and (\d+)", (HOUSE / "docs/WORKFLOWS.md").read_text(encoding="utf-8"), re.M
    )
    assert minutes and told and minutes[1].split(",") == list(told.groups())
