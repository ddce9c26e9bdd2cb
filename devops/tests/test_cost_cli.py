"""`wms cost`, against an AWS on loopback."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_server import ACCOUNT, REGION, AwsServer
from cost_values import session
from rich.console import Console

from wms.errors import ConfigError, UsageError
from wms_ops.base.errors import StoreUnreachableError
from wms_ops.commands import cost as cli
from wms_ops.commands.main import main
from wms_ops.cost.estimate import cost_of
from wms_ops.cost.prices import price_table
from wms_ops.cost.session_store import S3SessionStore, make_store
from wms_ops.cost.sessions import EndedBy, month_name, month_start
from wms_ops.cost.statement import statement_of
from wms_ops.storage import client as clients
from wms_ops.storage.names import Names

pytest_plugins = ["aws_fixtures"]

BUCKET = Names("main", ACCOUNT, REGION).state_bucket
HOUR = timedelta(hours=1)


@pytest.fixture
def store(aws: AwsServer) -> S3SessionStore:
    """An empty store in a bucket that exists."""
    aws.make_bucket(BUCKET)
    return make_store(REGION)


def run(*argv: str) -> int:
    return main(["cost", *argv])


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
    return 2 * cost_of(0, price_table().rates("us-east-1")).total


def test_the_report_adds_up(store: S3SessionStore, capsys: pytest.CaptureFixture[str]) -> None:
    this_month = filled(store)
    assert run("report", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["run"] for one in told["runs"]] == ["r0", "r1", "[r2]"]
    assert [one["version"] for one in told["model_versions"]] == ["1", "2", "none"]
    assert [one["sessions"] for one in told["months"]] == [1, 2]
    assert told["months"][1]["usd"] == pytest.approx(this_month, abs=1e-5)
    before = cost_of(3600, price_table().rates("us-east-1")).total
    assert told["total"]["usd"] == pytest.approx(this_month + before, abs=1e-5)
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
        (["prices", "--region", "mars"], "it has eu-central-1, eu-west-1, us-east-1, us-west-2."),
    ],
)
def test_wrong_arguments(argv: list[str], words: str, aws: AwsServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*argv) == UsageError.exit_code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_bill_is_never_looked_for_in_a_region_that_nobody_chose(
    aws: AwsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would be empty, and read as if no instance had ever run."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    assert run("report") == ConfigError.exit_code
    assert "No region of AWS is chosen" in capsys.readouterr().err
    assert run("prices") == 0 and "eu-central-1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "expected", "words"),
    [
        ("ExpiredToken", 71, "have expired"),
        ("InvalidClientTokenId", 72, "doesn't know the access key"),
        ("AccessDenied", 72, "lack the rights"),
    ],
)
@pytest.mark.usefixtures("aws")
def test_credentials_that_are_refused(
    code: str, expected: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """AWS on loopback takes any key, so the answer is put in its place: by botocore's own events, not by a mock."""
    original = clients.make_client

    def refusing(*of: Any, **more: Any) -> Any:
        client = original(*of, **more)
        client.meta.events.register("before-send.sts", lambda **_: _answer(code, 403))
        return client

    monkeypatch.setattr(clients, "make_client", refusing)
    assert run("report") == expected
    error = capsys.readouterr().err
    assert words in error
    assert "ask AWS whose credentials these are" in error
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
