"""The translation of the AWS SDK's exceptions into this project's errors: reason, subject, and the command that helps.

Every sentence reads "Can't WHAT: what is wrong; what to do next." A DVC remote may lie in another store than Amazon's
and has settings of its own: the remedy names them.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from wms.errors import DiskFullError, WmsError
from wms_ops.base.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    ClockSkewError,
    CloudError,
    CredentialsExpiredError,
    CredentialsMissingError,
    QuotaError,
    RepeatedRequestError,
    StoreConfigError,
    StoreUnreachableError,
)
from wms_ops.base.outputs import on_actions
from wms_ops.base.settings import AwsSettings, StoreSettings
from wms_ops.storage.codes import (
    Kind,
    code_of,
    is_expired_after_renewal,
    kind_of_class,
    kind_of_code,
    nearest_regions,
    reason_of,
    sdk_errors,
    unknown_region,
)
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.disk import full_disk

_LONGEST: Final = 300
_ANOTHER: Final = "name another with `wms init --bucket s3://BUCKET/PREFIX`"
_LAB_ENDED: Final = "voc-cancel-cred"  # the policy by which AWS Academy ends a session whose keys aren't too old yet


@dataclass(frozen=True)
class Refusal:
    """A failed request: its purpose `what`, AWS's code ("" without an answer), AWS's words, and the DVC remote."""

    what: str
    code: str
    reason: str
    remote: RemoteConfig | None = None

    @property
    def profile(self) -> str:
        """The option that chooses the remote's own profile."""
        return f" --profile {shlex.quote(self.remote.profile)}" if self.remote and self.remote.profile else ""

    @property
    def store(self) -> str:
        """The service that refused."""
        return f"the S3 store at {self.remote.endpoint_url}" if self.remote and self.remote.endpoint_url else "AWS"

    @property
    def kept(self) -> str:
        """The note for a user who starts again."""
        return ": what was already transferred is kept" if self.remote else ""

    @property
    def renewal(self) -> str:
        """The way to new credentials."""
        if on_actions():
            return (
                "AWS Academy: Start Lab, AWS Details, Show; copy the three values into the repository's secrets "
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (with a role: check vars.AWS_ROLE_ARN)"
            )
        return (
            "AWS Academy: Start Lab, AWS Details, Show; copy the three lines into ~/.aws/credentials (elsewhere: "
            f"`aws sso login{self.profile}` or `aws configure{self.profile}`)"
        )


@contextlib.contextmanager
def aws_errors(what: str, remote: RemoteConfig | None = None) -> Iterator[None]:
    """Turn the AWS SDK's exceptions inside the `with` block into errors of this project.

    `what` completes "Can't ...": "start the instance". Raises CredentialsMissingError, CredentialsExpiredError,
    AccessDeniedError, BucketNotFoundError, StoreUnreachableError, ClockSkewError, CloudError, QuotaError, and for a DVC
    `remote` StoreConfigError.
    """
    try:
        yield
    except sdk_errors() as error:
        raise from_sdk(error, what, remote) from error
    except RuntimeError as error:
        if is_expired_after_renewal(error):
            raise of_kind(Kind.EXPIRED, Refusal(what, "", "", remote)) from error
        raise
    except ValueError as error:
        if str(error).lower().startswith(("invalid endpoint", "invalid ipv6")):  # no class of its own
            raise of_kind(Kind.WRONG_ADDRESS, Refusal(what, "", str(error), remote)) from error
        raise


def from_sdk(error: Exception, what: str, remote: RemoteConfig | None = None) -> WmsError:
    """Return the error to raise instead of botocore's `error`."""
    code = code_of(error)
    if code is None:
        if type(error).__name__ == "NoRegionError":
            return of_kind(Kind.WRONG_ADDRESS, Refusal(what, "", "no region is set", remote))
        return of_kind(kind_of_class(error), Refusal(what, "", short(reason_of(error)), remote))
    response: Any = getattr(error, "response", {})
    operation = getattr(error, "operation_name", "")
    message = short(str(response["Error"].get("Message") or ""))
    return from_code(Refusal(what, code, message or f"{operation} was refused", remote))


