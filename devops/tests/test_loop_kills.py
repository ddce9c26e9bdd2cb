"""The loop killed at one of its steps, another for each commit; `make bench-loop` kills it at each."""

from __future__ import annotations

from pathlib import Path

import pytest
from loop_kills import TRAINING, kill_and_repeat
from loop_shop import LoopShop
from s3_server import require_tool
from slices import of_this_commit

pytestmark = pytest.mark.slice("loops step by step", of=2, number=1)


@pytest.mark.timeout(300)
def test_a_loop_that_is_killed_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    require_tool("weed")
    shop = LoopShop.open(tmp_path / "shop", gate={"mode": "off"}, epochs=20)
    try:
        shop.commit_photos(25)
        shop.run(shop.push())
        for step in of_this_commit("kills of a loop", (TRAINING, "promote", "pull-request"), 1):
            done = kill_and_repeat(shop, step)
            assert done.killed, f"the loop was past {step} before it died"
            assert not done.wrong, f"killed at {step}: {done.wrong}"
    finally:
        shop.close()
    assert not list(shop.cloud.processes())
