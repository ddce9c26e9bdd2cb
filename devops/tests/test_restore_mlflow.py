"""`wms restore` where MLflow was lost: everything that the ledger names comes back, also after a kill at any step."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from restore_yard import KILL, Yard, tell, variables_of
from s3_server import S3Server
from servers import MlflowServer
from small import ROOT, environment
from workshop import Workshop

from wms.data.manifest import Manifest, pointer_text
from wms.errors import LedgerError, run_main
from wms.files import sha256_bytes
from wms.registry import promotion
from wms.registry.chain import Chain
from wms.registry.gate_tries import TryLog
from wms.registry.plan import ENTRY_NUMBER, Proposal
from wms.registry.promotion import PromotionClient
from wms.registry.restored import COPY
from wms.text import counted
from wms_ops.base.layout import KINDS, pointer
from wms_ops.commands import gate, sync, versions
from wms_ops.commands.restore import COMMAND as RESTORE
from wms_ops.dataset.stored import md5_of
from wms_ops.gate.witnesses import witnesses_of
from wms_ops.restore.mlflow import Sources, plan_mlflow
from wms_ops.storage.config import RemoteConfig

BUCKET = f"restore-{uuid.uuid4().hex[:12]}"

# A `wms restore` that dies after the first run that it makes anew.
DYING = """
import os, signal, sys
from functools import partial
from wms.errors import run_main
from wms.registry.promotion import PromotionClient
from wms_ops.commands import restore

def step(name):
    if name == "run":
        os.kill(os.getpid(), signal.SIGKILL)

restore.PromotionClient = partial(PromotionClient, step=step)
run_main(restore.COMMAND, sys.argv[1:])
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, s3_of_session: S3Server) -> Iterator[Yard]:
    folder = tmp_path_factory.mktemp("restore")
    s3_of_session.create_bucket(BUCKET)
    s3_of_session.client().put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    shop = Workshop(folder / "shop", s3_of_session, RemoteConfig(BUCKET, f"{folder.name}/dvc", s3_of_session.endpoint))
    server = MlflowServer(folder / "mlflow")
    server.artifacts = f"s3://{BUCKET}/{folder.name}/mlflow"
    server.environ = {**s3_of_session.environ, "MLFLOW_S3_ENDPOINT_URL": s3_of_session.endpoint}
    yard = Yard(shop, shop.clone(), server)
    try:
        server.start()
        yard.build()
        yield yard
    finally:
        server.kill()


