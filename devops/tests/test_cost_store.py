"""Sessions in S3, against an AWS on loopback."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_server import ACCOUNT, REGION, AwsServer
from cost_values import NOW, session

from wms_ops.base.errors import BucketNotFoundError, BusyError, PipelineError
from wms_ops.cost import session_store
from wms_ops.cost.session_store import S3SessionStore, make_store
from wms_ops.cost.sessions import EndedBy, Session, month_start
from wms_ops.cost.storage import GB, buckets_of, stored_gb
from wms_ops.storage.client import account_of, make_client
from wms_ops.storage.names import Names

pytest_plugins = ["aws_fixtures"]

BUCKET = Names("main", ACCOUNT, REGION).state_bucket
HOUR = timedelta(hours=1)


@pytest.fixture
def store(aws: AwsServer) -> S3SessionStore:
    """An empty store in a bucket that exists."""
    aws.make_bucket(BUCKET)
    return make_store(REGION)


def test_a_session_is_kept_under_its_name(aws: AwsServer, store: S3SessionStore) -> None:
    one = session()
    store.create(one)
    store.create(one)  # a repeated request
    assert store.read("main", one.launch_id) == one
    assert store.read("main", "20261125-120000-absent") is None
    keys = [item["Key"] for item in aws.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert keys == [f"sessions/main/{one.launch_id}.json"]


def test_a_name_is_given_once(store: S3SessionStore) -> None:
    one = session()
    store.create(one)
    with pytest.raises(BusyError, match=f"Another launch has the name {one.launch_id}"):
        store.create(one.changed(owner="ben@laptop"))
    assert store.read("main", one.launch_id) == one


def test_a_change_is_read_made_and_written(store: S3SessionStore) -> None:
    one = session(launched=None)
    store.create(one)
    assert store.change("main", one.launch_id, lambda it: it.launched(NOW)) == one.launched(NOW)
    assert store.change("main", one.launch_id, lambda it: it.changed(model_version=3)) == store.read(
        "main", one.launch_id
    )
    assert store.change("main", "20261125-120000-absent", lambda it: it) is None


def test_writers_at_the_same_time_lose_nothing(store: S3SessionStore) -> None:
    """The first end on record stays, and each writer's own field is there in the end."""
    one = session()
    store.create(one)
    start, failed = threading.Barrier(4), []

    def write(change: Any) -> None:
        start.wait(10)
        try:
            store.change("main", one.launch_id, change)
        except Exception as error:
            failed.append(error)

    changes = [
        lambda it: it.ended(NOW + HOUR, EndedBy.DOWN),
        lambda it: it.ended(NOW + 2 * HOUR, EndedBy.REAPER),
        lambda it: it.changed(model_version=7),
        lambda it: it.changed(busy_seconds=60),
    ]
    threads = [threading.Thread(target=write, args=(change,)) for change in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    found = store.read("main", one.launch_id)
    assert found is not None
    assert (found.model_version, found.busy_seconds) == (7, 60)
    assert (found.ended_at, found.ended_by) in ((NOW + HOUR, EndedBy.DOWN), (NOW + 2 * HOUR, EndedBy.REAPER))


def test_somebody_else_writes_in_between(store: S3SessionStore) -> None:
    one = session()
    store.create(one)
    turns: list[int] = []

    def change(it: Session) -> Session:
        turns.append(1)
        if len(turns) < 3:  # twice another process is faster
            store.change("main", one.launch_id, lambda other: other.seen(NOW + len(turns) * HOUR))
        return it.changed(model_version=4)

    after = store.change("main", one.launch_id, change)
    assert after == store.read("main", one.launch_id)
    assert after is not None
    assert (after.model_version, after.last_seen_at, len(turns)) == (4, NOW + 2 * HOUR, 3)


def test_a_record_that_never_rests_ends_in_a_sentence(store: S3SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_store, "_WRITERS", 2)
    one = session()
    store.create(one)
    moments = iter(NOW + timedelta(minutes=minute) for minute in range(9))

    def change(it: Session) -> Session:
        key = f"sessions/main/{one.launch_id}.json"
        assert store._put(key, it.seen(next(moments)), store._tagged(key)[0])
        return it.changed(model_version=4)

    with pytest.raises(BusyError, match="Others keep changing"):
        store.change("main", one.launch_id, change)


def test_sessions_are_listed_by_age_and_environment(store: S3SessionStore) -> None:
    old, new, other = session(begun=NOW - 90 * 24 * HOUR), session(), session(environment="ana")
    for one in (new, other, old):
        store.create(one)
    assert store.sessions("main") == (old, new)
    assert set(store.sessions()) == {old, new, other}
    assert store.sessions("main", since=month_start("2026-11")) == (new,)
    across = session(begun=datetime(2026, 10, 30, 1, tzinfo=UTC), minutes=2880)
    store.create(across)
    assert store.sessions("main", since=month_start("2026-11")) == (across, new)


def test_without_a_bucket_there_are_no_sessions(aws: AwsServer) -> None:
    store = make_store(REGION)
    assert store.sessions() == ()
    with pytest.raises(BucketNotFoundError, match=BUCKET):
        store.create(session())


@pytest.mark.parametrize(
    ("body", "words"), [("", "its content"), ('{"launch_id": 1}', "launch_id"), ("[1]", "its content")]
)
def test_a_damaged_record_is_named(aws: AwsServer, store: S3SessionStore, body: str, words: str) -> None:
    store.create(session())
    aws.client("s3").put_object(Bucket=BUCKET, Key="sessions/main/20261125-120000-aaaaaa.json", Body=body.encode())
    told = rf"s3://{BUCKET}/sessions/main/\S+aaaaaa\.json of a session is damaged: {words}"
    with pytest.raises(PipelineError, match=told):
        store.sessions("main")


def test_the_account_is_asked_for(aws: AwsServer) -> None:
    assert account_of(REGION) == ACCOUNT


def test_what_lies_in_the_buckets(aws: AwsServer, store: S3SessionStore) -> None:
    data, models, state = buckets_of("main", ACCOUNT, REGION)
    assert (data, models, state) == (f"wms-main-dvc-{ACCOUNT}-{REGION}", f"wms-main-mlflow-{ACCOUNT}-{REGION}", BUCKET)
    aws.make_bucket(data)
    aws.client("s3").put_object(Bucket=data, Key="a", Body=b"x" * 4096)
    now = datetime.now(UTC)
    for days, size in ((2, 5 * GB), (1, 7 * GB)):  # a bucket of whose size CloudWatch has two days
        figure = {
            "MetricName": "BucketSizeBytes",
            "Dimensions": [
                {"Name": "BucketName", "Value": models},
                {"Name": "StorageType", "Value": "StandardStorage"},
            ],
            "Timestamp": now - timedelta(days=days),
            "Value": size,
            "Unit": "Bytes",
        }
        aws.client("cloudwatch").put_metric_data(Namespace="AWS/S3", MetricData=[figure])
    found = stored_gb(make_client("cloudwatch", REGION), (data, models, "wms-absent"), now)
    assert found[models] == 7
    assert found[data] > 0
    assert "wms-absent" not in found
