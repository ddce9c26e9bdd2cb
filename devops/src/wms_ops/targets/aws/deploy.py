"""deploy-to-cloud: check, say the price, ask, start, wait, serve Production, print the addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wms.errors import DECLINED, WmsError
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.mlflow_store import URI, ModelRegistry
from wms_ops.base.errors import CloudError
from wms_ops.base.question import agrees
from wms_ops.base.signals import stoppable, unstoppable
from wms_ops.machine.environment import tracking_address
from wms_ops.machine.types import ModelRelease
from wms_ops.release.run import sentence, sync_model
from wms_ops.release.sources import MlflowSource, S3Source
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.remote import S3Remote
from wms_ops.targets.aws import access, show
from wms_ops.targets.aws.boot import wait_until_up
from wms_ops.targets.aws.cloud import AwsCloud
from wms_ops.targets.aws.terraform import require_terraform


def deploy(cloud: AwsCloud, models: Path, *, is_sure: bool) -> int:
    """Do it; returns 0, or DECLINED where the user said no. Raises WmsError; what was started for nothing is ended."""
    context = cloud.context
    cloud.choice().rates()  # a type or a region without a price is told before AWS is asked for anything
    context.show(f"Terraform {require_terraform(context.environ)} is installed.")
    context.show(f"The credentials are those of account {context.names.account}, region {context.names.region}.")
    context.show(f"The ports will be open to {access.caller_address(context.environ)} only.")
    if cloud.running() is None:  # else it was paid for by its own launch
        context.show(show.price_text(cloud, cloud.affordable()))
        if not is_sure and not agrees("Start it?", "add --yes"):
            context.show("Nothing was started.")
            return DECLINED
    with ended_if_stopped(cloud):
        endpoints = cloud.up()
        found = next((one for one in context.instances() if one.is_alive), None)
        if found is None:
            raise CloudError("The instance has ended meanwhile; run this again.")
        context.show("Waiting for the instance to set itself up; that takes some minutes.")
        seconds = wait_until_up(context, found, cloud.answers)
        context.show(f"MLflow answers, {seconds:.0f} s after the launch.")
        service = serve_production(cloud, models)
        for line in show.addresses(endpoints.mlflow, service):
            context.show(line)
        context.show("End it with devops/scripts/stop-cloud.sh.")
    return 0


@contextmanager
def ended_if_stopped(cloud: AwsCloud) -> Iterator[None]:
    """End an instance that was started in here if Ctrl-C, SIGTERM or a closed terminal comes before the end.

    One that runs already stays, and so does one that fails, to be looked at.
    """
    context = cloud.context
    before = {one.id for one in context.instances()}
    try:
        with stoppable():
            yield
    except KeyboardInterrupt:
        with unstoppable(context.show):
            if any(one.is_alive and one.id not in before for one in context.instances()):
                context.show("Stopped before it was ready; ending the instance.")
                cloud.down()
        raise


def serve_production(cloud: AwsCloud, models: Path) -> str | None:
    """Serve the version that the ledger says is Production; returns the address, None where there is none yet."""
    context = cloud.context
    entries = Ledger(models).entries()
    if not entries:
        context.show("No model is Production yet; the service starts with the first promotion.")
        return None
    entry = entries[-1]
    try:
        release = _release(cloud, entry, models)
        return cloud.deploy(release)
    except WmsError as error:
        context.show(f"Version {entry.to_version} isn't served: {error} MLflow works without it.")
        return None


def _release(cloud: AwsCloud, entry: LedgerEntry, models: Path) -> ModelRelease:
    """Production's files: those that lie here, else from the store or from MLflow on the instance."""
    names = cloud.context.names
    store = S3Remote(RemoteConfig(names.dvc_bucket, "dvc", region=names.region), cloud.context.environ)
    led = cloud.environ()
    registry = ModelRegistry(tracking_address(led, led[URI]))
    done = sync_model(entry, models, [S3Source(store), MlflowSource(registry)], show=cloud.context.show)
    cloud.context.show(sentence(done, models))
    return ModelRelease(entry.to_version, entry.weights_sha256, models, models)
