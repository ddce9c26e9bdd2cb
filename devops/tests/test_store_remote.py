"""What is uploaded is there, whole, under its MD5; what isn't there is named, exactly."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from s3_server import S3Server

from wms.errors import DataNotFoundError, ManifestError
from wms_ops.base.errors import DamagedBlobError, MissingBlobError, StoreUnreachableError
from wms_ops.storage import bucket, client
from wms_ops.storage import remote as remote_module
from wms_ops.storage.remote import S3Remote, UploadResult


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


NOTHING = md5(b"")


def blobs(count: int, size: int = 100) -> dict[str, bytes]:
    """Different contents of `size` bytes each, by MD5."""
    contents = (f"{number:08d}".encode().ljust(size, b".") for number in range(count))
    return {md5(content): content for content in contents}


def manifest_of(items: dict[str, bytes]) -> dict[str, bytes]:
    content = json.dumps([{"md5": oid, "relpath": f"{oid}.png"} for oid in items]).encode()
    return {md5(content) + ".dir": content}


def put(s3: S3Server, remote: S3Remote, oid: str, content: bytes) -> None:
    """Write behind the code's back."""
    s3.client().put_object(Bucket=remote.config.bucket, Key=remote.config.key(oid), Body=content)


def stored(s3: S3Server, remote: S3Remote) -> dict[str, bytes]:
    """Every object below the remote's prefix, read by boto3."""
    boto = s3.client()
    pages = boto.get_paginator("list_objects_v2").paginate(Bucket=remote.config.bucket, Prefix=remote.config.prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {key: boto.get_object(Bucket=remote.config.bucket, Key=key)["Body"].read() for key in keys}


def test_upload_and_read_back(s3: S3Server, remote: S3Remote, tmp_path: Path) -> None:
    items = blobs(20) | {NOTHING: b"", md5(b"x" * 3_000_000): b"x" * 3_000_000}
    manifest = manifest_of(items)
    from_files: dict[str, Path | bytes] = {}
    for oid, content in items.items():
        from_files[oid] = tmp_path / oid
        (tmp_path / oid).write_bytes(content)
    progress: list[int] = []
    total = sum(map(len, (items | manifest).values()))
    result = remote.upload(from_files | manifest, progress.append)
    assert result == UploadResult(uploaded=23, already_there=0, bytes_sent=total)
    assert sum(progress) == total
    assert stored(s3, remote) == {remote.config.key(oid): content for oid, content in (items | manifest).items()}
    for oid, content in items.items():
        remote.read_blob(oid, tmp_path / "back" / oid)
        assert (tmp_path / "back" / oid).read_bytes() == content
    assert remote.read_manifest(*manifest) == manifest[next(iter(manifest))]


def test_what_is_there_is_not_sent_again(remote: S3Remote) -> None:
    items = blobs(30)
    remote.upload(items)
    more = items | blobs(32)
    before, progress = remote.traffic, list[int]()
    assert remote.upload(more, progress.append) == UploadResult(uploaded=2, already_there=30, bytes_sent=200)
    assert (remote.traffic - before).bytes_up == 200
    assert sum(progress) == 3200


def test_an_object_of_the_wrong_size_is_replaced(s3: S3Server, remote: S3Remote) -> None:
    items = blobs(3)
    whole, torn, empty = items
    put(s3, remote, torn, items[torn][:50])
    put(s3, remote, empty, b"")
    put(s3, remote, whole, items[whole])
    assert remote.upload(items).uploaded == 2
    assert set(stored(s3, remote).values()) == set(items.values())


def test_content_under_a_wrong_name_is_never_sent(s3: S3Server, remote: S3Remote, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"changed after it was hashed")
    with pytest.raises(DamagedBlobError, match=r"photo\.jpg"):
        remote.upload({md5(b"as it was"): tmp_path / "photo.jpg"})
    with pytest.raises(DamagedBlobError):
        remote.upload({md5(b"some"): b""})
    assert stored(s3, remote) == {}


def test_a_local_file_that_vanished(remote: S3Remote, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"gone\.png: No such file"):
        remote.upload({md5(b"a"): tmp_path / "gone.png"})


def test_a_manifest_follows_its_blobs(remote: S3Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    items, sent = blobs(40), list[str]()
    real_put = bucket.Bucket.put

    def noting(self: bucket.Bucket, key: str, data: bytes) -> None:
        real_put(self, key, data)
        sent.append(key)

    monkeypatch.setattr(bucket.Bucket, "put", noting)
    remote.upload(manifest_of(items) | items)
    assert [key.endswith(".dir") for key in sent] == [False] * 40 + [True]


def test_a_manifest_is_held_back_when_a_blob_fails(s3: S3Server, remote: S3Remote, tmp_path: Path) -> None:
    items = blobs(5)
    broken: dict[str, Path | bytes] = {**manifest_of(items), **items, md5(b"other"): b"bytes"}
    with pytest.raises(DamagedBlobError):
        remote.upload(broken)
    assert not any(key.endswith(".dir") for key in stored(s3, remote))


def test_damaged_and_missing_objects(s3: S3Server, remote: S3Remote, tmp_path: Path) -> None:
    (oid, content), *_ = manifest_of(blobs(3)).items()
    with pytest.raises(MissingBlobError, match=oid):
        remote.read_manifest(oid)
    put(s3, remote, oid, content.replace(b"png", b"jpg"))
    with pytest.raises(DamagedBlobError, match=oid):
        remote.read_manifest(oid)
    put(s3, remote, md5(b"blob"), b"BLOB")
    with pytest.raises(DamagedBlobError):
        remote.read_blob(md5(b"blob"), tmp_path / "blob")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ManifestError):
        remote.read_blob("../../etc/passwd", tmp_path / "blob")


@pytest.mark.parametrize("count", [0, 1, 3, 64, 65, 500])
def test_missing_is_exact(s3: S3Server, remote: S3Remote, count: int) -> None:
    everything = [*blobs(count), *manifest_of(blobs(count))]
    there = set(everything[::3])
    held = blobs(count) | manifest_of(blobs(count))
    remote.upload({oid: held[oid] for oid in there})
    hollow = set(everything[1:20:3])  # named, but empty: an interrupted copy by another tool
    for oid in hollow:
        put(s3, remote, oid, b"")
    before = remote.traffic
    assert remote.missing(iter(everything)) == set(everything) - there
    requests = (remote.traffic - before).requests
    assert requests == len(everything) if len(everything) <= remote_module.FEW else requests <= 256
    assert remote.missing([NOTHING]) == {NOTHING}
    put(s3, remote, NOTHING, b"")
    assert remote.missing([NOTHING, *there]) == set()
    assert remote.missing([]) == set()


def test_missing_is_exact_on_both_sides_of_the_crossover(
    s3: S3Server, remote: S3Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders that hold far more than is asked for are not listed, the others are, with the same answer."""
    items = blobs(600)
    remote.upload(items)
    wanted = {*list(items)[:150], *(md5(f"absent {i}".encode()) for i in range(30))}
    absent = wanted - items.keys()
    for ratio in (0, 1, 2, 10):
        monkeypatch.setattr(remote_module, "LISTED_PER_HEAD", ratio)
        before = remote.traffic
        assert remote.missing(wanted) == absent
        if ratio == 0:  # one listing as a sample, then single requests
            folder_of_sample = min(oid[:2] for oid in wanted)
            in_sample = sum(oid.startswith(folder_of_sample) for oid in wanted)
            assert (remote.traffic - before).requests == 1 + len(wanted) - in_sample


def test_a_folder_of_several_pages_is_read_to_its_end(s3: S3Server, remote: S3Remote) -> None:
    boto = s3.client()
    folder = remote.config.inside("files/md5/ab/")
    names = [f"{number:030x}" for number in range(1005)]  # a page has 1,000
    for name in names:
        boto.put_object(Bucket=remote.config.bucket, Key=folder + name, Body=b"x")
    wanted = {f"ab{name}" for name in names}
    assert remote.missing(wanted | {"ab" + "f" * 30}) == {"ab" + "f" * 30}


def test_killed_half_way_restarted_and_repeated(
    s3: S3Server, remote: S3Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = blobs(200, size=50_000)
    everything = items | manifest_of(items)
    done: list[int] = []

    def pull_the_plug(size: int) -> None:
        done.append(size)
        if len(done) == 40:
            s3.kill()

    monkeypatch.setattr(client, "ATTEMPTS", 2)
    with pytest.raises(StoreUnreachableError, match="run it again: what was already transferred is kept"):
        remote.upload(everything, pull_the_plug)
    assert 40 <= len(done) < 200
    s3.start()
    kept = stored(s3, remote)
    assert len(kept) >= 40
    assert all(md5(content) == key[-33:].replace("/", "") for key, content in kept.items())
    result = remote.upload(everything)
    assert (result.uploaded, result.already_there) == (201 - len(kept), len(kept))
    assert remote.missing(everything) == set()
    assert set(stored(s3, remote).values()) == set(everything.values())


def test_traffic_counts_bodies_and_listings(remote: S3Remote, tmp_path: Path) -> None:
    items = blobs(10, size=5_000)
    remote.upload(items)
    assert remote.traffic.bytes_up == 50_000
    before = remote.traffic
    remote.read_blob(next(iter(items)), tmp_path / "blob")
    step: Any = remote.traffic - before
    assert (step.requests, step.bytes_up, step.bytes_down) == (1, 0, 5_000)
    before = remote.traffic
    remote.missing(items)
    assert (remote.traffic - before).bytes_down == 0  # a HEAD carries no body
