"""Line ends, letter case and names as Windows has them: CRLF checkouts and archives, `IMG.JPG` beside `img.jpg`."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from workshop import INBOX, Workshop, said

from wms.config import load_config
from wms.data.manifest import Pointer
from wms.data.qa.names import unsafe
from wms.data.splits import SplitRecord
from wms.files import read_json_lines
from wms.project import Project, project_text, read_project
from wms.registry.ledger import Ledger
from wms.registry.metadata import metadata_fault
from wms_ops.storage.config import read_remote
from wms_ops.targets.aws.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "WMS" / "tests" / "samples" / "v1"
LONGEST = 120  # of 260 on Windows, the rest is for the folder that holds the clone


def own_names() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("this isn't a clone")
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True)
    return done.stdout.decode("utf-8").split("\0")[:-1]


def test_windows_can_have_every_file_of_this_repository() -> None:
    names = own_names()
    folders = {"/".join(name.split("/")[:end]) for name in names for end in range(1, name.count("/") + 2)}
    folded = [name.casefold() for name in folders]
    assert len(set(folded)) == len(folded), "two names differ by case only"
    assert not [name for name in names if len(name) > LONGEST]
    parts = {part for name in names for part in name.split("/")}
    assert not {part for part in parts if unsafe(part.removeprefix("."))}


@pytest.mark.parametrize("setting", ["core.autocrlf=true", "core.eol=crlf", "core.autocrlf=input"])
def test_a_checkout_has_the_bytes_that_shells_and_hashes_need(setting: str, tmp_path: Path) -> None:
    own_names()
    clone = tmp_path / "clone"
    git = ["git", "-c", setting, "-c", "core.hooksPath=hooks"]
    subprocess.run([*git, "clone", "-q", str(ROOT), str(clone)], check=True, capture_output=True, timeout=120)
    done = subprocess.run([*git, "ls-files", "--eol"], cwd=clone, capture_output=True, text=True, check=True)
    found = re.findall(r"^i/\S*\s+w/(\S*)\s+attr/.*?\t(.*)$", done.stdout, re.MULTILINE)
    ends = {name: end for end, name in found}
    assert "lf" in ends.values()
    other = {name: end for name, end in ends.items() if end not in ("lf", "-text", "none")}
    assert set(other.values()) <= {"crlf"} and all(name.endswith(".bat") for name in other), other
    status = subprocess.run([*git, "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert not status.stdout


def crlf(source: Path, folder: Path) -> Path:
    """A copy of a file, all of whose lines end as an archive for Windows has them."""
    target = folder / source.name
    target.write_bytes(source.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    return target


def ledger_of(path: Path) -> object:
    return Ledger(path.parent).entries()


def metadata_of(path: Path) -> object:
    return metadata_fault(path, Ledger(path.parent / "no ledger")).replace(str(path.parent), "")


def pointer_of(path: Path) -> object:
    return Pointer.parse(path.read_text(encoding="utf-8"), path.name)


def remote_of(path: Path) -> object:
    folder = path.parent / ".dvc"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / "config")
    return read_remote(path.parent, environ={})


POINTER = "outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  nfiles: 2\n  hash: md5\n  path: images\n"
READERS: dict[str, tuple[Path | str, Callable[[Path], object]]] = {
    "ledger": (SAMPLES / "production_history.jsonl", ledger_of),
    "splits": (SAMPLES / "splits.jsonl", lambda path: SplitRecord(path).entries),
    "metadata": (SAMPLES / "model-metadata.json", metadata_of),
    "metrics": (SAMPLES / "metrics.jsonl", lambda path: list(read_json_lines(path))),
    "recipe": (ROOT / "WMS" / "configs" / "train.yaml", load_config),
    "pointer": (POINTER, pointer_of),
    "wms.toml": (project_text(Project(remote="upstream")), read_project),
    "dvc config": ("[core]\n    remote = storage\n['remote \"storage\"']\n    url = s3://acme/dvc\n", remote_of),
    "tfvars": (
        ROOT / "infrastructure" / "terraform" / "wms.tfvars.example",
        lambda path: read_settings(path, environ={}),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_a_record_is_read_right_with_windows_line_ends(name: str, tmp_path: Path) -> None:
    """As in a ZIP download that a tool converted wholly: no hash and no value changes."""
    source, read = READERS[name]
    if isinstance(source, str):
        path = tmp_path / "as written" / "wms.toml"
        path.parent.mkdir()
        path.write_text(source, encoding="utf-8", newline="\n")
        source = path
    plain = tmp_path / "plain"
    plain.mkdir()
    shutil.copy(source, plain / source.name)
    folder = tmp_path / "crlf"
    folder.mkdir()
    assert b"\r\n" in crlf(source, folder).read_bytes()
    assert read(folder / source.name) == read(plain / source.name)


def test_appending_to_a_record_with_windows_line_ends_keeps_it_readable(tmp_path: Path) -> None:
    path = crlf(SAMPLES / "production_history.jsonl", tmp_path)
    crlf(SAMPLES / "production_current.json", tmp_path)
    ledger = Ledger(tmp_path)
    ledger.append(ledger.entries()[-1])  # the newest again, as a repeated promotion does
    assert path.read_bytes().count(b"\n") == len(ledger.entries())


def blob(shop: Workshop, clone: Path, source: str, name: str) -> None:
    """Add a file under a name that a file system without case couldn't hold beside the other."""
    made = shop.run("git", "hash-object", "-w", source, where=clone).stdout.strip()
    shop.run("git", "update-index", "--add", "--cacheinfo", f"100644,{made},{name}", where=clone)


