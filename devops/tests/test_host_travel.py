"""What of a clone reaches an instance, and what a clone takes from one: no secret there, no code back."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from host_shop import BUCKET, World
from test_host_archive import archive, member
from test_host_parts import repository

from wms.training.dvc_stages import refuse_lost_files
from wms.training.run_folder import git_state
from wms_ops.base.errors import CloudError
from wms_ops.dataset.versions import dvc_config_at, pointers_at
from wms_ops.git.command import Git
from wms_ops.targets.host.message_queue import MessageQueue, new_job
from wms_ops.targets.host.messages import REQUEST, JobAnswer, Keys
from wms_ops.targets.host.transfer import adopt, outgoing

pytest_plugins = ["host_fixtures"]
pytestmark = pytest.mark.slice("travels of a workspace", of=2)

LAUNCH = "20261128-100000-abcdef"
TOKEN = "ghp_0123456789abcdef"  # noqa: S105
POINTERS = ("WMS/data/dataset/images.dvc", "WMS/data/dataset/masks.dvc")
POINTER = "outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  nfiles: 2\n  path: images\n"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with secrets in each place where people keep them."""
    folder = repository(tmp_path / "client")
    shared = {".dvc/config": "[core]\n    remote = storage\n", ".dvc/.gitignore": "/config.local\n"}
    pointers = {name: POINTER.replace("images", Path(name).stem) for name in POINTERS}
    tracked = {**shared, **pointers, "old-secret.txt": TOKEN}
    for name, text in tracked.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git = Git(folder, {"user.name": "t", "user.email": "t@example.org"})
    git("add", "--all")
    git("commit", "--quiet", "-m", "a secret by mistake")
    git("rm", "--quiet", "old-secret.txt")
    git("commit", "--quiet", "-m", "without it; but history keeps it")
    git("remote", "add", "origin", f"https://x-access-token:{TOKEN}@github.localhost/a/b.git")
    git("config", "http.extraHeader", f"Authorization: Bearer {TOKEN}")
    for name in (
        *(".env", "devops/.env.local", ".dvc/config.local", ".netrc", "keys/id_ed25519", "server.pem", "wms.tfvars"),
        *(".aws/credentials", "secrets.yaml", ".git/hooks/post-checkout", ".git/FETCH_HEAD"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(TOKEN)
    return folder


def test_only_what_git_has_travels(clone: Path) -> None:
    (clone / "runs").mkdir()
    (clone / "runs" / "a.json").write_text("{}")
    (clone / "runs" / "link.json").symlink_to(clone / ".env")
    (clone / "WMS" / "models").mkdir()
    (clone / "WMS" / "models" / "candidate").symlink_to(clone / ".aws")
    sent = set(outgoing(clone))
    own = {".gitignore", "a.txt", "dir/ü b.txt", "gone.txt"}
    assert sent == {*own, ".dvc/.gitignore", ".dvc/config", "runs/a.json", *POINTERS}


def test_no_secret_of_a_clone_reaches_the_bucket(clone: Path, world: World, tmp_path: Path) -> None:
    """And what the commands of a training ask Git for is the same there as here."""
    world.objects.delete(world.objects.names(f"host/{LAUNCH}/"))
    queue, job, keys = MessageQueue(world.objects, LAUNCH, poll_s=0.05, dead_s=0.2), new_job(), Keys(LAUNCH)
    (clone / "a.txt").write_text("changed, and not committed")
    with pytest.raises(CloudError, match="no sign of life"):
        queue.run(["true"], folder=clone, log=tmp_path / "log", job=job)
    there = tmp_path / "host" / "tree"
    there.parent.mkdir()
    sent = {}
    for key in world.objects.names(f"host/{LAUNCH}/"):
        found = world.objects.get(key)
        assert found is not None
        sent[key] = found.content
        (there.parent / Path(key).name).write_bytes(found.content)
    request = REQUEST.validate_json(sent[keys.request(job)])
    assert request.kind == "run"
    sent_files, sent_commit = there.parent / "files.tar.gz", there.parent / "commit.pack"
    adopt(sent_files, there, request.files, commit=request.commit, pack=sent_commit)
    for path in there.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), path
    here, git = Git(clone), Git(there)
    assert not list((there / ".git").glob("hooks/*")) and not git("remote") and "old-secret" not in git("log", "--stat")
    objects = git("cat-file", "--batch-all-objects", "--batch-check").splitlines()
    assert not [one for one in objects if TOKEN in git("cat-file", "-p", one.split()[0])]
    assert git_state(there) == git_state(clone) == (here("rev-parse", "HEAD"), True)
    assert dvc_config_at(git, "HEAD") == dvc_config_at(here, "HEAD")
    assert pointers_at(git, "HEAD") == pointers_at(here, "HEAD")
    assert git("show", "HEAD:WMS/data/dataset/images.dvc") == POINTER.rstrip("\n")
    with pytest.raises(Exception, match="holds 0 of 2 files"):
        refuse_lost_files(there / "WMS/data/dataset")
    git("fsck", "--strict")


def test_what_was_sent_is_what_is_adopted(clone: Path, tmp_path: Path) -> None:
    """Whoever may write to the bucket can't have the host write or remove files elsewhere."""
    tree, outside = tmp_path / "host" / "tree", tmp_path / "host" / "outside"
    tree.mkdir(parents=True)
    outside.write_text("as it was")
    good = {name: hashlib.sha256(b"{}").hexdigest() for name in ("a.txt", "b/c.txt")}
    bad = tmp_path / "bad.tar.gz"
    for name in ("../outside", ".git/hooks/post-checkout", "/a", "b/../../outside"):
        with pytest.raises(CloudError) as caught:
            adopt(archive(bad, [member("a.txt")]), tree, {"a.txt": good["a.txt"], name: ""})
        assert caught.value.exit_code == 79
    for names, words in (
        (("a.txt", "c.txt", "b/c.txt"), "'c.txt', which wasn't announced"),
        (("a.txt",), "as 'b/c.txt'"),
    ):
        with pytest.raises(CloudError, match=words):
            adopt(archive(bad, [member(name) for name in names]), tree, good)
    with pytest.raises(CloudError, match=r"as 'a\.txt'"):
        adopt(archive(bad, [member("a.txt", b"[]"), member("b/c.txt")]), tree, good)
    assert list(tree.iterdir()) == [] and outside.read_text() == "as it was"

    # A command has left links there; they are replaced, and nothing is written or removed through them.
    (tmp_path / "host" / "tree.files").write_text("../outside\0b/outside\0b/c.txt")
    (tree / "b").symlink_to(outside.parent)
    (tree / ".git").symlink_to(outside.parent)
    adopt(archive(bad, [member("a.txt", mode=0o755), member("b/c.txt", mode=0o4644)]), tree, good)
    assert outside.read_text() == "as it was" and not (tree / "b").is_symlink() and not (tree / ".git").exists()
    assert [(tree / name).stat().st_mode & 0o7777 for name in good] == [0o755, 0o644]


def answered(world: World, answer: JobAnswer | dict[str, object], result: bytes | None) -> tuple[MessageQueue, str]:
    """A job that somebody has answered, with this result in its place."""
    job, keys = new_job(), Keys(LAUNCH)
    if result is not None:
        world.objects.put(keys.of(job, "result.tar.gz"), result)
    text = json.dumps(answer) if isinstance(answer, dict) else answer.model_dump_json()
    world.objects.put(keys.of(job, "answer.json"), text.encode())
    return MessageQueue(world.objects, LAUNCH, poll_s=0.05, dead_s=5), job


def test_a_job_s_result_never_becomes_code(clone: Path, world: World, tmp_path: Path) -> None:
    hook, ran = b'#!/bin/sh\ntouch "$(git rev-parse --show-toplevel)/../ran"\n', tmp_path / "ran"
    for name in (".git/hooks/post-checkout", "WMS/src/wms/errors.py", "hooks/pre-push", "dvc.yaml"):
        members = [member("runs/run_1/metadata.json"), member(name, hook, mode=0o755)]
        content = archive(tmp_path / "bad.tar.gz", members).read_bytes()
        queue, job = answered(world, {"code": 0, "pieces": 0, "has_files": True}, content)
        before = {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()}
        with pytest.raises(CloudError) as caught:
            queue.run(["true"], folder=clone, log=tmp_path / "log", job=job)
        said = str(caught.value)
        assert caught.value.exit_code == 79 and repr(name) in said and "end it with `down`" in said
        assert f"s3://{BUCKET}/{Keys(LAUNCH).of(job, 'result.tar.gz')}" in said
        assert world.objects.get(Keys(LAUNCH).of(job, "result.tar.gz")) is not None, "it can be looked at"
        assert {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()} == before
    (clone / ".git/hooks/post-checkout").unlink()
    Git(clone)("checkout", "--quiet", "--force", "--detach", "HEAD")
    assert not ran.exists()


def test_a_result_is_that_of_its_job(clone: Path, world: World, tmp_path: Path) -> None:
    content = archive(tmp_path / "a.tar.gz", [member("runs/a.json")]).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    wrong = {
        "is that to '20200101-000000-00000000'": ({"job": "20200101-000000-00000000"}, content),
        "isn't what the host has sent": ({"result_sha256": "0" * 64}, content),
        "isn't in the mailbox": ({}, None),
    }
    for words, (more, result) in wrong.items():
        queue, job = answered(world, {"code": 0, "has_files": True, **more}, result)
        with pytest.raises(CloudError, match=words):
            queue.run(["true"], folder=clone, log=tmp_path / "log", job=job)
        assert not (clone / "runs").exists()
    queue, job = answered(world, {"error": "It failed.", "exit_code": 0}, None)
    with pytest.raises(CloudError) as caught:
        queue.run(["true"], folder=clone, log=tmp_path / "log", job=job)
    assert caught.value.exit_code != 0, "a failure doesn't look like a success"
    for more in ({}, {"result_sha256": sha256}):  # an earlier version's host says less
        queue, job = answered(world, {"code": 3, "pieces": 0, "has_files": True, **more}, content)
        assert queue.run(["true"], folder=clone, log=tmp_path / "log", job=job) == 3
        assert (clone / "runs/a.json").read_text() == "{}"
        (clone / "runs/a.json").unlink()


def test_the_host_sends_nothing_of_what_links_lead_to(clone: Path, tmp_path: Path) -> None:
    from wms_ops.targets.host.archive import pack

    (tmp_path / "link").symlink_to(clone / ".env")
    with pytest.raises(Exception, match="Can't write"):
        pack({"runs/a.json": tmp_path / "link"}, tmp_path / "a.tar.gz")
    (clone / "runs").mkdir()
    (clone / "runs" / "a.json").write_text("{}")
    pack({"runs/a.json": clone / "runs" / "a.json"}, tmp_path / "a.tar.gz")
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "a.tar.gz").read_bytes())) as tar:
        (entry,) = tar.getmembers()
    assert (entry.uname, entry.uid, entry.mtime, entry.mode) == ("", 0, 0, 0o644)
    with pytest.raises(CloudError, match="Rename it, then run this again"):
        pack({"runs/a\\b.json": clone / "runs" / "a.json"}, tmp_path / "b.tar.gz")
    assert [path.name for path in (clone / "runs").iterdir()] == ["a.json"]
