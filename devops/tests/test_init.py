"""`wms init`: proposals, refusals, the files that it writes, repeated and killed; all without a store."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import Terminal
from workflow_policy import FILES, faults
from workshop import fingerprint

from wms.errors import DECLINED, ConfigError, DiskFullError, UsageError
from wms.project import Project, read_project
from wms_ops.base.errors import GitError, StoreConfigError
from wms_ops.commands.main import main
from wms_ops.git.command import Git
from wms_ops.setup.files import IGNORED, changes
from wms_ops.setup.names import propose
from wms_ops.storage.config import parse_remote

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "s3://acme-meters/dvc"
ALL = ["--project=acme", "--model=Acme Meters", "--experiment=acme", "--main-branch=trunk", "--remote=upstream"]
ALL += ["--region=eu-west-1", f"--bucket={BUCKET}"]
NAMES = Project("acme", "Acme Meters", "acme", "trunk", "upstream", "eu-west-1", BUCKET)
DVC = """# ours
[core]
    analytics = false
    remote = team
['remote "team"']
    url = s3://older/place
    endpointurl = http://127.0.0.1:1
    profile = team  # not the default one
[cache]
    type = "reflink,copy"
['remote "backup"']
    url = /mnt/backup
"""


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with this project's workflows, without any name of its own; the working directory."""
    folder = tmp_path / "Acme Meters"
    folder.mkdir()
    Git(folder)("init", "--quiet", "--initial-branch=main")
    for name in (".github", "hooks"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / ".gitignore", folder)
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    monkeypatch.chdir(folder)
    return folder


