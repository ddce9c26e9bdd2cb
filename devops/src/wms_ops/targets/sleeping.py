"""MLflow on an instance that may sleep: start the instance, wait until MLflow answers, and stop the instance again."""

from __future__ import annotations

import select
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from wms.errors import ModelNotFoundError
from wms.registry.ledger import LedgerEntry
from wms.registry.mlflow_store import ModelRegistry
from wms_ops.machine.environment import tracking_address
from wms_ops.machine.types import CloudState
from wms_ops.release.sources import MlflowSource
from wms_ops.targets.protocol import Cloud

ANSWER_S: Final = 30.0

Show = Callable[[str], None]


@dataclass
class SleepingSource:
    """MLflow behind a cloud: the last source, because a start takes minutes and money.

    `ask` takes a question and answers whether to stop the instance; `keep` is --no-stop. An instance that ran before
    belongs to another user, so it stays.
    """

    cloud: Cloud | None
    show: Show
    ask: Callable[[str], bool]
    limit_s: float = 600.0
    keep: bool = False
    _ours: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        """The source's name in sentences."""
        return "MLflow on the instance"

    @property
    def costs(self) -> bool:
        """Whether this source costs money."""
        return True

    def fetch(self, entry: LedgerEntry) -> Mapping[str, bytes]:
        """Start the instance unless running, wait for MLflow, and read the run's artifacts.

        Raises ModelNotFoundError without a cloud or for a run without such files, RegistryUnreachableError or
        CloudError if MLflow doesn't answer in `limit_s` seconds, and the cloud's own errors.
        """
        if self.cloud is None:
            raise ModelNotFoundError("No cloud is configured, so there is no instance to start.")
        state = self.cloud.status()
        if state is not CloudState.RUNNING:
            self.show(f"The instance is {state}; starting it.")
            self._ours = state in (CloudState.ABSENT, CloudState.STOPPING)
        endpoints = self.cloud.up()
        self.cloud.wait(self.limit_s)
        address = tracking_address(self.cloud.environ(), endpoints.mlflow)  # MLflow may ask for a password
        return MlflowSource(ModelRegistry(address)).fetch(entry)

    def close(self) -> None:
        """Stop the instance that `fetch` started, unless the user says no; call this in every case."""
        if self.cloud is None or not self._ours:
            return
        if self.keep or not self.ask("Stop the instance now? It costs money while it runs. [Y/n] "):
            self.show("The instance keeps running; stop it with devops/scripts/stop-cloud.sh.")
            return
        self.show("Stopping the instance.")
        self.cloud.down()
        self._ours = False


def ask_to_stop(question: str, seconds: float = ANSWER_S) -> bool:
    """Ask on the terminal; True unless the user answers no in time. True without a terminal."""
    if not sys.stdin.isatty():
        return True
    print(f"{question}({seconds:.0f} s, then yes) ", end="", flush=True)
    return not _answer(seconds).strip().lower().startswith("n")


def _answer(seconds: float) -> str:
    if sys.platform != "win32":
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        if ready:
            return sys.stdin.readline()
    else:  # on Windows select() accepts sockets only
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.append(sys.stdin.readline()), daemon=True)
        reader.start()
        reader.join(seconds)
        if lines:
            return lines[0]
    print()
    return ""
