"""`wms github start` at the fake GitHub: the pipeline is started once, on main, for a branch of data alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from github_office import Office
from pull_yard import BRANCH

from wms_ops.base.errors import BranchContentError, PipelineError, PullRequestError
from wms_ops.commands.main import main
from wms_ops.git.command import Git
from wms_ops.pulls.dispatch import PIPELINE, dispatch
from wms_ops.pulls.gh import GitHub

pytest_plugins = ["github_office"]

POINTERS = {"WMS__data__dataset__images__dvc": "outs of images\n", "WMS__data__dataset__masks__dvc": "outs of masks\n"}
NOWHERE = "0" * 40


@pytest.fixture
def started(office: Office) -> list[tuple[str, str, dict[str, str]]]:
    """What GitHub was asked to start; main has the pipeline."""
    office.github.workflows[PIPELINE] = {"branch", "commit"}
    return office.github.dispatched


def start(office: Office, branch: str, commit: str) -> int:
    return main(["github", "start", branch, commit, "--repo", str(office.yard.clone.folder)])


def test_a_branch_of_data_starts_the_pipeline_once_on_main(
    office: Office, started: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    commit = office.yard.branch(**POINTERS)
    assert start(office, BRANCH, commit) == 0
    assert started == [(PIPELINE, "main", {"branch": BRANCH, "commit": commit})]
    assert office.github.calls == [f"POST /actions/workflows/{PIPELINE}/dispatches"]
    said = capsys.readouterr().out
    assert said == f"{PIPELINE} was started on main for {BRANCH} ({commit[:12]}).\n"


def test_raw_photos_start_it_too(office: Office, started: list[object]) -> None:
    photos = {f"WMS__data__training__{kind}__a.{end}": "x" for kind, end in (("images", "jpg"), ("masks", "png"))}
    assert start(office, BRANCH, office.yard.branch(**photos)) == 0
    assert len(started) == 1


@pytest.mark.parametrize("path", [".github__workflows__data-pushed.yaml", "hooks__pre-push", "README.md"])
@pytest.mark.attack("whoever may push a branch", "code on a data branch", "a branch with more than data starts nothing")
def test_a_branch_with_code_starts_nothing(
    office: Office, started: list[object], capsys: pytest.CaptureFixture[str], path: str
) -> None:
    commit = office.yard.branch(**POINTERS, **{path: "harm\n"})
    assert start(office, BRANCH, commit) == BranchContentError.exit_code == 99
    assert repr(path.replace("__", "/")) in capsys.readouterr().err
    assert started == [] and office.github.requests == []


def test_code_that_a_later_commit_takes_back_is_no_code(office: Office, started: list[object]) -> None:
    """What counts is what would be merged: the branch's last commit beside main."""
    office.yard.branch(**POINTERS, tool__py="harm\n")
    git = office.yard.clone
    git("rm", "--quiet", "tool/py")
    git("commit", "--quiet", "-m", "Back")
    git("push", "--quiet", "origin", f"HEAD:refs/heads/{BRANCH}")
    assert start(office, BRANCH, git("rev-parse", "HEAD")) == 0
    assert len(started) == 1


