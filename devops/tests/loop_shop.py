"""A whole loop for tests: a project in a bare origin, a person's clone, the local cloud, and a tiny recipe."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from small import recipe

from wms.data.manifest import DataSet
from wms.data.synthetic import shuffle_masks, write_dataset
from wms.registry.ledger import HISTORY
from wms_ops.base.layout import INBOX, METADATA, MODELS
from wms_ops.dataset.versions import file_at, version_at
from wms_ops.demo.folder import DemoFolder, build
from wms_ops.demo.photos import put_into
from wms_ops.demo.shell import Shell
from wms_ops.git.command import Git
from wms_ops.loop.contexts import local_cloud, run_store
from wms_ops.runs.record import RunOutcome, RunRecord, StepState
from wms_ops.storage.config import parse_remote
from wms_ops.storage.remote import S3Remote
from wms_ops.targets.local import LocalCloud

RECIPE = "WMS/configs/tiny.yaml"


def tiny(gate: dict[str, Any], epochs: int) -> dict[str, Any]:
    """A recipe that learns plain drawn meters in seconds."""
    return recipe(
        name="tiny",
        model={"channels": [6, 8, 12, 16, 24]},
        augmentation={"rotation": 0.0, "colour": 0.0, "tint": 0.0},
        training={"stages": [{"size": 48, "epochs": epochs}], "evaluate_every": min(10, epochs)},
        gate=gate,
        # A model that hardly learned marks something, too: the gate refuses one that marks nothing.
        evaluation={"threshold": 0.5 if epochs >= 40 else 0.2},
    )


@dataclass
class LoopShop:
    """`demo_folder` is the demo's own; `pushed` says what the newest push printed."""

    demo_folder: DemoFolder
    cloud: LocalCloud
    pushed: str = ""
    _sets: int = field(default=0, repr=False)

    @classmethod
    def open(cls, folder: Path, *, gate: dict[str, Any] | None = None, epochs: int = 40) -> LoopShop:
        """A project without photos whose store answers; `gate` is a section of its recipe."""
        demo_folder = build(folder)
        cloud = local_cloud(demo_folder.loop, lambda _: None)
        cloud.storage_up()
        shop = cls(demo_folder, cloud)
        shop.set_up(gate or {}, epochs)
        return shop

    def set_up(self, gate: dict[str, Any], epochs: int) -> None:
        """The hook and the recipe, pushed."""
        text = yaml.safe_dump(tiny(gate, epochs))
        (self.demo_folder.clone / RECIPE).write_text(text, encoding="utf-8")
        self.shell("devops/scripts/install-git-hooks.sh")
        self.shell("git", "add", RECIPE)
        self.shell("git", "commit", "--quiet", "-m", "A tiny recipe")
        self.shell("git", "push", "--quiet", "origin", "main")

    def shell(self, *command: str | Path, **more: Any) -> str:
        """A command in the person's clone."""
        return Shell(self.demo_folder.clone, self.environ, lambda _: None)(*command, **more)

    @property
    def environ(self) -> dict[str, str]:
        return {**self.demo_folder.environ(), "OMP_NUM_THREADS": "1"}

    def commit_photos(self, count: int, *, shuffled: bool = False) -> None:
        """Put new synthetic pairs into the inbox and commit them."""
        self._sets += 1
        made = self.demo_folder.photos / str(self._sets)
        write_dataset(made, count, seed=self._sets, size=96, difficulty=0.3)
        if shuffled:
            shuffle_masks(made, seed=1)
        put_into(self.demo_folder.clone / INBOX, made, f"s{self._sets}")
        shutil.rmtree(made)
        self.shell("git", "add", "--all")
        self.shell("git", "commit", "--quiet", "-m", f"{count} photos")

    def push(self) -> str:
        """`git push origin main` as it is typed; returns the data branch that the hook made."""
        before = set(self.branches())
        self.pushed = self.shell("git", "push", "origin", "main", expect=1)
        (branch,) = set(self.branches()) - before
        self.shell("git", "reset", "--quiet", "--hard", "origin/main")
        return branch

    def first_version(self) -> RunRecord:
        """25 photos into an empty data set, pushed and brought through the loop: merged, without a baseline."""
        self.commit_photos(25)
        branch = self.push()
        assert "Existing: 0, new: 25, total: 25" in self.pushed
        assert "Merged: version 1 is Production" in self.run(branch)
        record = self.record(branch)
        assert record.outcome is RunOutcome.MERGED
        assert {step.state for step in record.steps} == {StepState.DONE}
        return record

    def run(self, branch: str, expect: int | None = 0, **more: str) -> str:
        """The loop in a process of its own, as a user starts it, with more variables."""
        shell = Shell(self.demo_folder.clone, {**self.environ, **more}, lambda _: None)
        return shell(*self.command("run", "--branch", branch), expect=expect)

    def command(self, *arguments: str) -> list[str]:
        """`wms loop ARGUMENTS` for this shop."""
        context = ["--folder", str(self.demo_folder.loop), "--repo", str(self.demo_folder.clone), "--recipe", RECIPE]
        return [sys.executable, "-m", "wms_ops", "loop", *arguments, *context]

    def start(self, branch: str) -> subprocess.Popen[bytes]:
        """The loop, running."""
        log = (self.demo_folder.folder / "started.log").open("ab")
        command = self.command("run", "--branch", branch)
        return subprocess.Popen(command, cwd=self.demo_folder.clone, env=self.environ, stdout=log, stderr=log)

    def record(self, branch: str) -> RunRecord:
        found = run_store(self.demo_folder.loop).newest(branch)
        assert found is not None
        return found

    @property
    def origin(self) -> Git:
        return Git(self.demo_folder.origin)

    def branches(self) -> dict[str, str]:
        lines = self.origin("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads/data")
        return dict(line.split(" ") for line in lines.splitlines())

    def main(self) -> str:
        return self.origin("rev-parse", "main")

    def on_main(self, path: str) -> str | None:
        return file_at(self.origin, "main", path)

    def ledger(self) -> list[dict[str, Any]]:
        """The entries of main's ledger."""
        return [json.loads(line) for line in (self.on_main(f"{MODELS}/{HISTORY}") or "").splitlines()]

    def metadata(self) -> dict[str, Any] | None:
        text = self.on_main(METADATA)
        return json.loads(text) if text else None

    def store(self) -> S3Remote:
        config = self.on_main(".dvc/config") or ""
        return S3Remote(parse_remote(config, environ=self.cloud.environ()), self.cloud.environ())

    def data(self, commit: str = "main") -> DataSet:
        return version_at(self.origin, commit, self.store())

    def pull(self, number: int) -> tuple[dict[str, Any], str]:
        """A pull request's record and its text."""
        values = json.loads(file_at(self.origin, "pull-requests", f"{number:04d}/pull.json") or "null")
        return values, file_at(self.origin, "pull-requests", f"{number:04d}/README.md") or ""

    def close(self) -> None:
        self.cloud.close()