def test_all_names_are_written_and_a_second_run_changes_nothing(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", *ALL]) == 0
    said = capsys.readouterr().out
    assert read_project(clone / "wms.toml") == NAMES
    assert parse_remote((clone / ".dvc/config").read_text(), environ={}, bucket=BUCKET).url == BUCKET
    assert "there are no usable AWS credentials" in said and "is checked at the first push" in said
    wanted = [
        "git remote add upstream URL",
        "git add .dvc/config .github/CODEOWNERS .github/workflows/data-pushed.yaml",
    ]
    wanted += ["wms.toml"]
    wanted += ["git push upstream HEAD:trunk", "wms hook", "wms doctor"]
    assert all(line in said for line in wanted), said
    before = fingerprint(clone)
    for again in (ALL, [], ["--yes"]):
        assert main(["init", *again]) == 0
        assert "The files say all of this already; nothing was changed." in capsys.readouterr().out
    assert fingerprint(clone) == before


def test_one_name_is_changed_and_the_others_stay(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", *ALL]) == 0
    assert main(["init", "--remote", "origin"]) == 0
    assert read_project(clone / "wms.toml").remote == "origin"
    assert read_project(clone / "wms.toml").bucket == BUCKET


def test_a_settings_file_in_a_users_own_words_stays(clone: Path) -> None:
    text = f'# ours\nregion = "eu-central-1"\nbucket = "{BUCKET}"  # Ana pays\n'
    (clone / "wms.toml").write_text(text)
    assert main(["init"]) == 0
    assert (clone / "wms.toml").read_text() == text
    assert BUCKET in (clone / ".dvc/config").read_text()


def test_without_a_bucket_none_is_written(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (clone / ".dvc/config").read_text()
    assert main(["init", "--project", "acme"]) == 0
    assert (clone / ".dvc/config").read_text() == before
    said = capsys.readouterr().out
    assert "(not chosen yet)" in said and "wms init --bucket s3://BUCKET/dvc" in said
    assert read_project(clone / "wms.toml") == Project(project="acme", region="eu-central-1")


@pytest.mark.parametrize("region", ["dvc", "AWS_REGION", "AWS_DEFAULT_REGION"])
def test_names_are_proposed_from_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    origin = Git(tmp_path)
    origin("init", "--quiet", "--bare", "--initial-branch=master", "origin.git")
    identity = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    seed = Git(tmp_path / "seed", environ=identity)
    origin("clone", "--quiet", "origin.git", "seed")
    seed("commit", "--quiet", "--allow-empty", "-m", "Start")
    seed("push", "--quiet", "origin", "HEAD:master")
    origin("clone", "--quiet", "--origin", "upstream", "origin.git", "acme-meters")
    git = Git(tmp_path / "acme-meters")
    git("checkout", "--quiet", "-b", "my-work")  # the remote's HEAD counts, not this branch
    (git.folder / ".dvc").mkdir()
    at = "    region = eu-west-3\n" if region == "dvc" else ""
    (git.folder / ".dvc/config").write_text(DVC.replace("    profile", f"{at}    profile"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    if region != "AWS_DEFAULT_REGION":
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
    found = propose(git)
    expected = {"dvc": "eu-west-3", "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}[region]
    assert found == Project(
        "acme-meters", main_branch="master", remote="upstream", region=expected, bucket="s3://older/place"
    )
    (git.folder / "wms.toml").write_text('project = "other"\nmain_branch = "trunk"\nregion = "us-west-2"\n')
    kept = Project("other", main_branch="trunk", region="us-west-2", bucket="s3://older/place")
    assert propose(git) == kept, "wms.toml goes first"


def test_what_suggests_no_usable_name_is_passed_over(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = Git(clone)  # its folder's name has a capital and a space
    git("remote", "add", "a", "/x")
    git("remote", "add", "origin", "/y")
    git("checkout", "--quiet", "-b", "data/20261121-103000")
    monkeypatch.setenv("AWS_REGION", "aws-global")
    (clone / ".dvc/config").write_text("[core]\n    remote = r\n['remote \"r\"']\n    url = gs://b/x\n")
    assert propose(git) == Project(region="eu-central-1")


REFUSED = {
    "--project": ["A B", "../x", ""],
    "--model": ["a/b", "", "x:y"],
    "--experiment": ["a%b"],
    "--main-branch": ["data/x", "a..b", "-x", "HEAD", "x.lock"],
    "--remote": ["up stream", "-u", "a..b"],
    "--region": ["nowhere", "eu-central"],
    "--bucket": ["s3://Acme/dvc", "s3://a/dvc", "gs://acme/dvc", "s3://192.168.1.1/dvc", 's3://acme/"x'],
}


@pytest.mark.parametrize(("option", "value"), [(name, value) for name, all_ in REFUSED.items() for value in all_])
def test_a_value_that_is_refused_names_its_option_and_nothing_is_written(
    clone: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    before = fingerprint(clone)
    assert main(["init", *(one for one in ALL if not one.startswith(f"{option}=")), f"{option}={value}"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {option} is {value!r}, ") and said.err.count("\n") == 1
    assert fingerprint(clone) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('regoin = "eu-west-1"\n', "wms.toml, line 1: there is no setting 'regoin'; did you mean region?"),
        ('project = "acme"\nremote = 5\n', "wms.toml, line 2: remote is 5, but a text in quotes is needed"),
        ("project = acme\n", "wms.toml isn't TOML"),
    ],
)
def test_a_settings_file_with_a_typo_is_told_and_kept(
    clone: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    (clone / "wms.toml").write_text(text)
    before = fingerprint(clone)
    assert main(["init", *ALL]) == ConfigError.exit_code
    assert words in capsys.readouterr().err
    assert fingerprint(clone) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[[\n", ".dvc/config, line 1 isn't a DVC configuration; restore the file from Git."),
        (DVC.replace("    profile", "    secret_access_key = HUSH\n    profile"), "holds the secret_access_key"),
        (DVC.replace("    profile", "    version_aware = true\n    profile"), "has the option version_aware"),
    ],
)
def test_a_dvc_config_that_is_no_use_is_told_and_kept(
    clone: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    (clone / ".dvc/config").write_text(text)
    before = fingerprint(clone)
    assert main(["init", *ALL]) == StoreConfigError.exit_code
    assert words in capsys.readouterr().err
    assert fingerprint(clone) == before


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_teams_own_options_stay_byte_for_byte(clone: Path, end: str) -> None:
    path = clone / ".dvc/config"
    path.write_bytes(DVC.replace("\n", end).encode())
    assert main(["init", "--bucket", BUCKET]) == 0
    assert path.read_bytes().decode() == DVC.replace("s3://older/place", BUCKET).replace("\n", end)


def test_a_default_remote_that_is_no_bucket_stays_beside_the_new_one(clone: Path) -> None:
    path = clone / ".dvc/config"
    path.write_text("[core]\n    remote = nas\n['remote \"nas\"']\n    url = /mnt/nas")
    assert main(["init", "--bucket", BUCKET]) == 0
    kept = "[core]\n    remote = storage\n['remote \"nas\"']\n    url = /mnt/nas\n"
    assert path.read_text() == f"{kept}['remote \"storage\"']\n    url = {BUCKET}\n"


def test_dvc_reads_what_was_written(clone: Path) -> None:
    (clone / ".dvc/config").unlink()
    assert main(["init", "--bucket", BUCKET]) == 0
    done = subprocess.run([sys.executable, "-m", "dvc", "remote", "list"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == ["storage", BUCKET] and "(default)" in done.stdout


def test_the_workflows_get_the_region_and_stay_workflows(clone: Path) -> None:
    """No file names a branch: GitHub's events and its rule for the environment say which one is main."""
    assert main(["init", *ALL]) == 0
    texts = {path.name: path.read_text() for path in (clone / ".github/workflows").iterdir()}
    assert set(texts) == {path.name for path in FILES}
    for path in FILES:
        text = texts[path.name]
        assert faults(text, path.name) == []
        assert text.count("vars.AWS_REGION || 'eu-west-1'") == text.count("vars.AWS_REGION") == ("AWS_" in text)
        assert text.replace("'eu-west-1'", "'us-east-1'") == path.read_text()


def test_two_different_buckets_in_git_are_refused_for_every_use() -> None:
    with pytest.raises(StoreConfigError, match=r"wms\.toml names s3://acme/dvc for the data set, but \.dvc/config"):
        parse_remote(DVC, environ={}, bucket="s3://acme/dvc")
    assert parse_remote(DVC, environ={}, bucket="s3://older//place/").url == "s3://older/place"
    assert parse_remote(DVC, environ={"WMS_DVC_URL": "s3://mine/x"}, bucket="s3://acme/dvc").url == "s3://mine/x"
    own = "['remote \"team\"']\n    url = s3://mine/y\n"
    assert parse_remote(DVC, own, environ={}, bucket="s3://acme/dvc").url == "s3://mine/y"


KILLED = """
import os, signal, sys
import wms_ops.setup.files as files
left, write = int(sys.argv[1]), files.write_atomic
def writing(path, text):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    write(path, text)
files.write_atomic = writing
from wms_ops.commands.main import main
sys.exit(main(["init", *sys.argv[2:]]))
"""


@pytest.mark.parametrize("written", range(7))
def test_a_killed_run_is_finished_by_the_next_one(clone: Path, written: int, tmp_path: Path) -> None:
    count = len(changes(clone, NAMES))
    assert count == 6, "wms.toml, .dvc/config, four workflows"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(written), *ALL], check=False, capture_output=True)
    assert killed.returncode == (-signal.SIGKILL if written < count else 0)
    assert len(changes(clone, NAMES)) == count - written
    # The names are remembered as soon as anything is written, so the next run needs no option.
    assert main(["init", *(ALL if written == 0 else ["--yes"])]) == 0
    assert changes(clone, NAMES) == ()
    assert read_project(clone / "wms.toml") == NAMES


def test_a_full_disk_is_one_sentence_and_the_next_run_does_the_rest(
    clone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(clone)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("wms.files.os.fsync", full)
        assert main(["init", *ALL]) == DiskFullError.exit_code
    assert "No space left on the disk while writing" in capsys.readouterr().err
    assert fingerprint(clone) == before
    assert main(["init", *ALL]) == 0
    assert read_project(clone / "wms.toml") == NAMES


def test_outside_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", *ALL]) == GitError.exit_code
    assert not (tmp_path / "wms.toml").exists()


def test_alias_needs_the_option_it_belongs_to(clone: Path) -> None:
    assert main(["init", "--alias", "champion"]) == UsageError.exit_code
    assert not (clone / "wms.toml").exists()


def start(clone: Path, *options: str) -> Terminal:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1"}
    return Terminal([sys.executable, "-m", "wms_ops", "init", *options], environ, clone)


def test_in_a_terminal_each_name_is_asked_for_with_its_proposal(clone: Path) -> None:
    with start(clone) as terminal:
        terminal.wait_for("[water-meter-segmentation]: ")
        terminal.type("Acme Meters\n")
        terminal.wait_for("That is 'Acme Meters', but it has 1 to 63 of a-z, 0-9 and \"-\" only.")
        terminal.wait_for("marks its data in the bucket [water-meter-segmentation]: ")
        terminal.type("acme\n")
        for words in (
            "registered model",
            "experiment",
            "data branches are merged [main]: ",
            "[origin]: ",
            "[eu-central-1]: ",
        ):
            terminal.wait_for(words)
            terminal.type("\n")
        terminal.wait_for(".dvc/config []: ")
        terminal.type(f"{BUCKET}\n")
        terminal.wait_for("Write this? [y/N] ")
        assert not (clone / "wms.toml").exists()
        terminal.type("y\n")
        assert terminal.finish() == 0
    assert read_project(clone / "wms.toml") == Project(project="acme", region="eu-central-1", bucket=BUCKET)


def test_a_no_and_ctrl_c_change_nothing(clone: Path) -> None:
    before = fingerprint(clone)
    with start(clone) as terminal:
        for _ in range(7):
            terminal.wait_for("]: ")
            terminal.type("\n")
        terminal.wait_for("Write this? [y/N] ")
        terminal.type("\n")
        assert terminal.finish() == DECLINED
    with start(clone) as terminal:
        terminal.wait_for("]: ")
        terminal.type("\x03")
        assert terminal.finish() == 130
    assert fingerprint(clone) == before


def test_in_a_terminal_options_or_yes_are_enough(clone: Path) -> None:
    with start(clone, "--yes") as terminal:
        assert terminal.finish() == 0
    with start(clone, "--project", "acme") as terminal:
        assert terminal.finish() == 0
    assert read_project(clone / "wms.toml").project == "acme"


def test_a_repository_without_this_project_gets_nothing(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(clone / "hooks")
    before = fingerprint(clone)
    assert main(["init", "--yes"]) == UsageError.exit_code
    assert "doesn't hold this project" in capsys.readouterr().err
    assert fingerprint(clone) == before


def test_what_must_never_get_into_git_is_ignored_again_in_a_team_that_kept_its_own_file(clone: Path) -> None:
    """A merge with `--ours` would leave keys of the local cloud and Terraform's state to `git add --all`."""
    lines = (ROOT / ".gitignore").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == list(IGNORED)
    (clone / ".gitignore").write_text("*.pdf\n!.gitkeep", encoding="utf-8")
    assert main(["init", "--yes"]) == 0
    text = (clone / ".gitignore").read_text()
    assert text.startswith("*.pdf\n!.gitkeep\n#")

    def is_ignored(name: str) -> bool:
        return subprocess.run(["git", "check-ignore", "-q", name], cwd=clone, check=False).returncode == 0

    secret = (".env", ".loop/cloud/aws-config", ".venv/x", "infrastructure/terraform/wms.tfvars", "a/terraform.tfstate")
    assert all(map(is_ignored, secret))
    assert not any(map(is_ignored, ("WMS/models/.gitkeep", "devops/src/wms_ops/runs/a.py")))
    assert main(["init", "--yes"]) == 0 and (clone / ".gitignore").read_text() == text


def test_the_remote_that_brings_new_versions_is_never_the_teams_own(clone: Path) -> None:
    git = Git(clone)
    git("remote", "add", "product", "https://example.org/product.git")
    assert propose(git).remote == "origin"
    git("remote", "add", "upstream", "https://example.org/team.git")
    assert propose(git).remote == "upstream"
    git("remote", "add", "mirror", "https://example.org/mirror.git")
    with pytest.raises(UsageError, match="has the remotes mirror, upstream; name the team's with --remote"):
        propose(git)
    assert propose(git, "upstream").remote == "upstream"
    git("config", "branch.main.remote", "mirror")
    assert propose(git).remote == "mirror"


def test_a_region_of_another_store_is_not_the_teams(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`wms cloud environ` names one, since clients want any."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert propose(Git(clone)).region == "us-east-1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    assert propose(Git(clone)).region == "eu-central-1"
