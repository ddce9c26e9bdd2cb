"""The loop in parts, each in a folder that lacks what the part before has left, as a job of a workflow begins."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from loop_shop import LoopShop
from s3_server import require_tool
from slices import of_this_commit
from test_loop_steps import outputs_of

from wms.errors import PromotionLostError
from wms.metrics import METRICS
from wms_ops.base.errors import PipelineError
from wms_ops.demo.shell import Shell
from wms_ops.git.command import Git
from wms_ops.loop.contexts import shared_runs
from wms_ops.loop.parts import PARTS
from wms_ops.loop.shared_runs import run_of
from wms_ops.machine.types import CloudState
from wms_ops.pulls.local_pulls import LocalPulls
from wms_ops.pulls.protocol import PullState
from wms_ops.runs.record import RunOutcome, RunRecord, StepState

DRAWN = (".html", ".png")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    require_tool("weed")
    shop = LoopShop.open(tmp_path_factory.mktemp("parts"), gate={"min_improvement": 0.9}, epochs=20)
    yield shop
    shop.close()


def job(shop: LoopShop, part: str, *more: str, expect: int = 0, **variables: str) -> dict[str, str]:
    """A part on a new machine: of the loop's folder only the cloud is there; returns the named values."""
    loop = shop.demo_folder.loop
    for name in ("workspace", "runs"):
        shutil.rmtree(loop / name, ignore_errors=True)
    named = shop.demo_folder.folder / "github-output"
    named.unlink(missing_ok=True)
    shell = Shell(shop.demo_folder.clone, {**shop.environ, "GITHUB_OUTPUT": str(named), **variables}, lambda _: None)
    job.said = shell(*shop.command("part", part, *more), expect=expect)  # type: ignore[attr-defined]
    return outputs_of(named)


def stored(shop: LoopShop, run: str) -> RunRecord:
    return shared_runs(shop.demo_folder.folder / "other", shop.cloud).load(run)


def files(shop: LoopShop, run: str) -> set[str]:
    bucket, prefix = shop.cloud.records()
    return {name.removeprefix(f"{prefix}{run}/") for name in bucket.names(f"{prefix}{run}/")}


def with_step(record: RunRecord, name: str, **values: Any) -> RunRecord:
    return record.with_step(record.step(name).model_copy(update={"state": StepState.DONE, **values}))


def seconds(record: RunRecord) -> dict[str, float]:
    return {step.name: step.seconds for step in record.steps if step.name not in ("report", "pull-request")}


def pushed(shop: LoopShop, branch: str) -> tuple[str, ...]:
    """The words by which each job of a workflow names the run of a branch's newest commit."""
    return ("--branch", branch, "--commit", shop.branches()[branch])


def data(shop: LoopShop, which: tuple[str, ...]) -> str:
    return job(shop, "data", *which)["run"]


@pytest.mark.timeout(300)
def test_each_part_goes_on_where_a_job_elsewhere_ended(shop: LoopShop) -> None:
    shop.commit_photos(25)
    branch = shop.push()
    which = pushed(shop, branch)
    job(shop, "tell", *which, expect=89)
    assert "There is no run data-" in job.said  # type: ignore[attr-defined]
    run = data(shop, which)
    assert run == f"{branch.replace('/', '-')}-{which[-1][:12]}"
    job(shop, "release", *which, expect=89)
    assert "The step train of this run isn't done" in job.said  # type: ignore[attr-defined]
    assert shop.cloud.status() is CloudState.ABSENT, "nothing is started for nothing"
    assert job(shop, "train", *which) == {"run": run, "over": "false", "passes": "true"}
    before = seconds(stored(shop, run))
    assert job(shop, "train", *which)["passes"] == "true"
    assert seconds(stored(shop, run)) == before, "nothing is trained twice"
    assert {"card.md", "gate.json", "gate.md", "gate.html", "dvc_stages.log", "run.json"} <= files(shop, run)
    shop.cloud.down()  # the instance may end between two jobs, and this target's MLflow keeps its files
    job(shop, "release", *which)
    shop.cloud.down()
    assert job(shop, "tell", *which) == {"run": run, "over": "true", "passes": "true"}
    assert "Merged: version 1 is Production" in job.said  # type: ignore[attr-defined]
    record = stored(shop, run)
    assert record.outcome is RunOutcome.MERGED and shop.main() == record.outputs["merged"]
    assert shop.pull(1)[0]["state"] == "merged" and "photos.png" in shop.pull(1)[1]
    assert not [name for name in files(shop, run) if name.endswith(DRAWN)], "photos stay in the pull request alone"
    for part in ("train", "release", "tell"):  # every job once more
        assert job(shop, part, *which)["over"] == "true"
    assert (shop.main(), seconds(stored(shop, run))) == (record.outputs["merged"], seconds(record))
    assert shop.cloud.status() is CloudState.ABSENT
    assert not shop.branches()


