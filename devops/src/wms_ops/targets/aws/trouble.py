"""From AWS's refusals to this project's errors, whether boto3 raises them or Terraform prints them.

Every sentence reads "Can't WHAT: what is wrong; what to do next."
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from wms.errors import WmsError
from wms_ops.base.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    ClockSkewError,
    CloudError,
    CredentialsExpiredError,
    CredentialsMissingError,
    QuotaError,
    RepeatedRequestError,
    StoreUnreachableError,
)
from wms_ops.base.outputs import on_actions
from wms_ops.storage.codes import (
    Kind,
    code_of,
    is_expired_after_renewal,
    kind_of_class,
    kind_of_code,
    reason_of,
    sdk_errors,
)

_LONGEST: Final = 300
_LAB_ENDED: Final = "voc-cancel-cred"  # the policy by which AWS Academy ends a session whose keys aren't too old yet
_QUOTA: Final = re.compile(r"(Limit|Quota|Count)Exceeded|TooManyBuckets")
_NO_ROOM: Final = frozenset({"InsufficientInstanceCapacity", "InsufficientCapacity", "Unsupported"})
_NOT_HERE: Final = frozenset({"OptInRequired", "InvalidRegion", "IllegalLocationConstraintException"})
_TAKEN: Final = frozenset({"BucketAlreadyExists"})
_REPEATED: Final = re.compile(r"AlreadyExists|AlreadyAssociated|InvalidPermission\.(NotFound|Duplicate)")
_REGION: Final = re.compile(r"\b(?:[a-z]+-){2,3}\d+\b")


@contextlib.contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Turn the AWS SDK's exceptions inside the `with` block into errors of this project.

    `what` completes "Can't ...": "start the instance". Raises CredentialsMissingError, CredentialsExpiredError,
    AccessDeniedError, BucketNotFoundError, StoreUnreachableError, ClockSkewError, CloudError or QuotaError.
    """
    try:
        yield
    except sdk_errors() as error:
        raise from_sdk(error, what) from error
    except RuntimeError as error:
        if is_expired_after_renewal(error):
            raise _expired("", "", what) from error
        raise
    except ValueError as error:
        if "invalid endpoint" in str(error).lower():
            raise _elsewhere("", str(error), what) from error
        raise


def from_sdk(error: Exception, what: str) -> WmsError:
    """The error to raise instead of botocore's `error`."""
    code = code_of(error)
    if code is None:
        reason = _short(reason_of(error))
        kind = kind_of_class(error)
        if type(error).__name__ == "NoRegionError":
            return _elsewhere("", "no region is set", what)
        return _unreachable("", reason, what) if kind is Kind.UNREACHABLE else _BUILDERS[kind]("", reason, what)
    response: Any = getattr(error, "response", {})
    operation = getattr(error, "operation_name", "")
    message = _short(str(response["Error"].get("Message") or ""))
    return _from_code(code, message or f"{operation} was refused", what)


def explain(text: str, what: str = "run Terraform") -> WmsError:
    """The error that a text of Terraform's means: its `Error: ...` with AWS's code inside, or the lack of an answer.

    CloudError with the first error's words for one that isn't known here. The text may hold colours and frames.
    """
    plain = _plain(text)
    found = [(match["code"], _short(match["message"])) for match in _API_ERROR.finditer(plain)]
    # Of several errors, the one that explains the others: nothing works with credentials that have expired.
    found.sort(key=lambda one: _RANK.index(kind_of_code(one[0])) if kind_of_code(one[0]) in _RANK else len(_RANK))
    if found:
        return _from_code(*found[0], what)
    for pattern, build in _BY_WORDS:
        if match := pattern.search(plain):
            return build("", _short(match.group()), what)
    first = re.search(r"Error: ([^\n]+)", plain)
    return CloudError(f"Can't {what}: {_short(first[1] if first else plain) or 'it says nothing'}; then run it again.")


def is_gone(error: Exception) -> bool:
    """Whether a refusal of AWS says that the thing doesn't exist (any more)."""
    code = code_of(error) or ""
    return code in {"NoSuchEntity", "NoSuchKey", "404"} or code.lower().endswith((".notfound", "notfoundexception"))


