"""Somebody pushes more than data to a data branch: the loop runs none of it, believes none of it, merges none of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from loop_shop import LoopShop
from s3_server import require_tool

from wms.registry.ledger import HISTORY
from wms_ops.base.layout import DATA_SET, METADATA, MODELS, SPLITS
from wms_ops.dataset.review import POINTERS, RECORDS
from wms_ops.dataset.versions import file_at
from wms_ops.loop.contexts import run_store
from wms_ops.runs.record import RunOutcome, StepRecord, StepState

pytestmark = pytest.mark.slice("long lives", of=3, number=2)

CODE = "WMS/src/wms/training/dvc_stages.py"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopShop]:
    require_tool("weed")
    shop = LoopShop.open(tmp_path_factory.mktemp("hostile") / "loop")
    try:
        assert (shop.metadata() or {})["model_version"] is None
        shop.first_version()
        assert (shop.metadata() or {})["training_data_count"] == 25
        shop.shell("git", "pull", "--quiet")
        yield shop
    finally:
        shop.close()
        assert not list(shop.cloud.processes())


class Attacker:
    """Commits on top of an honest data branch, in the person's clone."""

    def __init__(self, shop: LoopShop, marker: Path) -> None:
        self.shop, self.marker = shop, marker
        shop.commit_photos(6)
        self.branch = shop.push()
        self.honest = shop.branches()[self.branch]
        shop.shell("git", "fetch", "--quiet", "origin")

    def write(self, path: str, text: str) -> None:
        target = self.shop.demo_folder.clone / path
        target.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def start(self) -> None:
        self.shop.shell("git", "checkout", "--quiet", "--force", "-B", "attack", self.honest)

    def push(self, *paths: str) -> str:
        """Commit what was changed and put it on the data branch, past the hook as an attacker would."""
        shell = self.shop.shell
        shell("git", "add", "--all", "--force", "--", *paths)
        shell("git", "commit", "--quiet", "-m", "More", "-m", "Loop-Run: 20261127-120000-forged-abcd")
        shell("git", "push", "--quiet", "--no-verify", "--force", "origin", f"HEAD:{self.branch}")
        return shell("git", "rev-parse", "HEAD").strip()

    def payload(self) -> str:
        return f"import os, pathlib\npathlib.Path({str(self.marker)!r}).write_text(repr(dict(os.environ)))\n"

    def end(self) -> None:
        self.shop.shell("git", "checkout", "--quiet", "--force", "main")
        self.shop.shell("git", "push", "--quiet", "--no-verify", "origin", "--delete", self.branch)


@pytest.fixture
def attacker(shop: LoopShop, tmp_path: Path) -> Iterator[Attacker]:
    attacker = Attacker(shop, tmp_path / "ran")
    yield attacker
    if attacker.branch in shop.branches():
        attacker.end()
    shop.shell("git", "checkout", "--quiet", "--force", "main")


@pytest.mark.timeout(300)
@pytest.mark.attack("a contributor of data", "code on a data branch", "main's code runs; a branch brings data alone")
def test_code_on_a_data_branch_is_refused_by_name_and_never_run(shop: LoopShop, attacker: Attacker) -> None:
    before = shop.main()
    workspace = shop.demo_folder.loop / "workspace"
    attacks = {
        CODE: attacker.payload() + (file_at(shop.origin, "main", CODE) or ""),
        ".github/workflows/data-pushed.yaml": "on: push\n",
        "hooks/pre-push": f"#!/bin/sh\ntouch {attacker.marker}\n",
        ".dvc/config": "[core]\n    remote = storage\n['remote \"storage\"']\n    url = s3://elsewhere/x\n",
        "sitecustomize.py": attacker.payload(),
        "WMS/configs/tiny.yaml": (file_at(shop.origin, "main", "WMS/configs/tiny.yaml") or "") + "\n",
    }
    for path, text in attacks.items():
        attacker.start()
        attacker.write(path, text)
        attacker.push(path)
        said = shop.run(attacker.branch, expect=99)
        assert repr(path) in said and "Traceback" not in said, said
        assert file_at(shop.origin, "main", path) == (
            (workspace / path).read_text() if (workspace / path).exists() else None
        ), "it isn't checked out either"
    attacker.start()
    (shop.demo_folder.clone / DATA_SET / "images.dvc").unlink()
    (shop.demo_folder.clone / DATA_SET / "images.dvc").symlink_to("/etc/passwd")
    attacker.push(DATA_SET)
    assert "(a symbolic link)" in shop.run(attacker.branch, expect=99)
    assert not attacker.marker.exists(), "code of the branch has run"
    assert shop.main() == before
    assert shop.record(attacker.branch).outcome is RunOutcome.FAILED


