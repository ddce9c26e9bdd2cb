"""The pipeline's own YAML, run from its first job to its last: act, gh, Terraform and MLflow, with AWS on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws_server import AwsServer
from pipeline_shop import JOBS, PIPELINE, Begun, Repository, begin, opened

from wms_ops.base.layout import INBOX

pytest_plugins = ["aws_fixtures"]
pytestmark = pytest.mark.slice("pipelines at GitHub", of=3, number=0)


@pytest.fixture(scope="module")
def repository(aws_of_module: AwsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    with opened(aws_of_module, tmp_path_factory.mktemp("pipeline")) as repository:
        yield repository


@pytest.fixture(scope="module")
def first(repository: Repository) -> Iterator[Begun]:
    """The first training ever."""
    yield from begin(repository, repository.pushed(25))


@pytest.mark.timeout(300)
def test_the_data_of_a_push_is_checked_on_an_empty_disk(first: Begun) -> None:
    assert first.job("data") == "success"
    assert first.repository.yard.left() == {}, "nothing was started for it"
    (pull,) = first.repository.pulls.pulls.values()
    assert pull["draft"] and "Close it to stop that" in pull["body"] and len(first.repository.shop.ledger()) == 0
    assert first.repository.check(pull["head_sha"]) == "pending"


@pytest.mark.timeout(300)
def test_an_instance_comes_and_trains_and_the_model_is_compared(first: Begun) -> None:
    assert first.job("train") == "success"


@pytest.mark.timeout(300)
def test_a_model_that_passes_is_promoted_and_deployed_on_trial(first: Begun) -> None:
    assert first.job("release") == "success"


@pytest.mark.timeout(300)
def test_the_instance_goes_and_the_pull_request_is_merged(first: Begun) -> None:
    shop, pulls = first.repository.shop, first.repository.pulls
    assert first.job("down") == "success"
    assert first.repository.yard.left() == {}
    done = first.end()
    assert (done.code, dict(done.jobs)) == (0, dict.fromkeys(JOBS, "success")), done.said("tell")
    (pull,) = pulls.pulls.values()
    assert (
        not pull["draft"] and pull["merged_at"] and pull["branch"] == first.inputs["branch"] and shop.branches() == {}
    )
    assert pull["merge_commit_sha"] == shop.main() and first.repository.check(pull["head_sha"]) == "success"
    (entry,) = shop.ledger()
    metadata = shop.metadata()
    assert entry["to_version"] == 1 and metadata and metadata["run_id"] == entry["run_id"]
    assert shop.store().missing(shop.data().oids) == set() and len(shop.data().pairs) == 25
    keys = first.repository.yard.environ["AWS_SECRET_ACCESS_KEY"]
    assert keys not in done.log.replace("***", "")


@pytest.fixture(scope="module")
def worse(first: Begun) -> Iterator[Begun]:
    """Photos with the masks of others, after the first training."""
    first.end()
    yield from begin(first.repository, first.repository.pushed(10, shuffled=True))


@pytest.mark.timeout(300)
def test_a_model_that_is_no_better_is_not_released(worse: Begun) -> None:
    assert (worse.job("data"), worse.job("train")) == ("success", "success")


@pytest.mark.timeout(300)
def test_its_pull_request_is_blocked_and_the_run_says_so(worse: Begun) -> None:
    shop, pulls = worse.repository.shop, worse.repository.pulls
    before = shop.main()
    done = worse.end()
    assert done.code == 1 and done.jobs["tell"] == "failure" and done.jobs["down"] == "success"
    assert done.jobs.get("release", "skipped") == "skipped"
    assert worse.repository.yard.left() == {}
    said = done.said("tell")
    assert "::error title=Not improved::" in said or "Not improved" in said
    pull = pulls.pulls[2]
    assert pull["state"] == "open" and worse.repository.check(pulls.tip(pull["branch"])) == "failure"
    assert "What to do next" in pull["body"]
    assert shop.main() == before and len(shop.ledger()) == 1
    assert list(shop.branches()) == [worse.inputs["branch"]]


@pytest.mark.timeout(300)
def test_a_job_that_is_run_again_repeats_nothing(worse: Begun) -> None:
    """As GitHub's "Re-run all jobs"."""
    worse.end()
    trained = worse.repository.pulls.tip(worse.inputs["branch"])
    done = worse.repository.act.run(PIPELINE, worse.inputs, attempt=2)
    assert done.jobs["data"] == done.jobs["train"] == done.jobs["down"] == "success" and done.jobs["tell"] == "failure"
    assert worse.repository.pulls.tip(worse.inputs["branch"]) == trained and len(worse.repository.pulls.pulls) == 2
    assert worse.repository.yard.left() == {}


@pytest.mark.timeout(300)
def test_photos_that_the_data_check_refuses_are_told_to_their_commit(worse: Begun) -> None:
    """From a person without keys, who pushes photos to a branch of their own."""
    worse.end()
    repository, shop = worse.repository, worse.repository.shop
    shop.shell("git", "checkout", "--quiet", "-B", "mine", "origin/main")
    shop.commit_photos(3)
    (mask, *_) = sorted((shop.demo_folder.clone / INBOX / "masks").glob("*.png"))
    mask.write_bytes(b"not a picture")
    shop.shell("git", "commit", "--quiet", "--all", "-m", "A mask that is none")
    shop.shell("git", "push", "--quiet", "--no-verify", "origin", "HEAD:refs/heads/data/by-hand")
    shop.shell("git", "checkout", "--quiet", "main")
    commit = shop.branches()["data/by-hand"]
    done = repository.act.run(PIPELINE, {"branch": "data/by-hand", "commit": commit})
    assert dict(done.jobs) == {"data": "failure", "down": "success", "tell": "failure"}
    (comment,) = repository.pulls.commit_comments[commit]
    assert mask.name in comment["body"].replace("\\", "") and len(repository.pulls.pulls) == 2
    assert repository.yard.left() == {}
