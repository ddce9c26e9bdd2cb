"""`wms init` and the bucket, on a real S3 server: one project each; a data set made by DVC is adopted where it lies."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from s3_server import S3Server
from servers import free_port
from small import recipe
from workshop import Workshop, fingerprint, said

from wms.data.splits import SplitRecord
from wms.data.synthetic import write_dataset
from wms.errors import ManifestError, PairingError, UsageError
from wms.files import parse_json
from wms_ops.base.errors import BucketNotFoundError, MissingBlobError, StoreConfigError
from wms_ops.base.layout import KINDS, SPLITS, pointer
from wms_ops.commands.checks import check_bucket
from wms_ops.commands.finding import State
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.marker import MARKER, claim
from wms_ops.storage.remote import S3Remote

pytestmark = pytest.mark.slice("data of a new project", of=2)

PHOTOS = 24
KEYS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
SILENT = ["no keys", "no network"]


def init(shop: Workshop, clone: Path, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wms_ops", "init", *options]
    return shop.run(*command, where=clone, check=False, WMS_PROJECT=str(clone / "wms.toml"), **more)


def mark(remote: S3Remote) -> str | None:
    content = remote.read_note(MARKER)
    return None if content is None else str(parse_json(content)["project"])


def test_a_bucket_is_marked_once_and_refused_to_another_project(shop: Workshop) -> None:
    clone = shop.clone()
    done = init(shop, clone, "--project", "acme", "--bucket", shop.config.url)
    assert done.returncode == 0 and "is now marked as this project's" in done.stdout
    assert mark(shop.store()) == "acme"
    assert parse_json(shop.store().read_note(MARKER) or b"").keys() == {"format", "project", "made_at"}
    again = init(shop, clone)
    assert again.returncode == 0 and "is marked as this project's" in again.stdout
    other = shop.clone("other")
    before = fingerprint(other)
    done = init(shop, other, "--project", "second", "--bucket", shop.config.url)
    assert done.returncode == StoreConfigError.exit_code
    assert "holds the data set of the project 'acme', and this is the project 'second'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert fingerprint(other) == before and mark(shop.store()) == "acme"


@pytest.mark.parametrize(("below", "project"), [("more", "second"), ("a/b", "second"), ("files/md5", "acme")])
def test_a_prefix_inside_another_data_set_is_refused(remote: S3Remote, below: str, project: str) -> None:
    claim(remote, "acme")
    inner = remote.at(f"{remote.config.prefix}/{below}")
    with pytest.raises(StoreConfigError, match=f"{below} lies inside {remote.config.url}, .* project 'acme'"):
        claim(inner, project)
    assert mark(inner) is None
    assert claim(remote.at(f"{remote.config.prefix}/main"), "acme"), "an own prefix beside the files"


def test_doctor_reports_the_mark_of_another_project(remote: S3Remote, tmp_path: Path, s3: S3Server) -> None:
    config = remote.config
    (tmp_path / ".dvc").mkdir()
    lines = ("[core]", "remote = r", "['remote \"r\"']", f"url = {config.url}", f"endpointurl = {config.endpoint_url}")
    keys = [f"{name.lower().removeprefix('aws_')} = {s3.environ[name]}" for name in KEYS]
    (tmp_path / ".dvc/config").write_text("\n".join(lines))
    (tmp_path / ".dvc/config.local").write_text("\n".join(["['remote \"r\"']", *keys]))
    (tmp_path / "wms.toml").write_text('project = "second"\n')
    assert check_bucket(tmp_path).state is State.FINE, "no mark"
    claim(remote, "acme")
    with pytest.raises(StoreConfigError, match="the project 'acme', and this is the project 'second'"):
        check_bucket(tmp_path)
    (tmp_path / "wms.toml").write_text('project = "acme"\n')
    assert check_bucket(tmp_path).state is State.FINE


@pytest.mark.parametrize("why", SILENT)
def test_without_an_answer_the_names_are_written_and_the_first_push_checks(shop: Workshop, why: str) -> None:
    clone = shop.clone()
    nobody = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{free_port()}"}
    more = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""} if why == "no keys" else nobody
    done = init(shop, clone, "--project", "acme", "--bucket", shop.config.url, **more)
    assert done.returncode == 0 and "is checked at the first push" in done.stdout, said(done)
    assert (clone / "wms.toml").is_file() and mark(shop.store()) is None


def test_a_bucket_that_is_not_there_is_told_and_nothing_is_written(shop: Workshop) -> None:
    clone = shop.clone()
    before = fingerprint(clone)
    done = init(shop, clone, "--bucket", "s3://no-such-bucket-of-ours/dvc")
    assert done.returncode == BucketNotFoundError.exit_code
    assert fingerprint(clone) == before


def test_a_photos_push_marks_an_old_data_set_and_is_refused_to_a_second_project(shop: Workshop) -> None:
    clone = shop.clone()
    assert mark(shop.store()) is None
    shop.photos(clone, 2)
    shop.commit(clone)
    shop.push(clone)
    assert mark(shop.store()) == "water-meter-segmentation"
    (branch,) = shop.data_branches()
    copied = shop.clone("copied")
    (copied / "wms.toml").write_text('project = "second"\n')
    shop.photos(copied, 2, seed=2)
    shop.commit(copied)
    objects = shop.store()._bucket.names(shop.config.prefix)
    done = shop.push(copied, WMS_PROJECT=str(copied / "wms.toml"))
    assert done.returncode and "holds the data set of the project 'water-meter-segmentation'" in said(done)
    assert shop.data_branches() == [branch]
    assert shop.store()._bucket.names(shop.config.prefix) == objects


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{}", "doesn't say whose data set lies there"),
        (b"\xff", "doesn't say whose data set lies there"),
        (b"[]", "doesn't say whose data set lies there"),
        (b'{"project": 7}', "doesn't say whose data set lies there"),
        (b'{"format": 2, "project": "acme"}', "was written by a newer version"),
    ],
)
def test_a_mark_that_says_nothing_is_told(remote: S3Remote, content: bytes, words: str) -> None:
    remote.write_note(MARKER, content)
    with pytest.raises(StoreConfigError, match=words):
        claim(remote, "acme")
    assert remote.read_note(MARKER) == content


def test_of_two_projects_that_begin_at_once_one_wins(shop: Workshop) -> None:
    clones = [shop.clone(f"clone{number}") for number in range(4)]
    names = ["first", "second", "first", "second"]
    environ = {**shop.environ, "WMS_PROJECT": str(shop.folder / "none.toml")}
    command = [sys.executable, "-m", "wms_ops", "init", "--bucket", shop.config.url, "--project"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    runs = [
        subprocess.Popen([*command, name], cwd=clone, env=environ, **pipes)  # type: ignore[call-overload]
        for clone, name in zip(clones, names, strict=True)
    ]
    texts = [run.communicate(timeout=120)[0] for run in runs]
    winner = mark(shop.store())
    assert winner in names
    for name, clone, run, text in zip(names, clones, runs, texts, strict=True):
        assert run.returncode == (0 if name == winner else StoreConfigError.exit_code), text
        assert (clone / "wms.toml").exists() == (name == winner)


@dataclass
class Theirs:
    """A team's repository with a data set that `dvc add` and `dvc push` made, and with this project's files."""

    shop: Workshop
    clone: Path

    def dvc(self, *words: str) -> None:
        self.shop.run(sys.executable, "-m", "dvc", *words, where=self.clone)

    def add(self, *folders: str) -> list[str]:
        """Bring folders into the data set; returns the names of the .dvc files."""
        for folder in folders:
            self.dvc("add", "--quiet", folder)
        self.dvc("push", "--quiet")
        self.shop.commit(self.clone, "Their data set")
        return [f"{folder}.dvc" for folder in folders]

    def init(self, *options: str) -> subprocess.CompletedProcess[str]:
        return init(self.shop, self.clone, "--project", "acme", *options)

    def objects(self) -> set[str]:
        remote = self.shop.store()
        return set(remote._bucket.names(f"{remote.config.prefix}/files"))


@pytest.fixture
def theirs(shop: Workshop) -> Theirs:
    clone = shop.clone("theirs")
    write_dataset(clone / "data", PHOTOS, seed=5, size=96)
    return Theirs(shop, clone)


def test_two_directories_of_dvc_are_adopted_and_the_loop_of_photos_goes_on(theirs: Theirs) -> None:
    clone = theirs.clone
    files = theirs.add("data/images", "data/masks")
    before = theirs.objects()
    done = theirs.init("--data", *files)
    assert done.returncode == 0, said(done)
    assert f"Adopted {PHOTOS} photos with their masks" in done.stdout and "none was moved" in done.stdout
    assert theirs.objects() == before
    assert theirs.init("--data", *files).stdout.count("nothing was changed") == 1
    for kind in KINDS:
        (mine,), (yours,) = (
            yaml.safe_load((clone / name).read_text())["outs"] for name in (pointer(kind), f"data/{kind}.dvc")
        )
        assert mine == yours
    went_on(theirs)


def test_one_directory_with_other_names_is_adopted(theirs: Theirs) -> None:
    clone = theirs.clone
    (clone / "data/images").rename(clone / "data/imgs")
    (clone / "data/masks").rename(clone / "data/labels")
    (clone / "data/README.txt").write_text("how it was made")
    (file,) = theirs.add("data")
    before = theirs.objects()
    done = theirs.init("--data", file)
    assert done.returncode == UsageError.exit_code
    assert "has no images/, but it has imgs, labels; name its two with --images and --masks" in done.stderr
    done = theirs.init("--data", file, "--images", "imgs", "--masks", "labels")
    assert done.returncode == 0, said(done)
    assert "1 other files of the directory stay outside" in done.stdout
    new = theirs.objects() - before
    assert len(new) == len(KINDS) and all(key.endswith(".dir") for key in new), "two manifests"
    went_on(theirs)


def went_on(theirs: Theirs) -> None:
    """The adopted data set is pushed, verified, fetched by both ways, split, and grows by the hook."""
    shop, clone = theirs.shop, theirs.clone
    wms = [sys.executable, "-m", "wms_ops"]
    shop.commit(clone, "Name this project")
    names = {"WMS_PROJECT": str(clone / "wms.toml")}
    done = shop.push(clone, **names)
    assert done.returncode == 0, said(done)
    assert f"of {PHOTOS} photos" in shop.run(*wms, "data", "verify", where=clone, **names).stdout
    fresh = shop.clone("fresh")
    (fresh / "own" / "images").mkdir(parents=True)
    (fresh / "own" / "images" / "mine.jpg").write_bytes(b"a photo")
    refused = shop.run(*wms, "data", "fetch", "--folder", "own", where=fresh, check=False, **names)
    assert refused.returncode == 2 and "mine.jpg was never fetched" in said(refused)
    assert [path.name for path in (fresh / "own").rglob("*.*")] == ["mine.jpg"]
    shop.run(*wms, "data", "fetch", where=fresh, **names)
    photos = {path.name: path.read_bytes() for path in (fresh / "WMS/data/dataset").glob("*/*")}
    assert len(photos) == 2 * PHOTOS
    pulled = shop.clone("pulled")
    shop.run(sys.executable, "-m", "dvc", "pull", "--quiet", pointer("images"), pointer("masks"), where=pulled)
    assert {path.name: path.read_bytes() for path in (pulled / "WMS/data/dataset").glob("*/*")} == photos
    (fresh / "tiny.yaml").write_text(yaml.safe_dump(recipe(data={"cache_folder": str(fresh / "cache")})))
    where = ["--data", "WMS/data/dataset", "--splits", SPLITS, "--output", "prepared.json"]
    shop.run(*wms, "data", "prepare", "--config", "tiny.yaml", *where, where=fresh, **names)
    splits = {entry.split for entry in SplitRecord(fresh / SPLITS).entries}
    assert len(SplitRecord(fresh / SPLITS)) == PHOTOS and {"train", "val", "test"} <= splits
    other = shop.clone("labeller")
    shop.photos(other, 3, seed=9)
    shop.commit(other)
    done = shop.push(other, **names)
    assert f"Existing: {PHOTOS}, new: 3, total: {PHOTOS + 3}" in said(done)
    shop.assert_complete()


POINTER = "outs:\n- md5: d751713988987e9331980363e24189ce.dir\n  nfiles: 0\n  hash: md5\n  path: images\n"
REFUSED_DATA = {
    "no partner": (PairingError, "2 files have no partner of the same name"),
    "not pushed": (MissingBlobError, "aren't in s3://"),
    "a subfolder": (
        ManifestError,
        "1 file isn't a photo or mask right in the folder of its kind, so nothing was adopted:\n  images/more/x.png",
    ),
    "no photo": (ManifestError, "images/notes.txt"),
    "DVC 2": (ManifestError, "data/images.dvc can't be adopted: it was written by DVC 2; run `dvc cache migrate --dvc"),
    "a file": (ManifestError, "it stands for a single file"),
    "import": (ManifestError, "its files belong to another repository"),
    "versions": (ManifestError, "the store's own versions name its files"),
    "folder": (None, "There is no .dvc file data/images; did you mean data/images.dvc?"),
    "no folders": (UsageError, "images.dvc has no folders; name two .dvc files, of photos and of masks."),
    "no file": (None, "There is no .dvc file data/nothing.dvc"),
    "nonsense": (ManifestError, "data/images.dvc is not a .dvc file with one output"),
    "three": (UsageError, "--data takes one .dvc file, or one of photos and one of masks, but got 3"),
}


def spoil(theirs: Theirs, case: str) -> list[str]:
    """Write .dvc files that can't be adopted, as they tell without the store; returns the words after --data."""
    changed = {
        "DVC 2": POINTER.replace("  hash: md5\n", ""),
        "a file": POINTER.replace(".dir", ""),
        "import": f"deps:\n- path: photos\n  repo:\n    url: git@example.org:x\n{POINTER}",
        "versions": POINTER + "  files:\n  - relpath: a.png\n    cloud:\n      storage:\n        version_id: x\n",
        "nonsense": "[]\n",
    }
    if case not in changed and case not in ("folder", "no file", "three"):
        return spoil_photos(theirs, case)
    images, masks = files = ["data/images.dvc", "data/masks.dvc"]
    for file in files:
        (theirs.clone / file).write_text(changed.get(case, POINTER))
    return {"folder": ["data/images", masks], "no file": ["data/nothing.dvc", masks], "three": [*files, images]}.get(
        case, files
    )


