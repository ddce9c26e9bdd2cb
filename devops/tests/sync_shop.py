"""Models for the tests of sync and lineage: a run's folder made in half a second, promotions of it, a Git origin."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from small import config_in

from wms.data.versions import DataItem, manifest_text
from wms.files import sha256_text
from wms.inference.export import export_model
from wms.registry.ledger import Ledger, LedgerEntry, LedgerRecord
from wms.registry.lineage import CARD, FILES
from wms.registry.metadata import write_metadata
from wms.registry.types import Means
from wms_ops.git.command import Git


def make_run(folder: Path, seed: int = 0, commit: str = "c" * 40) -> Path:
    """A finished run's folder in folder/runs, as training leaves it, with random weights of a tiny U-Net."""
    config = config_in(folder / "data", evaluation={"second_look": 0.5, "one_strip": True})
    run = folder / "runs" / f"run_20261121_1030{seed:02d}_{config.hash[:8]}"
    (run / "artifacts").mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(config.model_dump(mode="json"), indent=2) + "\n")
    digest = sha256_text
    items = [DataItem(f"meter {i}", digest(f"i{i}"), digest(f"m{i}"), "test" if i < 3 else "train") for i in range(12)]
    (run / "artifacts" / "data.jsonl").write_text(manifest_text(items))
    rows = [{"stem": f"meter {i}", "dice": 0.9 + 0.01 * i + 0.001 * seed, "iou": 0.8, "loss": 0.1} for i in range(3)]
    (run / "artifacts" / "test_scores.json").write_text(json.dumps(rows, indent=1) + "\n")
    torch.manual_seed(seed)
    about = {
        "run": run.name,
        "config_hash": config.hash,
        "data_version": sha256_text(manifest_text(items)),
        "git_commit": commit,
        "final_test_dice": f"{sum(row['dice'] for row in rows) / 3:.6f}",  # type: ignore[misc]
        "final_test_iou": f"{0.8:.6f}",
    }
    export_model(
        config.model.build().state_dict(),
        run / "artifacts" / "model",
        model=config.model,
        input_size=config.input_size,
        threshold=config.evaluation.threshold,
        mirror=config.evaluation.mirror,
        second_look=config.evaluation.second_look,
        detail=config.data.cache_size,
        one_strip=config.evaluation.one_strip,
        about=about,
    )
    return run


def model_files(run: Path) -> dict[str, bytes]:
    return {name: (run / "artifacts" / "model" / name).read_bytes() for name in FILES}


def promote(run: Path, models: Path, version: int, action: str = "promote") -> LedgerEntry:
    """Write a promotion of the run into the ledger in `models`."""
    card = json.loads((run / "artifacts" / "model" / CARD).read_bytes())
    ledger = Ledger(models)
    before = ledger.current()
    means = Means(dice=float(card["final_test_dice"]), iou=float(card["final_test_iou"]))
    return ledger.append(
        LedgerRecord.model_validate(
            {
                "at": f"2026-11-{version:02d}T10:00:00+00:00",
                "who": "Ada",
                "action": action,
                "from_version": before.to_version if before else None,
                "to_version": version,
                "run_id": f"{version:032x}",
                "metrics": means,
                "baseline": before.metrics if before else Means(dice=0, iou=0),
                "verdict": "gate: improved",
                "training_data_count": 9,
                "data_set_count": 12,
                **{key: card[key] for key in ("weights_sha256", "onnx_sha256", "git_commit", "config_hash")},
                "data_version": card["data_version"],
            }
        )
    )


@dataclass(frozen=True)
class Shop:
    """A clone with a remote, one promoted run, and its model in `models`."""

    folder: Path
    clone: Path
    run: Path
    entry: LedgerEntry

    @property
    def models(self) -> Path:
        return self.clone / "WMS" / "models"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def where(self) -> list[str]:
        """Arguments that lead a command here."""
        return ["--models", str(self.models), "--repo", str(self.clone)]

    def push(self) -> None:
        """Commit the ledger and model-metadata.json, and push them to main."""
        git = Git(self.clone, {"user.name": "Ada", "user.email": "ada@example.org"})
        git("add", "WMS/models/production_history.jsonl", "WMS/models/production_current.json", "model-metadata.json")
        git("commit", "--quiet", "--allow-empty", "-m", "Promote")
        git("push", "--quiet", "origin", "HEAD:main")

    def forget(self) -> None:
        """Make the clone know nothing of any promotion."""
        for path in (*self.models.iterdir(), self.clone / "model-metadata.json"):
            path.unlink()


def make_shop(folder: Path) -> Shop:
    """A shop whose version 1 is Production, here and on the remote."""
    origin, clone = folder / "origin.git", folder / "clone"
    Git(folder)("init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    Git(folder)("clone", "--quiet", str(origin), str(clone))
    git = Git(clone, {"user.name": "Ada", "user.email": "ada@example.org"})
    git("commit", "--quiet", "--allow-empty", "-m", "Start")
    run = make_run(folder, commit=git("rev-parse", "HEAD"))
    models = clone / "WMS" / "models"
    entry = promote(run, models, 1)
    write_metadata(entry, clone / "model-metadata.json")
    for name in FILES:
        shutil.copy2(run / "artifacts" / "model" / name, models / name)
    shop = Shop(folder, clone, run, entry)
    shop.push()
    return shop
