"""The table and the plot of versions, from the ledger alone; and the words for quality, as the document has them."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from terminal import Terminal

from wms.errors import run_main
from wms.registry.history import NEWEST, QUALITY, draw_history, from_ledger, quality
from wms.registry.history_cli import COMMAND as main
from wms.registry.ledger import Ledger, LedgerEntry, LedgerRecord
from wms.registry.types import Means

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "models.md"
SCRIPT = ROOT / "WMS" / "scripts" / "show_metrics.py"


def record(version: int, dice: float, before: LedgerEntry | None, action: str = "promote") -> LedgerRecord:
    return LedgerRecord.model_validate(
        {
            "at": f"2026-11-{10 + version:02d}T08:00:00+00:00",
            "who": "Ada",
            "action": action,
            "from_version": before.to_version if before else None,
            "to_version": version,
            "run_id": f"{version:032x}",
            "weights_sha256": f"{version:064x}",
            "onnx_sha256": "b" * 64,
            "metrics": Means(dice=dice, iou=dice / (2 - dice)),
            "baseline": before.metrics if before else Means(dice=0, iou=0),
            "verdict": "gate: improved" if action == "promote" else "rollback",
            "git_commit": "c" * 40,
            "config_hash": "d" * 64,
            "data_version": "e" * 64,
            "training_data_count": 100 * version,
        }
    )


def ledger_with(folder: Path, *steps: tuple[int, float, str]) -> tuple[LedgerEntry, ...]:
    ledger = Ledger(folder)
    for version, dice, action in steps:
        ledger.append(record(version, dice, ledger.current(), action))
    return ledger.entries()


def test_words_are_those_of_the_document() -> None:
    assert [quality(dice) for dice in (1.0, 0.92, 0.9199, 0.85, 0.8499, 0.7, 0.6999, 0.0)] == [
        *("Excellent", "Excellent", "Good", "Good", "Mediocre", "Mediocre", "Poor", "Poor")
    ]
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert [(word, float(limit)) for word, limit in rows] == [(word, limit) for limit, word in QUALITY]


def test_one_row_a_version_with_what_the_ledger_knows(tmp_path: Path) -> None:
    entries = ledger_with(
        tmp_path, (1, 0.81, "promote"), (4, 0.9, "promote"), (6, 0.93, "promote"), (4, 0.9, "rollback")
    )
    rows = from_ledger(entries, {"weights_sha256": f"{6:064x}", "parameters": 1_965_569})
    assert [(row.version, row.stage, row.quality, row.verdict) for row in rows] == [
        (1, "Archived", "Mediocre", "gate: improved"),
        (4, "Production", "Good", "gate: improved"),
        (6, "Previous", "Excellent", "gate: improved"),
    ]
    assert [row.at[:10] for row in rows] == ["2026-11-11", "2026-11-14", "2026-11-16"]
    assert [row.parameters for row in rows] == [None, None, 1_965_569]
    assert [row.images for row in rows] == [100, 400, 600]
    assert from_ledger((), {}) == ()


def test_the_newest_versions_or_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert run_main(main, ["--models", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("No version yet")
    ledger_with(tmp_path, *((version, 0.5 + version / 40, "promote") for version in range(1, NEWEST + 4)))
    for arguments, expected in (((), range(4, NEWEST + 4)), (("--all",), range(1, NEWEST + 4))):
        assert run_main(main, ["--models", str(tmp_path), *arguments]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if "2026-11-" in line]
        assert [int(line.split("│")[1]) for line in lines] == list(expected)
        assert all("gate: improved" in line for line in lines)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 60])
def test_the_plot_has_something_on_it_for_any_history(tmp_path: Path, count: int) -> None:
    entries = ledger_with(tmp_path, *((v + 1, 0.3 + 0.6 * v / (count or 1), "promote") for v in range(min(count, 19))))
    picture = draw_history(entries * (4 if count == 60 else 1))
    with Image.open(io.BytesIO(picture)) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.shape[1] >= 1000
    assert (pixels < 128).sum() > 200  # letters at least


def test_a_damaged_ledger_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger_with(tmp_path, (1, 0.8, "promote"))
    path = tmp_path / "production_history.jsonl"
    path.write_text(path.read_text().replace("Ada", "Eve"))
    assert run_main(main, ["--models", str(tmp_path)]) == 94


def test_a_narrow_terminal_gets_two_tables_and_no_cell_is_cut(tmp_path: Path) -> None:
    ledger_with(tmp_path, (1, 0.8, "promote"), (2, 0.95, "promote"))
    command = [sys.executable, str(SCRIPT), "--models", str(tmp_path)]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    with Terminal(command, environ, tmp_path, columns=80) as terminal:
        assert terminal.finish() == 0
    shown = terminal.shown
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count("version") == 2
    assert "\u2026" not in shown, "nothing is cut"
    for word in ("Production", "0.9500", "Excellent", "gate: improved", "2026-11-12 08:00", "parameters"):
        assert word in shown
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.count("version") == 1, "a log has no width"
