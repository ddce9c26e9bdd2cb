"""The lease: of two that come at once one has it, and it never stays with somebody who is gone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_server import AwsServer

from wms_ops.base.errors import BusyError
from wms_ops.storage.bucket import Bucket, Shared
from wms_ops.targets.aws import lease as module
from wms_ops.targets.aws.lease import GRACE, SILENT, Lease, LeaseClient

pytest_plugins = ["aws_fixtures"]

BUCKET, KEY = "wms-state", "lease/main.json"
START = datetime(2026, 11, 25, 15, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANA, GITHUB = "ana@laptop", "github/team/meters/123456"


@dataclass
class Office:
    """Desks as different machines have them: clients of their own, one clock and one instance, or none."""

    aws: AwsServer
    now: datetime = START
    exists: bool = True
    told: list[str] = field(default_factory=list)

    def leases(self) -> LeaseClient:
        return LeaseClient(Shared(Bucket(BUCKET, self.aws.client("s3")), KEY), lambda: self.exists, lambda: self.now)

    def is_held(self) -> bool:
        lease = self.leases().read()
        return lease is not None and not lease.is_over(self.now)

    def pass_(self, time_: timedelta) -> None:
        self.now += time_


@pytest.fixture
def office(aws: AwsServer) -> Office:
    aws.make_bucket(BUCKET)
    return Office(aws)


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_of_many_that_come_at_once_one_has_it(office: Office) -> None:
    desks = {f"holder-{number}": office.leases() for number in range(6)}
    together = threading.Barrier(len(desks))

    def take(holder: str) -> str | None:
        together.wait(30)
        try:
            return desks[holder].take(holder, START + HOUR).holder
        except BusyError:
            return None

    with ThreadPoolExecutor(len(desks)) as pool:
        winners = [one for one in pool.map(take, desks) if one]
    assert len(winners) == 1
    found = office.leases().read()
    assert found is not None and found.holder == winners[0]


def test_its_holder_goes_on_and_nothing_of_it_is_lost(office: Office) -> None:
    office.leases().take(ANA, START + 4 * HOUR)
    office.leases().amend(ANA, launch_id="20261125-153000-ab12cd")
    office.pass_(HOUR)
    again = office.leases().take(ANA, office.now + timedelta(minutes=30))  # what `down` asks for is shorter
    assert again == Lease(
        holder=ANA,
        launch_id="20261125-153000-ab12cd",
        taken_at=START,
        heartbeat_at=office.now,
        until=START + 4 * HOUR,
    )


def test_another_is_told_who_has_it_until_when_and_what_to_run(office: Office) -> None:
    office.leases().take(ANA, START + HOUR)
    with pytest.raises(BusyError) as caught:
        office.leases().take(GITHUB, START + HOUR)
    assert str(caught.value) == (
        "The instance is in use by ana@laptop since 2026-11-25 15:30 UTC, until 2026-11-25 16:30 UTC at the "
        "latest; run this again then, or run devops/scripts/stop-cloud.sh."
    )
    assert not caught.value.__cause__


@pytest.mark.attack(
    "someone who may write the state's bucket",
    "a lease, a heartbeat or a deadline's tag of the year 2099",
    "48 hours; the sentence says how to break it",
)
def test_a_lease_that_no_program_wrote_is_told_and_can_be_broken(office: Office) -> None:
    far = datetime(2099, 1, 1, tzinfo=UTC)
    office.leases().take("mal\x1b[2J\nlory", far)
    office.leases().amend("mal\x1b[2J\nlory", heartbeat_at=far)
    assert not office.leases().is_beating()
    with pytest.raises(BusyError) as caught:
        office.leases().take(ANA, START + HOUR)
    assert str(caught.value) == (
        "The instance is in use by mal\ufffd[2J\ufffdlory since 2026-11-25 15:30 UTC, until 2099-01-01 00:00 UTC, but "
        "no instance lives for more than 48 hours, so the lease isn't to be trusted; unless mal\ufffd[2J\ufffdlory is "
        "at work, break it with devops/scripts/stop-cloud.sh."
    )
    assert office.leases().take(ANA, START + HOUR, force=True).until == START + HOUR


@pytest.mark.parametrize("until", ["9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59-14:00"])
def test_a_lease_until_the_last_of_all_days_is_told_like_any_other(office: Office, until: str) -> None:
    """Nothing can be added to that day."""
    body = Lease(holder="mallory", taken_at=START, heartbeat_at=START, until=START).model_dump(mode="json")
    office.leases().shared.replace({**body, "until": until}, None)
    office.pass_(HOUR)
    assert office.is_held()
    with pytest.raises(BusyError, match="until 9999-12-31 23:59 UTC, but no instance lives for more than 48 hours"):
        office.leases().take(ANA, START + HOUR)
    assert office.leases().take(ANA, START + HOUR, force=True).holder == ANA


def test_a_holders_own_lease_is_brought_back_to_a_credible_end(office: Office) -> None:
    office.leases().take(ANA, datetime(2099, 1, 1, tzinfo=UTC))
    assert office.leases().take(ANA, START + HOUR).until == START + HOUR


@pytest.mark.parametrize("freed", ["released", "silent and nothing runs", "over"])
def test_another_waits_and_has_it_once_it_is_free(office: Office, freed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.02)
    office.leases().take(ANA, START + HOUR)
    office.leases().amend(ANA, launch_id="one")
    told = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(office.leases().take, GITHUB, START + HOUR, wait_s=60, show=lambda _: told.set())
        assert told.wait(30) and not waiting.done()
        if freed == "released":
            office.leases().release(ANA)
        elif freed == "over":
            office.pass_(HOUR + GRACE + timedelta(seconds=1))
        else:
            office.exists = False
            office.pass_(SILENT - timedelta(seconds=1))  # it may be about to launch one
            with pytest.raises(BusyError):
                office.leases().take("a third", START + HOUR)
            office.pass_(timedelta(seconds=2))
        found = waiting.result(30)
    assert found.holder == GITHUB and found.taken_at == office.now
    assert found.launch_id == ("" if freed == "released" else "one")  # whoever takes over has to end that one


def test_a_silent_holder_keeps_it_while_its_instance_runs(office: Office) -> None:
    office.leases().take(ANA, START + HOUR)
    office.pass_(timedelta(minutes=50))
    with pytest.raises(BusyError):
        office.leases().take(GITHUB, office.now + HOUR)
    office.pass_(timedelta(minutes=19))  # past the deadline, but the instance may be on its way out
    with pytest.raises(BusyError):
        office.leases().take(GITHUB, office.now + HOUR)
    assert office.is_held() and not office.leases().is_beating()


def test_a_holder_at_work_is_never_over(office: Office) -> None:
    """A teardown after the deadline may take long; who beats is at work."""
    office.leases().take(ANA, START + HOUR)
    office.exists = False
    office.pass_(5 * HOUR)
    office.leases().amend(ANA)
    assert office.is_held() and office.leases().is_beating()
    with pytest.raises(BusyError):
        office.leases().take(GITHUB, office.now + HOUR)


def test_waiting_ends_in_time(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 60.0)
    office.leases().take(ANA, START + HOUR)
    started = time.monotonic()
    with pytest.raises(BusyError, match="in use by ana@laptop"):
        office.leases().take(GITHUB, START + HOUR, wait_s=0.3, show=office.told.append)
    assert 0.3 <= time.monotonic() - started < 30
    assert len(office.told) == 1 and "waiting for it" in office.told[0]


def test_force_takes_it_and_whoever_had_it_notices(office: Office) -> None:
    office.leases().take(ANA, START + HOUR)
    office.leases().amend(ANA, launch_id="one")
    taken = office.leases().take(GITHUB, START + HOUR, force=True)
    assert (taken.holder, taken.launch_id) == (GITHUB, "one")
    with pytest.raises(BusyError, match=f"taken from {ANA}: {GITHUB} has it now; run this again"):
        office.leases().amend(ANA, launch_id="two")
    with pytest.raises(BusyError), office.leases().beating(ANA):
        pytest.fail("work without the lease")
    office.leases().release(ANA)  # lets go of nothing
    assert office.leases().read() == taken


def test_nobody_has_it(office: Office) -> None:
    assert office.leases().read() is None
    assert not office.is_held() and not office.leases().is_beating()
    with pytest.raises(BusyError, match="nobody has it now"):
        office.leases().amend(ANA)
    office.leases().release(ANA)
    assert office.leases().read() is None


def test_released_and_taken_again_it_is_a_new_one(office: Office) -> None:
    office.leases().take(ANA, START + HOUR)
    office.leases().amend(ANA, launch_id="one")
    office.leases().release(ANA)
    assert not office.is_held()
    office.pass_(timedelta(minutes=1))
    found = office.leases().take(ANA, office.now + HOUR)
    assert (found.launch_id, found.taken_at, found.until) == ("", office.now, office.now + HOUR)


def test_the_heartbeat_goes_on_behind_the_work_and_ends_with_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.02)
    leases = office.leases()
    leases.take(ANA, START + HOUR)
    with leases.beating(ANA):
        for _ in range(3):
            office.pass_(timedelta(minutes=5))
            eventually(leases.is_beating)
        office.leases().take(GITHUB, START + HOUR, force=True)  # a lost lease doesn't break the thread
    assert not [one for one in threading.enumerate() if one.name == "lease"]
    found = leases.read()
    assert found is not None and found.holder == GITHUB


def test_the_heartbeat_ends_when_the_work_fails(office: Office) -> None:
    leases = office.leases()
    leases.take(ANA, START + HOUR)
    with pytest.raises(ZeroDivisionError), leases.beating(ANA):
        raise ZeroDivisionError
    assert not [one for one in threading.enumerate() if one.name == "lease"]


@pytest.mark.parametrize("content", [b"{", b"", b"[]", b'"x"', b'{"holder": 1}', b"\xff", "a launch ../x"])
def test_a_damaged_lease_is_written_anew(office: Office, content: bytes | str) -> None:
    if isinstance(content, str):
        times = dict.fromkeys(("taken_at", "heartbeat_at", "until"), START.isoformat())
        content = json.dumps({"holder": "eve", "launch_id": "../x", **times}).encode()
    office.aws.client("s3").put_object(Bucket=BUCKET, Key=KEY, Body=content)
    assert office.leases().read() is None
    assert office.leases().take(ANA, START + HOUR).holder == ANA
    with pytest.raises(BusyError):
        office.leases().take(GITHUB, START + HOUR)


def test_what_was_changed_meanwhile_is_not_overwritten(office: Office) -> None:
    shared = Shared(Bucket(BUCKET, office.aws.client("s3")), "x.json")
    assert shared.read() == (None, None)
    first = shared.replace({"a": 1}, None)
    assert first and shared.replace({"a": 2}, None) is None
    second = shared.replace({"a": 3}, first)
    assert second and shared.replace({"a": 4}, first) is None
    assert shared.read() == ({"a": 3}, second)
    office.aws.client("s3").delete_object(Bucket=BUCKET, Key="x.json")
    assert shared.replace({"a": 5}, second) is None  # it's gone
