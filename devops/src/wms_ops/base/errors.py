"""The errors of Git, S3 and the cloud: each class has one sentence and one exit code."""

from __future__ import annotations

from wms.errors import WmsError


class CredentialsMissingError(WmsError, code=70):
    """The SDK finds no AWS credentials."""


class CredentialsExpiredError(WmsError, code=71):
    """The session of the AWS credentials is over."""


class AccessDeniedError(WmsError, code=72):
    """The store doesn't know the credentials, or the credentials lack a right."""


class BucketNotFoundError(WmsError, code=73):
    """The bucket doesn't exist."""


class StoreUnreachableError(WmsError, code=74):
    """The store doesn't answer, or stops answering half-way."""


class ClockSkewError(WmsError, code=75):
    """This machine's clock differs so much from the store's that the store refuses signatures."""


class MissingBlobError(WmsError, code=76):
    """A manifest names files which the remote doesn't hold."""


class DamagedBlobError(WmsError, code=77):
    """A file in the remote, or on its way to the remote, has another MD5 than its name says."""


class StoreConfigError(WmsError, code=78):
    """The repository has no usable DVC remote."""


class BranchContentError(WmsError, code=99):
    """A data branch changes more than data."""


class GitError(WmsError, code=80):
    """A git command failed."""


class PushRefusedError(WmsError, code=81):
    """A push would carry photos where photos must not go."""


class DataConflictError(WmsError, code=82):
    """One name has two contents, or one photo has two names; a person must decide."""


class ShrinkError(WmsError, code=83):
    """A plan would lose entries of the data set."""


class CloudError(WmsError, code=84):
    """A cloud can't be started, used or stopped, such as when a server doesn't answer or a program is missing."""


class RepeatedRequestError(CloudError, code=98):
    """AWS had carried the request out already: the answer was lost, so Terraform's provider asked again."""


class UnsafePlanError(CloudError, code=69):
    """Terraform's plan would delete data, or change what isn't this environment's."""


class UnsafeFileError(CloudError, code=79):
    """An archive holds an unsafe entry: a link, or a name that leads out of the target folder."""


class BusyError(WmsError, code=85):
    """Another process holds the lock, such as a second pipeline or a second demo in the same folder."""


class BudgetError(WmsError, code=86):
    """A run would pass the budget."""


class SmokeError(WmsError, code=87):
    """A deployed version gives wrong answers or none; the version before is back."""


class PullRequestError(WmsError, code=88):
    """A pull request can't be opened, changed or merged."""


class PipelineError(WmsError, code=89):
    """A pipeline's own records are damaged, or a step lacks the outputs of the steps before."""


class QuotaError(WmsError, code=97):
    """The AWS account's quota is too small, or AWS has no free machine of this type."""
