"""A run of the loop over AWS that is cancelled while its instance trains, and the next one, which finishes it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_loop_shop import AwsLoopShop, opened, with_store
from aws_server import AwsServer
from aws_yard import Yard

from wms_ops.runs.record import RunOutcome, RunRecord

pytest_plugins = ["aws_fixtures"]
pytestmark = pytest.mark.slice("lives at AWS", of=2, number=1)


@pytest.fixture(scope="module")
def shop(aws_of_module: AwsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsLoopShop]:
    for shop in opened(aws_of_module, tmp_path_factory.mktemp("shop")):
        with_store(shop)
        yield shop


def yard_of(shop: AwsLoopShop) -> Yard:
    assert shop.yard is not None
    return shop.yard


def log_of(shop: AwsLoopShop) -> Path:
    return shop.demo_folder.folder / "started.log"


@pytest.fixture(scope="module")
def cancelled(shop: AwsLoopShop) -> tuple[RunRecord, str]:
    """The run, which was cancelled in its first epochs, and the password of its instance."""
    shop.commit_photos(25)
    branch = shop.push()
    process = shop.start(branch)
    while "train" not in (text := log_of(shop).read_text(errors="replace")) or "epoch" not in text.lower():
        assert process.poll() is None, text
        time.sleep(0.1)  # a poll's pause
    context = yard_of(shop).cloud().context
    found = context.aws.ssm.get_parameter(Name=context.names.password_parameter, WithDecryption=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 130, log_of(shop).read_text()
    return shop.record(branch), found["Parameter"]["Value"]


@pytest.mark.timeout(300)
def test_a_run_that_is_cancelled_leaves_no_instance(shop: AwsLoopShop, cancelled: tuple[RunRecord, str]) -> None:
    assert yard_of(shop).left() == {}
    assert cancelled[0].outcome is not RunOutcome.MERGED


@pytest.mark.timeout(300)
def test_the_next_one_finishes_it_and_no_file_has_the_password(
    shop: AwsLoopShop, cancelled: tuple[RunRecord, str]
) -> None:
    broken, password = cancelled
    assert "Merged: version 1 is Production" in shop.run(broken.branch)
    assert shop.record(broken.branch).id == broken.id, "the same run went on"
    files = [log_of(shop), *shop.demo_folder.loop.rglob("*")]
    kept = [path for path in files if path.is_file() and ".git" not in path.parts]
    assert [path for path in kept if password.encode() in path.read_bytes()] == [], "a password in a file"
    assert yard_of(shop).left() == {}
    sessions = yard_of(shop).cloud().context.sessions.sessions("main")
    assert [one.run for one in sessions] == [broken.id, broken.id]
    assert json.loads(shop.on_main("model-metadata.json") or "{}")["model_version"] in (1, "1")
