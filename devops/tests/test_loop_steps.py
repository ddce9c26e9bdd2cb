"""The loop step by step, each a command of its own, as a workflow calls them."""

from __future__ import annotations

from pathlib import Path

import pytest
from loop_shop import RECIPE, LoopShop
from s3_server import require_tool

from wms.registry.gate_types import GateReport
from wms_ops.demo.shell import Shell
from wms_ops.loop.contexts import run_store
from wms_ops.machine.types import CloudState
from wms_ops.runs.record import STEPS, RunOutcome

pytestmark = pytest.mark.slice("loops step by step", of=2, number=0)


@pytest.mark.timeout(300)
def test_every_step_is_a_command_that_names_its_values(tmp_path: Path) -> None:
    require_tool("weed")
    shop = LoopShop.open(tmp_path / "shop", gate={"mode": "off", "min_confidence": 0.5}, epochs=20)
    try:
        shop.commit_photos(25)
        branch = shop.push()
        early = step(shop, "gate", branch, tmp_path / "early", expect=89)
        assert "Step gate has no commit" in early[0] and not early[1]
        named: dict[str, str] = {}
        for name in STEPS:
            if name == "gate":
                loosen(shop)
            named |= step(shop, name, branch, tmp_path / name)[1]
        assert named["photos_total"] == "25" and named["decision"] == "improved" and named["version"] == "1"
        says_whose_settings(shop, branch)
        assert shop.main() == named["merged"]
        record = shop.record(branch)
        assert record.outcome is RunOutcome.MERGED
        assert record.outputs == named
        assert shop.cloud.status() is CloudState.ABSENT
        assert "merged" in shop.shell("python", "-m", "wms_ops", "loop", "list", "--folder", str(shop.demo_folder.loop))
    finally:
        shop.close()


def loosen(shop: LoopShop) -> None:
    """Edit the recipe in the loop's own clone, and keep main as it is."""
    recipe = shop.demo_folder.loop / "workspace" / RECIPE
    text = recipe.read_text(encoding="utf-8")
    assert "min_confidence: 0.5" in text
    recipe.write_text(text.replace("min_confidence: 0.5", "min_confidence: 0.0"), encoding="utf-8")


def says_whose_settings(shop: LoopShop, branch: str) -> None:
    """Verdict, report, pull request and ledger name main's settings, and main's commit at the gate."""
    record = shop.record(branch)
    folder = run_store(shop.demo_folder.loop).path(record.id)
    assert (folder / record.outputs["gate_report"]).is_file() and (folder / record.outputs["gate_page"]).is_file()
    report = GateReport.model_validate_json((folder / "gate.json").read_bytes())
    settings = report.verdict.settings
    assert settings is not None and settings.values["min_confidence"] == 0.5
    before = shop.origin("rev-parse", "main~1")
    assert settings.source == f"{RECIPE} of main at {before[:12]}"
    said = shop.pull(1)[1].replace("\\", "")
    assert "min_confidence 0.5, " in said and f"from {settings.source}" in said
    assert shop.ledger()[0]["gate"]["values"] == settings.values


def step(shop: LoopShop, name: str, branch: str, output: Path, expect: int = 0) -> tuple[str, dict[str, str]]:
    """What the command said, and the values that it wrote for the workflow."""
    shell = Shell(shop.demo_folder.clone, {**shop.environ, "GITHUB_OUTPUT": str(output)}, lambda _: None)
    said = shell(*shop.command(name, "--branch", branch), expect=expect)
    return said, outputs_of(output)


def outputs_of(path: Path) -> dict[str, str]:
    """The values in a workflow's output file, read as the runner reads it."""
    lines = iter(path.read_text(encoding="utf-8").splitlines() if path.exists() else ())
    found = {}
    for line in lines:
        name, _, delimiter = line.partition("<<")
        if not delimiter:
            name, _, value_of = line.partition("=")
            found[name] = value_of
            continue
        value = []
        for part in lines:
            if part == delimiter:
                break
            value.append(part)
        found[name] = "\n".join(value)
    return found
