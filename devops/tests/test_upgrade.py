"""A clone of an earlier version, in the middle of its work, is upgraded and loops on; and what stops an upgrade."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from loop_kills import start_and_stop
from loop_shop import RECIPE, LoopShop, tiny
from s3_server import require_tool

from wms.project import FILE, Project, parse_project, read_project
from wms.registry.ledger import Ledger
from wms_ops.base.layout import DATA_SET, pointer
from wms_ops.demo.folder import PERSON, DemoFolder, quiet_git
from wms_ops.git.command import Git
from wms_ops.hook.install import install_hook
from wms_ops.loop.contexts import local_cloud, run_store
from wms_ops.loop.driver import one_at_a_time
from wms_ops.runs.record import RunOutcome, StepState

BUCKET = "s3://wms-main-dvc-123456789012-eu-west-1/dvc"
HOUSE = Path(__file__).resolve().parents[2]
AT_AWS = ("deploy-model", "ec2-control", "reap-orphans", "training-data-pipeline")
"""The workflows that name a region."""
OLD = "4da5b22d1b1bdae4d4660907b2199394f8b2cfef"
"""The last commit without wms.toml, `wms init` and `wms upgrade`."""


def new_version() -> str:
    """This repository's commit, with the changes of its files that nobody has committed yet."""
    house = Git(HOUSE)
    return house("stash", "create") or house("rev-parse", "HEAD")


def old_clone(folder: Path) -> DemoFolder:
    """An origin and a clone whose main is OLD, with a recipe that trains in seconds."""
    if not Git(HOUSE).ok("cat-file", "-e", f"{OLD}^{{commit}}"):
        pytest.skip(f"this is a clone without {OLD[:7]}; `git fetch --unshallow` brings it")
    demo_folder = DemoFolder(folder)
    folder.mkdir()
    quiet = quiet_git(folder)
    Git(folder, environ=quiet)("init", "--quiet", "--bare", "--initial-branch=main", str(demo_folder.origin))
    Git(HOUSE, environ=quiet)("push", "--quiet", demo_folder.url, f"{OLD}:refs/heads/main")
    Git(folder, environ=quiet)("clone", "--quiet", demo_folder.url, str(demo_folder.clone))
    git = Git(demo_folder.clone, environ=quiet)
    for name, value in zip(("user.name", "user.email"), PERSON, strict=True):
        git("config", name, value)
    (demo_folder.clone / RECIPE).write_text(yaml.safe_dump(tiny({"mode": "off"}, epochs=8)), encoding="utf-8")
    git("add", RECIPE)
    git("commit", "--quiet", "-m", "A tiny recipe")
    git("push", "--quiet", "origin", "main")
    return demo_folder


def push_new_version(demo_folder: DemoFolder) -> Git:
    """Bring the new version into the clone as a branch; returns the clone."""
    Git(HOUSE)("push", "--quiet", str(demo_folder.clone), f"{new_version()}:refs/heads/new-version")
    return Git(demo_folder.clone, environ=quiet_git(demo_folder.folder))


def merge_new_version(demo_folder: DemoFolder) -> None:
    """As docs/SETUP.md says it: fetch the new version, merge it."""
    push_new_version(demo_folder)("merge", "--quiet", "--no-edit", "new-version")


def add_pointer(clone: Path) -> None:
    """What tells a clone in use from a new one."""
    (clone / DATA_SET).mkdir(parents=True)
    (clone / pointer("images")).write_text("outs: []\n", encoding="utf-8")


