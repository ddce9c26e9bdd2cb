"""Forged ledgers against the commands: a real MLflow, bucket (SeaweedFS) and origin, of which one is attacked."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anchor_drawer import forged
from registry_workshop import Shop
from s3_server import S3Server
from servers import MlflowServer

from wms.files import sha256_text
from wms.project import Project
from wms.registry.anchors import name_of
from wms.registry.ledger import Ledger, LedgerEntry, LedgerRecord, link
from wms.registry.metadata import write_metadata
from wms_ops.base.layout import METADATA, MODELS
from wms_ops.commands import newer
from wms_ops.commands.checks_records import check_records
from wms_ops.commands.finding import State
from wms_ops.commands.main import main
from wms_ops.gate.witnesses import FOLDER, BucketAnchors, witnesses_of
from wms_ops.git.command import Git
from wms_ops.release.upstream import current_production
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.remote import S3Remote

pytest_plugins = ["registry_fixtures"]

HIGH = {"dice": 0.9999, "iou": 0.9998}


@dataclass
class Yard:
    """A clone with an origin, a bucket and a registered model of its own."""

    shop: Shop
    clone: Path
    store: S3Remote

    @property
    def git(self) -> Git:
        return Git(self.clone, {"user.name": "Ada", "user.email": "ada@example.org"})

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.clone / MODELS)

    @property
    def url(self) -> str:
        return f"{self.store.config.url}/{FOLDER}/{self.shop.model}"

    def wms(self, *words: str) -> int:
        return main([*words, *(self.places[:-2] if "baseline" in words else self.places)])

    @property
    def places(self) -> list[str]:
        """Arguments that lead a command here."""
        where = ["--ledger", str(self.clone / MODELS), "--model", self.shop.model]
        return [*where, "--metadata", str(self.clone / METADATA)]

    def promote(self, dice: float, champion: int | None = None) -> LedgerEntry:
        assert self.wms("promote", self.shop.run(dice, champion=champion), "--yes") == 0
        return self.ledger.entries()[-1]

    def merge(self) -> None:
        self.git("add", "--all", MODELS, METADATA)
        self.git("commit", "--quiet", "-m", "Promote")
        self.git("push", "--quiet", "--no-verify", "origin", "HEAD:main")

    def production(self) -> LedgerEntry:
        """What `wms sync --from s3` would bring, without MLflow."""
        return current_production(
            self.clone / MODELS, self.git, None, print, bucket=BucketAnchors(self.store, self.shop.model)
        )


@pytest.fixture
def yard(
    mlflow_of_session: MlflowServer,
    tmp_path: Path,
    s3: S3Server,
    remote_config: RemoteConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> Yard:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_of_session.uri)
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    origin, clone = tmp_path / "origin.git", tmp_path / "clone"
    Git(tmp_path)("init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    Git(tmp_path)("clone", "--quiet", str(origin), str(clone))
    (clone / ".dvc").mkdir()
    config = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {remote_config.url}\n"
    (clone / ".dvc" / "config").write_text(config)
    shop = Shop(mlflow_of_session.uri, clone / MODELS, f"model-{uuid.uuid4().hex[:8]}")
    return Yard(shop, clone, S3Remote(remote_config, s3.environ))


@pytest.mark.attack(
    "a forged registry entry",
    "MLflow, the bucket or a clone rewritten, one at a time",
    "anchors in the bucket, the ledger on main",
)
def test_one_place_alone_forges_nothing(yard: Yard, s3: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    first = yard.promote(0.8)
    name = f"{FOLDER}/{yard.shop.model}/{name_of(first)}"
    assert yard.store.notes(f"{FOLDER}/") == [name]
    assert yard.store.read_note(name) == f"{first.line}\n".encode()

    # The bucket: the server keeps the first object of a name for whoever asks as this project does.
    assert not yard.store.create_note(name, b"another")
    key, client = yard.store.config.inside(name), s3.client()
    client.put_object(Bucket=yard.store.config.bucket, Key=key, Body=first.line.replace("0.8", "0.9").encode())
    said = f"The anchor {yard.url}/{name_of(first)} was overwritten: "
    assert refused(yard, capsys, "versions", "baseline").startswith(said)
    client.delete_object(Bucket=yard.store.config.bucket, Key=key)
    said = f"Entry 1 of {yard.shop.model}.ledger at {yard.shop.uri} (version 1, by {first.who} at {first.at}) isn't "
    assert refused(yard, capsys, "versions", "baseline").startswith(said + "backed: neither main")
    yard.merge()  # reviewed: main vouches, and the next promotion anchors the entry again
    assert yard.wms("versions", "baseline") == 0
    second = yard.promote(0.9, champion=1)
    assert yard.store.notes(f"{FOLDER}/") == sorted([name, f"{FOLDER}/{yard.shop.model}/{name_of(second)}"])

    # MLflow: an entry whose hashes fit, for the same run with a better score.
    lie = forged(yard.shop, second, second, from_version=2, to_version=2, metrics=HIGH, at="2026-11-29T00:00:00+00:00")
    run = yard.shop.run(0.95, champion=2)
    for words in (("versions", "baseline"), ("versions", "metadata"), ("promote", run, "--yes"), ("rollback", "--yes")):
        said = refused(yard, capsys, *words)
        assert said.startswith(f"Entry 3 of {yard.shop.model}.ledger at {yard.shop.uri}"), words
        assert "main (origin/main as last fetched)" in said and yard.url in said and "isn't backed" in said, words
    assert main(["restore", *yard.places, "--repo", str(yard.clone), "--yes"]) == 94
    assert "isn't backed" in capsys.readouterr().err
    assert yard.ledger.entries() == (first, second)
    assert yard.production() == second
    assert lie.metrics.dice == 0.9999


@pytest.mark.parametrize("lost", ["verdict", "verdict edited", "weights", "weights edited"])
def test_an_anchored_entry_of_the_registry_alone_needs_its_evidence(
    yard: Yard, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An attacker of MLflow and the bucket: a restore asks the run for what the entry names, unless a person forces."""
    yard.promote(0.8)
    yard.merge()
    second = yard.promote(0.9, champion=1)
    yard.git("checkout", "--quiet", "HEAD", "--", MODELS, METADATA)  # entry 2 is in MLflow and in the bucket only
    path = "gate/verdict.json" if "verdict" in lost else "model/production.pth"
    edited = yard.shop.registry.read_artifact(second.run_id, path).replace(b"improved", b"not improved") + b" "
    yard.shop.registry.write_artifact(second.run_id, path, edited if "edited" in lost else b"")
    command = ["restore", *yard.places, "--repo", str(yard.clone), "--yes"]
    before = yard.ledger.history.read_bytes()
    capsys.readouterr()
    assert main(command) == 94
    said = capsys.readouterr().err
    assert "Entry 2 of the ledger that " in said and "isn't backed" in said and said.count("\n") == 1, said
    assert yard.ledger.history.read_bytes() == before
    main([*command, "--force"])
    assert yard.ledger.entries()[-1] == second, capsys.readouterr()


