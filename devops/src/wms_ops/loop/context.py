"""The surroundings of a run of the loop: a clone, a cloud, pull requests, and a folder for the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wms.config import RunConfig, load_config
from wms.errors import ConfigError
from wms.git import OWN
from wms.project import project
from wms.registry.anchors import Witnesses
from wms.registry.ledger import Ledger
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.promotion import PromotionClient
from wms.settings import TrackingSettings
from wms_ops.base.errors import PipelineError
from wms_ops.base.layout import DATA_SET, METADATA, MODELS, RECIPE, SPLITS
from wms_ops.gate.witnesses import witnesses_of
from wms_ops.git.command import Git
from wms_ops.machine.environment import tracking_address
from wms_ops.pulls.protocol import PullRequests
from wms_ops.storage.config import read_remote
from wms_ops.storage.remote import S3Remote
from wms_ops.targets.protocol import Cloud

BOT = {**OWN, "user.name": "wms loop", "user.email": "wms-loop@users.noreply.github.com"}


@dataclass(frozen=True)
class Done:
    """A step's result: its named values, a sentence, and the exit code of its command."""

    outputs: Mapping[str, str]
    text: str
    exit_code: int = 0


@dataclass(frozen=True)
class RunContext:
    """The surroundings of a run: `workspace` is the loop's own clone, for checkouts; `folder` takes reports and logs.

    `environ` holds this process's variables, overridden by the cloud's; `recipe` is relative to the workspace.
    """

    run_id: str
    workspace: Path
    folder: Path
    cloud: Cloud
    pulls: PullRequests
    environ: Mapping[str, str] = field(repr=False)
    recipe: str = RECIPE
    show: Callable[[str], None] = print

    @property
    def git(self) -> Git:
        """The workspace's repository; its commits carry the loop's name, not a person's."""
        return Git(self.workspace, BOT)

    @property
    def url(self) -> str:
        """The URL of the origin."""
        return self.git("remote", "get-url", "origin")

    @property
    def data(self) -> Path:
        """The folder with the data set's images/ and masks/."""
        return self.workspace / DATA_SET

    def store(self) -> S3Remote:
        """The store of the checked-out commit. Raises StoreConfigError."""
        return S3Remote(read_remote(self.workspace, environ=self.environ), self.environ)

    def config(self) -> RunConfig:
        """The recipe of the checked-out commit, equal to main's, its paths in the workspace.

        Raises ConfigError, also for a recipe outside of the workspace, which no commit could hold.
        """
        path = self.workspace / self.recipe
        if not path.resolve().is_relative_to(self.workspace.resolve()):
            raise ConfigError(
                f"The recipe {self.recipe} lies outside of the repository, and the loop takes the recipe that main "
                f"has; name a path from the repository's root with --recipe, such as {RECIPE}."
            )
        return self.placed(load_config(path))

    def placed(self, config: RunConfig) -> RunConfig:
        """A recipe with its paths in the workspace."""
        return config.with_changes(
            data__folder=str(self.data),
            data__splits_file=str(self.workspace / SPLITS),
            data__cache_folder=str(self.workspace / config.data.cache_folder),
        )

    def registry(self) -> ModelRegistry:
        """The MLflow server of this cloud."""
        return ModelRegistry(self.mlflow_uri)

    def promotions(self) -> PromotionClient:
        """The promotion client of this run: the cloud's registry, the workspace's ledger and model-metadata.json."""
        ledger = Ledger(self.workspace / MODELS)
        return PromotionClient(self.mlflow_uri, ledger, self.workspace / METADATA, witnesses=self.witnesses())

    def witnesses(self) -> Witnesses:
        """The places that vouch for the ledger beside MLflow: the origin's main as last fetched, and the store."""
        return witnesses_of(self.workspace / MODELS, project().model, self.environ)

    @property
    def mlflow_uri(self) -> str:
        """MLflow's address with user name and password, if required: never show this address.

        Raises PipelineError if no instance runs.
        """
        if (found := self.cloud.endpoints()) is not None:
            return tracking_address(self.cloud.environ(), found.mlflow)
        if not (uri := TrackingSettings.read(self.environ).mlflow_tracking_uri):
            raise PipelineError("No MLflow server runs; run the step up first, or set MLFLOW_TRACKING_URI.")
        return tracking_address(self.environ, uri)