def kill_in_training(shop: LoopShop, run: str, which: tuple[str, ...]) -> None:
    """The runner dies, and the instance with what it had begun."""
    command, quiet = shop.command("part", "train", *which), subprocess.DEVNULL
    running = subprocess.Popen(command, cwd=shop.demo_folder.clone, env=shop.environ, stdout=quiet, stderr=quiet)
    try:
        while stored(shop, run).step("train").state is not StepState.RUNNING:
            assert running.poll() is None
            time.sleep(0.02)  # a poll's pause
    finally:
        running.kill()
        running.wait()
    shop.cloud.down()


@pytest.mark.slice("parts of a loop", of=2)
@pytest.mark.timeout(300)
def test_a_worse_model_needs_no_release_and_the_last_part_has_the_code(shop: LoopShop) -> None:
    shop.shell("git", "pull", "--quiet")
    shop.commit_photos(10, shuffled=True)
    branch, before = shop.push(), shop.main()
    run = data(shop, which := pushed(shop, branch))
    kill_in_training(shop, run, which)
    assert job(shop, "tell", *which, expect=1)["over"] == "true"
    assert "its job was killed or cut off" in job.said  # type: ignore[attr-defined]
    assert job(shop, "train", *which)["passes"] == "false", "the job once more"
    job(shop, "release", *which)
    shop.cloud.down()
    assert shop.cloud.status() is CloudState.ABSENT
    for _ in range(2):
        assert job(shop, "tell", *which, expect=90)["over"] == "true"
    record = stored(shop, run)
    assert record.outcome is RunOutcome.BLOCKED
    assert [step.name for step in record.steps if step.state is StepState.SKIPPED] == [
        "promote",
        "smoke-deploy",
        "metadata",
    ]
    assert shop.main() == before and shop.pull(2)[0]["state"] == "blocked"
    assert job(shop, "data", *pushed(shop, branch))["over"] == "false", (
        "the run moved the branch, so its newest commit is another run's"
    )


FORGED = (
    ("branch", "--upload-pack=touch /tmp/x"),
    ("commit", "HEAD"),
    ("body", "../../../etc/passwd"),
    ("run_id", "x"),
    ("version", "1; rm"),
    ("challenger_dice", "inf"),
    ("id", "../../escaped"),
    ("id", "/var/x"),
    ("id", ""),
)


@pytest.mark.attack(
    "a writer of the bucket with runs' records", "values, ids and files of a run", "a list of what a step may write"
)
def test_a_record_with_a_value_that_no_step_writes_starts_nothing(shop: LoopShop) -> None:
    which = ("--branch", "data/forged", "--commit", "0" * 40)
    record = RunRecord(id=run_of(*which[1::2]), branch="data/forged", started_at="2026-11-28T00:00:00+00:00")
    bucket, prefix = shop.cloud.records()
    key = f"{prefix}{record.id}/run.json"
    for name, value in of_this_commit("values that no step writes", FORGED, 3):
        step = record.step("merge").model_copy(update={"state": StepState.DONE, "outputs": {name: value}})
        forged = record.model_copy(update={"id": value}) if name == "id" else record.with_step(step)
        bucket.put(key, forged.model_dump_json().encode())
        job(shop, "tell", *which, expect=89)
        assert {path.name for path in (shop.demo_folder.loop / "runs").iterdir()} == {".loop.lock"}
        assert f"as {name}, which no step writes" in job.said  # type: ignore[attr-defined]
    for part in PARTS:
        job(shop, part, expect=2)
        job(shop, part, *which[:2], expect=2)
    bucket.put(key, record.model_dump_json().encode())
    for part, before in (("train", "merge"), ("release", "merge")):
        job(shop, part, *which, expect=89)
        assert f"The step {before} of this run isn't done" in job.said  # type: ignore[attr-defined]
    odd = (("main", "0" * 40), ("data/1", "HEAD"), ("data/1", "0" * 40), ("../x", "0" * 40))
    for branch, commit in of_this_commit("runs that can't be", odd, 2):
        for part in ("data", "train"):
            job(shop, part, "--branch", branch, "--commit", commit, expect=89)


@pytest.mark.slice("parts of a loop", of=2)
@pytest.mark.timeout(300)
@pytest.mark.attack(
    "a writer of the bucket with runs' records", "a run that says it was promoted", "ledger and anchors"
)
def test_a_record_that_claims_a_promotion_merges_nothing(shop: LoopShop) -> None:
    shop.shell("git", "fetch", "--quiet")
    shop.shell("git", "reset", "--quiet", "--hard", "origin/main")
    shop.commit_photos(3)
    branch, before = shop.push(), shop.main()
    run = data(shop, which := pushed(shop, branch))
    record = stored(shop, run)
    means = {f"{side}_{name}": "0.900000" for side in ("champion", "challenger") for name in METRICS}
    values = {"decision": "improved", "passes": "true", "gate_reason": "Better.", **means, "champion_version": "1"}
    values |= {"run": "run", "run_id": "0" * 32, "version": "7", "commit": record.outputs["commit"]}
    for name in ("up", "train", "gate", "promote", "smoke-deploy", "metadata"):
        done = {"state": StepState.DONE, "outputs": values if name == "metadata" else {}}
        record = record.with_step(record.step(name).model_copy(update=done))
    shared_runs(shop.demo_folder.folder / "forger", shop.cloud).save(record)
    job(shop, "tell", *which, expect=PromotionLostError.exit_code)
    assert "doesn't end with the promotion of this run, so nothing was merged" in job.said  # type: ignore[attr-defined]
    assert shop.main() == before