def _from_code(code: str, message: str, what: str) -> WmsError:
    if _LAB_ENDED in message:
        return _expired(code, message, what)
    kind = kind_of_code(code)
    if code in _NOT_HERE:
        return _elsewhere(code, message, what)
    if code in _TAKEN:
        return _taken(code, message, what)
    if kind is Kind.REFUSED and (code in _NO_ROOM or _QUOTA.search(code)):
        return _too_much(code, message, what)
    if kind is Kind.REFUSED and _REPEATED.search(code):
        return _repeated(code, message, what)
    return _BUILDERS[kind](code, message, what)


def _expired(_: str, __: str, what: str) -> WmsError:
    return CredentialsExpiredError(f"Can't {what}: the AWS credentials have expired; {_renewal()}.")


def _missing(_: str, reason: str, what: str) -> WmsError:
    return CredentialsMissingError(f"Can't {what}: there are no usable AWS credentials ({reason}); {_renewal()}.")


def _unknown_key(code: str, _: str, what: str) -> WmsError:
    if _lacks_token():
        return CredentialsMissingError(
            f"Can't {what}: the access key is a temporary one (ASIA...) without its aws_session_token; {_renewal()}."
        )
    return AccessDeniedError(
        f"Can't {what}: AWS doesn't know the access key, or not in this region ({code}); {_renewal()}, and check the "
        "region."
    )


def _not_allowed(code: str, message: str, what: str) -> WmsError:
    action = re.search(r"not authorized to perform:? ([a-z0-9-]+:\w+)", message)
    lacking = f"the right to {action[1]}" if action else "the rights"
    return AccessDeniedError(
        f"Can't {what}: these AWS credentials lack {lacking} ({code}); ask the account's administrator for it, or "
        "use others with `export AWS_PROFILE=NAME`."
    )


def _skewed(_: str, __: str, what: str) -> WmsError:
    return ClockSkewError(
        f"Can't {what}: AWS refuses requests because this machine's clock is wrong; set it with "
        "`sudo timedatectl set-ntp true`, then run it again."
    )


def _no_bucket(_: str, message: str, what: str) -> WmsError:
    return BucketNotFoundError(
        f"Can't {what}: there is no such bucket ({message}); check the account and the region, then run it again."
    )


def _taken(_: str, message: str, what: str) -> WmsError:
    return CloudError(
        f"Can't {what}: the bucket's name is taken by another account ({message}); choose another environment or "
        "region in infrastructure/terraform/wms.tfvars."
    )


def _too_much(code: str, message: str, what: str) -> WmsError:
    return QuotaError(
        f"Can't {what}: {message} ({code}); stop what isn't needed, choose a smaller instance_type in "
        "infrastructure/terraform/wms.tfvars, or ask for more under Service Quotas in the AWS console."
    )


def _elsewhere(code: str, reason: str, what: str) -> WmsError:
    shown = f"{reason} ({code})" if code else reason
    return CloudError(
        f"Can't {what}: AWS can't be used in this region ({shown}); set AWS_REGION and `region` in "
        f"infrastructure/terraform/wms.tfvars to one that is switched on for the account{_nearest(reason)}."
    )


def _unreachable(_: str, reason: str, what: str) -> WmsError:
    if "amazonaws.com" in reason and (region := _REGION.search(reason)) and region[0] not in _regions():
        return _elsewhere("", f"there is no region {region[0]}", what)
    silent = "Terraform's registry" if "terraform.io" in reason else "AWS"
    return StoreUnreachableError(
        f"Can't {what}: {silent} doesn't answer ({reason}); check the network, then run it again."
    )


def _busy(code: str, _: str, what: str) -> WmsError:
    return StoreUnreachableError(f"Can't {what}: AWS is busy ({code}); run it again in a minute.")


def _refused(code: str, message: str, what: str) -> WmsError:
    return CloudError(f"Can't {what}: AWS refuses it ({code}: {message}); correct that, then run it again.")


