"""Production comes to WMS/models whole, verified and once; whatever isn't it, replaces nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from github_fake import FakeGitHub, fake_github
from s3_server import S3Server
from sync_shop import Shop, make_run, make_shop, model_files, promote

from wms.errors import LedgerError, run_main
from wms.registry.ledger import HISTORY, Ledger
from wms.registry.lineage import CARD, FILES, ONNX, WEIGHTS
from wms.registry.sync import STAGING, is_here, newer_chain
from wms_ops.commands import sync
from wms_ops.git.command import Git
from wms_ops.release.publish import publish_model
from wms_ops.release.sources import key_of, release_tag
from wms_ops.storage import client
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.remote import S3Remote

SCRIPTS = Path(__file__).resolve().parents[2] / "WMS" / "scripts"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("sync"))


@pytest.fixture
def shop(made: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A copy, whose clone knows nothing of the promotion on the remote yet."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "a shop"
    shutil.copytree(made.folder, folder)
    found = Shop(folder, folder / "clone", folder / "runs" / made.run.name, made.entry)
    Git(found.clone)("remote", "set-url", "origin", str(folder / "origin.git"))
    found.forget()
    return found


@pytest.fixture
def aws(shop: Shop, s3: S3Server, remote_config: RemoteConfig, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop with the S3 store in its DVC configuration."""
    (shop.clone / ".dvc").mkdir()
    config = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {remote_config.url}\n"
    (shop.clone / ".dvc" / "config").write_text(config)
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    return shop


@pytest.fixture
def github(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    with fake_github() as fake:
        for name, value in fake.environ.items():
            monkeypatch.setenv(name, value)
        yield fake


def held(shop: Shop) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in shop.models.iterdir() if path.name.startswith("production")}


