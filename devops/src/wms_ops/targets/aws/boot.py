"""The progress of an instance's start, as the instance reports; and the wait until MLflow takes requests."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final

from pydantic import Field, ValidationError

from wms.records import StoredRecord
from wms_ops.base.errors import CloudError
from wms_ops.base.poll import poll
from wms_ops.storage.codes import NO_PARAMETER, unless
from wms_ops.storage.trouble import aws_errors
from wms_ops.targets.aws.context import AwsContext
from wms_ops.targets.aws.inventory import Instance
from wms_ops.targets.host.boot import STEPS

LIMIT_S: Final = 15 * 60.0
_POLL_S: Final = 2.0
_NEEDED: Final = ("packages", "environment", "agent", "restore", "mlflow")
"""The steps without which MLflow can't run; after a failure of k3s the start goes on."""


class BootStep(StoredRecord):
    """A step of the start: `state` is running, done or failed; `at` is UTC, ISO 8601; `sentence` is the error."""

    name: str = Field(alias="step")
    state: str
    at: str = ""
    sentence: str = ""

    @property
    def title(self) -> str:
        """The name of the software that the step sets up."""
        return STEPS.get(self.name, self.name)


class _Report(StoredRecord):
    launch_id: str
    steps: tuple[BootStep, ...]


def read_boot(context: AwsContext, launch_id: str) -> tuple[BootStep, ...]:
    """The steps that this launch's instance has reported; none for another launch's report."""
    with aws_errors("read the instance's report"):
        answer = unless(NO_PARAMETER, context.aws.ssm.get_parameter, Name=context.names.boot_parameter)
    if answer is None:
        return ()
    with contextlib.suppress(ValidationError):
        report = _Report.model_validate_json(answer["Parameter"]["Value"])
        return report.steps if report.launch_id == launch_id else ()
    return ()


def wait_until_up(
    context: AwsContext,
    instance: Instance,
    answers: Callable[[], bool],
    *,
    limit_s: float = LIMIT_S,
) -> float:
    """Wait until MLflow answers, and show each step of the start; returns the seconds.

    Raises CloudError for a failed step, an instance that is gone, or after `limit_s`.
    """
    shown: set[tuple[str, str]] = set()

    def show_news(*_: object) -> tuple[BootStep, ...]:
        steps = read_boot(context, instance.launch_id)
        for step in steps:
            if (step.name, step.state) not in shown:
                shown.add((step.name, step.state))
                context.show(f"{step.title}: {step.state}{f' ({step.sentence})' if step.sentence else ''}")
        _check(context, instance, steps)
        return steps

    started = time.monotonic()
    if not poll(answers, limit_s, pause_s=_POLL_S, waiting=show_news):
        steps = show_news()
        last = f"its last report was `{steps[-1].title}: {steps[-1].state}`" if steps else "it has reported nothing"
        raise CloudError(
            f"MLflow didn't answer within {limit_s / 60:.0f} minutes, and {last}; look at the instance with "
            f"`aws ssm start-session --target {instance.id}`, or end it with devops/scripts/stop-cloud.sh."
        )
    return time.monotonic() - started


def _check(context: AwsContext, instance: Instance, steps: tuple[BootStep, ...]) -> None:
    failed = next((step for step in steps if step.state == "failed" and step.name in _NEEDED), None)
    if failed is not None:
        raise CloudError(f"The instance {instance.id} couldn't set up {failed.title}: {failed.sentence}")
    if not any(other.id == instance.id and other.is_alive for other in context.instances()):
        raise CloudError(f"The instance {instance.id} has ended before MLflow answered; run this again.")
