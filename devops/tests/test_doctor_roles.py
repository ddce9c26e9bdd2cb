"""`wms doctor ROLE`: each role's own list, and every command in a finding mends what the finding names."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from aws_server import REGION, AwsServer
from s3_server import S3Server
from servers import serving

from wms import libraries
from wms.errors import UNHEALTHY, UsageError
from wms.files import canonical_json
from wms.json_text import to_json
from wms.libraries import MEGABYTES
from wms.paths import ROOT
from wms.registry.ledger import CURRENT, HISTORY
from wms.registry.metadata import NOTHING_PROMOTED
from wms_ops.base.layout import METADATA, MODELS
from wms_ops.commands import checks_settings, checks_work, doctor
from wms_ops.commands.checks_records import check_records
from wms_ops.commands.checks_settings import check_python, check_settings, check_versions
from wms_ops.commands.finding import Finding, State
from wms_ops.commands.main import main
from wms_ops.commands.roles import CHECKS, ROLES
from wms_ops.storage.config import read_remote
from wms_ops.storage.names import DEADLINE_TAG, ENVIRONMENT_TAG, INSTANCE_PART, OWNER_TAG, PART_TAG

pytest_plugins = ["aws_fixtures"]
SAMPLES = ROOT / "WMS" / "tests" / "samples" / "v1"
URL = "s3://acme-photos/dvc"


def sh(folder: Path, line: str) -> None:
    """Run a command of a finding, as its reader would."""
    identity = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "a@b.c", "GIT_COMMITTER_NAME": "Ada"}
    environ = {**identity, "GIT_COMMITTER_EMAIL": "a@b.c", "HOME": str(folder), "DVC_NO_ANALYTICS": "1"}
    path = f"{Path(shlex.split(shutil.which('python') or '')[0]).parent}"
    environ["PATH"] = f"{ROOT / '.venv' / 'bin'}:{path}:/usr/bin:/bin:/usr/local/bin"
    subprocess.run(["sh", "-ec", line], cwd=folder, env=environ, check=True, capture_output=True, timeout=120)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with three promotions on record, of an origin with the branch main."""
    seed = tmp_path / "seed"
    (seed / MODELS).mkdir(parents=True)
    for name in (HISTORY, CURRENT):
        shutil.copy(SAMPLES / name, seed / MODELS / name)
    shutil.copy(SAMPLES / METADATA, seed / METADATA)
    (seed / ".dvc").mkdir()
    text = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {URL}\n"
    (seed / ".dvc" / "config").write_text(text, encoding="utf-8")
    sh(seed, "git init -q -b main . && git add . && git commit -qm Start")
    sh(tmp_path, "git clone -q --bare seed origin.git && git clone -q origin.git clone")
    return tmp_path / "clone"


