"""`wms restore bucket`: deleted and overwritten objects come back from former versions, checked by hash."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

import pytest
from restore_yard import tell
from s3_server import S3Server
from workshop import Workshop

from wms.data.manifest import Manifest, pointer_text
from wms.errors import LedgerError, run_main
from wms.paths import ROOT
from wms.project import project
from wms.registry.anchors import Witnesses, name_of
from wms.registry.ledger import HISTORY, parse_history
from wms_ops.base.errors import MissingBlobError
from wms_ops.base.layout import ERASED, KINDS, pointer
from wms_ops.commands.restore import COMMAND as RESTORE
from wms_ops.dataset.erased import FOLDER, Erasure, mark_of, write_erasure
from wms_ops.gate.witnesses import FOLDER as ANCHORS
from wms_ops.gate.witnesses import BucketAnchors
from wms_ops.storage.config import RemoteConfig


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Meters:
    """A clone whose main names ten photos and masks, all of them in a bucket with versions."""

    def __init__(self, shop: Workshop) -> None:
        self.shop, self.client, self.bucket = shop, shop.s3.client(), shop.config.bucket
        self.clone = shop.clone()
        self.contents = {f"{kind}/m{i}": f"{kind} {i}".encode() for kind in KINDS for i in range(10)}
        store = shop.store()
        for kind in KINDS:
            files = {name[len(kind) + 1 :]: md5(one) for name, one in self.contents.items() if name.startswith(kind)}
            manifest = Manifest(files)
            store.upload({md5(one): one for one in self.contents.values()} | {manifest.oid: manifest.content})
            shop.write(self.clone, pointer(kind), pointer_text(manifest, None, kind))
        shop.commit(self.clone)
        shop.run("git", "push", "--quiet", "--no-verify", "origin", "main", where=self.clone)

    def key(self, name: str) -> str:
        return self.shop.config.key(md5(self.contents[name]))

    def tombstone(self, name: str) -> Erasure:
        """The record of an erased photo."""
        marks = [mark_of(md5(self.contents[f"images/{name}"]))]
        return Erasure(name=name, marks=marks, date="2026-11-20T10:00:00+00:00", reason="shows a person")

    def branch(self, name: str, files: dict[str, str]) -> None:
        """A data branch as this clone fetched it from the origin."""
        git = ("git", "-c", "user.name=Eve", "-c", "user.email=eve@example.org")
        self.shop.run(*git, "checkout", "--quiet", "-b", name, "main", where=self.clone)
        for path, text in files.items():
            self.shop.write(self.clone, path, text)
        self.shop.commit(self.clone)
        self.shop.run(*git, "update-ref", f"refs/remotes/origin/{name}", "HEAD", where=self.clone)
        self.shop.run(*git, "checkout", "--quiet", "main", where=self.clone)
        self.shop.run(*git, "branch", "--quiet", "-D", name, where=self.clone)

    def objects(self) -> dict[str, bytes]:
        """All present objects."""
        listed = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", ())
        return {
            item["Key"]: self.client.get_object(Bucket=self.bucket, Key=item["Key"])["Body"].read() for item in listed
        }

    def delete_all(self) -> None:
        for key in self.objects():
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def restore(self, *more: str) -> int:
        named = {"--ledger": self.clone / "WMS/models", "--metadata": self.clone / "model-metadata.json"}
        words = [str(word) for pair in {**named, "--repo": self.clone}.items() for word in pair]
        return run_main(RESTORE, ["bucket", *words, *more])


@pytest.fixture
def meters(tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Meters:
    name = f"past-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(name)
    s3.client().put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for variable, value in s3.environ.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Meters(Workshop(tmp_path / "shop", s3, RemoteConfig(name, "dvc", s3.endpoint)))


def test_deleted_and_overwritten_objects_come_back_and_what_cannot_is_named(
    meters: Meters, capsys: pytest.CaptureFixture[str]
) -> None:
    before = meters.objects()
    assert len(before) == 22
    assert meters.restore() == 0
    assert "Nothing is to be restored." in capsys.readouterr().out
    meters.delete_all()
    overwritten, expired = meters.key("images/m3"), meters.key("masks/m4")
    meters.client.put_object(Bucket=meters.bucket, Key=overwritten, Body=b"rubbish")
    for one in meters.client.list_object_versions(Bucket=meters.bucket, Prefix=expired)["Versions"]:
        meters.client.delete_object(Bucket=meters.bucket, Key=expired, VersionId=one["VersionId"])
    assert meters.restore("--dry-run") == 0
    assert "bucket: 21 objects come back" in capsys.readouterr().out
    assert meters.objects() == {overwritten: b"rubbish"}
    assert meters.restore("--yes") == MissingBlobError.exit_code
    said = capsys.readouterr().out
    assert "1 file of masks in main: m4." in said
    tell(capsys, "21 objects of the bucket", said)
    assert meters.objects() == {key: content for key, content in before.items() if key != expired}
    assert meters.restore() == MissingBlobError.exit_code, "what is lost stays lost"
    assert "Nothing is to be restored" not in capsys.readouterr().out


def test_a_restore_that_was_cut_off_goes_on_and_an_erased_photo_stays_away(
    meters: Meters, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from wms_ops.storage.past import PastBucket, PastVersion

    before = meters.objects()
    gone = meters.key("images/m1")
    meters.delete_all()
    write_erasure(meters.shop.store(), meters.tombstone("m1"))
    done: list[str] = []
    real = PastBucket.bring_back

    def cut_off(past: PastBucket, key: str, version: PastVersion) -> None:
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(key)
        real(past, key, version)

    with monkeypatch.context() as patch:
        patch.setattr(PastBucket, "bring_back", cut_off)
        assert meters.restore("--yes") == 130
    assert 7 <= len(meters.objects()) < 22
    assert not any(key.endswith(".dir") for key in done), "manifests come last"
    capsys.readouterr()
    assert meters.restore("--yes") == 0
    left = {key: content for key, content in meters.objects().items() if "/erasures/" not in key}
    assert left == {key: content for key, content in before.items() if key != gone}


def test_what_was_drawn_from_photos_stays_deleted_and_other_files_of_mlflow_come_back(
    meters: Meters, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"mlflow/1/{'a' * 32}/artifacts/"
    for name in ("gate/worst-photos.jpg", "card/MODEL_CARD.html", "metadata.json"):
        meters.client.put_object(Bucket=meters.bucket, Key=run + name, Body=b"{}")
        meters.client.delete_object(Bucket=meters.bucket, Key=run + name)
    assert meters.restore("--yes") == 0
    assert [key for key in meters.objects() if key.startswith(run)] == [f"{run}metadata.json"]
    assert "bucket: 1 object comes back" in capsys.readouterr().out


def test_a_bucket_without_versions_says_so(meters: Meters, capsys: pytest.CaptureFixture[str]) -> None:
    meters.client.put_bucket_versioning(Bucket=meters.bucket, VersioningConfiguration={"Status": "Suspended"})
    assert meters.restore() == 0
    assert "keeps no versions, so an object that is deleted can't come back" in capsys.readouterr().out


def test_what_a_data_branch_brings_neither_hides_a_photo_as_erased_nor_stops_the_restore(
    meters: Meters, capsys: pytest.CaptureFixture[str]
) -> None:
    rubbish = b'{"no": "list"}'
    meters.shop.store().upload({f"{md5(rubbish)}.dir": rubbish})
    before = meters.objects()
    pointers = {pointer(kind): f"outs:\n- md5: {md5(rubbish)}.dir\n  path: {kind}\n" for kind in KINDS}
    meters.branch("data/20261128-100000", {ERASED: f"{meters.tombstone('m1').line}\n"})
    meters.branch("data/20261128-110000", {ERASED: "{}\n", pointer("images"): "<<<<<<< rubbish\n"})
    meters.branch("data/20261128-120000", pointers)
    meters.delete_all()
    assert meters.restore("--yes") == 0
    said = capsys.readouterr().out
    assert meters.objects() == before
    assert "origin/data/20261128-110000 is left out: WMS/data/dataset/images.dvc is not a .dvc file" in said
    assert "origin/data/20261128-120000 is left out: " in said


@pytest.mark.attack(
    "writer of a data branch", "an erased photo under a new name, then a restore", "main's lists alone release it"
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_data_branch_that_gives_an_erased_photo_a_new_name_does_not_bring_it_back(meters: Meters, kind: str) -> None:
    renamed = Manifest({"mine": md5(meters.contents["images/m1"])})
    meters.shop.store().upload({renamed.oid: renamed.content})
    meters.branch("data/20261128-100000", {pointer(kind): pointer_text(renamed, None, kind)})
    write_erasure(meters.shop.store(), meters.tombstone("m1"))
    gone = meters.key("images/m1")
    meters.client.delete_object(Bucket=meters.bucket, Key=gone)
    assert meters.restore("--yes") == 0
    assert gone not in meters.objects()


def test_a_damaged_or_deleted_tombstone_comes_back_and_its_photo_stays_away(
    meters: Meters, capsys: pytest.CaptureFixture[str]
) -> None:
    before = meters.objects()
    for name in ("m1", "m2"):
        write_erasure(meters.shop.store(), meters.tombstone(name))
    stones = {key: content for key, content in meters.objects().items() if FOLDER in key}
    damaged, deleted = stones
    meters.delete_all()
    meters.client.put_object(Bucket=meters.bucket, Key=damaged, Body=b"rubbish")
    assert meters.restore("--yes") == 0
    gone = {meters.key("images/m1"), meters.key("images/m2")}
    assert meters.objects() == {key: content for key, content in before.items() if key not in gone} | stones
    capsys.readouterr()
    for one in meters.client.list_object_versions(Bucket=meters.bucket, Prefix=deleted)["Versions"]:
        meters.client.delete_object(Bucket=meters.bucket, Key=deleted, VersionId=one["VersionId"])
    meters.client.put_object(Bucket=meters.bucket, Key=deleted, Body=b"rubbish")
    assert meters.restore("--yes") == MissingBlobError.exit_code
    assert f"{deleted}: no version that the bucket keeps" in capsys.readouterr().out


def test_anchors_of_the_ledger_come_back(meters: Meters) -> None:
    """A deleted and an overwritten one; a name that the ledger doesn't know is left as it is."""
    sample = (ROOT / "WMS/tests/samples/v1" / HISTORY).read_bytes()
    (meters.clone / "WMS/models").mkdir(parents=True, exist_ok=True)
    (meters.clone / "WMS/models" / HISTORY).write_bytes(sample)
    anchors = BucketAnchors(meters.shop.store(), project().model)
    entries = parse_history(sample, HISTORY)
    for entry in entries:
        Witnesses(bucket=anchors).announce(entry)
    before = meters.objects()
    first, *_, last = (f"{meters.shop.config.prefix}/{ANCHORS}/{project().model}/{name_of(one)}" for one in entries)
    assert first != last and {first, last} <= before.keys()
    meters.client.put_object(Bucket=meters.bucket, Key=last, Body=before[first])
    with pytest.raises(LedgerError, match=r"was overwritten.*`wms restore bucket` brings its former version back"):
        Witnesses(bucket=anchors).check(entries, "the ledger")
    meters.client.delete_object(Bucket=meters.bucket, Key=first)
    assert meters.restore("--yes") == 0
    assert meters.objects() == before
    Witnesses(bucket=BucketAnchors(meters.shop.store(), project().model)).check(entries, "the ledger")
