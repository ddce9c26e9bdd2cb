"""The pipeline's own YAML, run from its first job to its last: act, gh, Terraform and MLflow, with AWS on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from act_runner import Act, ActRun
from aws_server import REGION, AwsServer
from aws_yard import Yard
from github_fake import HOST, REPO, FakeGitHub, fake_github
from github_fake_pulls import FakePulls
from instance_shop import Hypervisor
from loop_shop import tiny
from test_aws_loop import AwsLoopShop

from wms_ops.base.layout import RECIPE
from wms_ops.demo.folder import build
from wms_ops.loop.contexts import local_cloud

pytest_plugins = ["aws_fixtures"]
PIPELINE = "training-data-pipeline.yaml"


@dataclass
class Repository:
    """A repository at GitHub with its data set at AWS: `shop` is a person's clone, `act` runs the workflows."""

    shop: AwsLoopShop
    act: Act
    github: FakeGitHub
    pulls: FakePulls

    def pipeline(self, branch: str, commit: str = "", **more: str) -> ActRun:
        return self.act.run(PIPELINE, {"branch": branch, "commit": commit or self.shop.branches()[branch]}, **more)


@pytest.fixture
def repository(aws: AwsServer, tmp_path: Path) -> Iterator[Repository]:
    demo_folder = build(tmp_path / "a löop")
    yard = Yard(aws, tmp_path)
    with Hypervisor(aws, tmp_path / "machines", seconds_per_minute=20), fake_github() as github:
        shop = AwsLoopShop(demo_folder, local_cloud(demo_folder.loop), yard=yard)
        shop.ports()
        shop.cloud_command("store")
        path = demo_folder.clone / RECIPE  # the workflow takes the recipe of record
        path.write_text(yaml.safe_dump(tiny({}, 40)), encoding="utf-8")
        shop.shell("git", "add", "--all")
        shop.set_up({}, 40)
        act = Act(tmp_path / "act", demo_folder.origin, HOST, REPO)
        keys = {name: yard.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        act.secrets |= keys
        settings = demo_folder.clone / "infrastructure/terraform/wms.tfvars"
        act.variables |= {"AWS_REGION": REGION, "WMS_TFVARS": settings.read_text(encoding="utf-8")}
        given = {name: value for name, value in shop.environ.items() if name.startswith(("AWS_", "WMS_", "TF_", "NO_"))}
        left_out = {*keys, "AWS_SESSION_TOKEN", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "WMS_HOLDER"}
        act.environ |= {name: value for name, value in given.items() if name not in left_out}
        act.environ |= {"CHECKPOINT_DISABLE": "1", "OMP_NUM_THREADS": "1"}
        act.environ |= {name: value for name, value in github.environ.items() if name != "GH_TOKEN"}
        yield Repository(shop, act, github, FakePulls(github, demo_folder.origin))


@pytest.mark.timeout(300)
def test_first(repository: Repository) -> None:
    shop = repository.shop
    shop.commit_photos(25)
    branch = shop.push()
    done = repository.pipeline(branch)
    assert done.jobs == dict.fromkeys(("data", "train", "release", "down", "tell"), "success")
