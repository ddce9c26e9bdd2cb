"""Killed, cut off, refused, full: after a second run the photos are published, once, and nothing is missing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from servers import cannot_test
from slices import of_this_commit
from slow_link import SlowLink
from workshop import Workshop, fingerprint, leftovers, said

STEPS = ("access", "clone", "export", "plan", "check", "upload", "uploading", "verify", "push", "done")

# Runs `publish` and does something at a step: what the hook does, but for the step.
DRIVER = """
import os, signal, sys
from pathlib import Path
from wms_ops.dataset import publish as p
from wms_ops.git.command import Git
from wms_ops.storage.remote import S3Remote

url, wanted = sys.argv[1:3]
def die(): os.kill(os.getpid(), signal.SIGKILL)
def step(name):
    if name == wanted: die()
if wanted == "uploading":
    real = S3Remote.upload
    def half(self, items, progress=None):
        some = dict(list(items.items())[: len(items) // 2])
        real(self, some)
        die()
    S3Remote.upload = half
git = Git(Path.cwd())
p.publish(git, git("rev-parse", "HEAD"), url, watch=p.Watch(step=step))
"""


def ready(shop: Workshop) -> Path:
    """A clone with three photos to push, where two are in the data set."""
    first = shop.clone("first")
    shop.photos(first, 2, seed=7)
    shop.commit(first)
    shop.push(first)
    shop.merge(shop.data_branches()[0])
    shop.run("git", "push", "--quiet", "origin", "--delete", shop.data_branches()[0], where=first)
    clone = shop.clone()
    shop.photos(clone, 3)
    shop.commit(clone)
    return clone


def assert_settled(shop: Workshop, clone: Path) -> None:
    (branch,) = shop.data_branches()
    assert len(shop.version(branch).pairs) == 5
    assert shop.changed(branch) == ["WMS/data/dataset/images.dvc", "WMS/data/dataset/masks.dvc"]
    shop.assert_complete()
    assert not leftovers([clone])


def test_killed_between_any_two_steps(shop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    """At four of the steps, others for each commit; `make prove-matrices` with this file kills at all."""
    clone = ready(shop)
    main = shop.branches()["main"]
    rows = []
    for step in of_this_commit("kills of a push", STEPS, 4):
        for branch in shop.data_branches():
            shop.run("git", "push", "--quiet", "--no-verify", "origin", "--delete", branch, where=clone)
        before = fingerprint(clone)
        killed = shop.run(sys.executable, "-c", DRIVER, f"file://{shop.origin}", step, where=clone, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        shop.assert_complete()  # whatever is there by now is whole
        left = len(leftovers([clone]))
        done = shop.push(clone)
        assert done.returncode == 1
        assert_settled(shop, clone)
        assert shop.branches()["main"] == main
        assert fingerprint(clone) == before
        state = "was published by the first run" if "already" in said(done) else "published by the second run"
        rows.append(f"  {step:10} SIGKILL  {left} temporary clones left, 0 after the second run; {state}")
    with capsys.disabled():
        print("\nkill matrix: step, fault, state after the second run\n" + "\n".join(rows))


def test_the_store_goes_away_half_way(shop: Workshop) -> None:
    clone = ready(shop)
    driver = DRIVER.replace("die(): os.kill(os.getpid(), signal.SIGKILL)", "die(): os.kill(PID, signal.SIGKILL)")
    driver = driver.replace("        die()\n    S3", "        die()\n        real(self, items)\n    S3")
    assert shop.s3.process is not None
    driver = driver.replace("PID", str(shop.s3.process.pid))
    cut = shop.run(sys.executable, "-c", driver, f"file://{shop.origin}", "uploading", where=clone, check=False)
    assert cut.returncode != 0
    assert "StoreUnreachableError" in cut.stderr
    shop.s3.kill()
    gone = shop.push(clone)
    assert gone.returncode == 1
    assert "Traceback" not in said(gone)
    assert not shop.data_branches()
    shop.s3.start()
    assert shop.push(clone).returncode == 1
    assert_settled(shop, clone)


NO_ACCESS: dict[str, tuple[dict[str, str], str]] = {
    "wrong secret": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "run `aws configure`"),
    "unknown key": ({"AWS_ACCESS_KEY_ID": "unknown"}, "doesn't know the access key"),
    "half a credential": ({"AWS_SECRET_ACCESS_KEY": ""}, "credentials"),
    "no network": ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "127.0.0.1:9"),
    "read only": (
        {"AWS_ACCESS_KEY_ID": "reader-for-tests", "AWS_SECRET_ACCESS_KEY": "secret-of-the-reader"},
        "s3:PutObject",
    ),
}


def test_no_access_is_one_sentence_before_any_work(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    shop.commit(clone)
    for case, (variables, words) in NO_ACCESS.items():
        done = shop.push(clone, **variables)
        assert done.returncode == 1, case
        told = [line for line in said(done).splitlines() if line.startswith("error:") and "push some refs" not in line]
        assert len(told) == 1 and words.lower() in told[0].lower(), (case, told)
        assert not shop.data_branches(), case
        assert not leftovers([clone]), case
    assert shop.push(clone).returncode == 1
    assert len(shop.data_branches()) == 1


def test_a_base_file_that_the_remote_lost_stops_everything(shop: Workshop) -> None:
    clone = ready(shop)
    md5 = next(iter(shop.version("main").images.files.values()))
    shop.s3.client().delete_object(Bucket=shop.config.bucket, Key=shop.config.key(md5))
    done = shop.push(clone)
    assert "1 files of the data set aren't in" in said(done)
    assert not shop.data_branches()


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A file system of its own in `folder` with no room for photos."""
    folder.mkdir(parents=True, exist_ok=True)
    size = "size=400k"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", folder], capture_output=True, check=False)
    if done.returncode:
        cannot_test(f"no full disk can be mounted here, which takes root: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone, 3)
    noise = clone / "WMS/data/training/images/s1_0.png"
    from PIL import Image

    for path in sorted(noise.parent.iterdir()):
        Image.effect_noise((600, 600), 80).convert("RGB").save(path.with_suffix(".png"))
        Image.new("L", (600, 600)).save(noise.parents[1] / "masks" / f"{path.stem}.png")
        if path.suffix != ".png":
            path.unlink()
    shop.commit(clone)
    with full_disk(clone / ".git" / "wms"):
        done = shop.push(clone)
        assert done.returncode == 1
        assert "No space left on the disk" in said(done)
        assert not leftovers([clone])
    assert not shop.data_branches()


def test_a_slow_link_only_takes_longer(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone, 3)
    shop.commit(clone)
    with SlowLink(shop.s3.endpoint, bytes_per_s=15_000) as link:
        done = shop.push(clone, AWS_ENDPOINT_URL_S3=link.endpoint)
    assert "Existing: 0, new: 3, total: 3" in said(done)
    assert link.carried > 30_000
    shop.assert_complete()


def test_a_repository_without_dvc(shop: Workshop) -> None:
    clone = shop.clone()
    shop.run("git", "rm", "-rq", ".dvc", where=clone)
    shop.photos(clone)
    shop.commit(clone)
    done = shop.push(clone)
    assert "run `wms init --bucket s3://BUCKET/dvc`" in said(done)
    assert "Traceback" not in said(done)


NAMES = {
    "a newline": "new\nline.png",
    "a folder": "sub/x.png",
    "a text file": "notes.txt",
    "nothing in it": "empty.png",
}


@pytest.mark.parametrize("case", NAMES)
def test_bad_files_are_refused_by_name(shop: Workshop, case: str) -> None:
    clone = shop.clone()
    shop.photos(clone)
    bad = clone / "WMS/data/training/images" / NAMES[case]
    bad.parent.mkdir(exist_ok=True)
    good = next((clone / "WMS/data/training/images").glob("s1*"))
    bad.write_bytes(b"" if case == "nothing in it" else good.read_bytes() + b"x")
    if case in ("a newline", "nothing in it"):
        (clone / "WMS/data/training/masks" / bad.name).write_bytes(
            next((clone / "WMS/data/training/masks").glob("s1*")).read_bytes()
        )
    shop.commit(clone)
    done = shop.push(clone)
    assert done.returncode == 1
    assert "Traceback" not in said(done)
    assert bad.stem.split("\n")[0] in said(done)
    assert not shop.data_branches()


def test_a_name_that_leads_elsewhere_on_windows(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    for kind in ("images", "masks"):
        good = next((clone / "WMS/data/training" / kind).glob("s1*"))
        (good.parent / "a\\..\\..\\bad.png").write_bytes(good.read_bytes() + b"x")
    shop.commit(clone)
    assert "lies in a folder of its own" in said(shop.push(clone))
    assert not shop.data_branches()


def test_a_link_instead_of_a_photo(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    link = clone / "WMS/data/training/images/link.png"
    link.symlink_to("/etc/passwd")
    shop.commit(clone)
    assert "symbolic link" in said(shop.push(clone))
    assert not shop.data_branches()