def spoil_photos(theirs: Theirs, case: str) -> list[str]:
    """Make a data set by DVC that can't be adopted; returns the words after --data."""
    images = theirs.clone / "data/images"
    photo = sorted(images.iterdir())[0]
    if case == "no partner":
        photo.rename(images / "another.png")
    if case == "a subfolder":
        (images / "more").mkdir()
        photo.rename(images / "more/x.png")
    if case == "no photo":
        (images / "notes.txt").write_text("see the wiki")
    files = theirs.add("data/images", "data/masks")
    if case == "not pushed":
        remote = theirs.shop.store()
        key = sorted(key for key in theirs.objects() if not key.endswith(".dir"))[0]
        remote._bucket.delete([key])
    return files[:1] if case == "no folders" else files


@pytest.mark.parametrize("case", REFUSED_DATA)
def test_what_is_not_adopted_changes_nothing(theirs: Theirs, case: str) -> None:
    error, words = REFUSED_DATA[case]
    files = spoil(theirs, case)
    before, objects = fingerprint(theirs.clone), theirs.objects()
    done = theirs.init("--data", *files)
    assert words in done.stderr and done.stderr.startswith("error: "), said(done)
    assert "Traceback" not in done.stderr
    assert done.returncode == (error.exit_code if error else 20)
    assert (fingerprint(theirs.clone), theirs.objects()) == (before, objects)
    assert mark(theirs.shop.store()) is None