@pytest.fixture
def careless(shop: Workshop) -> Path:
    """A clone as Git makes one on Windows and macOS, with three pairs committed and pushed to main's data set."""
    clone = shop.clone()
    shop.run("git", "config", "core.ignorecase", "true", where=clone)
    return clone


def test_photos_whose_names_differ_in_case_are_refused_by_name(careless: Path, shop: Workshop) -> None:
    (one, *_) = shop.photos(careless, 2, prefix="meter")
    shop.commit(careless)
    photo, mask = f"{INBOX}/images/{one}.jpg", f"{INBOX}/masks/{one}.png"
    blob(shop, careless, photo, photo.replace(one, one.upper()))
    blob(shop, careless, mask, mask.replace(one, one.upper()))
    shop.run("git", "commit", "-qm", "The same in capitals", where=careless)
    done = shop.push(careless)
    assert done.returncode == 1 and not shop.data_branches(), said(done)
    assert f"{one}: " in said(done) and f"'{one.upper()}'" in said(done)


def test_a_new_photo_that_differs_in_case_from_the_data_set_is_refused(careless: Path, shop: Workshop) -> None:
    (one, *_) = shop.photos(careless, 2, prefix="meter")
    shop.commit(careless)
    shop.push(careless)
    shop.merge(shop.data_branches()[0])
    other = shop.clone("other")
    shop.run("git", "config", "core.ignorecase", "true", where=other)
    shop.photos(other, 1, seed=5, prefix=one.rpartition("_")[0].upper())
    shop.commit(other)
    before = shop.branches()
    done = shop.push(other)
    assert done.returncode == 1 and shop.branches() == before, said(done)
    assert "case" in said(done) and one in said(done)


def test_a_folder_in_capitals_is_no_way_around_the_hook(careless: Path, shop: Workshop) -> None:
    """On Windows `Images` is `images`; a commit that names the folder so must not bring photos to main unseen."""
    (one, *_) = shop.photos(careless, 1)
    photo = f"{INBOX}/images/{one}.jpg"
    blob(shop, careless, photo, photo.replace("/images/", "/Images/"))
    shop.run("git", "commit", "-qm", "A folder in capitals", where=careless)
    before = shop.branches()
    done = shop.push(careless)
    assert done.returncode != 0 and shop.branches() == before, said(done)
    assert "Images" in said(done)


def test_a_push_from_a_clone_without_case_goes_to_a_data_branch(careless: Path, shop: Workshop) -> None:
    shop.photos(careless, 2)
    (careless / INBOX / "images" / "s1_0.jpg").rename(careless / INBOX / "images" / "s1_0.JPG")
    shop.commit(careless)
    done = shop.push(careless)
    assert done.returncode == 1 and "new: 2" in said(done), said(done)
    shop.assert_complete()
