"""A run of the loop over AWS that is cancelled while its instance trains."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_loop_shop import AwsLoopShop, opened, with_store
from aws_server import AwsServer

from wms_ops.runs.record import RunOutcome

pytest_plugins = ["aws_fixtures"]
pytestmark = pytest.mark.slice("lives at AWS", of=2, number=1)


@pytest.fixture
def shop(aws: AwsServer, tmp_path: Path) -> Iterator[AwsLoopShop]:
    yield from opened(aws, tmp_path)


@pytest.mark.timeout(300)
def test_a_run_that_is_cancelled_leaves_no_instance_and_the_next_one_finishes_it(shop: AwsLoopShop) -> None:
    assert shop.yard is not None
    with_store(shop)
    shop.commit_photos(25)
    branch = shop.push()
    process = shop.start(branch)
    log = shop.demo_folder.folder / "started.log"
    while "train" not in (text := log.read_text(errors="replace")) or "epoch" not in text.lower():
        assert process.poll() is None, text
    context = shop.yard.cloud().context
    password = context.aws.ssm.get_parameter(Name=context.names.password_parameter, WithDecryption=True)["Parameter"][
        "Value"
    ]
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 130, log.read_text()
    assert shop.yard.left() == {}
    broken = shop.record(branch)
    assert broken.outcome is not RunOutcome.MERGED
    assert "Merged: version 1 is Production" in shop.run(branch)
    assert shop.record(branch).id == broken.id, "the same run went on"
    kept = [path for path in (log, *shop.demo_folder.loop.rglob("*")) if path.is_file() and ".git" not in path.parts]
    assert [path for path in kept if password.encode() in path.read_bytes()] == [], "a password in a file"
    assert shop.yard.left() == {}
    sessions = shop.yard.cloud().context.sessions.sessions("main")
    assert [one.run for one in sessions] == [broken.id, broken.id]
    assert json.loads(shop.on_main("model-metadata.json") or "{}")["model_version"] in (1, "1")
