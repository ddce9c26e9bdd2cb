"""A folder that is a symbolic link to a user's own files: no command clears or fills it, each refuses by a sentence.

Each test links, fills the target with files under names that the command would delete or replace, and compares after.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from wms.data.manifest import DataSet, Manifest
from wms.data.synthetic import _make_room
from wms.errors import UnwritableError
from wms.files import write_atomic
from wms.links import remove_file, remove_files
from wms.registry.sync import place, stage
from wms_ops.base.layout import DATA_SET, MODELS
from wms_ops.commands.main import main
from wms_ops.dataset.fetch import bring
from wms_ops.dataset.takeback_files import finish, note
from wms_ops.git.command import Git
from wms_ops.machine.deployment import _tidy
from wms_ops.machine.record import CloudRecord
from wms_ops.machine.workspace import Workspace
from wms_ops.storage.remote import S3Remote


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


PHOTO = b"a photo"
SET = DataSet(Manifest({"a.jpg": md5(PHOTO)}), Manifest({"a.png": md5(PHOTO)}), None, None)


class Store:
    """Holds one photo; `meanwhile` is what an attacker does when it is asked for."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.meanwhile = meanwhile

    def read_blob(self, oid: str, target: Path) -> None:
        assert oid == md5(PHOTO)
        self.meanwhile()
        write_atomic(target, PHOTO)