def test_another_data_set_that_is_there_stays(theirs: Theirs) -> None:
    files = theirs.add("data/images", "data/masks")
    assert theirs.init("--data", *files).returncode == 0
    write_dataset(theirs.clone / "more", 3, seed=6, size=96)
    before = fingerprint(theirs.clone)
    files = theirs.add("more/images", "more/masks")
    done = theirs.init("--data", *files)
    assert done.returncode == UsageError.exit_code
    assert "WMS/data/dataset/images.dvc leads to another data set already" in done.stderr
    assert before != fingerprint(theirs.clone)  # their own files came in between
    assert yaml.safe_load((theirs.clone / pointer("images")).read_text())["outs"][0]["nfiles"] == PHOTOS


KILLED = """
import os, signal, sys
import wms_ops.setup.files as files
write = files.write_atomic
def writing(path, text):
    if path.name == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, text)
files.write_atomic = writing
from wms_ops.commands.main import main
sys.exit(main(["init", *sys.argv[2:]]))
"""


@pytest.mark.parametrize("at", ["images.dvc", "masks.dvc"])
def test_a_killed_adoption_is_finished_by_the_next_run(theirs: Theirs, at: str) -> None:
    (file,) = theirs.add("data")
    options = ["--project", "acme", "--data", file]
    killed = theirs.shop.run(sys.executable, "-c", KILLED, at, *options, where=theirs.clone, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [(theirs.clone / pointer(kind)).exists() for kind in KINDS] == [at == "masks.dvc", False]
    assert theirs.init("--data", file).returncode == 0
    assert all((theirs.clone / pointer(kind)).exists() for kind in KINDS)
    theirs.shop.commit(theirs.clone)
    assert theirs.shop.push(theirs.clone, WMS_PROJECT=str(theirs.clone / "wms.toml")).returncode == 0


def test_killed_after_the_mark_the_next_run_writes_the_names_and_another_project_is_told(shop: Workshop) -> None:
    clone, other = shop.clone(), shop.clone("other")
    options = ["--project", "acme", "--bucket", shop.config.url]
    killed = shop.run(sys.executable, "-c", KILLED, "wms.toml", *options, where=clone, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert mark(shop.store()) == "acme" and not (clone / "wms.toml").exists()
    assert init(shop, other, "--project", "second", *options[2:]).returncode == StoreConfigError.exit_code
    assert init(shop, clone, *options).returncode == 0
    assert (clone / "wms.toml").is_file()


def test_a_bucket_that_main_does_not_name_yet_is_to_be_pushed_first(shop: Workshop) -> None:
    clone = shop.clone()
    shop.write(clone, ".dvc/config", "[core]\n    analytics = false\n")
    shop.commit(clone)
    assert shop.push(clone, "--no-verify", "origin", "main").returncode == 0
    assert init(shop, clone, "--project", "acme", "--bucket", shop.config.url).returncode == 0
    shop.photos(clone, 2)
    shop.commit(clone)
    done = shop.push(clone, WMS_PROJECT=str(clone / "wms.toml"))
    assert "`wms init --bucket s3://BUCKET/dvc`, commit what it writes and push that to the main branch first" in said(
        done
    )
    assert shop.data_branches() == []


def test_the_local_clouds_bucket_counts_instead(shop: Workshop, remote_config: RemoteConfig, s3: S3Server) -> None:
    clone = shop.clone()
    done = init(shop, clone, "--bucket", "s3://acme-meters/dvc", WMS_DVC_URL=remote_config.url)
    assert done.returncode == 0 and "WMS_DVC_URL leads to another bucket on this machine" in done.stdout
    assert "s3://acme-meters/dvc" in (clone / ".dvc/config").read_text()
    assert S3Remote(remote_config, s3.environ).read_note(MARKER) is None