def is_gone(error: Exception) -> bool:
    """Return whether AWS's refusal says that the resource doesn't exist (any more)."""
    code = code_of(error) or ""
    return code in {"NoSuchEntity", "NoSuchKey", "404"} or code.lower().endswith((".notfound", "notfoundexception"))


def from_code(found: Refusal) -> WmsError:
    """Return the error for a refusal with a code."""
    # AWS calls the end of a lab a lack of rights, and no administrator could mend that.
    return of_kind(Kind.EXPIRED if _LAB_ENDED in found.reason else kind_of_code(found.code), found)


def of_kind(kind: Kind, found: Refusal) -> WmsError:
    """Return the error for a refusal of a known kind."""
    error, text = (_WORDS.get(kind) or _refused)(found)
    return error(f"Can't {found.what}: {text}.")


Words = tuple[type[WmsError], str]
"""An error's class, and its sentence after "Can't WHAT: "."""


def _unknown_key(found: Refusal) -> Words:
    if found.remote is None and _lacks_token():
        text = f"the access key is a temporary one (ASIA...) without its aws_session_token; {found.renewal}"
        return CredentialsMissingError, text
    return AccessDeniedError, (
        f"{found.store} doesn't know the access key, or not in this region ({found.code}); {found.renewal}, and check "
        "the region"
    )


def _wrong_secret(found: Refusal) -> Words:
    if found.remote is None:
        return _unknown_key(found)  # AWS says so of a session's key without its token, too
    return AccessDeniedError, (
        f"{found.store} refuses the secret key, which doesn't belong to the access key ({found.code}); run "
        f"`aws configure{found.profile}` and enter both again"
    )


def _not_allowed(found: Refusal) -> Words:
    action = re.search(r"not authorized to perform:? ([a-z0-9-]+:\w+)", found.reason)
    lacking = f"the right to {action[1]}" if action else "the rights"
    if found.remote:
        lacking = "s3:ListBucket, s3:GetObject or s3:PutObject"
    return AccessDeniedError, (
        f"these AWS credentials lack {lacking} ({found.code}); ask the account's administrator for it, or use others "
        f"with `export AWS_PROFILE=NAME` or `aws configure{found.profile}`"
    )


def _no_bucket(found: Refusal) -> Words:
    remedy = "check the account and the region, then run it again"
    if remote := found.remote:
        endpoint = f" --endpoint-url {shlex.quote(remote.endpoint_url)}" if remote.endpoint_url else ""
        remedy = f"make it with `aws s3 mb s3://{remote.bucket}{endpoint}`, or {_ANOTHER}"
    return BucketNotFoundError, f"there is no such bucket ({found.reason}); {remedy}"


def _elsewhere(found: Refusal) -> Words:
    shown = f"{found.reason} ({found.code})" if found.code else found.reason
    if remote := found.remote:
        if remote.endpoint_url and remote.endpoint_url == StoreSettings.read().endpoint and "endpoint" in shown.lower():
            remedy = "set AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL to an address such as http://127.0.0.1:8333"
            return StoreConfigError, f"the store can't be addressed ({shown}); {remedy}, or unset it"
        return StoreConfigError, (
            f"the DVC remote {remote.name!r} can't be addressed ({shown}); {_ANOTHER}, or "
            f"run `dvc remote modify {remote.name} region REGION`"
        )
    return CloudError, (
        f"AWS can't be used in this region ({shown}); set AWS_REGION and `region` in infrastructure/terraform/"
        f"wms.tfvars to one that is switched on for the account{nearest_regions(found.reason)}"
    )


def _unreachable(found: Refusal) -> Words:
    if "amazonaws.com" in found.reason and (region := unknown_region(found.reason)):
        return _elsewhere(Refusal(found.what, "", f"there is no region {region}", found.remote))
    silent = "Terraform's registry" if "terraform.io" in found.reason else found.store
    text = f"{silent} doesn't answer ({found.reason}); check the network, then run it again{found.kept}"
    return StoreUnreachableError, text


