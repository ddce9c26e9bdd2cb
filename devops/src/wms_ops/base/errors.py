"""The errors of Git, S3 and the cloud: each class has one sentence and one exit code."""

from __future__ import annotations

from wms.errors import WmsError


class CredentialsMissingError(WmsError):
    """The SDK finds no AWS credentials."""

    exit_code = 70


class CredentialsExpiredError(WmsError):
    """The session of the AWS credentials is over."""

    exit_code = 71


class AccessDeniedError(WmsError):
    """The store doesn't know the credentials, or the credentials lack a right."""

    exit_code = 72


class BucketNotFoundError(WmsError):
    """The bucket doesn't exist."""

    exit_code = 73


class StoreUnreachableError(WmsError):
    """The store doesn't answer, or stops answering half-way."""

    exit_code = 74


class ClockSkewError(WmsError):
    """This machine's clock differs so much from the store's that the store refuses signatures."""

    exit_code = 75


class MissingBlobError(WmsError):
    """A manifest names files which the remote doesn't hold."""

    exit_code = 76


class DamagedBlobError(WmsError):
    """A file in the remote, or on its way to the remote, has another MD5 than its name says."""

    exit_code = 77


class StoreConfigError(WmsError):
    """The repository has no usable DVC remote."""

    exit_code = 78


class BranchContentError(WmsError):
    """A data branch changes more than data."""

    exit_code = 99


class GitError(WmsError):
    """A git command failed."""

    exit_code = 80


class PushRefusedError(WmsError):
    """A push would carry photos where photos must not go."""

    exit_code = 81


class DataConflictError(WmsError):
    """One name has two contents, or one photo has two names; a person must decide."""

    exit_code = 82


class ShrinkError(WmsError):
    """A plan would lose entries of the data set."""

    exit_code = 83


class CloudError(WmsError):
    """A cloud can't be started, used or stopped, such as when a server doesn't answer or a program is missing."""

    exit_code = 84


class RepeatedRequestError(CloudError):
    """AWS had carried the request out already: the answer was lost, so Terraform's provider asked again."""

    exit_code = 98


class UnsafeFileError(CloudError):
    """An archive holds an unsafe entry: a link, or a name that leads out of the target folder."""

    exit_code = 79


class BusyError(WmsError):
    """Another process holds the lock, such as a second pipeline or a second demo in the same folder."""

    exit_code = 85


class BudgetError(WmsError):
    """A run would pass the budget."""

    exit_code = 86


class SmokeError(WmsError):
    """A deployed version gives wrong answers or none; the version before is back."""

    exit_code = 87


class PullRequestError(WmsError):
    """A pull request can't be opened, changed or merged."""

    exit_code = 88


class PipelineError(WmsError):
    """A pipeline's own records are damaged, or a step lacks the outputs of the steps before."""

    exit_code = 89


class QuotaError(WmsError):
    """The AWS account's quota is too small, or AWS has no free machine of this type."""

    exit_code = 97
