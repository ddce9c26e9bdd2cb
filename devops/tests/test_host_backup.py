"""Backups of MLflow's database: killed anywhere, damaged, or made by an instance that dies late."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from aws_server import REGION, AwsServer

from wms_ops.base.errors import BucketNotFoundError, CloudError
from wms_ops.storage.bucket import Bucket
from wms_ops.targets.host.backup import KEPT, LATEST, BackupNote, Backups, OvertakenError

pytest_plugins = ["aws_fixtures"]
pytestmark = pytest.mark.slice("backups of an instance", of=2)

BUCKET = "backups"
STEPS = ("copied", "packed", "uploaded", "verified", "switched", "pruned")
OLD, NEW = "20261125-100000-ffffff", "20261125-110000-000000"
KILLED = """
import os, signal, sys
from pathlib import Path
from wms_ops.targets.host.backup import Backups
from wms_ops.storage.bucket import Bucket
bucket, region, launch, database, kill_at, method = sys.argv[1:]
def step(name):
    if name == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
getattr(Backups(Bucket.open(bucket, region), "main", launch, Path(database), print, step), method)()
"""


@pytest.fixture
def objects(aws: AwsServer) -> Bucket:
    aws.make_bucket(BUCKET)
    return Bucket.open(BUCKET, REGION)


def backups(objects: Bucket, folder: Path, launch: str = OLD) -> Backups:
    """Of a machine whose disk is `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return Backups(objects, "main", launch, folder / "mlflow.db", lambda _: None)


def write(path: Path, *rows: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS metrics (name TEXT)")
        database.executemany("INSERT INTO metrics VALUES (?)", [(row,) for row in rows])


def read(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [row[0] for row in database.execute("SELECT name FROM metrics")]


def killed_at(step: str, method: str, database: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, BUCKET, REGION, OLD, str(database), step, method]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, f"{step}: {done.stdout}{done.stderr}"


def restored(objects: Bucket, folder: Path) -> list[str]:
    """What a new instance gets."""
    fresh = backups(objects, folder, NEW)
    assert fresh.restore() is not None
    return read(fresh.database)


def test_killed_anywhere_the_backup_before_stays_good(objects: Bucket, tmp_path: Path) -> None:
    one = backups(objects, tmp_path / "old")
    write(one.database, "first")
    one.save()
    write(one.database, "second")
    for number, step in enumerate(STEPS):
        killed_at(step, "save", one.database)
        expected = ["first", "second"] if step in ("switched", "pruned") else ["first"]
        assert restored(objects, tmp_path / f"new {number}") == expected, step
    one.save()
    assert sorted(path.name for path in one.database.parent.iterdir()) == ["mlflow.db"]


def test_killed_while_it_restores_the_database_is_whole_or_absent(objects: Bucket, tmp_path: Path) -> None:
    one = backups(objects, tmp_path / "old")
    write(one.database, "first")
    one.save()
    database = tmp_path / "new" / "mlflow.db"
    database.parent.mkdir()
    killed_at("fetched", "restore", database)
    assert not database.exists()
    assert restored(objects, database.parent) == ["first"]
    assert [path.name for path in database.parent.iterdir()] == ["mlflow.db"]


def test_nothing_there_is_a_fresh_start_and_what_is_here_is_kept(objects: Bucket, tmp_path: Path) -> None:
    one = backups(objects, tmp_path / "old")
    assert one.restore() is None and one.latest() is None and not one.database.exists()
    write(one.database, "first")
    one.save()
    write(one.database, "second")
    assert one.restore() is None and read(one.database) == ["first", "second"]
    with pytest.raises(BucketNotFoundError):  # a store that doesn't answer isn't an empty one
        backups(Bucket.open("another", REGION), tmp_path / "new").restore()


def test_a_damaged_backup_gives_way_to_the_one_before(objects: Bucket, tmp_path: Path) -> None:
    one = backups(objects, tmp_path / "old")
    notes: list[BackupNote] = []
    for name in ("first", "second", "third"):
        write(one.database, name)
        notes.append(one.save())
    objects.put(notes[2].key, b"damaged")
    said: list[str] = []
    fresh = backups(objects, tmp_path / "new", NEW)
    fresh.show = said.append
    restored_note = fresh.restore()
    assert restored_note is not None and restored_note.key == notes[1].key
    assert read(fresh.database) == ["first", "second"]
    assert "isn't what was sent; trying the one before" in said[0] and "after 1 that are damaged" in said[1]
    objects.delete([notes[1].key])
    objects.put(one.prefix + LATEST, b"{")
    assert restored(objects, tmp_path / "newer") == ["first"]
    objects.put(notes[0].key, b"damaged")
    with pytest.raises(CloudError, match="None of the 2 backups in s3://backups/backup/main/ can be read"):
        backups(objects, tmp_path / "newest").restore()  # rather than taking their place with an empty one


def test_an_instance_that_dies_late_doesnt_overwrite_its_successor(objects: Bucket, tmp_path: Path) -> None:
    old, new = backups(objects, tmp_path / "old"), backups(objects, tmp_path / "new", NEW)
    write(old.database, "first")
    old.save()
    assert new.restore() is not None
    write(old.database, "late")
    write(new.database, "new")
    latest = new.save()
    with pytest.raises(OvertakenError, match=f"newer launch {NEW}"):
        old.save()
    assert new.latest() == latest
    # As closely as can be: the successor switches between the old one's look and its write.
    write(new.database, "newer")
    racing = backups(objects, tmp_path / "racing", OLD)
    write(racing.database, "racing")
    objects.delete([new.prefix + LATEST])
    reads = racing._read

    def read_then_lose() -> tuple[BackupNote | None, str | None]:
        seen = reads()
        if threading.current_thread() is threading.main_thread() and not raced:
            raced.append(new.save())
        return seen

    raced: list[BackupNote] = []
    racing._read = read_then_lose  # type: ignore[method-assign]
    with pytest.raises(OvertakenError):
        racing.save()
    assert new.latest() == raced[0]
    assert restored(objects, tmp_path / "third") == ["first", "new", "newer"]


def test_old_ones_go_and_a_copy_is_whole_while_others_write(objects: Bucket, tmp_path: Path) -> None:
    one = backups(objects, tmp_path / "old")
    write(one.database)
    assert one.changed()
    stop = threading.Event()

    def keep_writing() -> None:
        number = 0
        while not stop.is_set():
            write(one.database, f"{number} a", f"{number} b")  # both or none
            number += 1

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        notes = [one.save() for _ in range(KEPT + 3)]
    finally:
        stop.set()
        writer.join()
    assert len(restored(objects, tmp_path / "new")) % 2 == 0
    assert [key for key in objects.names(one.prefix) if key.endswith(".gz")] == [note.key for note in notes[-KEPT:]]
    one.save()
    assert not one.changed()
