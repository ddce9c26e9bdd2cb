"""deploy-to-cloud: check, show the price, ask, start, wait, serve Production, print the addresses."""

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
from wms_ops.targets.aws.terraform_program import require_terraform


def deploy(cloud: AwsCloud, models: Path, *, is_sure: bool) -> int:
    """Deploy; returns 0, or DECLINED if the user said no. Raises WmsError; a failed or interrupted start is ended."""
    context = cloud.context
    cloud.choice().rates()  # an unknown type or region fails here, before the first request to AWS
    context.show(f"Terraform {require_terraform(context.environ)} is installed.")
    context.show(f"The credentials are those of account {context.names.account}, region {context.names.region}.")
    context.show(f"The ports will be open to {access.caller_address(context.environ)} only.")
    if cloud.running() is None:  # a running instance was paid for by its own launch
        context.show(show.price_text(cloud, cloud.affordable()))
        if not is_sure and not agrees("Start it?", "add --yes"):
            context.show("Nothing was started.")
            return DECLINED
    with ended_if_stopped(cloud):
        endpoints = cloud.up()
        found = next((instance for instance in context.instances() if instance.is_alive), None)
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
    """End an instance that was started in this context after Ctrl-C, SIGTERM or a closed terminal.

    An instance that ran before stays, and so does a failed instance, for inspection.
    """
    context = cloud.context
    before = {instance.id for instance in context.instances()}
    try:
        with stoppable():
            yield
    except KeyboardInterrupt:
        with unstoppable(context.show):
            if any(instance.is_alive and instance.id not in before for instance in context.instances()):
                context.show("Stopped before it was ready; ending the instance.")
                cloud.down()
        raise


def serve_production(cloud: AwsCloud, models: Path) -> str | None:
    """Serve the version that the ledger names as Production; returns the address, None without a Production model."""
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
    """Production's files: those in `models`, else from the store or from MLflow on the instance."""
    names = cloud.context.names
    store = S3Remote(RemoteConfig(names.dvc_bucket, "dvc", region=names.region), cloud.context.environ)
    variables = cloud.environ()
    registry = ModelRegistry(tracking_address(variables, variables[URI]))
    done = sync_model(entry, models, [S3Source(store), MlflowSource(registry)], show=cloud.context.show)
    cloud.context.show(sentence(done, models))
    return ModelRelease(entry.to_version, entry.weights_sha256, models, models)