def refused(yard: Yard, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The sentence of a command that ends with the ledger's code."""
    capsys.readouterr()
    assert yard.wms(*words) == 94
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.removeprefix("error: ")


def record_of(entry: LedgerEntry, **lies: Any) -> LedgerRecord:
    values = entry.model_dump(exclude={"seq", "hash", "previous_hash"})
    return LedgerRecord.model_validate(values | lies)


@pytest.mark.attack("a forged registry entry", "a ledger rewritten in a clone, then a sync", "the ledger on main")
def test_a_clone_s_files_alone_bring_no_model(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    from wms.errors import LedgerError

    first = yard.promote(0.8)
    yard.merge()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    lie = yard.ledger.append(record_of(first, metrics=HIGH, from_version=1))
    write_metadata(lie, yard.clone / METADATA)
    with pytest.raises(LedgerError, match=r"Entry 2 of .* isn't backed: neither the remote's main nor s3://"):
        yard.production()
    yard.git("checkout", "--quiet", "HEAD", "--", MODELS)
    yard.ledger.history.write_text(f"{link(record_of(first, metrics=HIGH), None).line}\n")
    yard.ledger.newest.unlink()
    with pytest.raises(LedgerError, match="The ledger here and the one on GitHub differ from entry 1 on"):
        yard.production()


@pytest.mark.attack(
    "a forged registry entry",
    "an anchor replayed from another project",
    "its content must be the entry",
)
def test_an_anchor_of_another_project_or_environment_vouches_for_nothing(yard: Yard) -> None:
    first = yard.promote(0.8)
    anchors = witnesses_of(yard.clone / MODELS, yard.shop.model).bucket
    staging = BucketAnchors(yard.store.at(f"{yard.store.config.prefix}/staging"), yard.shop.model)
    assert anchors is not None
    assert (staging.names(), anchors.names()) == ([], [name_of(first)])
    other = BucketAnchors(yard.store, "another-model")
    assert other.names() == []
    foreign = link(record_of(first, who="Eve", run_id=sha256_text("x")[:32]), None)
    assert other.create(name_of(foreign), f"{foreign.line}\n".encode())
    assert anchors.create(name_of(foreign), f"{foreign.line}\n".encode())  # replayed into this project's folder
    assert yard.wms("versions", "baseline") == 0
    assert yard.production() == first


@pytest.mark.attack(
    "a forged registry entry",
    "an entry in MLflow, then the commands that only show",
    "anchors in the bucket, the ledger on main",
)
def test_a_forged_entry_is_shown_with_a_sentence(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(newer, "project", lambda: Project(model=yard.shop.model))
    where = ["--models", str(yard.clone / MODELS), "--model", yard.shop.model]
    yard.promote(0.8)
    yard.merge()
    second = yard.promote(0.9, champion=1)

    def shown(*words: str) -> str:
        capsys.readouterr()
        assert main([*words]) == 0
        said = capsys.readouterr()
        assert not said.err
        return said.out

    status = ["status", "--repo", str(yard.clone)]
    for words in (["versions", *where], status):
        assert "isn't backed" not in shown(*words)
    lie = forged(yard.shop, second, second, from_version=2, to_version=2, metrics=HIGH, at="2026-11-29T00:00:00+00:00")
    told = f"Entry 3 of {yard.shop.model}.ledger at {yard.shop.uri} (version 2, by {second.who} at {lie.at}) isn't back"
    assert told in shown("versions", *where) and "0.9999" not in shown("versions", *where)
    assert json.loads(shown("versions", "--json", *where))["damage"].startswith(told)
    assert told in shown(*status)
    found = check_records(yard.clone)
    assert (found.state, found.text[: len(told)]) == (State.MISSING, told)

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    assert "isn't known: " in shown("versions", *where) and "isn't known: " in shown(*status)
    assert check_records(yard.clone).state is State.OPTIONAL  # as in a clone that is behind


@pytest.mark.attack("a forged registry entry", "an entry in a clone's files, without MLflow", "anchors in the bucket")
def test_an_unbacked_entry_of_a_clone_is_shown_with_a_sentence(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = yard.promote(0.8)
    yard.merge()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setattr(newer, "project", lambda: Project(model=yard.shop.model))
    lie = yard.ledger.append(record_of(first, metrics=HIGH, from_version=1))
    write_metadata(lie, yard.clone / METADATA)
    told = f"Entry 2 of {yard.ledger.history} (version 1, by {lie.who} at {lie.at}) isn't backed"
    for words in (
        ["versions", "--models", str(yard.clone / MODELS), "--model", yard.shop.model],
        ["versions", "ledger", str(yard.clone / MODELS)],
        ["status", "--repo", str(yard.clone)],
    ):
        capsys.readouterr()
        assert main(words) == 0
        assert told in capsys.readouterr().out, words
    yard.git("checkout", "--quiet", "HEAD", "--", MODELS, METADATA)
    yard.git("update-ref", "refs/remotes/origin/main", yard.git("rev-parse", "HEAD"))
    assert main(["versions", "ledger", str(yard.clone / MODELS)]) == 0
    assert "isn't backed" not in capsys.readouterr().out