def _repeated(code: str, message: str, what: str) -> WmsError:
    return RepeatedRequestError(
        f"Can't {what}: AWS has done that already, as when an answer is lost on its way ({code}: {message}); "
        "run it again."
    )


def _renewal() -> str:
    if on_actions():
        return (
            "AWS Academy: Start Lab, AWS Details, Show; copy the three values into the repository's secrets "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (with a role: check vars.AWS_ROLE_ARN)"
        )
    return (
        "AWS Academy: Start Lab, AWS Details, Show; copy the three lines into ~/.aws/credentials (elsewhere: "
        "`aws sso login` or `aws configure`)"
    )


def _lacks_token() -> bool:
    """Whether the credentials in use are a session's without its token; AWS calls such a key unknown."""
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    with contextlib.suppress(BotoCoreError):
        found = Session().get_credentials() if "AWS_ACCESS_KEY_ID" not in os.environ else None
        key = found.access_key if found else os.environ.get("AWS_ACCESS_KEY_ID", "")
        token = found.token if found else os.environ.get("AWS_SESSION_TOKEN", "")
        return key.startswith("ASIA") and not token
    return False


def _regions() -> list[str]:
    from botocore.session import Session

    session = Session()
    names = [session.get_available_regions("ec2", one) for one in session.get_available_partitions()]
    return [name for some in names for name in some]


def _nearest(reason: str) -> str:
    known = _regions()
    wrong = [name for name in _REGION.findall(reason) if name not in known]
    near = difflib.get_close_matches(wrong[0], known, n=2, cutoff=0.8) if wrong else []
    return f", perhaps {' or '.join(sorted(near))}" if near else ""


def _plain(text: str) -> str:
    """One line a paragraph, without colours and the frame that Terraform draws around an error."""
    bare = re.sub(r"(?m)^[│╷╵ \t]+", "", re.sub(r"\x1b\[[0-9;]*m", "", text))
    return "\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", bare))


def _short(text: str) -> str:
    """One line without the ends of sentences, so that it fits into one; without encoded failure messages."""
    line = re.sub(r"\s*Encoded authorization failure message:? \S+", "", " ".join(text.split()))
    return re.sub(r"\.(?=\s+[A-Z])", ";", line)[:_LONGEST].rstrip(" .;:")


_Builder = Callable[[str, str, str], WmsError]
_BUILDERS: Final[dict[Kind, _Builder]] = {
    Kind.EXPIRED: _expired,
    Kind.MISSING: _missing,
    Kind.UNKNOWN_KEY: _unknown_key,
    Kind.WRONG_SECRET: _unknown_key,
    Kind.SKEWED: _skewed,
    Kind.NO_BUCKET: _no_bucket,
    Kind.NOT_ALLOWED: _not_allowed,
    Kind.WRONG_ADDRESS: _elsewhere,
    Kind.BUSY: _busy,
    Kind.REFUSED: _refused,
    Kind.UNREACHABLE: _unreachable,
}
_RANK: Final = (Kind.EXPIRED, Kind.UNKNOWN_KEY, Kind.WRONG_SECRET, Kind.SKEWED, Kind.NOT_ALLOWED)
_API_ERROR: Final = re.compile(r"(?:api error |\()(?P<code>[A-Z][\w.]*)\)?: (?P<message>[^\n]*)")
_BY_WORDS: Final[tuple[tuple[re.Pattern[str], _Builder], ...]] = (
    (re.compile(r"security token included in the request is expired|[Tt]oken has expired|ExpiredToken"), _expired),
    (re.compile(r"No valid credential sources? found|failed to refresh cached credentials|get credentials"), _missing),
    (re.compile(r"(?i)invalid aws region: ?\S+"), _elsewhere),
    (re.compile(r'S3 bucket "[^"]+" does not exist|NoSuchBucket'), _no_bucket),
    (
        re.compile(r"(?:request send failed|dial tcp|no such host|i/o timeout|connection (?:refused|reset))[^\n]*"),
        _unreachable,
    ),
)
