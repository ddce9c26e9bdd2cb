"""The code for an instance: the same files give the same bytes, all that it needs is in, and no secret is."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from aws_server import AwsServer
from servers import require_tool

from wms.paths import ROOT
from wms_ops.base.errors import CloudError
from wms_ops.storage.bucket import Bucket
from wms_ops.targets.aws.bundle import FILES, Bundle, make_bundle, upload

pytest_plugins = ["aws_fixtures"]

SECRET = "not for the instance"  # noqa: S105


def unpacked(bundle: Bundle, folder: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(bundle.content)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def names(bundle: Bundle) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(bundle.content)) as archive:
        return archive.getnames()


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A small clone with what a student's has beside the code."""
    clone = tmp_path / "a clone"
    for name in ("WMS/src/wms/a.py", "WMS/configs/base.yaml", "devops/src/wms_ops/ü b.py", *FILES):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(f"{name}\n")
    script = clone / "infrastructure/bootstrap/bootstrap.sh"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    shutil.copy(ROOT / ".gitignore", clone / ".gitignore")
    for name in (
        *("infrastructure/terraform/wms.tfvars", ".env", "WMS/data/a.png", "WMS/models/production.pth", "notes.txt"),
        *("devops/src/wms_ops/__pycache__/a.pyc", "WMS/src/water.egg-info/PKG-INFO", ".aws/credentials"),
    ):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(SECRET)
    return clone


@pytest.fixture(params=["git", "a download without Git", "no program `git`"])
def any_clone(request: pytest.FixtureRequest, clone: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param == "git":
        git(clone, "init", "-q")
        git(clone, "add", "WMS/src")
        git(clone, "commit", "-qm", "x")
    if request.param.startswith("no program"):
        monkeypatch.setenv("PATH", str(clone))
    return clone


def test_what_is_in_it(any_clone: Path) -> None:
    bundle = make_bundle(any_clone)
    assert sorted(names(bundle)) == sorted(
        [
            *("WMS/src/wms/a.py", "WMS/configs/base.yaml", "devops/src/wms_ops/ü b.py"),
            *("infrastructure/bootstrap/bootstrap.sh", *FILES),
        ]
    )
    assert SECRET.encode() not in bundle.content


def test_no_link_and_nothing_hidden_is_in_it(any_clone: Path, tmp_path: Path) -> None:
    """A link leads to what isn't the clone's; hidden files among the code are its user's own."""
    before = make_bundle(any_clone)
    key = tmp_path / "keys" / "id_ed25519"
    key.parent.mkdir()
    key.write_text(SECRET)
    (any_clone / "WMS/src/wms/key.py").symlink_to(key)
    (any_clone / "devops/src/keys").symlink_to(key.parent)
    for name in (".env", ".aws/credentials", ".netrc"):
        (any_clone / "devops/src" / name).parent.mkdir(exist_ok=True)
        (any_clone / "devops/src" / name).write_text(SECRET)
    assert make_bundle(any_clone) == before


def test_the_same_files_give_the_same_bytes(any_clone: Path, tmp_path: Path) -> None:
    first = make_bundle(any_clone)
    for path in any_clone.rglob("*.py"):
        os.utime(path, (1, 1))
    shutil.copytree(any_clone, tmp_path / "another")
    (tmp_path / "another" / "Makefile").chmod(0o600)  # another umask
    assert make_bundle(any_clone) == first == make_bundle(tmp_path / "another")
    (any_clone / "WMS/src/wms/a.py").write_text("changed, and not committed\n")
    changed = make_bundle(any_clone)
    assert changed.key != first.key
    assert first.key == f"bundle/{first.sha256}.tar.gz"


def test_unpacked_it_is_the_working_tree(any_clone: Path, tmp_path: Path) -> None:
    there = unpacked(make_bundle(any_clone), tmp_path / "there")
    assert (there / "infrastructure/bootstrap/bootstrap.sh").stat().st_mode & 0o777 == 0o755
    assert (there / "WMS/src/wms/a.py").read_text() == "WMS/src/wms/a.py\n"


def test_deleted_and_new_files(clone: Path) -> None:
    git(clone, "init", "-q")
    git(clone, "add", "WMS", "devops")
    (clone / "WMS/src/wms/a.py").unlink()
    (clone / "WMS/src/wms/b.py").write_text("new\n")
    found = names(make_bundle(clone))
    assert "WMS/src/wms/b.py" in found and "WMS/src/wms/a.py" not in found


@pytest.mark.parametrize("name", FILES)
def test_without_what_the_installation_needs(clone: Path, name: str) -> None:
    (clone / name).unlink()
    with pytest.raises(CloudError, match=rf"{name} is missing, .*; restore it\.$"):
        make_bundle(clone)


def test_this_repository_s_bundle_is_small_and_can_be_installed(tmp_path: Path) -> None:
    """`make install` on the instance needs no file that isn't in it, and the host's agent can be imported."""
    bundle = make_bundle(ROOT)
    assert len(bundle.content) < 5_000_000
    there = unpacked(bundle, tmp_path / "code")
    assert not [name for name in names(bundle) if name.endswith((".tfvars", ".env", ".pem", ".pth", ".png"))]
    planned = subprocess.run(
        [str(require_tool("make")), "-C", str(there), "--dry-run", "install", "FOR=train serve cloud"],
        capture_output=True, text=True, check=False, env={**os.environ, "MAKEFLAGS": ""},
    )  # fmt: skip
    assert planned.returncode == 0, planned.stderr
    assert "infrastructure/bootstrap/install.py train serve cloud" in planned.stdout
    for group in ("tools", "train", "serve", "cloud"):
        assert (there / "infrastructure/requirements" / f"{group}.txt").is_file()
    environ = {**os.environ, "PYTHONPATH": f"{there}/WMS/src:{there}/devops/src", "PYTHONDONTWRITEBYTECODE": "1"}
    code = "import wms_ops.targets.host.agent as m, wms.paths; print(m.__file__, wms.paths.ROOT)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{there}/devops/src/wms_ops/targets/host/agent.py", str(there)]


def test_it_is_sent_once(aws: AwsServer, clone: Path) -> None:
    s3 = aws.client("s3")
    aws.make_bucket("wms-main-mlflow")
    bundle = make_bundle(clone)
    assert upload(Bucket("wms-main-mlflow", s3), bundle) is True
    assert upload(Bucket("wms-main-mlflow", s3), bundle) is False
    assert s3.get_object(Bucket="wms-main-mlflow", Key=bundle.key)["Body"].read() == bundle.content