def changed(path: Path, field: str) -> None:
    """Give a field of a JSON object another value, as an editor would, and a line of its own to each field."""
    values = json.loads(path.read_text(encoding="utf-8"))
    old = values[field]
    values[field] = old + 1 if isinstance(old, int) else {**old, "dice": 0.5} if isinstance(old, dict) else f"{old}x"
    path.write_text(to_json(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def fields(name: str) -> list[str]:
    return [key for key, value in json.loads((SAMPLES / name).read_text(encoding="utf-8")).items() if value is not None]


def mended(clone: Path, name: str) -> Finding:
    """The finding about the damage, after its command was seen to mend the damage."""
    found = check_records(clone)
    assert found.state is State.MISSING and found.mend.startswith("git restore "), found
    sh(clone, found.mend)
    assert check_records(clone).state is State.FINE, name
    return found


@pytest.mark.parametrize("field", fields(METADATA))
def test_each_field_of_model_metadata_that_is_edited_is_noticed_and_restored(clone: Path, field: str) -> None:
    assert check_records(clone).state is State.FINE
    changed(clone / METADATA, field)
    assert METADATA in mended(clone, field).text


@pytest.mark.parametrize("field", fields(CURRENT))
def test_each_field_of_production_current_that_is_edited_is_noticed_and_restored(clone: Path, field: str) -> None:
    changed(clone / MODELS / CURRENT, field)
    assert CURRENT in mended(clone, field).text


def entry(clone: Path, number: int, field: str) -> None:
    path = clone / MODELS / HISTORY
    lines = path.read_text(encoding="utf-8").splitlines()
    values = json.loads(lines[number])
    values[field] = f"{values[field]}x" if isinstance(values[field], str) else 7
    lines[number] = canonical_json(values)
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


EDITS: dict[str, Callable[[Path], object]] = {
    "the first line's who": lambda clone: entry(clone, 0, "who"),
    "the last line's version": lambda clone: entry(clone, -1, "to_version"),
    "a line is gone": lambda clone: (clone / MODELS / HISTORY).write_bytes(b""),
    "the file is gone": lambda clone: (clone / MODELS / HISTORY).unlink(),
    "both files are gone, and the metadata tells": lambda clone: shutil.rmtree(clone / MODELS),
    "current is gone": lambda clone: (clone / MODELS / CURRENT).unlink(),
    "current isn't JSON": lambda clone: (clone / MODELS / CURRENT).write_text("{", encoding="utf-8"),
    "metadata is gone": lambda clone: (clone / METADATA).unlink(),
    "metadata tells of nothing": lambda clone: (clone / METADATA).write_text(
        (ROOT / METADATA).read_text(encoding="utf-8"), encoding="utf-8"
    ),
    "metadata has one more field": lambda clone: (clone / METADATA).write_text(
        (clone / METADATA).read_text(encoding="utf-8").replace("{", '{\n  "mine": 1,', 1), encoding="utf-8"
    ),
}


@pytest.mark.parametrize("case", EDITS)
def test_an_edit_of_the_records_is_noticed_and_restored(clone: Path, case: str) -> None:
    EDITS[case](clone)
    mended(clone, case)


def test_a_committed_edit_is_restored_from_the_newest_sound_commit(clone: Path) -> None:
    entry(clone, 0, "who")
    changed(clone / METADATA, "run_id")
    sh(clone, "git commit -qam Edited")
    for _ in range(2):  # the ledger, then the file about it
        found = check_records(clone)
        assert "--source=" in found.mend and found.state is State.MISSING
        sh(clone, found.mend)
    assert check_records(clone).state is State.FINE


def test_windows_line_ends_are_no_edit(clone: Path) -> None:
    for path in (clone / METADATA, clone / MODELS / CURRENT, clone / MODELS / HISTORY):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert check_records(clone).state is State.FINE, check_records(clone)


@pytest.mark.parametrize(
    ("text", "words", "after"),
    [
        ('remote = "upstream"', "names the remote upstream, but this clone has origin", ""),
        (f'bucket = "{URL}2"', f"but .dvc/config names {URL}", ""),
        ('main_branch = "master"', "but origin had main at the last fetch", "wms init --main-branch main"),
        ('remot = "origin"', "did you mean remote?", None),
        ("remote = ", "isn't TOML", None),
    ],
)
def test_a_project_file_that_does_not_fit_git_is_named(clone: Path, text: str, words: str, after: str | None) -> None:
    assert check_settings(clone).state is State.FINE
    (clone / "wms.toml").write_text(f"{text}\n", encoding="utf-8")
    (found,) = [one for one in doctor.examine(clone) if one.name == "settings"]
    assert found.state is State.MISSING and words in found.text and found.mend, found
    if after == "":
        sh(clone, found.mend)
        assert check_settings(clone).state is State.FINE
    elif after:
        assert found.mend == after


def test_a_project_file_with_capitals_is_renamed(clone: Path) -> None:
    (clone / "Wms.toml").write_text('project = "acme"\n', encoding="utf-8")
    sh(clone, "git add Wms.toml && git commit -qm Names")
    found = check_settings(clone)
    assert (found.state, found.mend) == (State.MISSING, "git mv Wms.toml wms.toml")
    sh(clone, found.mend)
    assert "project acme" in check_settings(clone).text


def test_without_a_project_file_no_text_names_it_as_the_source(clone: Path) -> None:
    sh(clone, "git remote rename origin old")
    found = check_settings(clone)
    assert found.text == "without a wms.toml, the remote origin is expected, but this clone has old"


def test_a_remote_that_was_never_fetched_is_fetched(clone: Path) -> None:
    sh(clone, "git remote rename origin old && git remote add origin ../origin.git")
    found = check_settings(clone)
    assert (found.state, found.mend) == (State.MISSING, "git fetch origin")
    sh(clone, found.mend)
    assert check_settings(clone).state is State.FINE


@pytest.fixture
def bucket(s3: S3Server, clone: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of its own at the real server, named by the clone's .dvc/config."""
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    name = f"versions-{clone.parent.name[-8:].strip('_').replace('_', '-').lower()}"
    s3.client().create_bucket(Bucket=name)
    sh(clone, f"dvc config core.no_scm false && dvc remote modify storage url s3://{name}/dvc")
    yield name
    s3.client().delete_bucket(Bucket=name)


def test_a_bucket_without_versions_gets_the_command_that_keeps_them(clone: Path, bucket: str, s3: S3Server) -> None:
    def set_to(status: str) -> None:
        s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})

    never = check_versions(clone)
    assert never.state is State.OPTIONAL and "never kept versions" in never.text
    set_to("Suspended")
    assert "stopped keeping versions" in check_versions(clone).text
    words = shlex.split(never.mend)
    assert words[:4] == ["aws", "s3api", "put-bucket-versioning", "--bucket"] and words[4] == bucket
    assert words[-2:] == ["--endpoint-url", s3.endpoint]
    if shutil.which("aws") and subprocess.run(["aws", "--version"], capture_output=True, check=False).returncode == 0:
        subprocess.run(words, check=True, capture_output=True, timeout=60)
    else:
        set_to(words[words.index("--versioning-configuration") + 1].removeprefix("Status="))
    assert check_versions(clone).state is State.FINE


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (403, "AccessDenied"), (405, "")])
def test_a_store_that_knows_no_versions_is_fine(
    clone: Path, status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Store(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
    with serving(server):
        found = check_versions(clone)
    assert found.state is State.FINE and "doesn't tell whether" in found.text


@pytest.mark.parametrize("role", ROLES)
def test_each_role_has_its_own_list(
    role: str, clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(name: str) -> Callable[[Path], Finding]:
        return lambda _: Finding(name, State.OPTIONAL, "no", "a command")

    table = {name: (lacking(name), needed) for name, (_, needed) in ROLES[role].items()}
    monkeypatch.setattr(doctor, "ROLES", {role: table})
    assert main(["doctor", role, "--repo", str(clone), "--json"]) == UNHEALTHY
    told = {one["name"]: one["state"] for one in json.loads(capsys.readouterr().out)}
    assert told == {name: "missing" if needed else "optional" for name, (_, needed) in table.items()}
    monkeypatch.setattr(doctor, "ROLES", {role: {name: (lacking(name), False) for name in table}})
    assert main(["doctor", role, "--repo", str(clone)]) == 0
    assert f" {role} is here.\n" in capsys.readouterr().out


def test_a_labeller_needs_no_cloud_and_an_operator_does() -> None:
    assert not {"Terraform", "MLflow", "AWS", "GitHub", "budget"} & set(ROLES["labeller"])
    for role, names in {
        "labeller": {"hook", "bucket"},
        "reviewer": {"GitHub", "model", "records"},
        "operator": {"AWS", "Terraform", "budget", "instances", "versions"},
        "developer": {"git", "tools", "PostgreSQL", "GitHub", "Terraform", "Python"},
    }.items():
        assert names <= {name for name, (_, needed) in ROLES[role].items() if needed}, role
    assert all(name in CHECKS for name in ("settings", "records", "versions"))


def test_a_typo_gets_the_nearest_role(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["doctor", "labeler"])
    assert end.value.code == UsageError.exit_code
    assert "there is no role 'labeler' (did you mean labeller?)" in capsys.readouterr().err


def test_the_libraries_of_a_role_are_looked_for_and_named_with_their_group(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_python(tuple(MEGABYTES)).state is State.FINE, check_python(tuple(MEGABYTES))
    real = libraries._is_installed
    monkeypatch.setattr(libraries, "_is_installed", lambda name: name not in ("torch", "moto") and real(name))
    core = check_python(("core",))
    assert core.state is State.FINE and "not installed: dev, train" in core.text
    found = check_python(("core", "train"))
    assert found.state is State.MISSING and "lacks torch of train" in found.text
    assert found.mend == 'make install FOR="train"'
    error = ModuleNotFoundError("No module named 'torch'", name="torch")
    assert checks_settings.missing_library(error) == (
        "can't be looked at without the library torch",
        'make install FOR="train"',
    )


def test_an_operator_is_told_of_the_price_and_of_an_empty_budget(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("WMS_BUDGET_USD", "1")
    assert "an hour" in checks_work.check_budget(clone).text
    monkeypatch.setenv("WMS_BUDGET_USD", "0.0001")
    monkeypatch.setattr(doctor, "ROLES", {"operator": {"budget": ROLES["operator"]["budget"]}})
    (found,) = doctor.examine(clone, role="operator")
    assert found.state is State.MISSING and "WMS_BUDGET_USD" in found.text and found.mend


def test_an_instance_past_its_deadline_is_named_and_reaped(
    aws: AwsServer, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ec2 = boto3.client("ec2", region_name=REGION, endpoint_url=aws.endpoint)
    late = datetime.now(UTC) - timedelta(hours=3)
    values = {ENVIRONMENT_TAG: "main", DEADLINE_TAG: late.isoformat(timespec="seconds"), OWNER_TAG: "anna"}
    values[PART_TAG] = INSTANCE_PART
    tags = [{"Key": key, "Value": value} for key, value in values.items()]
    assert checks_work.check_instances(clone).state is State.FINE
    made = ec2.run_instances(
        ImageId=aws.image, MinCount=1, MaxCount=1, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}]
    )["Instances"][0]["InstanceId"]
    found = checks_work.check_instances(clone)
    assert found.state is State.MISSING and f"{made} of anna" in found.text
    assert main(shlex.split(found.mend)[1:]) == 0
    capsys.readouterr()
    assert checks_work.check_instances(clone).state is State.FINE


def test_an_instance_whose_deadline_is_the_last_of_all_days_is_late_by_its_age(
    aws: AwsServer, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {ENVIRONMENT_TAG: "main", DEADLINE_TAG: "9999-12-31T23:59:59+00:00", PART_TAG: INSTANCE_PART}
    tags = [{"Key": key, "Value": value} for key, value in values.items()]
    ec2 = boto3.client("ec2", region_name=REGION, endpoint_url=aws.endpoint)
    ec2.run_instances(
        ImageId=aws.image, MinCount=1, MaxCount=1, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}]
    )
    assert checks_work.check_instances(clone).state is State.FINE
    monkeypatch.setattr("wms_ops.targets.aws.reap.LONGEST", -timedelta(hours=1))
    assert checks_work.check_instances(clone).state is State.MISSING, "the reaper's other limit counts here, too"


def test_a_page_of_no_promotion_is_removed_where_git_has_none(tmp_path: Path) -> None:
    repo = tmp_path / "new"
    (repo / MODELS).mkdir(parents=True)
    sh(repo, "git init -q -b main . && git commit -q --allow-empty -m Start")
    (repo / METADATA).write_text(NOTHING_PROMOTED, encoding="utf-8")
    (repo / MODELS / CURRENT).write_text("{}\n", encoding="utf-8")
    found = check_records(repo)
    assert (found.state, found.mend) == (State.MISSING, f"rm {MODELS}/{CURRENT}")
    sh(repo, found.mend)
    assert check_records(repo).state is State.FINE


def test_a_damaged_dvc_config_is_restored(clone: Path) -> None:
    (clone / ".dvc" / "config").write_text("[core\n", encoding="utf-8")
    (found,) = [one for one in doctor.examine(clone, role="labeller") if one.name == "bucket"]
    assert found.mend == "git restore .dvc/config"
    sh(clone, found.mend)
    assert read_remote(clone).url == URL