@pytest.mark.attack(
    "a writer of the bucket with runs' records", "times, missing values and scores of a run", "what each step leaves"
)
def test_a_record_that_lacks_what_its_steps_leave_is_none(shop: LoopShop, tmp_path: Path) -> None:
    record = RunRecord(id="forged", branch="data/1", started_at="2026-11-28T00:00:00+00:00")
    bucket, prefix = shop.cloud.records()
    part = {"challenger_dice": "0.9", "decision": "not improved", "passes": "false"}
    for forged, words in (
        (record.model_copy(update={"started_at": "x"}), "has 'x' as a time, which no step writes"),
        (with_step(record, "up", started_at="2026-11-28T00:00:00"), "as a time, which no step writes"),
        (with_step(record, "validate", outputs={"photos_new": "0", "photos_total": "0"}), "lacks its photos_before"),
        (with_step(record, "gate", outputs={"passes": "true"}), "the step gate is done, but lacks its decision"),
        (with_step(record, "promote"), "the step promote is done, but lacks its version"),
        (with_step(record, "gate", outputs=part), "lacks scores of the challenger"),
        (with_step(record, "gate", outputs={"decision": "improved", "passes": "true"}), "lacks scores of the champion"),
    ):
        bucket.put(f"{prefix}forged/run.json", forged.model_dump_json().encode())
        with pytest.raises(PipelineError, match=re.escape(words)):
            shared_runs(tmp_path, shop.cloud).bring("forged")
    assert not list(tmp_path.iterdir())


def test_files_of_a_run_come_from_its_own_folder_alone(shop: LoopShop, tmp_path: Path) -> None:
    bucket, prefix = shop.cloud.records()
    store = shared_runs(tmp_path, shop.cloud)
    with pytest.raises(PipelineError, match="is at 222222222222, not at 111111111111"):
        store.begin("data/2", "1" * 40, "2" * 40)
    record = store.begin("data/2", "1" * 40, "1" * 40)
    assert store.begin("data/2", "1" * 40, None).id == record.id, "the run itself moves the branch"
    for name in ("deep/er/x.md", "x.sh", "x.md/", "ok.md"):
        bucket.put(f"{prefix}{record.id}/{name}", b"x")
    store.bring(record.id)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {f"runs/{record.id}/run.json", f"runs/{record.id}/ok.md"}


@pytest.mark.timeout(300)
def test_a_draft_that_a_person_closes_stops_the_promotion(shop: LoopShop) -> None:
    shop.commit_photos(25)
    branch = shop.push()
    which = pushed(shop, branch)
    run = data(shop, which)
    record = stored(shop, run)
    number = int(record.outputs["pull"])
    values, text = shop.pull(number)
    assert (values["draft"], values["state"]) == (True, "open") and "Close it to stop that" in text
    assert f"| {record.outputs['photos_before']} | 25 |" in text
    assert data(shop, which) == run and stored(shop, run).outputs["pull"] == str(number), "once more: the same"
    scores = {f"challenger_{name}": "0.9" for name in METRICS}
    gate = {"decision": "improved", "passes": "true", **scores, **{f"champion_{name}": "0.5" for name in METRICS}}
    for name, outputs in {"up": {}, "train": {"run": "r", "run_id": "0" * 32}, "gate": gate}.items():
        record = with_step(record, name, outputs=outputs)
    store = shared_runs(shop.demo_folder.folder / "other", shop.cloud)
    store.save(record)
    git = Git(shop.demo_folder.clone, environ=shop.environ)
    pulls = LocalPulls(git, shop.demo_folder.url)
    closed = pulls.find(branch)
    assert closed is not None and closed.number == number and closed.state is PullState.DRAFT
    pulls.close(closed, "Not these.")
    ledger = shop.ledger()
    job(shop, "release", *which, expect=88)
    assert f"A person closed pull request {number}" in job.said  # type: ignore[attr-defined]
    assert "Nothing was promoted" in job.said  # type: ignore[attr-defined]
    assert shop.cloud.status() is CloudState.ABSENT
    job(shop, "tell", *which, expect=88)
    assert stored(shop, run).outcome is RunOutcome.FAILED
    assert shop.ledger() == ledger and shop.pull(number + 1)[0] is None