def _busy(found: Refusal) -> Words:
    if found.remote and (told := full_disk(found.remote.endpoint_url or "")):
        return DiskFullError, (
            f"the disk of {found.store} is full: {told}; free some there, and run it again a minute later{found.kept}"
        )
    return StoreUnreachableError, f"{found.store} is busy ({found.code}); run it again in a minute{found.kept}"


def _no_capacity(found: Refusal) -> Words:
    wait = "" if found.code == "Unsupported" else "run it again later, or "  # that type will never be in that zone
    return QuotaError, (
        f"AWS has no such machine free ({found.code}: {found.reason}); {wait}choose another instance_type or region, "
        "or another `spot`, in infrastructure/terraform/wms.tfvars"
    )


def _unverified(found: Refusal) -> Words:
    if found.code == "PendingVerification":
        return CloudError, (
            "AWS still validates the account for this region (PendingVerification), for minutes or at most 4 hours; "
            "run it again after AWS's e-mail, and without one open a case at AWS Support about the account"
        )
    return AccessDeniedError, (
        f"AWS has blocked the account ({found.code}: {found.reason}); its owner must open a case at AWS Support about "
        "the account, and no other keys of the account will do"
    )


def _refused(found: Refusal) -> Words:
    return StoreUnreachableError if found.remote else CloudError, (
        f"{found.store} refuses it ({found.code}: {found.reason}); correct that, then run it again{found.kept}"
    )


_WORDS: Final[dict[Kind, Callable[[Refusal], Words]]] = {
    Kind.EXPIRED: lambda found: (CredentialsExpiredError, f"the AWS credentials have expired; {found.renewal}"),
    Kind.MISSING: lambda found: (
        CredentialsMissingError,
        f"there are no usable AWS credentials ({found.reason}); {found.renewal}",
    ),
    Kind.UNKNOWN_KEY: _unknown_key,
    Kind.WRONG_SECRET: _wrong_secret,
    Kind.SKEWED: lambda found: (
        ClockSkewError,
        f"{found.store} refuses requests because this machine's clock is wrong; set it with `sudo timedatectl set-ntp "
        "true`, then run it again",
    ),
    Kind.NO_BUCKET: _no_bucket,
    Kind.NOT_ALLOWED: _not_allowed,
    Kind.WRONG_ADDRESS: _elsewhere,
    Kind.BUSY: _busy,
    Kind.FULL: lambda found: (
        DiskFullError,
        f"{found.store} has no space left ({found.code}: {found.reason}); free some there, then try again{found.kept}",
    ),
    Kind.TAKEN: lambda found: (
        CloudError,
        f"the bucket's name is taken by another account ({found.reason}); choose another environment or region in "
        "infrastructure/terraform/wms.tfvars",
    ),
    Kind.QUOTA: lambda found: (
        QuotaError,
        f"{found.reason} ({found.code}); stop what isn't needed, choose a smaller instance_type in "
        "infrastructure/terraform/wms.tfvars, or ask for more under Service Quotas in the AWS console",
    ),
    Kind.CAPACITY: _no_capacity,
    Kind.UNVERIFIED: _unverified,
    Kind.REPEATED: lambda found: (
        RepeatedRequestError,
        f"AWS has done that already, as when an answer is lost on its way ({found.code}: {found.reason}); run it again",
    ),
    Kind.UNREACHABLE: _unreachable,
}


def _lacks_token() -> bool:
    """Return whether the credentials in use are a session's without its token; AWS calls such a key unknown."""
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    with contextlib.suppress(BotoCoreError):
        told = AwsSettings.read()
        found = None if told.aws_access_key_id else Session().get_credentials()
        key, token = (found.access_key, found.token) if found else (told.aws_access_key_id, told.aws_session_token)
        return key.startswith("ASIA") and not token
    return False


def short(text: str) -> str:
    """Return the text as one line that fits into a sentence: without full stops and encoded failure messages."""
    line = re.sub(r"\s*Encoded authorization failure message:? \S+", "", " ".join(text.split()))
    return re.sub(r"\.(?=\s+[A-Z])", ";", line)[:_LONGEST].rstrip(" .;:")
