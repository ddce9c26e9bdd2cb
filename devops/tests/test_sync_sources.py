"""Where promoted models lie: published once, whole and verified; had from S3 and from a release by the real gh."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from github_fake import FakeGitHub, fake_github
from s3_server import S3Server
from sync_shop import make_run, model_files, promote

from wms.errors import ModelDamagedError, ModelNotFoundError, UsageError
from wms.registry.ledger import HISTORY, LedgerEntry
from wms.registry.lineage import CARD, FILES, ONNX, WEIGHTS
from wms_ops.base.errors import AccessDeniedError, StoreUnreachableError
from wms_ops.pulls.gh import GitHub
from wms_ops.release.publish import erase_documents, publish_documents, publish_model
from wms_ops.release.sources import ReleaseSource, S3Source, key_of, release_tag
from wms_ops.storage import client
from wms_ops.storage.remote import S3Remote


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def entry(run: Path, tmp_path: Path) -> LedgerEntry:
    return promote(run, tmp_path / "ledger", 1)


def test_published_once_and_had_back(remote: S3Remote, run: Path, entry: LedgerEntry) -> None:
    with pytest.raises(ModelNotFoundError, match=r"lacks production\.pth, .* of version 1"):
        S3Source(remote).fetch(entry)
    assert publish_model(remote, run / "artifacts" / "model") is True
    assert S3Source(remote).fetch(entry) == model_files(run)
    before = remote.traffic
    assert publish_model(remote, model_files(run)) is False
    assert (remote.traffic - before).bytes_up == 0
    name = f"wms/models/{entry.weights_sha256}/production.onnx"
    assert remote.read_note(name) == model_files(run)[ONNX]


def test_the_card_lies_beside_the_model_and_leaves_with_an_erased_photo(
    remote: S3Remote, run: Path, entry: LedgerEntry
) -> None:
    publish_model(remote, run / "artifacts" / "model")
    card = {"MODEL_CARD.md": b"# Card", "MODEL_CARD.html": b"<td>meter_1</td>", "worst-photos.jpg": b"photos"}
    publish_documents(remote, entry.weights_sha256, card)
    assert S3Source(remote).fetch(entry) == model_files(run) | card
    before = remote.traffic
    publish_documents(remote, entry.weights_sha256, card)
    assert (remote.traffic - before).bytes_up == 0
    assert erase_documents(remote, ["meter_17", "meter"]) == [], "another photo's name"
    page = key_of(entry.weights_sha256, "MODEL_CARD.html")
    assert erase_documents(remote, ["meter_1"]) == [page]
    assert S3Source(remote).fetch(entry) == model_files(run) | {"MODEL_CARD.md": b"# Card"}
    assert erase_documents(remote, ["meter_1"]) == []
    publish_documents(remote, entry.weights_sha256, card)
    publish_documents(remote, entry.weights_sha256, {"MODEL_CARD.md": b"# Card"})
    assert S3Source(remote).fetch(entry) == model_files(run) | {"MODEL_CARD.md": b"# Card"}


@pytest.mark.parametrize("name", FILES)
def test_a_torn_or_damaged_copy_in_the_store_is_replaced(
    remote: S3Remote, run: Path, entry: LedgerEntry, name: str
) -> None:
    files = model_files(run)
    publish_model(remote, files)
    remote.write_note(key_of(entry.weights_sha256, name), files[name][:-9])
    assert publish_model(remote, files) is True
    assert S3Source(remote).fetch(entry) == files


def test_a_publication_that_was_killed_is_finished(remote: S3Remote, run: Path, entry: LedgerEntry) -> None:
    files = model_files(run)
    remote.write_note(key_of(entry.weights_sha256, WEIGHTS), files[WEIGHTS])
    with pytest.raises(ModelNotFoundError):
        S3Source(remote).fetch(entry)
    assert publish_model(remote, files) is True
    assert S3Source(remote).fetch(entry) == files


def test_what_does_not_belong_together_is_not_published(remote: S3Remote, run: Path, tmp_path: Path) -> None:
    files, other = model_files(run), model_files(make_run(tmp_path, seed=1))
    for mixed in ({**files, WEIGHTS: other[WEIGHTS]}, {**files, CARD: other[CARD]}, {**files, CARD: b"[]"}):
        with pytest.raises(ModelDamagedError):
            publish_model(remote, mixed)
    with pytest.raises(ModelNotFoundError, match=r"lacks production\.onnx"):
        publish_model(remote, {WEIGHTS: files[WEIGHTS], CARD: files[CARD]})
    assert remote.traffic.requests == 0


def test_the_same_weights_with_other_settings_stay_apart(remote: S3Remote, run: Path) -> None:
    """Their names in the store are the same, and an earlier version must stay as it was."""
    files = model_files(run)
    publish_model(remote, files)
    card = json.loads(files[CARD])
    other = {**files, ONNX: files[ONNX] + b"\x00"}
    other[CARD] = json.dumps({**card, "onnx_sha256": sha256(other[ONNX]).hexdigest()}).encode()
    with pytest.raises(ModelDamagedError, match=r"already holds these weights with another production\.onnx"):
        publish_model(remote, other)
    assert publish_model(remote, files) is False


def test_a_store_that_is_gone(
    s3: S3Server, remote: S3Remote, entry: LedgerEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ATTEMPTS", 1)
    s3.kill()
    with pytest.raises(StoreUnreachableError):
        S3Source(remote).fetch(entry)


# ---- GitHub, by the real gh


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    with fake_github() as fake:
        for name, value in fake.environ.items():
            monkeypatch.setenv(name, value)
        yield fake


def test_a_release_is_downloaded_by_gh(github: FakeGitHub, run: Path, entry: LedgerEntry, tmp_path: Path) -> None:
    source = ReleaseSource(GitHub(tmp_path))
    with pytest.raises(ModelNotFoundError, match=f"GitHub has no {release_tag(entry.weights_sha256)}"):
        source.fetch(entry)
    github.releases[release_tag(entry.weights_sha256)] = {**model_files(run), "notes.txt": b"not asked for"}
    assert source.fetch(entry) == model_files(run)
    assert sum("/assets/" in path for path in github.requests) == 3
    del github.releases[release_tag(entry.weights_sha256)][ONNX]
    with pytest.raises(ModelNotFoundError, match=r"the releases on GitHub lacks production\.onnx"):
        source.fetch(entry)


def test_the_ledger_is_read_without_a_fetch(github: FakeGitHub, tmp_path: Path) -> None:
    here = GitHub(tmp_path)
    with pytest.raises(ModelNotFoundError):
        here.read_file(f"WMS/models/{HISTORY}", "main")
    github.files[f"WMS/models/{HISTORY}"] = b'{"seq": 1}\n'
    assert here.read_file(f"WMS/models/{HISTORY}", "main") == b'{"seq": 1}\n'
    assert github.requests[-1].endswith("?ref=main")


def test_gh_without_a_login_without_github_and_not_installed(
    github: FakeGitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = GitHub(tmp_path)
    github.refuse_with = 401
    with pytest.raises(AccessDeniedError, match="gh auth login"):
        here.read_file("a", "main")
    github.refuse_with = 502
    with pytest.raises(StoreUnreachableError, match="can't be asked for a"):
        here.read_file("a", "main")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="gh isn't installed"):
        here.read_file("a", "main")