@pytest.mark.timeout(300)
def test_a_commit_that_came_in_after_all_checks_is_not_merged(shop: LoopShop, attacker: Attacker) -> None:
    """As if every step had been fooled: the last check stands before the merge."""
    before = shop.main()
    attacker.start()
    attacker.write(CODE, attacker.payload())
    commit = attacker.push(CODE)
    store = run_store(shop.demo_folder.loop)
    record = store.create(attacker.branch)
    values = {
        "branch": attacker.branch, "commit": commit, "photos_new": "6", "photos_total": "31", "version": "2",
        "decision": "improved", "passes": "true", "gate_reason": "", "champion_version": "1",
        **{f"{who}_{what}": "0.5" for who in ("champion", "challenger") for what in ("dice", "iou")},
    }  # fmt: skip
    body = shop.demo_folder.folder / "body.md"
    body.write_text("Better.\n", encoding="utf-8")
    done = {"validate": values, "report": {"body": str(body)}}
    for step in record.steps:
        if step.name not in ("pull-request", "down"):
            outputs = done.get(step.name, {})
            record = record.with_step(StepRecord(name=step.name, state=StepState.DONE, exit_code=0, outputs=outputs))
    store.save(record)
    said = shop.shell(*shop.command("pull-request", "--run", record.id), expect=99)
    assert repr(CODE) in said
    assert shop.main() == before
    pulls = [shop.pull(number)[0] for number in range(1, 9)]
    (mine,) = [pull for pull in pulls if pull and pull["branch"] == attacker.branch]
    assert mine["state"] == "blocked" and CODE in mine["reason"]


@pytest.mark.timeout(300)
@pytest.mark.attack("a contributor of data", "records on a data branch", "the records of main")
def test_records_of_a_branch_are_never_taken(shop: LoopShop, attacker: Attacker) -> None:
    """Test photos moved into training, an invented promotion, an invented model: main's bytes count."""
    splits = (shop.on_main(SPLITS) or "").splitlines()
    ledger = shop.on_main(f"{MODELS}/{HISTORY}") or ""
    attacker.start()
    attacker.write(SPLITS, "\n".join(splits).replace('"test"', '"train"') + "\n")
    forged = json.loads(ledger.splitlines()[-1]) | {"seq": 2, "to_version": 99}
    attacker.write(f"{MODELS}/{HISTORY}", ledger + json.dumps(forged) + "\n")
    attacker.write(METADATA, '{"model_version": 99}\n')
    tampered = attacker.push(SPLITS, MODELS, METADATA)
    shop.run(attacker.branch, expect=None)
    record = shop.record(attacker.branch)
    assert record.outcome in (RunOutcome.MERGED, RunOutcome.BLOCKED), record.reason
    commit = record.outputs["commit"]
    assert commit != tampered
    kept = (file_at(shop.origin, commit, SPLITS) or "").splitlines()
    assert kept[: len(splits)] == splits and len(kept) == len(splits) + 6
    assert (file_at(shop.origin, commit, f"{MODELS}/{HISTORY}") or "").startswith(ledger)
    assert json.loads(file_at(shop.origin, commit, METADATA) or "{}").get("model_version") != 99
    changed = shop.origin("diff", "--name-only", "main~1" if record.outcome is RunOutcome.MERGED else "main", commit)
    assert set(changed.splitlines()) <= {*POINTERS, *RECORDS}
