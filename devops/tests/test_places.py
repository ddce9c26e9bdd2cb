"""Where the loop's pull requests are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from wms_ops.git.command import Git
from wms_ops.loop.contexts import pulls_of
from wms_ops.pulls.gh_pulls import GhPulls
from wms_ops.pulls.local_pulls import LocalPulls
from wms_ops.targets.aws.cloud import open_aws
from wms_ops.targets.local import LocalCloud
from wms_ops.targets.protocol import Cloud

HERE = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "WMS_HOLDER": "ana@laptop"}


@pytest.fixture
def aws(tmp_path: Path) -> Cloud:
    return open_aws(tmp_path / "aws", environ=HERE)


@pytest.mark.parametrize(
    ("url", "is_github"),
    [
        ("https://github.com/ana/meters.git", True),
        ("https://ana:token@github.com/ana/meters", True),
        ("git@github.com:ana/meters.git", True),
        ("ssh://git@ssh.github.com:443/ana/meters.git", True),
        ("git@git.example.org:ana/meters.git", True),
        ("https://gitlab.com/github.com/meters.git", False),
        ("https://github.com.example.net/ana/meters", False),
        ("ssh://ana@nas/git/meters.git", False),
        ("/srv/git/github.com/meters.git", False),
        ("file:///srv/git/meters.git", False),
        ("../origin.git", False),
    ],
)
def test_at_github_they_are_githubs(
    url: str, is_github: bool, aws: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GH_HOST", "git.example.org")
    assert isinstance(pulls_of(Git(tmp_path), url, aws), GhPulls if is_github else LocalPulls)


def test_on_one_machine_nobody_needs_gh(tmp_path: Path) -> None:
    url = "https://github.com/ana/meters.git"
    assert isinstance(pulls_of(Git(tmp_path), url, LocalCloud(tmp_path / "cloud")), LocalPulls)
