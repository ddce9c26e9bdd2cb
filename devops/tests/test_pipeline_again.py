"""The pipeline's YAML when something goes wrong: a runner dies, a job is run again, a branch brings more than data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from act_runner import end_with_children
from aws_clone import eventually
from aws_server import AwsServer
from pipeline_shop import PIPELINE, Repository, opened

from wms_ops.base.layout import INBOX

pytest_plugins = ["aws_fixtures"]
pytestmark = pytest.mark.slice("pipelines at GitHub", of=3, number=1)
PUSHED = "data-pushed.yaml"


@pytest.fixture(scope="module")
def repository(aws_of_module: AwsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    with opened(aws_of_module, tmp_path_factory.mktemp("pipeline")) as repository:
        repository.github.workflows[PIPELINE] = {"branch", "commit"}
        yield repository


@pytest.fixture(scope="module")
def killed(repository: Repository) -> dict[str, str]:
    """The inputs of a run whose runner died in the middle of the training: its instance is left."""
    inputs = repository.pushed(25)
    process = repository.act.start(PIPELINE, inputs)
    try:
        eventually(lambda: "5/12 train" in repository.act.log.read_text(), 280)
    finally:
        end_with_children(process)
    assert repository.yard.left()["instances"] == 1
    return inputs


@pytest.mark.timeout(300)
def test_the_teardown_alone_ends_the_instance_of_a_runner_that_died(
    repository: Repository, killed: dict[str, str]
) -> None:
    done = repository.act.run(PIPELINE, killed, alone="down", attempt=2)
    assert dict(done.jobs)["down"] == "success"
    assert repository.yard.left() == {}


@pytest.mark.timeout(300)
def test_the_run_goes_on_where_the_runner_died(repository: Repository, killed: dict[str, str]) -> None:
    done = repository.act.run(PIPELINE, killed, alone="train", attempt=3)
    assert done.jobs["train"] == "success", done.said("train")
    assert "1/12 merge" not in done.said("train")


@pytest.mark.timeout(300)
def test_its_last_jobs_merge_it(repository: Repository, killed: dict[str, str]) -> None:
    passes = {"train": {"passes": "true"}}
    for job in ("release", "down", "tell"):
        done = repository.act.run(PIPELINE, killed, alone=job, outputs=passes, attempt=4)
        assert done.jobs[job] == "success", done.said(job)
    assert repository.yard.left() == {}
    (pull,) = repository.pulls.pulls.values()
    assert pull["merge_commit_sha"] == repository.shop.main() and repository.shop.branches() == {}
    assert [entry["to_version"] for entry in repository.shop.ledger()] == [1], "promoted once"


def pushed(repository: Repository, branch: str) -> tuple[int, str]:
    """What data-pushed.yaml does at a push of a branch: act's code, and what its job said."""
    commit = repository.shop.branches()[branch]
    event = {"ref": f"refs/heads/{branch}", "after": commit, "deleted": False}
    done = repository.act.run(PUSHED, {}, event=event)
    return done.code, done.said("start")


@pytest.mark.timeout(300)
@pytest.mark.attack("whoever may push a branch", "code on a data branch, at GitHub", "main's code looks, and names it")
def test_a_branch_with_code_starts_no_pipeline_and_its_code_never_runs(repository: Repository) -> None:
    shop, marker = repository.shop, repository.act.folder / "ran"
    shop.shell("git", "checkout", "--quiet", "-B", "harm", "origin/main")
    for path in ("WMS/src/wms/__init__.py", "sitecustomize.py"):
        text = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"
        (shop.demo_folder.clone / path).write_text(text, encoding="utf-8")
    shop.shell("git", "add", "--all")
    shop.shell("git", "commit", "--quiet", "-m", "Harm")
    shop.shell("git", "push", "--quiet", "--no-verify", "origin", "HEAD:refs/heads/data/harm")
    shop.shell("git", "checkout", "--quiet", "main")
    code, said = pushed(repository, "data/harm")
    assert code == 1 and "'sitecustomize.py'" in said and repository.github.dispatched == []
    commit = shop.branches()["data/harm"]
    done = repository.act.run(PIPELINE, {"branch": "data/harm", "commit": commit})  # whoever starts it by hand
    assert dict(done.jobs) == {"data": "failure", "down": "success", "tell": "failure"}
    (comment,) = repository.pulls.commit_comments[commit]
    assert "sitecustomize.py" in comment["body"]
    assert not marker.exists() and repository.yard.left() == {}


@pytest.mark.timeout(300)
def test_a_pull_request_of_code_has_the_check_and_one_of_data_waits_for_the_pipeline(repository: Repository) -> None:
    shop = repository.shop
    base = shop.main()
    names = {}
    for branch, path in (("code", "README.md"), ("data", "model-metadata.json"), ("photos", f"{INBOX}/images/a.jpg")):
        shop.shell("git", "checkout", "--quiet", "-B", branch, "origin/main")
        (shop.demo_folder.clone / path).write_text("{}\n", encoding="utf-8")
        shop.shell("git", "add", "--all", "--force")
        shop.shell("git", "commit", "--quiet", "-m", branch)
        shop.shell("git", "push", "--quiet", "--no-verify", "origin", f"HEAD:refs/heads/by-hand-{branch}")
        head = shop.shell("git", "rev-parse", "HEAD").strip()
        event = {"number": 7, "pull_request": {"number": 7, "base": {"sha": base}, "head": {"sha": head}}}
        done = repository.act.run("pull-request.yaml", {}, event=event)
        assert done.code == 0, done.log
        (names[branch],) = set(done.checks) - {"look"}
    shop.shell("git", "checkout", "--quiet", "main")
    waits = "The pipeline decides about data"
    assert names == {"code": "wms/gate", "data": waits, "photos": waits}