def test_a_branch_that_is_gone_moved_on_or_merged_starts_nothing(
    office: Office, started: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    first = office.yard.branch(**POINTERS)
    second = office.yard.more(more__dvc="outs\n")
    assert start(office, BRANCH, first) == 0
    assert f"{BRANCH} moved on from {first[:12]} to {second[:12]}" in capsys.readouterr().out
    office.yard.branch(start=first, WMS__data__dataset__images__dvc="outs of more images\n")
    tip = office.yard.tip(BRANCH)
    Git(office.yard.origin)("update-ref", "refs/heads/main", tip)
    assert start(office, BRANCH, tip) == 0
    assert f"main has all of {BRANCH} already" in capsys.readouterr().out
    Git(office.yard.origin)("update-ref", "-d", f"refs/heads/{BRANCH}")
    for commit in (tip, NOWHERE):
        assert start(office, BRANCH, commit) == 0
        assert f"{BRANCH} isn't at the origin any more, so nothing was started." in capsys.readouterr().out
    assert started == [] and office.github.requests == []


@pytest.mark.parametrize(
    ("branch", "commit"),
    [
        *(
            (branch, NOWHERE)
            for branch in (
                "main",
                "data/",
                "data/-x",
                "data/../main",
                "data/zähler",
                f"data/{'a' * 250}",
                "data/a b",
                "data/x\n::set",
                "",
            )
        ),
        *(
            (BRANCH, commit)
            for commit in ("0" * 12, "0" * 39, "HEAD", "--all", "0" * 40 + "\n", NOWHERE.replace("0", "g"))
        ),
    ],
)
@pytest.mark.attack(
    "a contributor of data", "a hostile name of a branch or commit", "names are checked before git is asked"
)
def test_a_hostile_name_or_a_short_commit_starts_nothing(
    office: Office, started: list[object], capsys: pytest.CaptureFixture[str], branch: str, commit: str
) -> None:
    arguments = ["github", "start", "--repo", str(office.yard.clone.folder), "--", branch, commit]
    assert main(arguments) == PipelineError.exit_code == 89
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "nothing was started" in said and len(said) < 300
    assert "Rename it: data/" in said or "Give all 40 digits" in said
    assert started == [] and office.github.requests == []


def test_what_github_refuses_is_one_sentence(
    office: Office, started: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    commit = office.yard.branch(**POINTERS)
    office.github.workflows = {}
    assert start(office, BRANCH, commit) == PullRequestError.exit_code == 88
    assert f"GitHub has no workflow {PIPELINE} on main" in capsys.readouterr().err
    office.github.workflows = {PIPELINE: {"branch", "commit"}}
    office.github.read_only = True
    assert start(office, BRANCH, commit) == 88
    assert "Resource not accessible by integration" in (said := capsys.readouterr().err) and "actions: write" in said
    assert started == []


@pytest.mark.parametrize("inputs", [{"branch": "x"}, {"branch": "x", "commit": "y", "code": "z"}])
def test_other_inputs_than_mains_are_refused(office: Office, started: list[object], inputs: dict[str, str]) -> None:
    """A clone's code and main's workflow may be of two versions."""
    with pytest.raises(PullRequestError, match="nput"):
        dispatch(GitHub(office.yard.clone.folder), PIPELINE, inputs)
    assert started == []


def test_a_branch_that_main_was_joined_into_meanwhile_goes_on(office: Office, started: list[object]) -> None:
    """The pipeline joins main into the branches that wait, and no workflow starts by that."""
    commit = office.yard.branch(**POINTERS)
    office.yard.branch("main", notes__md="Meanwhile.\n")
    git = office.yard.clone
    git("fetch", "--quiet", "origin")
    git("checkout", "--quiet", "-B", "joined", commit)
    git("merge", "--quiet", "-m", "Join main", "origin/main")
    git("push", "--quiet", "origin", f"HEAD:refs/heads/{BRANCH}")
    assert start(office, BRANCH, commit) == 0 and len(started) == 1
    git("checkout", "--quiet", "-B", "other", "origin/main")
    git("commit", "--quiet", "--allow-empty", "-m", "Nobody's")
    git("checkout", "--quiet", "joined")
    git("merge", "--quiet", "-m", "Join another", "other")
    git("push", "--quiet", "origin", f"HEAD:refs/heads/{BRANCH}")
    assert start(office, BRANCH, commit) == 0 and len(started) == 1


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"README__md": "Better.\n"}, "false"),
        ({"devops__x__py": "code\n", "notes__md": "x\n"}, "false"),
        (POINTERS, "true"),
        ({"WMS__data__training__images__a.jpg": "x"}, "true"),
        ({"WMS__data__splits.jsonl": "{}\n"}, "true"),
        ({"model-metadata.json": "{}\n", "README__md": "x\n"}, "true"),
    ],
    ids=["a document", "code", "pointers", "photos", "splits", "code and metadata"],
)
def test_a_pull_request_with_any_data_or_record_is_for_the_pipeline(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], found: str
) -> None:
    head = office.yard.branch("work", **files)
    office.yard.branch("main", meanwhile__md="main moves on\n")
    base = office.yard.tip("main")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    assert main(["github", "changes", base, head, "--repo", str(office.yard.clone.folder)]) == 0
    assert (tmp_path / "output").read_text() == f"data={found}\n"


def test_a_commit_that_is_not_there_is_named(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["github", "changes", "origin/main", NOWHERE, "--repo", str(office.yard.clone.folder)])
    assert code == 80 and f"There is no commit '{NOWHERE}'" in capsys.readouterr().err