def test_from_s3_and_the_second_call_needs_no_store(
    aws: Shop, s3: S3Server, remote: S3Remote, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_model(remote, model_files(aws.run))
    assert run_main(sync.COMMAND, ["--from", "s3", *aws.where]) == 0
    said = capsys.readouterr().out
    assert "is Production now: version 1 (Dice 0.9100, IoU 0.8000)" in said
    assert f"from {remote.config.url}" in said
    assert held(aws) == model_files(aws.run)
    s3.kill()
    assert run_main(sync.COMMAND, ["--from", "s3", *aws.where]) == 0
    assert "is Production already: version 1" in capsys.readouterr().out
    monkeypatch.setattr(client, "ATTEMPTS", 1)
    assert run_main(sync.COMMAND, ["--from", "s3", *aws.where, "--force"]) == 74


def test_a_newer_version_on_the_remote_replaces_the_old_one(aws: Shop, remote: S3Remote) -> None:
    publish_model(remote, model_files(aws.run))
    assert run_main(sync.COMMAND, ["--from", "s3", *aws.where]) == 0
    newer = make_run(aws.folder, seed=1)
    publish_model(remote, model_files(newer))
    other = Shop(aws.folder, aws.folder / "another clone", aws.run, aws.entry)
    Git(aws.folder)("clone", "--quiet", "origin.git", str(other.clone))
    promote(newer, other.models, 2)
    other.push()
    assert run_main(sync.COMMAND, ["--from", "s3", *aws.where]) == 0
    assert held(aws) == model_files(newer)


@pytest.mark.parametrize("name", FILES)
def test_what_is_not_the_ledgers_is_refused_and_replaces_nothing(
    aws: Shop, remote: S3Remote, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = model_files(make_run(aws.folder, seed=1, commit="d" * 40))
    publish_model(remote, model_files(aws.run))
    remote.write_note(key_of(aws.entry.weights_sha256, name), other[name])
    for old, content in other.items():
        (aws.models / old).write_bytes(content)
    assert run_main(sync.COMMAND, ["--from", "s3", *aws.where]) == 41
    assert f"error: {name} from s3://" in capsys.readouterr().err
    assert held(aws) == other
    assert not (aws.models / STAGING).exists()


def test_weights_of_another_architecture_are_refused_although_every_hash_fits(
    aws: Shop, remote: S3Remote, capsys: pytest.CaptureFixture[str]
) -> None:
    """A card whose channels aren't those of the tensors: all hashes are right, the model isn't."""
    files = model_files(aws.run)
    publish_model(remote, files)
    card = {**json.loads(files[CARD]), "channels": [2, 3, 4, 5, 8]}
    remote.write_note(key_of(aws.entry.weights_sha256, CARD), json.dumps(card).encode())
    assert run_main(sync.COMMAND, ["--from", "s3", *aws.where]) == 41
    assert "isn't a U-Net with channels (2, 3, 4, 5, 8)" in capsys.readouterr().err
    assert held(aws) == {}


def test_a_model_of_newer_code_is_refused_and_the_upgrade_is_named(
    aws: Shop, remote: S3Remote, capsys: pytest.CaptureFixture[str]
) -> None:
    files = model_files(aws.run)
    publish_model(remote, files)
    card = {**json.loads(files[CARD]), "preprocessing": "letterbox-9"}
    remote.write_note(key_of(aws.entry.weights_sha256, CARD), json.dumps(card).encode())
    assert run_main(sync.COMMAND, ["--from", "s3", *aws.where]) == 41
    said = capsys.readouterr().err
    assert "letterbox-9, which is newer than this version" in said and "`git pull` and `wms upgrade`" in said
    assert held(aws) == {}


def test_nobody_has_it(aws: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(sync.COMMAND, ["--from", "s3", *aws.where]) == 40
    said = capsys.readouterr().err
    assert "lacks production.pth" in said
    assert "No cloud is configured, so there is no instance to start." in said


def test_before_the_first_promotion(aws: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    Git(aws.clone)("push", "--quiet", "origin", "HEAD~1:main", "--force")
    assert run_main(sync.COMMAND, ["--from", "s3", *aws.where]) == 40
    assert "No model was promoted yet" in capsys.readouterr().err


def test_killed_between_the_files_and_run_again(aws: Shop, remote: S3Remote) -> None:
    """What a kill leaves at each step: staged files, then new files beside old ones, the card last."""
    new, old = model_files(aws.run), model_files(make_run(aws.folder, seed=1))
    publish_model(remote, new)
    for moved in range(len(FILES)):
        for context, name in enumerate(FILES):
            (aws.models / name).write_bytes(new[name] if context < moved else old[name])
            (aws.models / STAGING).mkdir(exist_ok=True)
            (aws.models / STAGING / name).write_bytes(new[name][:100])
        assert not is_here(aws.models, aws.entry)
        assert run_main(sync.COMMAND, ["--from", "s3", *aws.where]) == 0
        assert held(aws) == new
        assert not (aws.models / STAGING).exists()


def test_killed_while_it_downloads(aws: Shop, remote: S3Remote, s3: S3Server) -> None:
    """A real process, killed as soon as it has begun to ask the store; the old files stay whole."""
    old = model_files(make_run(aws.folder, seed=1))
    publish_model(remote, model_files(aws.run))
    for name, content in old.items():
        (aws.models / name).write_bytes(content)
    command = [sys.executable, str(SCRIPTS / "sync_model_aws.py"), *aws.where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **s3.environ}) as process:
        assert process.stdout is not None
        assert "Looking for version 1" in process.stdout.readline()
        process.kill()
    assert [name for name in FILES if (aws.models / name).read_bytes() != old[name]] == []
    assert run_main(sync.COMMAND, ["--from", "s3", *aws.where]) == 0
    assert held(aws) == model_files(aws.run)


def test_through_github_with_nothing_but_gh(shop: Shop, github: FakeGitHub, capsys: pytest.CaptureFixture[str]) -> None:
    github.releases[release_tag(shop.entry.weights_sha256)] = model_files(shop.run)
    assert run_main(sync.COMMAND, shop.where) == 0
    assert "from the releases on GitHub" in capsys.readouterr().out
    assert held(shop) == model_files(shop.run)
    github.requests.clear()
    assert run_main(sync.COMMAND, shop.where) == 0
    assert github.requests == []


def test_the_ledger_comes_from_gh_where_git_cannot_fetch(
    shop: Shop, github: FakeGitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    git = Git(shop.clone)
    github.files[f"WMS/models/{HISTORY}"] = git.raw("show", f"origin/main:WMS/models/{HISTORY}")
    github.releases[release_tag(shop.entry.weights_sha256)] = model_files(shop.run)
    shutil.rmtree(shop.folder / "origin.git")
    git("update-ref", "-d", "refs/remotes/origin/main")
    assert run_main(sync.COMMAND, shop.where) == 0
    assert held(shop) == model_files(shop.run)
    assert any("/contents/" in path for path in github.requests)
    capsys.readouterr()


def test_offline_the_ledger_that_was_fetched_last_counts(aws: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in model_files(aws.run).items():
        (aws.models / name).write_bytes(content)
    shutil.rmtree(aws.folder / "origin.git")
    assert run_main(sync.COMMAND, ["--from", "s3", *aws.where]) == 0
    said = capsys.readouterr().out
    assert "The remote doesn't answer; taking the ledger that was fetched last." in said
    assert "is Production already: version 1" in said


def test_a_damaged_ledger_on_the_remote_is_no_ledger(aws: Shop) -> None:
    git = Git(aws.clone, {"user.name": "Ada", "user.email": "ada@example.org"})
    git("checkout", "--quiet", "--", ".")
    history = aws.models / HISTORY
    history.write_text(history.read_text().replace('"who":"Ada"', '"who":"Eve"'))
    aws.push()
    aws.forget()
    assert run_main(sync.COMMAND, ["--from", "s3", *aws.where]) == 94


def test_two_ledgers_that_part_are_a_persons_business(shop: Shop, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / str(seed), seed=seed) for seed in (0, 1, 2)]
    for context in ("one", "other"):
        promote(runs[0], tmp_path / context, 1)
    one, other = Ledger(tmp_path / "one"), Ledger(tmp_path / "other")
    promote(runs[1], one.folder, 2)
    assert newer_chain(one.entries(), other.entries()) == newer_chain(other.entries(), one.entries()) == one.entries()
    promote(runs[2], other.folder, 3)
    with pytest.raises(LedgerError, match="differ from entry 2 on"):
        newer_chain(one.entries(), other.entries())


@pytest.mark.parametrize("name", ["sync_model", "sync_model_aws", "show_metrics", "check_model"])
def test_each_script_starts_and_has_its_twin_for_windows(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / f"{name}.py"), "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: wms ")
    assert len((SCRIPTS / f"{name}.py").read_text().splitlines()) < 30
    twin = (SCRIPTS / f"{name}.bat").read_bytes()
    assert b'"SCRIPT=%~dpn0.py"' in twin and b'run_python.bat" %*' in twin
    assert twin.count(b"\r\n") == twin.count(b"\n")


def test_weights_and_onnx_are_checked_separately(aws: Shop) -> None:
    for name, content in model_files(aws.run).items():
        (aws.models / name).write_bytes(content)
    assert is_here(aws.models, aws.entry)
    for name in (WEIGHTS, ONNX, CARD):
        content = (aws.models / name).read_bytes()
        (aws.models / name).write_bytes(content[:-2] + b"!" + content[-1:])
        assert not is_here(aws.models, aws.entry)
        (aws.models / name).write_bytes(content)