@pytest.fixture
def yard(built: Yard, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Yard:
    for name, value in variables_of(built).items():
        monkeypatch.setenv(name, value)
    return built


def restored(yard: Yard, *more: str) -> int:
    return run_main(RESTORE, [*yard.arguments, *more])


def test_an_empty_server_gets_everything_that_the_ledger_names_killed_at_any_step(
    yard: Yard, capsys: pytest.CaptureFixture[str]
) -> None:
    before = yard.state()
    assert set(before["versions"]) == {1, 2, 3} and len(before["chain"]) == 3
    yard.lose_mlflow()
    # The published copy of version 3's model stands in for a file that the bucket lost.
    last = yard.ledger.entries()[1]
    client = yard.shop.s3.client()
    (experiment,) = {key.split("/artifacts/")[0] for key in keys(yard) if last.run_id in key}
    client.delete_object(Bucket=BUCKET, Key=f"{experiment}/artifacts/model/production.pth")
    assert restored(yard, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "2 runs" in said and "Versions 1, 3 of water-meter-segmentation are registered anew" in said
    assert "Version 2 was never Production" in said and "Nothing was changed." in said
    assert not yard.registry.versions()
    started = time.monotonic()
    moments = ("run:1", "version:2", "entry:2", "production:1")
    assert yard.killed(*moments) == dict.fromkeys(moments, KILL)
    assert restored(yard, "--yes") == 0
    said = capsys.readouterr().out
    tell(capsys, f"MLflow, killed four times, {time.monotonic() - started:.1f} s in all; the last one", said)
    assert "Lost. MLflow: The curves of each epoch" in said
    after = yard.state()
    assert after["runs"] == before["runs"]
    assert (after["chain"], after["settled"]) == (before["chain"], True)
    for number in (1, 3):
        run_id, aliases, tags = before["versions"][number]
        assert after["versions"][number][:2] == (run_id, aliases)
        assert tags.items() <= after["versions"][number][2].items(), number
    assert after["versions"][2][2]["status"] == "lost"
    for entry in yard.ledger.entries():
        assert sha256_bytes(yard.registry.read_artifact(entry.run_id, "model/production.pth")) == entry.weights_sha256
    log = TryLog(yard.registry, yard.ledger.entries()).read()
    assert (log.found, log.faults, len(log.accepted)) == ((), (), 1), "the lost log goes on, and says so"
    assert "`wms restore`" in log.warnings[0]
    assert restored(yard, "--yes") == 0
    assert "Everything agrees: Production is version 1." in capsys.readouterr().out
    assert yard.state() == after


def keys(yard: Yard) -> list[str]:
    prefix = yard.place.removeprefix(f"s3://{BUCKET}/")
    found = yard.shop.s3.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    return [item["Key"] for item in found]


def test_gate_sync_versions_lineage_and_rollback_work_on_the_rebuilt_server(
    yard: Yard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert any("wms.restored_run" in one.tags for one in yard.registry.versions()), "the test before rebuilt the server"
    where = ["--models", str(yard.models), "--repo", str(yard.clone)]
    assert run_main(sync.COMMAND, where) == 0
    runs = yard.shop.folder / "work" / "runs"
    assert run_main(versions.LIST, ["--lineage", *where, "--runs", str(runs)]) == 0
    said = capsys.readouterr().out
    assert "11 of 11 links hold" in said
    assert run_main(versions.LIST, where) == 0
    challenger = yard.copy()
    work = yard.shop.folder / "work"
    options = {"--run": challenger, "--config": work / "small.yaml", "--data": work / "photos"}
    options |= {"--splits": work / "splits.jsonl", "--ledger": yard.models}
    assert run_main(gate.COMMAND, [str(word) for pair in options.items() for word in pair]) == 90
    said = capsys.readouterr().out
    assert "version 1" in said and str(ROOT) not in said
    anchored = replace(yard.promotions, witnesses=witnesses_of(yard.models, yard.promotions.model))
    back = promotion.propose_rollback(anchored, 3)
    assert isinstance(back, Proposal)
    assert promotion.execute(anchored, back, who="Ada").entry.seq == 4
    assert next(one for one in yard.registry.versions() if one.version == 3).tags[ENTRY_NUMBER] == "4"
    # What only MLflow knows comes back to a clone that lags behind, as after a lost origin.
    yard.shop.run("git", "checkout", "--quiet", "--", "WMS/models", "model-metadata.json", where=yard.clone)
    assert len(yard.ledger.entries()) == 3
    capsys.readouterr()
    assert restored(yard, "--yes") == 0
    said = capsys.readouterr().out
    assert "entry 4 (version 3, rolled back to by Ada at" in said
    assert f") from the registry at {yard.server.uri}." in said
    assert "Production changes from version 1 to version 3." in said, "by this clone's files"
    assert len(yard.ledger.entries()) == 4


def test_a_server_that_others_use_is_left_alone(yard: Yard) -> None:
    others = PromotionClient(yard.server.uri, yard.ledger, yard.clone / "model-metadata.json", "others")
    others.registry.register(yard.copy())
    with pytest.raises(LedgerError, match="so nothing was changed: another project"):
        plan_mlflow(others, yard.ledger.entries(), Chain(), Sources(lambda: None))
    assert [one.version for one in others.registry.versions()] == [1]


def objects(yard: Yard) -> dict[str, bytes]:
    client = yard.shop.s3.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    names = [item["Key"] for page in pages for item in page.get("Contents", ())]
    return {name: client.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names}


def forgotten(yard: Yard, stored: Iterable[str]) -> set[str]:
    """The runs whose files are stored, without those of the ledger and the copies that an earlier restore made."""
    files = [name.split("/artifacts/") for name in stored if "/artifacts/" in name]
    runs = {where.rpartition("/")[2]: set[str]() for where, _ in files}
    for where, path in files:
        runs[where.rpartition("/")[2]].add(path)
    promoted = {entry.run_id for entry in yard.ledger.entries()}
    return {run for run, paths in runs.items() if COPY not in paths and run not in promoted}


def test_mlflow_bucket_and_origin_lost_together_come_back_by_one_command_that_was_killed_once(
    yard: Yard, capsys: pytest.CaptureFixture[str]
) -> None:
    shop, clone = yard.shop, yard.clone
    for kind in KINDS:
        photos = {f"m{i}.png": f"{kind} {i}".encode() for i in range(3)}
        manifest = Manifest({name: md5_of(content) for name, content in photos.items()})
        shop.store().upload({md5_of(one): one for one in photos.values()} | {manifest.oid: manifest.content})
        shop.write(clone, pointer(kind), pointer_text(manifest, None, kind))
    shop.run("git", "add", "WMS/data", where=clone)
    shop.run("git", "commit", "--quiet", "-m", "Photos", where=clone)
    shop.run("git", "push", "--quiet", "--no-verify", "origin", "HEAD:main", where=clone)
    state, refs, before = yard.state(), shop.branches(), objects(yard)
    others = forgotten(yard, before)
    assert others
    yard.lose_mlflow()
    shutil.rmtree(shop.origin)
    shop.run("git", "init", "--quiet", "--bare", "--initial-branch=main", shop.origin, where=shop.folder)
    client = shop.s3.client()
    for name in before:
        client.delete_object(Bucket=BUCKET, Key=name)
    client.put_object(Bucket=BUCKET, Key=max(name for name in before if "/files/md5/" in name), Body=b"rubbish")
    words = ["all", *yard.arguments, "--yes"]
    variables = environment(**{**shop.environ, **variables_of(yard)})
    died = subprocess.run(
        [sys.executable, "-c", DYING, *words], env=variables, capture_output=True, text=True, check=False
    )
    assert died.returncode == KILL, died.stdout + died.stderr
    assert not yard.registry.versions()
    assert run_main(RESTORE, words) == 0
    said = capsys.readouterr().out
    tell(capsys, f"MLflow, {len(before)} objects of the bucket and the origin together, after a kill", said)
    assert f"files of {counted(len(others), 'run')} are still in {yard.place}" in said
    after = yard.state()
    assert (after["runs"], after["chain"], after["settled"]) == (state["runs"], state["chain"], True)
    for number in (1, 3):
        assert after["versions"][number][:2] == state["versions"][number][:2]
    assert shop.branches() == refs
    drawn = (".html", ".jpg", ".md", ".png", ".webp")
    now = objects(yard)
    assert {name: now.get(name) for name in before if not name.endswith(drawn)} == {
        name: content for name, content in before.items() if not name.endswith(drawn)
    }
    assert run_main(RESTORE, words) == 0
    assert (
        f"Everything agrees: Production is version {yard.ledger.entries()[-1].to_version}." in capsys.readouterr().out
    )
