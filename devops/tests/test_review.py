"""What a data branch may change, on real repositories: two pointers or raw photos, and nothing else by any disguise."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from wms.errors import SplitError
from wms_ops.base.errors import BranchContentError
from wms_ops.base.layout import INBOX, METADATA, SPLITS
from wms_ops.dataset.review import POINTERS, RECORDS, adds_records_only, changes_of, refuse_foreign, rests_on
from wms_ops.git.command import Git
from wms_ops.loop.workspace import refuse_moved_splits

BRANCH = "data/20261127-120000"
PHOTOS = (f"{INBOX}/images/new.jpg", f"{INBOX}/masks/new.png")


@dataclass
class Project:
    """A repository with a main and, from `start` on, a data branch that is checked out."""

    folder: Path
    git: Git

    def write(self, *paths: str, text: str = "other\n") -> None:
        for path in paths:
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")

    def commit(self) -> str:
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "-m", "A commit")
        return self.git("rev-parse", "HEAD")

    def on_main(self, *paths: str, text: str = "newer\n") -> str:
        """One more commit on main; the data branch is checked out again."""
        self.git("checkout", "--quiet", "main")
        self.write(*paths, text=text)
        made = self.commit()
        self.git("checkout", "--quiet", "branch")
        return made

    @property
    def main(self) -> str:
        return self.git("rev-parse", "main")

    def refuse(self) -> None:
        refuse_foreign(self.git, self.main, self.git("rev-parse", "branch"), BRANCH)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    folder = tmp_path / "a prøject"
    folder.mkdir()
    made = Project(folder, Git(folder, {"user.name": "Ada", "user.email": "ada@example.org"}))
    made.git("init", "--quiet", "--initial-branch=main")
    made.write(
        *POINTERS, *RECORDS, "README.md", "hooks/pre-push", ".dvc/config", "WMS/configs/train.yaml", text="old\n"
    )
    made.write(f"{INBOX}/images/.gitkeep", f"{INBOX}/masks/.gitkeep", text="")
    made.commit()
    made.git("checkout", "--quiet", "-b", "branch")
    yield made


def link(project: Project, path: str) -> None:
    (project.folder / path).unlink(missing_ok=True)
    (project.folder / path).symlink_to("/etc/passwd")


def submodule(project: Project, path: str) -> None:
    project.git("clone", "--quiet", str(project.folder), str(project.folder / path))


def executable(project: Project, path: str) -> None:
    (project.folder / path).chmod(0o755)


def remove(project: Project, path: str) -> None:
    (project.folder / path).unlink()


def folder_in_place(project: Project, path: str) -> None:
    remove(project, path)
    project.write(f"{path}/inside")


FOREIGN: Final[dict[str, tuple[str, Callable[[Project, str], None]]]] = {
    "a training stage": ("WMS/src/wms/training/loop.py", Project.write),
    "a workflow": (".github/workflows/data-pushed.yaml", Project.write),
    "a hook": ("hooks/pre-push", Project.write),
    "the recipe": ("WMS/configs/train.yaml", Project.write),
    "the store's address": (".dvc/config", Project.write),
    "the store's own settings": (".dvc/config.local", Project.write),
    "Git's attributes": (".gitattributes", Project.write),
    "a file that goes": ("README.md", remove),
    "a file that becomes a program": ("README.md", executable),
    "a pointer as a link": (POINTERS[0], link),
    "a pointer as a program": (POINTERS[1], executable),
    "a pointer that goes": (POINTERS[1], remove),
    "a pointer as a folder": (POINTERS[1], folder_in_place),
    "a record as a link": (SPLITS, link),
    "a photo as a link": (PHOTOS[0], link),
    "a submodule as a photo": (f"{INBOX}/images/new", submodule),
    "a folder in the inbox": (f"{INBOX}/images/more/new.jpg", Project.write),
    "a file beside the photos": (f"{INBOX}/run.py", Project.write),
    "a placeholder": (f"{INBOX}/images/.gitkeep", Project.write),
    "a name that looks like a pointer": (f"{POINTERS[0]} ", Project.write),
    "a name in another case": ("wms/data/dataset/images.dvc", Project.write),
    "a name of two lines": ("two\nlines", Project.write),
    "a name that isn't text": (os.fsdecode(b"caf\xe9"), Project.write),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_anything_else_is_refused_by_name(project: Project, kind: str) -> None:
    path, change = FOREIGN[kind]
    project.write(*POINTERS)
    change(project, path)
    project.commit()
    with pytest.raises(BranchContentError) as caught:
        project.refuse()
    assert repr(path) in str(caught.value) or repr(f"{path}/inside") in str(caught.value)
    assert BRANCH in str(caught.value) and caught.value.exit_code == 99


def test_pointers_alone_pass(project: Project) -> None:
    project.write(*POINTERS)
    commit = project.commit()
    project.refuse()
    assert rests_on(project.git, project.main, commit)


def test_photos_alone_pass_also_with_a_camera_card_s_modes(project: Project) -> None:
    project.write(*PHOTOS)
    executable(project, PHOTOS[0])
    project.commit()
    project.refuse()


def test_photos_and_pointers_together_are_refused(project: Project) -> None:
    project.write(*PHOTOS, POINTERS[0])
    project.commit()
    with pytest.raises(BranchContentError, match="does one of both") as caught:
        project.refuse()
    assert POINTERS[0] in str(caught.value) and PHOTOS[0] in str(caught.value)


def test_records_pass_but_are_never_taken(project: Project) -> None:
    project.write(*POINTERS, *RECORDS)
    commit = project.commit()
    project.refuse()
    assert not rests_on(project.git, project.main, commit)


def test_an_older_start_is_no_change(project: Project) -> None:
    project.write(*POINTERS)
    commit = project.commit()
    project.on_main("README.md", "WMS/src/new.py", METADATA)
    project.refuse()
    assert [change.path for change in changes_of(project.git, project.main, commit)] == list(POINTERS)
    assert not rests_on(project.git, project.main, commit)


def test_what_the_branch_changed_stays_its_change_after_main_was_merged_into_it(project: Project) -> None:
    project.write("hooks/pre-push", *POINTERS)
    project.commit()
    project.on_main("README.md")
    project.git("merge", "--quiet", "--no-edit", "main")
    with pytest.raises(BranchContentError, match=r"'hooks/pre-push'") as caught:
        project.refuse()
    assert "README" not in str(caught.value)


def test_a_branch_without_a_common_past_is_compared_with_main(project: Project) -> None:
    project.git("checkout", "--quiet", "--orphan", "alone")
    project.write("hooks/pre-push")
    project.commit()
    project.git("branch", "--force", "branch", "alone")
    with pytest.raises(BranchContentError, match="hooks/pre-push"):
        project.refuse()


def test_a_commit_that_only_removes_main_s_newer_files_is_refused(project: Project) -> None:
    newer = project.on_main("WMS/src/guard.py")
    project.git("merge", "--quiet", "--no-edit", newer)
    remove(project, "WMS/src/guard.py")
    project.commit()
    with pytest.raises(BranchContentError, match=r"'WMS/src/guard.py' \(removed\)"):
        project.refuse()


def test_many_paths_are_counted(project: Project) -> None:
    project.write(*(f"WMS/src/many_{number:02}.py" for number in range(14)))
    project.commit()
    with pytest.raises(BranchContentError, match=r"many_00.*many_09.py' and 4 more"):
        project.refuse()


def test_a_commit_of_records_is_known_by_what_it_holds(project: Project) -> None:
    before = project.git("rev-parse", "HEAD")
    project.write(SPLITS)
    records = project.commit()
    project.write("README.md")
    more = project.commit()
    assert adds_records_only(project.git, before, records)
    assert not adds_records_only(project.git, records, more)
    assert not adds_records_only(project.git, before, more)
    assert not adds_records_only(project.git, before, before)


def line(digit: str, split: str) -> str:
    return json.dumps({"sha256": digit * 64, "look": digit * 64, "split": split}) + "\n"


def test_an_instance_may_add_splits_but_move_none(project: Project) -> None:
    old = line("1", "test") + line("2", "train")
    project.write(SPLITS, text=old)
    commit = project.commit()
    project.write(SPLITS, text=old + line("3", "val"))
    refuse_moved_splits(project.git, commit)
    moved = line("1", "train") + line("2", "train") + line("3", "val")
    contradicted = old + line("1", "train")
    for text in (moved, contradicted, line("2", "train"), "", old + "no line of it\n" * 2):
        project.write(SPLITS, text=text)
        with pytest.raises(SplitError):
            refuse_moved_splits(project.git, commit)
    (project.folder / SPLITS).unlink()
    with pytest.raises(SplitError, match="recorded lines changed"):
        refuse_moved_splits(project.git, commit)
