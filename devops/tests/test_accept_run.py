"""`wms accept` from its push to its report: the real workflow files by act, moto, a stand-in for GitHub's API."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from aws_server import AwsServer
from github_fake import REPO
from github_fake_runs import actions
from github_fake_settings import FakeSettings
from pipeline_shop import Repository, opened

from wms_ops.demo.shell import Shell

pytest_plugins = ["aws_fixtures"]
pytestmark = pytest.mark.slice("pipelines at GitHub", of=3, number=2)


@pytest.fixture(scope="module")
def repository(aws_of_module: AwsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    with opened(aws_of_module, tmp_path_factory.mktemp("accept")) as repository:
        settings = FakeSettings(repository.github)
        settings.repository["full_name"] = REPO
        repository.shop.shell("git", "remote", "set-url", "origin", repository.act.url)
        wms(repository, "github", "setup", "--yes", expect=None)
        settings.secrets |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        yield repository


def wms(repository: Repository, *words: str, expect: int | None = 0) -> str:
    ssh = {"GIT_SSH_COMMAND": str(repository.act.folder / "server" / "ssh"), "GIT_SSH_VARIANT": "simple"}
    environ = {**repository.shop.environ, **repository.github.environ, **ssh}
    shell = Shell(repository.shop.demo_folder.clone, environ, lambda _: None)
    return shell("python", "-m", "wms_ops", *words, expect=expect)


@pytest.mark.timeout(300)
def test_a_new_account_is_accepted_and_used_ones_are_refused(repository: Repository) -> None:
    with actions(repository):
        said = wms(repository, "accept", "--yes", expect=None)
    folder = repository.shop.demo_folder.clone / ".loop/accept"
    assert (folder / "report.json").is_file(), said
    report = json.loads((folder / "report.json").read_text())
    states = {one["name"]: (one["state"], one["text"]) for one in report["seams"]}
    wrong = {name: seen for name, seen in states.items() if seen[0] == "failed"}
    # The emulated instance can't install k3s, and says so.
    assert set(wrong) == {"k3s"}, (said, repository.act.log.read_text()[-3000:])
    assert states["OIDC"][0] == "not checked"
    assert repository.yard.left() == {} and len(repository.shop.data().pairs) == 40
    assert "isn't signed" in said
    assert "has a data set already" in wms(repository, "accept", "--yes", expect=2)
