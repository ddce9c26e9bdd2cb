"""What can go wrong on the way to Git, S3 and the cloud: one class, one sentence, one exit code each."""

from __future__ import annotations

from wms.errors import WmsError


class CredentialsMissingError(WmsError):
    """No AWS credentials where the SDK looks for them."""

    exit_code = 70


class CredentialsExpiredError(WmsError):
    """AWS credentials whose session is over."""

    exit_code = 71


class AccessDeniedError(WmsError):
    """Credentials that the store doesn't know, or that may not do what is needed."""

    exit_code = 72


class BucketNotFoundError(WmsError):
    """A bucket that doesn't exist."""

    exit_code = 73


class StoreUnreachableError(WmsError):
    """A store that doesn't answer, or stops answering half-way."""

    exit_code = 74


class ClockSkewError(WmsError):
    """A clock that differs so much from the store's that signatures are refused."""

    exit_code = 75


class MissingBlobError(WmsError):
    """A manifest that names files which the remote doesn't hold."""

    exit_code = 76


class DamagedBlobError(WmsError):
    """A file in the remote, or on its way there, whose bytes aren't what its name says."""

    exit_code = 77


class StoreConfigError(WmsError):
    """A repository without a usable DVC remote."""

    exit_code = 78


class BranchContentError(WmsError):
    """A data branch that changes something else than data."""

    exit_code = 99


class GitError(WmsError):
    """A git command that failed."""

    exit_code = 80


class PushRefusedError(WmsError):
    """A push that would carry photos where photos must not go."""

    exit_code = 81


class DataConflictError(WmsError):
    """The same name with different content, or the same photo under two names: a person decides."""

    exit_code = 82


class ShrinkError(WmsError):
    """A plan that would lose entries of the data set."""

    exit_code = 83


class CloudError(WmsError):
    """A cloud that can't be started, used or stopped: a server that doesn't answer, a program that isn't there."""

    exit_code = 84


class RepeatedRequestError(CloudError):
    """A request that AWS had carried out already: the answer was lost, so Terraform's provider asked again."""

    exit_code = 98


class UnsafeFileError(CloudError):
    """An archive that holds what may not be written here: a link, or a name that leads where nothing may be written."""

    exit_code = 79


class BusyError(WmsError):
    """Another process is at it: a second pipeline, a second demo in the same folder."""

    exit_code = 85


class BudgetError(WmsError):
    """A run that would pass the budget."""

    exit_code = 86


class SmokeError(WmsError):
    """A deployed version that doesn't answer as it should; the version before is back."""

    exit_code = 87


class PullRequestError(WmsError):
    """A pull request that can't be opened, changed or merged."""

    exit_code = 88


class PipelineError(WmsError):
    """A pipeline's own records that are damaged, or a step without what the steps before it should have left."""

    exit_code = 89


class QuotaError(WmsError):
    """An AWS account that may not have as much as is asked for, or AWS without a free machine of this type."""

    exit_code = 97
