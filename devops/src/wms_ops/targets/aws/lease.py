"""The lease of the environment's instance: one holder at a time, until a release or the end of the time.

A lease is one object in S3, changed only by conditional writes, so of two simultaneous takers one wins. The holder is a
GitHub run or a user's machine, not a process: a job that continues a killed job has the lease already. During a change
a thread renews the heartbeat; without a heartbeat, a Terraform lock is stale.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import AwareDatetime, Field, ValidationError

from wms.errors import WmsError
from wms.formats import refuse_newer
from wms.names import harmless
from wms.records import StoredRecord
from wms_ops.base.errors import BusyError, CloudError
from wms_ops.base.poll import poll
from wms_ops.cost.sessions import NAME
from wms_ops.storage.bucket import Shared
from wms_ops.targets.aws.settings import LONGEST_HOURS

BEAT_S: Final = 15.0
LONGEST: Final = timedelta(hours=LONGEST_HOURS)
SILENT: Final = timedelta(seconds=90)
"""After so long without a heartbeat no process is at work any more."""

GRACE: Final = timedelta(minutes=10)
"""How long after its deadline an instance may still be shutting down."""

POLL_S: Final = 5.0
_REPORT_S: Final = 30.0


class Lease(StoredRecord):
    """`until` is the deadline of the lease's instance; `launch_id` is empty until a launch begins."""

    holder: str
    launch_id: str = Field(default="", pattern=f"{NAME}|^$")
    taken_at: AwareDatetime
    heartbeat_at: AwareDatetime
    until: AwareDatetime

    @property
    def who(self) -> str:
        """The holder, for people: without signs that a terminal obeys or hides."""
        return harmless(self.holder, keep="")

    def is_beating(self, now: datetime) -> bool:
        """Whether a process is changing the environment now; a heartbeat of the future is none."""
        return -GRACE < now - self.heartbeat_at < SILENT

    def is_over(self, now: datetime) -> bool:
        """Whether the lease's instance must be gone by now."""
        # Nothing is added to a time from the bucket: a sum past the year 9999 can't be told.
        return now - GRACE > self.until and not self.is_beating(now)

    def is_credible(self, now: datetime) -> bool:
        """Whether this program can have written the lease: its end isn't further away than an instance may live."""
        return self.until - now < LONGEST + GRACE

    def advice(self, now: datetime) -> str:
        """The end of a sentence for others: the lease's end, and what to do before it."""
        until = f"until {self.until:%Y-%m-%d %H:%M} UTC"
        if self.is_credible(now):
            return f"{until} at the latest; run this again then, or run devops/scripts/stop-cloud.sh"
        return (
            f"{until}, but no instance lives for more than {LONGEST_HOURS} hours, so the lease isn't to be trusted; "
            f"unless {self.who} is at work, break it with devops/scripts/stop-cloud.sh"
        )


@dataclass(frozen=True)
class LeaseClient:
    """Reads and changes the lease of one environment; `now` is for tests. `exists` says whether an instance exists."""

    shared: Shared
    exists: Callable[[], bool] = lambda: True
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def read(self) -> Lease | None:
        """The lease; None without a holder."""
        return _lease(self.shared.read()[0])

    def is_beating(self) -> bool:
        """Whether a process is changing the environment now."""
        lease = self.read()
        return lease is not None and lease.is_beating(self.now())

    def take(
        self,
        holder: str,
        until: datetime,
        *,
        wait_s: float = 0.0,
        force: bool = False,
        show: Callable[[str], None] = lambda _: None,
    ) -> Lease:
        """Take the lease, or continue the holder's own; `force` takes another's. Raises BusyError after `wait_s`."""

        def look() -> Lease | tuple[str, str]:
            while True:
                value, etag = self.shared.read()
                found, now = _lease(value), self.now()
                if found is not None and not force and not self._is_free(found, holder, now):
                    since = f"{found.taken_at:%Y-%m-%d %H:%M} UTC"
                    return f"The instance is in use by {found.who} since {since}", found.advice(now)
                wanted = self._next(found, holder, until, now)
                if self.shared.replace(wanted.model_dump(mode="json"), etag):
                    return wanted  # else another holder was quicker: look again

        def waiting(outcome: Lease | tuple[str, str], seconds: float) -> None:
            if not isinstance(outcome, Lease):
                show(f"{outcome[0]}; waiting for it, {max(0.0, wait_s - seconds):.0f} s more at the most.")

        taken = poll(
            look,
            wait_s,
            until=lambda outcome: isinstance(outcome, Lease),
            pause_s=POLL_S,
            waiting=waiting,
            every_s=_REPORT_S,
        )
        if isinstance(taken, Lease):
            return taken
        raise BusyError(f"{', '.join(taken)}.")

    def amend(self, holder: str, **changes: Any) -> Lease:
        """Change the holder's own lease. Raises BusyError if another holder has taken it."""
        while True:
            value, etag = self.shared.read()
            found = _lease(value)
            if found is None or found.holder != holder:
                whose = f"{found.who} has it now" if found else "nobody has it now"
                raise BusyError(f"The lease of the instance was taken from {holder}: {whose}; run this again.")
            wanted = found.model_copy(update={"heartbeat_at": self.now(), **changes})
            if self.shared.replace(wanted.model_dump(mode="json"), etag):
                return wanted

    def release(self, holder: str) -> None:
        """Release the lease; another holder's lease stays.

        The object stays, marked as over: a deletion can't name the version that it means.
        """
        with contextlib.suppress(BusyError):
            past = self.now() - GRACE - SILENT - timedelta(days=1)
            self.amend(holder, until=past, heartbeat_at=past, launch_id="")

    @contextlib.contextmanager
    def beating(self, holder: str) -> Iterator[None]:
        """Renew the heartbeat in the background. Its errors are ignored: the work itself meets the same errors."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(BEAT_S):
                with contextlib.suppress(WmsError):
                    self.amend(holder)

        thread = threading.Thread(target=beat, name="lease", daemon=True)
        self.amend(holder)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _is_free(self, found: Lease, holder: str, now: datetime) -> bool:
        if found.holder == holder or found.is_over(now):
            return True
        return not found.is_beating(now) and not self.exists()  # both the holder and the instance are gone

    @staticmethod
    def _next(found: Lease | None, holder: str, until: datetime, now: datetime) -> Lease:
        same = found is not None and found.holder == holder and not found.is_over(now)
        if found is not None and same:
            least = found.until if found.is_credible(now) else until
            return found.model_copy(update={"heartbeat_at": now, "until": max(until, least)})
        launch = found.launch_id if found else ""  # the next holder has to end that launch
        return Lease(holder=holder, launch_id=launch, taken_at=now, heartbeat_at=now, until=until)


def _lease(value: Any) -> Lease | None:
    refuse_newer(value, "The lease of the instance", CloudError)
    try:
        return Lease.model_validate(value) if value else None
    except ValidationError:
        return None  # written by hand: the next holder writes a valid lease
