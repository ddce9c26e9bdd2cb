"""Local pull requests as people meet them: pages on a branch of the origin, nothing but git needed to read them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from git_over_http import GitOverHttp
from pull_yard import BRANCH, Yard, make_yard

from wms_ops.base.errors import GitError, PullRequestError
from wms_ops.git.command import Git
from wms_ops.pulls.local_pulls import LocalPulls
from wms_ops.pulls.pages import one_line


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return make_yard(tmp_path)


@pytest.fixture
def pulls(yard: Yard) -> LocalPulls:
    return LocalPulls(yard.clone, yard.url)


def test_the_pages(yard: Yard, pulls: LocalPulls, tmp_path: Path) -> None:
    head = yard.branch()
    yard.branch("data/2", images__dvc="masks of other photos\n")
    good, bad = pulls.open(BRANCH, "Add data: 24 | *new*", ""), pulls.open("data/2", "Add data: 10 new", "Worse.")
    pulls.update(good, "Dice 0.80 -> 0.90\n\n![after](pictures/after.png)", {"pictures/after.png": b"PNG"})
    pulls.block(bad, "Dice 0.70 is below\nProduction's 0.90.")
    commit = pulls.merge(good, head=head, title="Add data: 24", message="")
    assert good.url == f"{yard.url}#pull-requests:0001/README.md"
    context = good.url.partition("#")[2].removeprefix("pull-requests:")
    page = yard.show(context)
    assert page.startswith(
        "# Add data: 24 \\| \\*new\\* (#1)\n\n**Merged**: `data/20261121-103000` into `main`, as `" + commit
    )
    assert page.endswith("\n\nDice 0.80 -> 0.90\n\n![after](pictures/after.png)")
    assert "The check `wms/gate` failed: Dice 0.70 is below Production's 0.90.\n\nWorse." in yard.show("0002/README.md")
    index = yard.show("README.md").splitlines()
    assert index[-2:] == [
        "| [2](0002/README.md) | blocked | `data/2` | Add data: 10 new |",
        "| [1](0001/README.md) | merged | `data/20261121-103000` | Add data: 24 \\| \\*new\\* |",
    ]
    pulls.export(tmp_path / "out")
    exported = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert exported == {
        "README.md",
        *("0001/README.md", "0001/pull.json", "0001/pictures/after.png"),
        *("0002/README.md", "0002/pull.json"),
    }
    assert (tmp_path / "out/0001/pictures/after.png").read_bytes() == b"PNG"


def test_the_branch_has_nothing_of_main_and_keeps_its_history(yard: Yard, pulls: LocalPulls) -> None:
    yard.branch()
    pull = pulls.open(BRANCH, "Add data", "")
    pulls.block(pull, "Worse.")
    git = Git(yard.origin)
    assert git("log", "--format=%s", "pull-requests").splitlines() == [
        "Pull request 1 is blocked: Add data",
        "Pull request 1 is open: Add data",
    ]
    assert not git.ok("merge-base", "main", "pull-requests")
    assert git("fsck", "--strict", "--no-dangling") == ""


def test_your_clone_stays_as_it_is(yard: Yard, pulls: LocalPulls) -> None:
    head = yard.branch()
    git = yard.clone
    (git.folder / "README.md").write_text("Half written.\n")
    before = (git("status", "--porcelain"), git("for-each-ref"), git("config", "--list", "--local"))
    pulls.merge(pulls.open(BRANCH, "Add data", ""), head=head, title="Add data", message="")
    assert (git("status", "--porcelain"), git("for-each-ref"), git("config", "--list", "--local")) == before


def test_a_hook_of_the_clone_does_not_see_these_pushes(yard: Yard, pulls: LocalPulls) -> None:
    hook = yard.clone.folder / ".git/hooks/pre-push"
    head = yard.branch()
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert pulls.merge(pulls.open(BRANCH, "Add data", ""), head=head, title="Add data", message="") == yard.tip("main")


def test_other_files_in_conflict_are_named(yard: Yard, pulls: LocalPulls) -> None:
    head = yard.branch(BRANCH, README__md="x", images__dvc="new\n")
    (yard.clone.folder / "README.md").write_text("Ours.\n")
    head = yard.more(BRANCH)
    yard.branch("main", images__dvc="other\n")
    git = yard.clone
    git("checkout", "--quiet", "-B", "work", "origin/main")
    (git.folder / "README.md").write_text("Theirs.\n")
    git("commit", "--quiet", "-am", "Theirs")
    git("push", "--quiet", "origin", "HEAD:main")
    pull = pulls.open(BRANCH, "Add data", "")
    with pytest.raises(PullRequestError, match=r"and main both changed README\.md: merge main into the branch by hand"):
        pulls.merge(pull, head=head, title="Add data", message="")
    assert yard.main()[0] == "Theirs"


def test_a_branch_that_grew_while_it_was_merged_is_left(yard: Yard) -> None:
    head = yard.branch()
    newer: list[str] = []

    def step(name: str) -> None:
        if name == "main: pushed":
            newer.append(yard.more(BRANCH, notes="somebody's newer photos"))

    pulls = LocalPulls(yard.clone, yard.url, step=step)
    pulls.merge(pulls.open(BRANCH, "Add data", ""), head=head, title="Add data", message="")
    assert yard.tip(BRANCH) == newer[0]
    assert pulls.open(BRANCH, "Add more", "").number == 2


def test_a_branch_that_is_gone_without_a_merge(yard: Yard, pulls: LocalPulls) -> None:
    head = yard.branch()
    pull = pulls.open(BRANCH, "Add data", "")
    yard.clone("push", "--quiet", "origin", "--delete", BRANCH)
    with pytest.raises(PullRequestError, match="is gone, but isn't merged; push it again"):
        pulls.merge(pull, head=head, title="Add data", message="")
    with pytest.raises(PullRequestError, match="There is no branch"):
        pulls.open(BRANCH, "Add data", "")


def test_main_moves_just_before_it_is_pushed(yard: Yard) -> None:
    head = yard.branch()
    others = iter(range(3))

    def step(name: str) -> None:
        if name == "main: push" and (number := next(others, None)) is not None:
            yard.branch("main", **{f"other{number}": "x"})

    pulls = LocalPulls(yard.clone, yard.url, step=step)
    commit = pulls.merge(pulls.open(BRANCH, "Add data", ""), head=head, title="Add data", message="")
    assert yard.main() == ["Add data (#1)", *["Change for main"] * 3, "Start"]
    assert commit == yard.tip("main")


def test_a_number_is_taken_just_before_it_is_pushed(yard: Yard, pulls: LocalPulls) -> None:
    yard.branch()
    yard.branch("data/2", notes="x")
    other = Yard(yard.folder / "other")
    other.folder.mkdir()
    Git(other.folder)("clone", "--quiet", str(yard.origin), str(other.clone.folder))
    first = []

    def step(name: str) -> None:
        if name == "open: push" and not first:
            first.append(LocalPulls(other.clone, yard.url).open("data/2", "Quicker", "").number)

    assert LocalPulls(yard.clone, yard.url, step=step).open(BRANCH, "Add data", "").number == 2
    assert first == [1]
    found = pulls.find("data/2")
    assert found is not None
    assert found.number == 1


def test_an_origin_that_refuses_main(yard: Yard, pulls: LocalPulls) -> None:
    head = yard.branch()
    pull = pulls.open(BRANCH, "Add data", "")
    hook = yard.origin / "hooks/update"
    hook.write_text('#!/bin/sh\ntest "$1" != refs/heads/main\n')
    hook.chmod(0o755)
    with pytest.raises(GitError, match="hook declined"):
        pulls.merge(pull, head=head, title="Add data", message="")
    hook.unlink()
    assert pulls.merge(pull, head=head, title="Add data", message="") == yard.tip("main")


@pytest.mark.parametrize("damage", ["not JSON", "a key less", "another number"])
def test_a_damaged_record_is_named(yard: Yard, pulls: LocalPulls, damage: str) -> None:
    yard.branch()
    pulls.open(BRANCH, "Add data", "")
    record = json.loads(yard.show("0001/pull.json"))
    text = {
        "not JSON": "{",
        "a key less": json.dumps({name: value for name, value in record.items() if name != "head"}),
        "another number": json.dumps({**record, "number": 2}),
    }[damage]
    yard.branch("pull-requests", start="origin/pull-requests", **{"0001__pull.json": text})
    with pytest.raises(PullRequestError, match=r"0001/pull\.json on the branch pull-requests is damaged"):
        pulls.find(BRANCH)


def test_links_on_the_branch_lead_nowhere(yard: Yard, pulls: LocalPulls, tmp_path: Path) -> None:
    yard.branch()
    pulls.open(BRANCH, "Add data", "")
    git = yard.clone
    git("fetch", "--quiet", "origin")
    git("checkout", "--quiet", "-B", "work", "origin/pull-requests")
    (git.folder / "0001" / "passwd").symlink_to("/etc/passwd")
    git("add", ".")
    git("commit", "--quiet", "-m", "A link")
    blob = git("hash-object", "-w", "--stdin", data=b"[core]\n\tfsmonitor = ./bad\n")
    inner = git("mktree", data=f"100644 blob {blob}\tconfig\n".encode())
    # Git's own folder as Windows and macOS see it, and a path as Windows reads it.
    bad = [f"040000 tree {inner}\t{name}\n" for name in (".GIT", "git~1", ".g\u200cit")]
    bad.append(f"100644 blob {blob}\t0001\\..\\bad\n")
    tree = git("-c", "core.quotePath=false", "mktree", data="".join([git("ls-tree", "HEAD"), "\n", *bad]).encode())
    commit = git("commit-tree", tree, "-p", "HEAD", "-m", "Names that lead elsewhere")
    git("push", "--quiet", "origin", f"{commit}:pull-requests")
    pulls.export(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out/0001").iterdir()) == ["README.md", "pull.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0001", "README.md"]


def test_an_address_is_shown_without_its_password(yard: Yard) -> None:
    yard.branch()
    with GitOverHttp(yard.folder, (), opens="secret") as server:
        plain = f"{server.url}/origin.git"
        pulls = LocalPulls(Git(yard.clone.folder), plain.replace("://", "://ada:secret@"))
        assert pulls.open(BRANCH, "Add data", "").url == f"{plain}#pull-requests:0001/README.md"


def test_an_origin_without_main(tmp_path: Path) -> None:
    Git(tmp_path)("init", "--quiet", "--bare", "origin.git")
    Git(tmp_path)("clone", "--quiet", "origin.git", "clone")
    pulls = LocalPulls(Git(tmp_path / "clone"), str(tmp_path / "origin.git"))
    assert pulls.find(BRANCH) is None
    with pytest.raises(PullRequestError, match="There is no branch"):
        pulls.open(BRANCH, "Add data", "")


def test_a_shallow_clone_will_do(yard: Yard) -> None:
    yard.branch("main", notes="1")
    head = yard.branch()
    target = yard.folder / "shallow"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", yard.url, target], check=True)
    pulls = LocalPulls(Git(target), yard.url)
    assert pulls.merge(pulls.open(BRANCH, "Add data", ""), head=head, title="Add data", message="") == yard.tip("main")
    assert Git(yard.origin)("fsck", "--no-dangling") == ""


def test_titles_mean_nothing_in_markdown() -> None:
    assert one_line("a | b\n# [c](d) `e` <f>") == "a \\| b # \\[c\\](d) \\`e\\` \\<f\\>"


def test_a_comment_on_a_commit_is_a_page_of_its_own(yard: Yard, pulls: LocalPulls) -> None:
    head = yard.branch()
    for text in ("a.png is grey.", "a.png is grey, and so is b.png."):
        pulls.comment(head, text)
    assert yard.show(f"commits/{head[:12]}.md") == "a.png is grey, and so is b.png."
    assert pulls.find(BRANCH) is None
    assert pulls.open(BRANCH, "Add data", "").number == 1