def store(meanwhile: Callable[[], None] = lambda: None) -> S3Remote:
    return cast(S3Remote, Store(meanwhile))


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A user's own files, outside of the clone."""
    folder = tmp_path / "theirs"
    for name in ("a.jpg", "wedding.jpg", "images/a.jpg", "images/wedding.jpg", "dataset/images/wedding.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"the only copy")
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    git = Git(tmp_path)
    git("init", "--quiet", "clone")
    return tmp_path / "clone"


def state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("linked", [f"{DATA_SET}/images", f"{DATA_SET}/masks", DATA_SET, "WMS/data", "WMS"])
@pytest.mark.attack("a contributor of data", "a link at dataset/images", "folders are opened without following links")
def test_a_fetch_into_a_linked_folder_deletes_nothing(linked: str, clone: Path, theirs: Path) -> None:
    before = state(theirs)
    (clone / linked).parent.mkdir(parents=True, exist_ok=True)
    (clone / linked).symlink_to(theirs)
    with pytest.raises(UnwritableError, match=r"is a symbolic link to .*, so nothing was deleted or written there"):
        bring(store(), SET, clone / DATA_SET, top=clone)
    assert state(theirs) == before


@pytest.mark.attack(
    "a contributor of data",
    "a link that is swapped in during a download",
    "a second look before each write",
)
def test_a_link_that_takes_the_folders_place_during_the_download(clone: Path, theirs: Path) -> None:
    before = state(theirs)
    images = clone / DATA_SET / "images"
    images.mkdir(parents=True)

    def swap() -> None:
        if not images.is_symlink():
            shutil.rmtree(images)
            images.symlink_to(theirs)

    with pytest.raises(UnwritableError, match="is a symbolic link"):
        bring(store(swap), DataSet(Manifest({f"{n}.jpg": md5(PHOTO) for n in range(40)}), SET.masks, None, None),
              clone / DATA_SET, top=clone)  # fmt: skip
    assert {name: content for name, content in state(theirs).items() if name in before} == before


def test_a_link_that_takes_the_folders_place_between_look_and_deletion(
    clone: Path, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look is made to find nothing, as for a link that comes a moment later."""
    before = state(theirs)
    (clone / "WMS").mkdir()
    (clone / "WMS" / "data").symlink_to(theirs)
    monkeypatch.setattr("wms.links.refuse_links", lambda folder, top: None)
    with pytest.raises(UnwritableError):
        remove_files(clone / "WMS/data/images", clone, lambda name: True)
    with pytest.raises(UnwritableError):
        remove_file(clone / "WMS/data/images/a.jpg", clone)
    assert state(theirs) == before


def test_what_lies_in_the_folder_itself_goes_and_links_in_it_are_not_followed(clone: Path, theirs: Path) -> None:
    before = state(theirs)
    folder = clone / DATA_SET / "images"
    (folder / "deeper").mkdir(parents=True)
    for name in ("old.jpg", "deeper/old.jpg", "a.jpg"):
        (folder / name).write_bytes(b"x")
    (folder / "link.jpg").symlink_to(theirs / "wedding.jpg")
    (folder / "linked").symlink_to(theirs)
    assert bring(store(), SET, clone / DATA_SET, top=clone).removed == 3
    assert state(folder) == {"a.jpg": PHOTO} and (folder / "linked").is_symlink()
    assert state(theirs) == before


def test_an_erase_asks_for_a_real_folder_before_it_begins(
    clone: Path, theirs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(theirs)
    (clone / DATA_SET).parent.mkdir(parents=True)
    (clone / DATA_SET).symlink_to(theirs)
    monkeypatch.chdir(clone)
    assert main(["data", "erase", "a", "--yes-erase", "a", "--reason", "asked to"]) == UnwritableError.exit_code
    assert "is a symbolic link" in capsys.readouterr().err
    assert state(theirs) == before


def test_photos_taken_back_from_a_folder_that_became_a_link(clone: Path, theirs: Path) -> None:
    """The content is the noted one, too: only the link tells that these are other files."""
    git = Git(clone)
    (clone / "README.md").write_text("x")
    git("add", "README.md")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "x")
    path = "WMS/data/training/images/a.jpg"
    note(git, "HEAD", git.commit("HEAD"), {path: ("0" * 40, md5(b"the only copy"))})
    (clone / path).parent.parent.mkdir(parents=True)
    (clone / path).parent.symlink_to(theirs)
    before = state(theirs)
    finish(git, "HEAD")
    assert state(theirs) == before


@pytest.mark.parametrize("linked", [MODELS, f"{MODELS}/.sync"])
@pytest.mark.attack("a contributor of data", "a link at WMS/models", "refused by name")
def test_a_model_is_not_brought_through_a_link(linked: str, clone: Path, theirs: Path) -> None:
    for name in ("production.pth", "MODEL_CARD.md"):
        (theirs / name).write_bytes(b"the only copy")
    before = state(theirs)
    (clone / linked).parent.mkdir(parents=True, exist_ok=True)
    (clone / linked).symlink_to(theirs)
    for act in (lambda: stage(clone / MODELS, {"production.pth": b"new"}), lambda: place(clone / MODELS)):
        with pytest.raises(UnwritableError, match="is a symbolic link"):
            act()
    assert state(theirs) == before


def test_served_releases_behind_a_link_stay(tmp_path: Path, theirs: Path) -> None:
    before = state(theirs)
    workspace = Workspace(tmp_path / "loop")
    workspace.folder.mkdir()
    workspace.releases.symlink_to(theirs)
    _tidy(workspace, CloudRecord())
    assert state(theirs) == before


def test_synthetic_photos_behind_a_link_stay(tmp_path: Path, theirs: Path) -> None:
    (theirs / "meter_1_value_2.jpg").write_bytes(b"the only copy")
    before = state(theirs)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "images").symlink_to(theirs)
    with pytest.raises(UnwritableError, match="is a symbolic link"):
        _make_room(tmp_path / "made", force=True)
    assert state(theirs) == before


def test_checkpoints_of_another_run_behind_a_link_stay(tmp_path: Path, theirs: Path) -> None:
    from wms.training.checkpoint import CheckpointManager

    (theirs / "step_1.pt").write_bytes(b"the only copy")
    (theirs / "index.json").write_text(json.dumps([]))
    before = state(theirs)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to(theirs)
    with pytest.raises(UnwritableError, match="is a symbolic link"):
        CheckpointManager(tmp_path / "run" / "checkpoints", {}, keep_every=1).save({}, epoch=1, step=1, epoch_end=True)
    assert state(theirs) == before
