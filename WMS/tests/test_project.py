"""wms.toml: the names of a team's project, and one sentence for each name that can't be."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from wms.errors import ConfigError
from wms.project import MEANINGS, SWITCHES, Project, parse_project, project_text, read_project, why_refused

NAMES = Project("acme", "meters 2", "trials", "master", "upstream", "eu-central-1", "s3://acme-meters/dvc/v2")


def test_without_a_file_the_names_are_those_from_before_the_file(tmp_path: Path) -> None:
    assert read_project(tmp_path / "wms.toml") == Project()
    name = "water-meter-segmentation"
    assert asdict(Project()) == {
        **dict.fromkeys(("project", "model", "experiment"), name),
        **{
            "main_branch": "main",
            "remote": "origin",
            "region": "",
            "bucket": "",
            "keep_metadata": False,
            "publish_photos": False,
        },
        "allowed_images": ("docs/images/**", ".github/**", "WMS/tests/**"),
    }


def test_a_written_file_is_read_as_it_was() -> None:
    assert parse_project(project_text(NAMES), "wms.toml") == NAMES
    assert parse_project(project_text(Project()), "wms.toml") == Project()
    assert parse_project(project_text(replace(NAMES, keep_metadata=True)), "wms.toml").keep_metadata
    assert [*MEANINGS, *SWITCHES, "allowed_images"] == [field.name for field in fields(Project)]
    more = Project(allowed_images=("docs/**", "żółw/*.png"))
    assert parse_project(project_text(more), "wms.toml") == more


@pytest.mark.parametrize("as_windows_writes", [b"\xef\xbb\xbfmain_branch = 'master'\r\n# a comment\r\n", b""])
def test_windows_marks_and_line_ends(tmp_path: Path, as_windows_writes: bytes) -> None:
    (tmp_path / "wms.toml").write_bytes(as_windows_writes)
    expected = Project(main_branch="master") if as_windows_writes else Project()
    assert read_project(tmp_path / "wms.toml") == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('# names\nmain_brnch = "master"', r"wms.toml, line 2: .*'main_brnch'; did you mean main_branch\?"),
        ('colour = "red"', r"line 1: there is no setting 'colour'; the names are project, model"),
        ('allowed_images = "docs"', "line 1: allowed_images needs a list of paths, such as"),
        ("allowed_images = [5]", "line 1: allowed_images needs a list of paths, such as"),
        ("[bucket]\nname = 1", "line 1: bucket is {'name': 1}, but a text in quotes is needed"),
        ("\n\nremote = 5", "line 3: remote is 5, but a text in quotes"),
        (
            "\nkeep_metadata = 'yes'",
            "line 2: keep_metadata is 'yes'; write keep_metadata = true or keep_metadata = false",
        ),
        ("remote = origin", "wms.toml isn't TOML: .*line 1"),
        ('remote = "a"\nremote = "b"', "wms.toml isn't TOML"),
        ("\x00", "wms.toml isn't TOML"),
        ('x\nmodel = "a/b"', "isn't TOML"),
        ('project = "p"\nmodel = "a/b"', "line 2: model is 'a/b', which MLflow refuses"),
    ],
)
def test_a_mistake_gets_file_line_and_field(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        parse_project(text, "wms.toml")
    assert str(caught.value).count("\n") == 0


def test_a_file_that_cannot_be_read_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "wms.toml").mkdir()
    with pytest.raises(ConfigError, match=r"wms\.toml can't be read .*restore it"):
        read_project(tmp_path / "wms.toml")
    (tmp_path / "latin.toml").write_bytes(b'project = "\xe9"')
    with pytest.raises(ConfigError, match="can't be read"):
        read_project(tmp_path / "latin.toml")


GOOD = {
    "project": ["a", "acme-2", "0"],
    "model": ["wms", "Wasser Zähler", "a.b_c-d"],
    "experiment": ["x", "Default"],
    "main_branch": ["main", "master", "release/2026.11", "trunk_2"],
    "remote": ["origin", "up.stream", "a-b_c"],
    "region": ["", "eu-central-1", "us-gov-west-1"],
    "bucket": ["", "s3://abc", "s3://acme.meters/dvc", "s3://a-1/x/y_z", "s3://acme/"],
}
BAD = {
    "project": ["", "A", "a b", "-a", "a" * 64, 'a"b'],
    "model": ["", " ", "a/b", "a:b", "..", "a" * 200, 'a"b', "a'b", "a\nb", "a%b", " a", "a/../b"],
    "experiment": ["", "a\\b", "a\tb"],
    "main_branch": ["", "data", "data/x", "-x", "a..b", "a b", "a.lock", "x/", "/x", "a//b", "HEAD", "a~1", "a."],
    "remote": ["", "a b", "-x", "a/b", "a..b", ".x", "x.lock", "é"],
    "region": ["eu", "EU-central-1", "eu-central", "us east 1"],
    "bucket": ["acme", "s3://", "s3://Acme/x", "s3://a_b/x", "s3://ab", "s3://" + "a" * 64, "s3://1.2.3.4/x", "gs://abc",
               "s3://-abc", "s3://abc-", "s3://a..b", "s3://xn--abc", "s3://abc-s3alias", "s3://abc/a b", 's3://abc/"'],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_names_that_can_be(name: str, value: str) -> None:
    assert why_refused(name, value) == ""
    text = project_text(replace(Project(), **{name: value}))
    assert getattr(parse_project(text, "wms.toml"), name) == value


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_names_that_cannot_be(name: str, value: str) -> None:
    assert why_refused(name, value)


@pytest.mark.parametrize("value", GOOD["main_branch"] + BAD["main_branch"])
def test_git_takes_every_branch_that_is_taken_here(value: str) -> None:
    done = subprocess.run(["git", "check-ref-format", "--branch", value], capture_output=True, check=False)
    assert why_refused("main_branch", value) or done.returncode == 0


@pytest.mark.parametrize("value", GOOD["model"] + BAD["model"])
def test_mlflow_takes_every_model_that_is_taken_here(value: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_model_name

    try:
        _validate_model_name(value)
    except MlflowException:
        assert why_refused("model", value)


def test_the_names_are_read_without_third_party_libraries() -> None:
    code = "import sys, wms.project as p; p.project(); print([m for m in ('pydantic', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