def upgrade(clone: Path, environ: dict[str, str], *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "wms_ops", "upgrade", *words]
    done = subprocess.run(command, cwd=clone, env=environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[LoopShop]:
    require_tool("weed")
    demo_folder = old_clone(tmp_path / "old")
    cloud = local_cloud(demo_folder.loop, lambda _: None)
    yield LoopShop(demo_folder, cloud)
    cloud.close()


@pytest.mark.slice("long lives", of=3, number=0)
@pytest.mark.timeout(300)
def test_a_clone_in_the_middle_of_its_work_is_upgraded_and_loops_on(shop: LoopShop) -> None:
    demo_folder, clone = shop.demo_folder, shop.demo_folder.clone
    folder = ["--folder", str(demo_folder.loop)]
    place = ["--target", "local", "--folder", str(demo_folder.loop / "cloud")]
    plain = {**demo_folder.environ({}), "OMP_NUM_THREADS": "1"}
    # All of this is done by the old version: its cloud, its hook, a whole run, and half of another.
    up = [sys.executable, "-m", "wms_ops", "cloud", "up", *place]
    subprocess.run(up, cwd=clone, env=plain, check=True, capture_output=True)
    assert not (clone / FILE).exists()
    shop.shell("devops/scripts/install-git-hooks.sh")
    shop.commit_photos(25)
    first = shop.push()
    shop.run(first)
    assert len(shop.ledger()) == 1
    shop.shell("git", "pull", "--quiet")
    shop.commit_photos(12)
    second = shop.push()
    assert start_and_stop(shop, second, "gate", 9)[0]
    half = shop.record(second)
    assert half.outcome is RunOutcome.RUNNING and half.step("train").state is StepState.DONE
    subprocess.run(up, cwd=clone, env=plain, check=True, capture_output=True)
    before = shop.data()

    merge_new_version(demo_folder)
    code, said = upgrade(clone, plain, "--check", *folder)
    assert code == 4, said
    assert FILE in said and f"wms loop run --branch {second}" in said
    assert "The local cloud runs the former code" in said
    assert not (clone / FILE).exists()
    with one_at_a_time(run_store(demo_folder.loop).folder):
        code, said = upgrade(clone, plain, *folder)
        assert code == 85 and said.count("\n") == 1 and not (clone / FILE).exists()
    code, said = upgrade(clone, plain, *folder)
    assert code == 0, said
    names = parse_project((clone / FILE).read_text(encoding="utf-8"), FILE)
    assert (names.region, names.main_branch, names.remote) == ("us-east-1", "main", "origin")
    assert upgrade(clone, plain, "--check", *folder)[0] == 0
    shop.shell("git", "add", "--all")
    shop.shell("git", "commit", "--quiet", "-m", "The new version")
    shop.shell("git", "push", "--quiet", "origin", "main")

    assert "Merged: version 2 is Production" in shop.run(second)
    record = shop.record(second)
    assert record.id == half.id and record.step("train").seconds == half.step("train").seconds
    assert set(before.images.files.items()) < set(shop.data().images.files.items())
    shop.shell("git", "pull", "--quiet")
    assert [entry.to_version for entry in Ledger(clone / "WMS" / "models").entries()] == [1, 2]
    shop.commit_photos(3)
    assert shop.push() not in (first, second)
    assert "Existing: 37, new: 3, total: 40" in shop.pushed


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the old version with its hook, and the new version beside its main; no server is needed."""
    demo_folder = old_clone(tmp_path / "old")
    install_hook(demo_folder.clone)
    return demo_folder.clone


@pytest.mark.slice("upgrades", of=2)
def test_a_team_that_named_its_own_bucket_keeps_it(clone: Path) -> None:
    """Old and new version change the same lines of .dvc/config, so git asks; upgrade waits for the answer."""
    demo_folder = DemoFolder(clone.parent)
    config = clone / ".dvc" / "config"
    config.write_text(config.read_text().replace("s3://water-meters/dvc", BUCKET))
    git = Git(clone, environ=quiet_git(clone.parent))
    add_pointer(clone)
    git("add", "--all")
    git("commit", "--quiet", "-m", "Our bucket")
    assert not push_new_version(demo_folder).ok("merge", "--quiet", "--no-edit", "new-version")
    environ = demo_folder.environ({})
    code, said = upgrade(clone, environ)
    assert code == 2 and ".dvc/config has conflicts" in said and said.count("\n") == 1
    git("checkout", "--ours", ".dvc/config")
    git("add", ".dvc/config")
    git("commit", "--quiet", "--no-edit")
    code, said = upgrade(clone, environ)
    assert code == 0, said
    names = read_project(clone / FILE)
    assert (names.bucket, names.region, names.project) == (BUCKET, "eu-west-1", Project().project)
    changed = [line.split()[-1] for line in git("status", "--porcelain").splitlines()]
    assert changed == [*(f".github/workflows/{name}.yaml" for name in AT_AWS), FILE]
    assert upgrade(clone, environ)[1] == "Nothing must change.\n"


@pytest.mark.slice("upgrades", of=2)
def test_packages_hook_and_files_are_brought_up_to_date_each_by_itself(clone: Path) -> None:
    """Each stale part is named by --check, which changes nothing; killed after any, the next upgrade does the rest."""
    demo_folder = DemoFolder(clone.parent)
    merge_new_version(demo_folder)
    environ = demo_folder.environ({})
    hook = clone / ".git" / "hooks" / "pre-push"
    hook.write_text(hook.read_text() + "# of an earlier version\n")
    add_pointer(clone)
    (clone / ".venv").mkdir()
    (clone / ".venv" / ".installed").touch()
    code, said = upgrade(clone, environ, "--check")
    assert code == 4, said
    assert [line.split()[0] for line in said.splitlines()] == [FILE, "hook", "packages"]
    assert "earlier version" in hook.read_text() and not (clone / FILE).exists()
    (clone / ".venv" / ".installed").write_text('{"groups": ["nothing"]}')
    assert "packages   the record of the packages in .venv can't be read" in upgrade(clone, environ, "--check")[1]
    (clone / ".venv" / ".installed").unlink()  # the installer has tests of its own
    code, said = upgrade(clone, environ)
    assert code == 0 and "earlier version" not in hook.read_text()
    assert read_project(clone / FILE).region == "us-east-1"


@pytest.mark.slice("upgrades", of=2)
def test_records_of_a_newer_version_stop_a_downgrade(clone: Path) -> None:
    demo_folder = DemoFolder(clone.parent)
    merge_new_version(demo_folder)
    run = clone / ".loop" / "runs" / "20270101-000000-data-x-abcd"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"format": 99, "id": "x", "branch": "data/x", "started_at": "2027-01-01"}')
    code, said = upgrade(clone, demo_folder.environ({}))
    assert code == 89 and said.count("\n") == 1 and "newer" in said
    assert not (clone / FILE).exists()


@pytest.mark.slice("upgrades", of=2)
def test_a_new_clone_is_told_nothing(tmp_path: Path) -> None:
    demo_folder = old_clone(tmp_path / "new")
    merge_new_version(demo_folder)
    assert upgrade(demo_folder.clone, demo_folder.environ({}), "--check") == (0, "Nothing must change.\n")


def test_the_former_workflows_are_removed_and_a_teams_own_stay(clone: Path) -> None:
    """A merge keeps a file that the team had changed, and GitHub would run it beside the new ones."""
    demo_folder = DemoFolder(clone.parent)
    merge_new_version(demo_folder)
    environ = demo_folder.environ({})
    assert upgrade(clone, environ)[0] == 0
    folder = clone / ".github" / "workflows"
    (folder / "data.yml").write_text("jobs: {merge: {steps: [{run: .venv/bin/wms data merge}]}}\n")
    (folder / "cloud.yml").write_text("jobs: {ours: {steps: [{run: make weather}]}}\n")
    code, said = upgrade(clone, environ, "--check")
    assert code == 4 and said.startswith("workflow") and said.count("\n") == 1, said
    assert ".github/workflows/data.yml is an earlier version's" in said and (folder / "data.yml").exists()
    assert upgrade(clone, environ)[0] == 0
    assert not (folder / "data.yml").exists() and (folder / "cloud.yml").exists()
    assert upgrade(clone, environ, "--check") == (0, "Nothing must change.\n")
