"""Every environment variable that the operations library reads, beside those of `wms.settings`.

AWS keys, Git's variables and GitHub's token are read by their own programs; those that a user sets are declared here
too, so that the documents name them.
"""

from __future__ import annotations

from typing import Final

from wms.settings import (
    CheckSettings,
    InstallSettings,
    LoginSettings,
    PatienceSettings,
    ProjectSettings,
    RealDataSettings,
    ThreadSettings,
    TorchrunSettings,
    TrackingSettings,
    Variables,
    variable,
)


class BudgetSettings(Variables):
    """What instances may cost (see docs/cost.md)."""

    wms_budget_usd: float = variable(
        1.0, "US dollars that one run may cost", give="a number of US dollars for each run", example="1.50", ge=0
    )
    wms_budget_month_usd: float | None = variable(
        None,
        "US dollars that all instances of a month may cost; no limit without it",
        give="a number of US dollars for each month",
        example="10.00",
        ge=0,
    )


class LoopSettings(Variables):
    """The loop from a data branch to a pull request (see docs/loop.md)."""

    wms_cloud: str = variable(
        "local", "Where the loop trains: local (this machine) or aws", give="local or aws", example="aws"
    )
    wms_smoke_latency_s: float = variable(
        5.0,
        "Seconds that one prediction of the smoke deployment may take",
        give="a number of seconds",
        example="5",
        gt=0,
    )
    gh_host: str = variable("github.com", "Host of a GitHub Enterprise server", example="github.example.org")


class NoticeSettings(Variables):
    """Who hears of a blocked data branch, a failed run, and of what the reaper ended (see docs/MONITORING.md)."""

    wms_notify: str = variable(
        "", "issue (at GitHub), or a webhook's https address (secret), for what was blocked, failed or reaped"
    )


class StepSettings(Variables):
    """Values for one step of the loop that is run by hand; they count where the run's record lacks them."""

    wms_branch: str = variable("", "The data branch", example="data/20261121-120000")
    wms_commit: str = variable("", "The commit on main that holds the merged data set")
    wms_photos_new: str = variable("", "Number of new photos", example="12")
    wms_photos_total: str = variable("", "Number of all photos", example="360")
    wms_run: str = variable("", "Name of the training run", example="run_20261121_103000_0a1b2c3d")
    wms_run_id: str = variable("", "The training run's id in MLflow")
    wms_version: str = variable("", "Version of the registered model", example="7")


class StoreSettings(Variables):
    """The bucket that holds photos and masks (see docs/data-versions.md)."""

    wms_dvc_url: str = variable("", "Bucket and prefix instead of those in .dvc/config", example="s3://my-bucket/dvc")
    aws_endpoint_url_s3: str = variable("", "Address of another S3 store than AWS", example="http://127.0.0.1:8333")
    aws_endpoint_url: str = variable("", "The same for all of AWS's services; AWS_ENDPOINT_URL_S3 wins")
    dvc_system_config_dir: str = variable("", "Folder of DVC's settings for all users of this machine")
    dvc_global_config_dir: str = variable("", "Folder of a user's own DVC settings for all repositories")

    @property
    def endpoint(self) -> str | None:
        """The store's address; None for AWS's own."""
        return self.aws_endpoint_url_s3 or self.aws_endpoint_url or None


class AwsSettings(Variables):
    """AWS's own variables, read by its SDK (see docs/cloud.md)."""

    aws_access_key_id: str = variable("", "Key of the AWS account")
    aws_secret_access_key: str = variable("", "The key's secret part (secret)")
    aws_session_token: str = variable("", "The session's token, for keys that expire (secret)")
    aws_profile: str = variable("", "Profile in ~/.aws to take keys and region from", example="wms")
    aws_region: str = variable("", "Region at AWS; without it that of wms.toml", example="eu-central-1")
    aws_default_region: str = variable("", "The same; AWS_REGION wins", example="eu-central-1")
    aws_endpoint_url_sts: str = variable("", "Address of another service than AWS's that says whose keys these are")

    @property
    def region(self) -> str:
        """The configured region, or ""."""
        return self.aws_region or self.aws_default_region


class InstanceSettings(Variables):
    """The instance at AWS (see docs/cloud.md)."""

    wms_environment: str = variable("", "Name that keeps two instances of one account apart; main without it")
    wms_holder: str = variable("", "Who uses the instance, instead of the GitHub run or the user", example="anna")
    wms_wait_minutes: float = variable(
        0.0,
        "Minutes to wait for an instance that another holder uses",
        give="a number of minutes",
        example="30",
        ge=0,
        le=24 * 60,
    )
    wms_s3_path_style: bool = variable(
        False,
        "Whether Terraform names buckets in the path, as S3 servers on loopback need",
        give="1 or 0",
        example="1",
    )
    wms_instance_address: str = variable("", "Address of the instance, for a tunnel", example="127.0.0.1")
    wms_caller_address: str = variable("", "This machine's public IPv4 address, else AWS is asked")
    wms_host_pace: str = variable("{}", "JSON object of seconds: how often the instance's agent looks (for tests)")
    aws_ec2_metadata_service_endpoint: str = variable("", "Address of the instance's metadata service (for tests)")


class GithubSettings(Variables):
    """What a workflow's job is told; GitHub sets these."""

    github_actions: str = variable("", "true in a job of a workflow")
    github_actor: str = variable("", "Login of the person who started the workflow")
    github_output: str = variable("", "File that takes a step's outputs")
    github_step_summary: str = variable("", "File that takes a step's summary")
    github_server_url: str = variable("", "Address of GitHub", example="https://github.com")
    github_repository: str = variable("", "Owner and name of the repository", example="owner/name")
    github_run_id: str = variable("", "Number of the workflow's run")


class GitSettings(Variables):
    """Git's own variables that decide what this project hands to git."""

    git_author_email: str = variable("", "Address of a commit's author, instead of Git's user.email")
    git_committer_email: str = variable("", "Address of a commit's committer, instead of Git's user.email")
    email: str = variable("", "Address of author and committer where Git has none")
    git_terminal_prompt: str = variable("", "0 keeps git from asking for a password; `wms status` sets it", example="0")
    git_ssh_command: str = variable("", "Program that git reaches a remote by; `wms status` sets one that asks nothing")


GROUPS: Final[tuple[type[Variables], ...]] = (
    TrackingSettings,
    LoginSettings,
    PatienceSettings,
    BudgetSettings,
    LoopSettings,
    NoticeSettings,
    StepSettings,
    StoreSettings,
    AwsSettings,
    InstanceSettings,
    RealDataSettings,
    GithubSettings,
    GitSettings,
    ThreadSettings,
    TorchrunSettings,
    ProjectSettings,
    InstallSettings,
    CheckSettings,
)
"""All groups, in the order of the documents."""
