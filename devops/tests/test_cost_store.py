"""Sessions in S3 and the report from there, against an AWS on loopback."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_server import ACCOUNT, REGION, AwsServer
from cost_values import NOW, session
from rich.console import Console

from wms.errors import UsageError, run_main
from wms_ops.cost import cli, session_store
from wms_ops.cost.estimate import cost_of
from wms_ops.cost.prices import price_table
from wms_ops.cost.session_store import S3SessionStore, account_of, make_client, make_store, state_bucket
from wms_ops.cost.sessions import EndedBy, Session, month_name, month_start
from wms_ops.cost.statement import statement_of
from wms_ops.cost.storage import GB, buckets_of, stored_gb
from wms_ops.errors import BucketNotFoundError, BusyError, PipelineError, StoreUnreachableError

pytest_plugins = ["aws_fixtures"]

BUCKET = state_bucket(ACCOUNT, REGION)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(aws: AwsServer) -> S3SessionStore:
    """An empty store in a bucket that exists."""
    aws.client("s3").create_bucket(Bucket=BUCKET)
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
        store._put(f"sessions/main/{one.launch_id}.json", it.seen(next(moments)))
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
    ("body", "words"), [("", "the whole"), ('{"launch_id": 1}', "launch_id"), ("[1]", "the whole")]
)
def test_a_damaged_record_is_named(aws: AwsServer, store: S3SessionStore, body: str, words: str) -> None:
    store.create(session())
    aws.client("s3").put_object(Bucket=BUCKET, Key="sessions/main/20261125-120000-aaaaaa.json", Body=body.encode())
    with pytest.raises(PipelineError, match=rf"s3://{BUCKET}/sessions/main/\S+aaaaaa\.json isn't .*\({words}"):
        store.sessions("main")


def test_the_account_is_asked_for(aws: AwsServer) -> None:
    assert account_of(REGION) == ACCOUNT


def test_what_lies_in_the_buckets(aws: AwsServer, store: S3SessionStore) -> None:
    data, models, state = buckets_of("main", ACCOUNT, REGION)
    assert (data, models, state) == (f"wms-main-dvc-{ACCOUNT}-{REGION}", f"wms-main-mlflow-{ACCOUNT}-{REGION}", BUCKET)
    aws.client("s3").create_bucket(Bucket=data)
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


# The command


def run(*argv: str) -> int:
    return run_main(cli.main, list(argv))


def test_nothing_was_ever_started(aws: AwsServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report") == 0
    out = capsys.readouterr().out
    assert "No instance was ever started here." in out
    assert "isn't measured yet" in out
    assert run("report", "--json", "--month", "2026-10") == 0
    empty = json.loads(capsys.readouterr().out)
    assert (empty["runs"], empty["total"]["usd"], empty["storage"]["gb"]) == ([], 0, {})


def filled(store: S3SessionStore) -> float:
    """Two sessions of this month's first day and one of the month before; returns what this month's cost."""
    now = datetime.now(UTC)
    first = month_start(month_name(now))
    day_before = first - timedelta(days=1)
    for one in (
        session(begun=first, run="r1", model_version=2).ended(first, EndedBy.DOWN),
        session(begun=first, run="[r2]", environment="main").ended(first, EndedBy.DOWN),
        session(begun=day_before, run="r0", model_version=1).ended(day_before + HOUR, EndedBy.IDLE),
        session(begun=first, launched=None, run="r3").ended(first, EndedBy.DOWN),
        session(begun=first, run="not mine", environment="ana"),
    ):
        store.create(one)
    return 2 * cost_of(0, price_table().rates()).total


def test_the_report_adds_up(store: S3SessionStore, capsys: pytest.CaptureFixture[str]) -> None:
    this_month = filled(store)
    assert run("report", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["run"] for one in told["runs"]] == ["r0", "r1", "[r2]"]
    assert [one["version"] for one in told["model_versions"]] == ["1", "2", "none"]
    assert [one["sessions"] for one in told["months"]] == [1, 2]
    assert told["months"][1]["usd"] == pytest.approx(this_month, abs=1e-5)
    assert told["total"]["usd"] == pytest.approx(this_month + cost_of(3600, price_table().rates()).total, abs=1e-5)
    assert told["saved_usd"] == pytest.approx(
        sum(month["always_on_usd"] - month["usd"] for month in told["months"]), abs=1e-5
    )
    month = told["months"][1]["month"]
    assert run("report", "--json", "--month", month) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["run"] for one in told["runs"]] == ["r1", "[r2]"]
    assert told["total"]["usd"] == pytest.approx(this_month, abs=1e-5)


def test_the_report_for_people(store: S3SessionStore, capsys: pytest.CaptureFixture[str]) -> None:
    filled(store)
    assert run("report") == 0
    out = capsys.readouterr().out
    for words in ("r0", "[r2]", "model version", "always on", "saved", "Together:", "always on (t3.large"):
        assert words in out
    assert "not mine" not in out
    assert run("report", "--month", "2020-01") == 0
    assert "No instance ran in 2020-01." in capsys.readouterr().out


def test_what_goes_on_is_told() -> None:
    now = datetime.now(UTC)
    statement = statement_of([session(begun=now - HOUR)], price_table(), environment="main", region=REGION, now=now)
    console = Console(record=True, width=200)
    cli.show(statement, console)
    text = console.export_text()
    assert "Not over yet: 1" in text
    assert "may not ask CloudWatch" in text


def test_prices_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prices", "--region", "us-west-2") == 0
    out = capsys.readouterr().out
    assert "m6i.xlarge" in out and "us-west-2" in out
    assert "0.0915" in next(line for line in out.splitlines() if "t3.large" in line)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["report", "--month", "November"], "--month is 'November'; give a year and a month, such as 2026-11."),
        (["report", "--month", "2026-13"], "--month is '2026-13'"),
        (["report", "--environment", "../x"], "can't be the name of an environment"),
        (["report", "--region", "us-east1"], "did you mean us-east-1?"),
        (["prices", "--region", "mars"], "it has eu-west-1, us-east-1, us-west-2."),
    ],
)
def test_wrong_arguments(argv: list[str], words: str, aws: AwsServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*argv) == UsageError.exit_code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("code", "expected", "words"),
    [
        ("ExpiredToken", 71, "have expired"),
        ("InvalidClientTokenId", 72, "doesn't know the access key"),
        ("AccessDenied", 72, "may not"),
    ],
)
@pytest.mark.usefixtures("aws")
def test_credentials_that_are_refused(
    code: str, expected: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """AWS on loopback takes any key, so the answer is put in its place: by botocore's own events, not by a mock."""
    original = session_store.make_client

    def refusing(service: str, region: str) -> Any:
        client = original(service, region)
        client.meta.events.register("before-send.sts", lambda **_: _answer(code, 403))
        return client

    monkeypatch.setattr(session_store, "make_client", refusing)
    assert run("report") == expected
    error = capsys.readouterr().err
    assert words in error
    assert f"wms-state-ACCOUNT-{REGION}" in error
    assert error.count("\n") == 1


def _answer(code: str, status: int) -> Any:
    from botocore.awsrequest import AWSResponse

    class Raw:
        def stream(self, **_: object) -> Any:
            yield f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>".encode()

    return AWSResponse("https://sts", status, {"Content-Type": "text/xml"}, Raw())


def test_no_credentials(
    aws: AwsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    assert run("report") == 70
    error = capsys.readouterr().err
    assert "no usable AWS credentials" in error and "aws configure" in error
    assert error.count("\n") == 1


def test_nobody_answers(aws: AwsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert run("report") == StoreUnreachableError.exit_code
    assert capsys.readouterr().err.count("\n") == 1
