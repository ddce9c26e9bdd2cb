"""AWS on loopback for tests: moto's server, a process that keeps everything in memory and accepts any key."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config
from s3_server import dying_with_us

REGION = "eu-central-1"
ACCOUNT = "123456789012"
START_TIMEOUT_S = 60.0


class AwsServer:
    """A moto server; `reset` forgets everything, `environ` leads boto3, Terraform and the AWS CLI to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """Variables for any AWS client; those of the user's own configuration lead to an empty file."""
        empty = str(self.folder / "empty")
        return {
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret-for-tests",
            "AWS_SESSION_TOKEN": "",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": empty,
            "AWS_SHARED_CREDENTIALS_FILE": empty,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def make_bucket(self, name: str) -> None:
        """Make a bucket in REGION unless it is there; S3 wants a region named anywhere but in us-east-1."""
        s3 = self.client("s3")
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})

    @cached_property
    def image(self) -> str:
        """An image that instances start from; asked once, since moto's are the same ever after and take it seconds."""
        return str(self.client("ec2").describe_images()["Images"][0]["ImageId"])

    def client(self, service: str) -> Any:
        """boto3's own client, independent of the code under test."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key="secret-for-tests",  # noqa: S106
            region_name=REGION,
            config=Config(s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": 4}),
        )

    def start(self) -> None:
        """Start and wait until it answers. Raises RuntimeError with its log otherwise."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "empty").touch()
        for _ in range(3):
            with socket.socket() as draw:
                draw.bind(("127.0.0.1", 0))
                self.port = int(draw.getsockname()[1])
            command = [*dying_with_us(), sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            if self._answers():
                return
            self.stop()
        raise RuntimeError(f"moto didn't start:\n{self._log.read_text(errors='replace')[-4000:]}")

    def stop(self) -> None:
        """End the process; everything in it is forgotten."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=30)
            self.process = None

    def reset(self) -> None:
        """Forget everything."""
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")  # noqa: S310
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310

    @property
    def _log(self) -> Path:
        return self.folder / "moto.log"

    def _answers(self) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process is not None and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.endpoint}/moto-api/data.json", timeout=5).close()  # noqa: S310
                return True
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        return False
