"""A real S3 server (SeaweedFS) on loopback for tests."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from servers import require_tool

from wms_ops.machine import seaweed
from wms_ops.machine.seaweed import Identity, remove_sockets

START_TIMEOUT_S = 120.0  # it takes 3 s to start, far more on a machine that is busy
KEY, SECRET = "key-for-tests", "secret-for-tests"
READER_KEY, READER_SECRET = "reader-for-tests", "secret-of-the-reader"
IDENTITIES = (Identity("owner", KEY, SECRET), Identity("reader", READER_KEY, READER_SECRET, ("Read", "List")))


class S3Server:
    """An S3 server with its data in `folder`; `start` after `kill` goes on with the same data and ports.

    `key` and `secret` may do everything, `reader_key` and `reader_secret` may only list and read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key, self.secret = KEY, SECRET
        self.reader_key, self.reader_secret = READER_KEY, READER_SECRET
        self.process: psutil.Popen | None = None
        self._was_up = False
        self.ports = seaweed.draw()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports[seaweed.DOOR]}"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def environ(self) -> dict[str, str]:
        """Variables that lead any AWS client to this server, and to no file of the user's."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": str(self.folder / "empty"),  # the SDK refuses /dev/null
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "empty"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, attempts: int = 4) -> Any:
        """boto3's own client with all rights, independent of the code under test."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "total_max_attempts": attempts},
            ),
        )

    def start(self) -> None:
        """Start the server and return once it stores an object; RuntimeError with its log otherwise."""
        weed = require_tool("weed")
        for _ in range(3):
            self._launch(weed)
            if self._answers():
                self._was_up = True
                return
            self.kill()
            if not self._was_up:  # another process may have taken a port in the meantime
                self.ports = seaweed.draw()
        raise RuntimeError(f"The S3 server didn't start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def create_bucket(self, name: str) -> None:
        """Make a bucket; nothing happens if it exists. There is room for about 90 in one server."""
        client = self.client()
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=name)

    def kill(self) -> None:
        """SIGKILL the server and wait until it's gone; asked politely it takes 17 s."""
        if self.process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self.process.kill()
            self.process.wait(timeout=30)
            self.process = None
        remove_sockets(self.ports.values())

    stop = kill

    def _launch(self, weed: Path) -> None:
        seaweed.configure(self.folder, IDENTITIES)
        (self.folder / "empty").touch()
        command = [*dying_with_us(), *seaweed.command(weed, self.ports)]
        with self.log.open("ab") as log:
            self.process = psutil.Popen(command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)

    def _answers(self) -> bool:
        """Wait for an object to be stored: the door opens before the rooms behind it are ready."""
        client = self.client(attempts=1)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.running:
            with contextlib.suppress(BotoCoreError, ClientError):
                with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                    client.create_bucket(Bucket="health")
                client.put_object(Bucket="health", Key="up", Body=b"yes")
                return True
            time.sleep(0.1)
        return False


def dying_with_us() -> list[str]:
    """Where Linux offers it, the server ends with the tests even if those are killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
