"""A repository at GitHub with its data set at AWS, whose workflows are run by act, for tests."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from act_runner import Act, ActRun, end_with_children
from aws_loop_shop import AwsLoopShop
from aws_server import REGION, AwsServer
from aws_yard import Yard
from github_fake import HOST, REPO, FakeGitHub, fake_github
from github_fake_pulls import FakePulls
from instance_shop import Hypervisor
from loop_shop import tiny

from wms_ops.base.layout import RECIPE
from wms_ops.demo.folder import build
from wms_ops.loop.contexts import local_cloud

PIPELINE = "training-data-pipeline.yaml"
JOBS = ("data", "train", "release", "down", "tell")
_OURS = ("AWS_", "WMS_", "TF_", "NO_PROXY", "GH_", "CHECKPOINT_")
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_NOT_OURS = {"AWS_SESSION_TOKEN", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "WMS_HOLDER", "GH_TOKEN", *_SECRETS}


@dataclass
class Repository:
    """`shop` is a person's clone, `act` runs the workflows, `pulls` are the pull requests, `yard` is the account."""

    shop: AwsLoopShop
    yard: Yard
    act: Act
    github: FakeGitHub
    pulls: FakePulls

    def pushed(self, count: int, *, shuffled: bool = False) -> dict[str, str]:
        """New photos, pushed through the hook; returns the inputs of their run."""
        self.shop.shell("git", "checkout", "--quiet", "main")
        self.shop.shell("git", "pull", "--quiet")
        self.shop.commit_photos(count, shuffled=shuffled)
        branch = self.shop.push()
        return {"branch": branch, "commit": self.shop.branches()[branch]}

    def check(self, commit: str) -> str:
        """The state of the check wms/gate on a commit."""
        return str(self.pulls.statuses.get(commit, {}).get("state", ""))


@dataclass
class Begun:
    """A run of the pipeline that is at work, and what it was started with."""

    repository: Repository
    inputs: dict[str, str]
    process: subprocess.Popen[bytes]
    done: ActRun | None = None

    def job(self, name: str) -> str:
        """Wait for the result of a job."""
        result = self.repository.act.wait_for(self.process, name)
        assert result, self.repository.act.log.read_text()[-6000:]
        return result

    def end(self) -> ActRun:
        """Wait for the end of all."""
        self.done = self.done or self.repository.act.finished(self.process)
        return self.done


@contextlib.contextmanager
def opened(aws: AwsServer, folder: Path) -> Iterator[Repository]:
    """A repository without photos, in a folder whose name has a blank and an umlaut."""
    demo_folder, yard = build(folder / "a löop"), Yard(aws, folder)
    with Hypervisor(aws, folder / "machines", seconds_per_minute=20), fake_github() as github:
        shop = AwsLoopShop(demo_folder, local_cloud(demo_folder.loop), yard=yard)
        shop.ports()
        shop.cloud_command("store")
        recipe = demo_folder.clone / RECIPE  # the workflow takes the recipe of record
        recipe.write_text(yaml.safe_dump(tiny({"min_improvement": 0.9}, 20)), encoding="utf-8")
        shop.shell("git", "add", "--all")
        shop.set_up({}, 20)
        act = Act(folder / "act", demo_folder.origin, HOST, REPO)
        act.secrets |= {name: yard.environ[name] for name in _SECRETS}
        settings = demo_folder.clone / "infrastructure/terraform/wms.tfvars"
        act.variables |= {"AWS_REGION": REGION, "WMS_TFVARS": settings.read_text(encoding="utf-8")}
        given = {**shop.environ, **github.environ, "OMP_NUM_THREADS": "1"}
        act.environ |= {
            name: text for name, text in given.items() if name.startswith((*_OURS, "OMP_")) and name not in _NOT_OURS
        }
        yield Repository(shop, yard, act, github, FakePulls(github, demo_folder.origin))


def begin(repository: Repository, inputs: dict[str, str]) -> Iterator[Begun]:
    """A run of the pipeline, for a fixture: it ends with it."""
    process = repository.act.start(PIPELINE, inputs)
    try:
        yield Begun(repository, inputs, process)
    finally:
        end_with_children(process)
