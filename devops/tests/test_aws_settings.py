"""A user's choices for the cloud: what is wrong in them is told with file, line and field before anything starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wms.errors import ConfigError, UsageError
from wms.project import project
from wms_ops.targets.aws.cloud import open_aws
from wms_ops.targets.aws.settings import FILE, CloudSettings, read_settings

EXAMPLE = FILE.with_name("wms.tfvars.example")

HERE = {"AWS_REGION": "eu-central-1"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "wms.tfvars"


def refused(file: Path, text: str | bytes, **environ: str) -> str:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        read_settings(file, environ=environ)
    assert re.fullmatch(r"[^\n]*[.?]", str(caught.value)), str(caught.value)
    return str(caught.value)


def test_without_a_file_the_defaults_hold(file: Path) -> None:
    assert read_settings(file, environ=HERE) == CloudSettings()
    file.write_text("\n# nothing\n")
    assert read_settings(file, environ=HERE) == CloudSettings()


def test_no_region_is_ever_assumed(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a default of its own, a new version would look for yesterday's instance in another region."""
    sentence = refused(file, "disk_gb = 30\n")
    assert "in us-east-1, which `wms upgrade` writes down; else run `wms init`, which takes eu-central-1" in sentence
    (tmp_path / "wms.toml").write_text('region = "eu-central-1"\n')
    monkeypatch.setenv("WMS_PROJECT", str(tmp_path / "wms.toml"))
    project.cache_clear()
    try:
        assert read_settings(file, environ={}).region == "eu-central-1"
        assert read_settings(file, environ={"AWS_REGION": "us-east-1"}).region == "us-east-1"
    finally:
        project.cache_clear()


def test_the_example_names_every_setting_and_changes_none() -> None:
    assert read_settings(EXAMPLE, environ={}) == CloudSettings()
    named = re.findall(r"^(\w+)\s*=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(CloudSettings.model_fields)


def test_what_the_example_proposes_in_comments_is_accepted(file: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    changed = re.sub(r'null # ("LabInstanceProfile")', r"\1", text)
    assert changed != text
    file.write_text(changed)
    assert read_settings(file, environ=HERE).existing_instance_profile == "LabInstanceProfile"


def test_values_of_each_type(file: Path) -> None:
    file.write_bytes(
        b'region = "eu-central-1"\r\n// a comment\r\nspot = true\r\ndisk_gb=50\r\nhours = 1.5\r\n'
        b'ami_id = "ami-0123456789abcdef0" /* the\r\nteam\'s */\r\nexisting_instance_profile = null'
    )
    found = read_settings(file, environ={})
    assert found == CloudSettings(
        region="eu-central-1", spot=True, disk_gb=50, hours=1.5, ami_id="ami-0123456789abcdef0"
    )


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('region = "us-east-1"\n\ninstance_typ = "t3.large"\n', 3, "no setting 'instance_typ'; did you mean inst"),
        ("# disk = 1\n  disk = 30\n", 2, "did you mean disk_gb?"),
        ('zzz = "t3.large"\n', 1, "choose of: region, environment"),
        ("\ndisk_gb = 10\n", 2, "disk_gb is 10: Input should be greater than or equal to 20; correct it."),
        ("disk_gb = 30.5\n", 1, "disk_gb is 30.5: "),
        ('a_comment = 1\ndisk_gb = "much"\n', 1, "there is no setting 'a_comment'"),
        ('spot = false\ndisk_gb = "much"\n', 2, "disk_gb is 'much': "),
        ('spot = "perhaps"\n', 1, "spot is 'perhaps': "),
        ("hours = 49\n", 1, "hours is 49: "),
        ("hours = 0\n", 1, "hours is 0: "),
        ("idle_minutes = -1\n", 1, "idle_minutes is -1: "),
        ("mlflow_port = 80\n", 1, "mlflow_port is 80: "),
        ('region = "Frankfurt"\n', 1, "region is 'Frankfurt': "),
        ('environment = "My_Team"\n', 1, "environment is 'My_Team': "),
        ('instance_type = "large"\n', 1, "instance_type is 'large': "),
        ('ami_id = "ubuntu"\n', 1, "ami_id is 'ubuntu': "),
        ("region = null\n", 1, "region is None: "),
        ('region = ["us-east-1"]\n', 1, "region is ["),
        ('region = "us-east-1"\ndisk_gb 30\n', 2, "can't be read; write lines such as"),
        ('instance_type = "t3.large\n', 1, "can't be read"),
        ("instance_type = t3.large\n", 1, "instance_type is "),
        ("mlflow_port = 8000\n", 1, "mlflow_port"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(file: Path, text: str, line: int, words: str) -> None:
    said = refused(file, text)
    assert said.startswith(f"{file}, line {line}: ") or said.startswith(f"{file}, line {line} can't"), said
    assert words in said


def test_a_file_that_is_no_text(file: Path, tmp_path: Path) -> None:
    assert f"Can't read {file}" in refused(file, b"region = \xff\xfe\n")
    with pytest.raises(ConfigError, match="Can't read"):
        read_settings(tmp_path, environ={})


def test_a_file_from_windows_notepad(file: Path) -> None:
    """It begins with a mark that isn't seen."""
    file.write_bytes("disk_gb = 40\r\n".encode("utf-8-sig"))
    assert read_settings(file, environ=HERE).disk_gb == 40


def test_the_environment_and_the_file(file: Path) -> None:
    aws = {"AWS_DEFAULT_REGION": "eu-west-1"}
    assert read_settings(file, environ=aws).region == "eu-west-1"
    assert read_settings(file, environ={**aws, "AWS_REGION": "us-west-2"}).region == "us-west-2"
    file.write_text('region = "eu-central-1"\nenvironment = "main"\n')
    found = read_settings(file, environ={**aws, "WMS_ENVIRONMENT": "ana"})
    assert (found.region, found.environment) == ("eu-central-1", "ana")


@pytest.mark.parametrize(
    ("name", "value"), [("AWS_REGION", "useast"), ("AWS_DEFAULT_REGION", "us east 1"), ("WMS_ENVIRONMENT", "A b")]
)
def test_a_variable_that_is_wrong_is_named(file: Path, name: str, value: str) -> None:
    assert refused(file, "disk_gb = 30\n", **{name: value}).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("WMS_WAIT_MINUTES", "soon", "give a number of minutes, such as 30."),
        ("WMS_WAIT_MINUTES", "-1", "give a number of minutes, such as 30."),
        ("WMS_S3_PATH_STYLE", "perhaps", "give 1 or 0, such as 1."),
    ],
)
def test_a_variable_of_the_instance_that_is_wrong_is_named(tmp_path: Path, name: str, value: str, advice: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_aws(tmp_path, environ={name: value})
    assert str(caught.value) == f"{name} is {value!r}; {advice}"
