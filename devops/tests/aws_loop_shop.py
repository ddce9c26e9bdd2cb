"""The loop over AWS for tests: a project whose store and instances are moto's, with the real Terraform.

A hypervisor boots what runs there on loopback, with its real user data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aws_server import AwsServer
from aws_yard import Yard
from instance_shop import Hypervisor
from loop_shop import LoopShop
from servers import free_port

from wms_ops.demo.folder import build
from wms_ops.loop.contexts import local_cloud
from wms_ops.storage.config import parse_remote
from wms_ops.storage.remote import S3Remote


@dataclass
class AwsLoopShop(LoopShop):
    """A person with AWS credentials and no server here."""

    yard: Yard | None = None

    @property
    def environ(self) -> dict[str, str]:
        assert self.yard is not None
        names = self.yard.cloud("loop/aws").context.names
        ours = {"WMS_CLOUD": "aws", "WMS_DVC_URL": names.dvc_url, "WMS_INSTANCE_ADDRESS": "127.0.0.1"}
        given = {key: value for key, value in self.yard.environ.items() if key.startswith(("AWS_", "WMS_", "TF_"))}
        return {**self.demo_folder.environ({**given, **ours}), "OMP_NUM_THREADS": "1"}

    def cloud_command(self, *words: str, expect: int | None = 0) -> str:
        return self.shell(
            "devops/scripts/cloud.sh", *words, "--folder", str(self.demo_folder.loop / "aws"), expect=expect
        )

    def store(self) -> S3Remote:
        environ = self.environ
        return S3Remote(parse_remote(self.on_main(".dvc/config") or "", environ=environ), environ)

    def ports(self) -> None:
        """The person's own choices, which Git ignores."""
        text = f"hours = 2\nmlflow_port = {free_port()}\nservice_port = {free_port()}\n"
        (self.demo_folder.clone / "infrastructure/terraform/wms.tfvars").write_text(text)


def opened(aws: AwsServer, folder: Path) -> Iterator[AwsLoopShop]:
    """A project without photos or a store, and a hypervisor."""
    demo_folder = build(folder / "a löop")
    with Hypervisor(aws, folder / "machines", seconds_per_minute=20):
        shop = AwsLoopShop(demo_folder, local_cloud(demo_folder.loop), yard=Yard(aws, folder))
        shop.ports()
        yield shop


def with_store(shop: AwsLoopShop) -> str:
    """Make the buckets and push the recipe; returns what the store's command said."""
    said = shop.cloud_command("store")
    shop.set_up({}, 40)
    return said
