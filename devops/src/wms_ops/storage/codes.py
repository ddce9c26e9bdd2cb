"""The meaning of the AWS SDK's error codes and exception classes: each has one kind; `trouble` words the sentences."""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Callable, Collection
from typing import Any, Final

ABSENT: Final = frozenset({"NoSuchKey", "NotFound", "404"})
"""The bucket has no such object."""

NO_PARAMETER: Final = frozenset({"ParameterNotFound"})
"""SSM has no such parameter."""

LOST: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
"""A condition of the request doesn't hold: another writer was quicker."""


def sdk_errors() -> tuple[type[Exception], ...]:
    """Return the SDK's exceptions for a failed request; the last means that another server answered, say a proxy."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return BotoCoreError, ClientError, ResponseParserError


def reason_of(error: Exception) -> str:
    """Return the SDK's words, in one line, for an error without a code."""
    if type(error).__name__ == "ResponseParserError":  # its own words are the whole answer
        return "what answered isn't AWS, perhaps a proxy"
    return " ".join(str(error).split()).rstrip(".")[:200]


def is_without_keys(error: Exception) -> bool:
    """Return whether nobody has set any credentials here: incomplete ones, or a profile that is absent, are some."""
    return type(error.__cause__).__name__ == "NoCredentialsError"


_REGION: Final = re.compile(r"\b(?:[a-z]+-){2,3}\d+\b")


class Kind(enum.Enum):
    """The kinds of trouble, as far as the remedy differs."""

    EXPIRED = enum.auto()
    MISSING = enum.auto()
    UNKNOWN_KEY = enum.auto()
    WRONG_SECRET = enum.auto()
    SKEWED = enum.auto()
    NO_BUCKET = enum.auto()
    NOT_ALLOWED = enum.auto()
    WRONG_ADDRESS = enum.auto()
    BUSY = enum.auto()
    FULL = enum.auto()
    TAKEN = enum.auto()
    QUOTA = enum.auto()
    CAPACITY = enum.auto()
    UNVERIFIED = enum.auto()
    REPEATED = enum.auto()
    REFUSED = enum.auto()
    UNREACHABLE = enum.auto()


def _sets(words: dict[Kind, str]) -> dict[Kind, frozenset[str]]:
    return {kind: frozenset(text.split()) for kind, text in words.items()}


# Error codes of S3, STS, EC2 and IAM. A bare status is the answer to a HEAD, which has no body for a code.
_BY_CODE: Final = _sets(
    {
        Kind.EXPIRED: "ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired",
        Kind.UNKNOWN_KEY: "InvalidAccessKeyId UnrecognizedClientException InvalidClientTokenId InvalidToken",
        Kind.WRONG_SECRET: "SignatureDoesNotMatch AuthFailure",
        Kind.SKEWED: "RequestTimeTooSkewed RequestInTheFuture",
        Kind.NO_BUCKET: "NoSuchBucket 404",  # absent objects are told apart where they're asked for
        Kind.NOT_ALLOWED: "AccessDenied AccessDeniedException AllAccessDisabled Forbidden 403 UnauthorizedOperation",
        Kind.WRONG_ADDRESS: "InvalidBucketName PermanentRedirect AuthorizationHeaderMalformed 301 "
        "IllegalLocationConstraintException OptInRequired InvalidRegion",
        Kind.TAKEN: "BucketAlreadyExists",
        # Of MinIO, Ceph and others with a disk, or a bucket, of a certain size.
        Kind.FULL: "XMinioStorageFull XMinioAdminBucketQuotaExceeded QuotaExceeded InsufficientStorage 507",
        Kind.CAPACITY: "InsufficientInstanceCapacity InsufficientCapacity InsufficientHostCapacity Unsupported "
        "SpotMaxPriceTooLow",
        Kind.UNVERIFIED: "PendingVerification Blocked AccountProblem",
        Kind.BUSY: "SlowDown Throttling ThrottlingException RequestLimitExceeded TooManyRequests ServiceUnavailable "
        "InternalError RequestTimeout 429 500 502 503 504 Unavailable RequestThrottled RequestThrottledException "
        "TooManyRequestsException",
    }
)
_BY_PATTERN: Final = {
    Kind.QUOTA: re.compile(r"(Limit|Quota|Count)Exceeded|TooManyBuckets"),
    Kind.REPEATED: re.compile(r"Already(Exists|OwnedByYou|Associated)|InvalidPermission\.(NotFound|Duplicate)"),
}
# Classes of botocore without an answer, by name: importing them would make starting slow.
_BY_CLASS: Final = _sets(
    {
        Kind.EXPIRED: "UnauthorizedSSOTokenError SSOTokenLoadError SSOError TokenRetrievalError LoginRefreshRequired "
        "LoginTokenLoadError LoginError",
        Kind.MISSING: "NoCredentialsError PartialCredentialsError CredentialRetrievalError NoAuthTokenError "
        "ProfileNotFound ConfigParseError ConfigNotFound UnknownCredentialError InvalidConfigError "
        "InfiniteLoopConfigError MetadataRetrievalError",
        Kind.WRONG_ADDRESS: "ParamValidationError InvalidRegionError InvalidEndpointConfigurationError",
    }
)


def code_of(error: Exception) -> str | None:
    """Return the error code in AWS's answer, or its status as text; None without an answer."""
    response: Any = getattr(error, "response", None)
    if not isinstance(response, dict) or "Error" not in response:
        return None
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
    return str(response["Error"].get("Code") or status)


def unless(codes: Collection[str], call: Callable[..., Any], **arguments: Any) -> Any:
    """Return the result of an SDK call; None where AWS answers with one of `codes`. Raises the SDK's other errors."""
    from botocore.exceptions import ClientError

    try:
        return call(**arguments)
    except ClientError as error:
        if code_of(error) in codes:
            return None
        raise


def kind_of_code(code: str) -> Kind:
    """Return the kind of a code; REFUSED for an unknown code."""
    named = next((kind for kind, codes in _BY_CODE.items() if code in codes), None)
    return named or next((kind for kind, pattern in _BY_PATTERN.items() if pattern.search(code)), Kind.REFUSED)


def kind_of_class(error: Exception) -> Kind:
    """Return the kind of an exception without an answer, by its class; UNREACHABLE for an unknown class."""
    names = {base.__name__ for base in type(error).__mro__}
    return next((kind for kind, known in _BY_CLASS.items() if known & names), Kind.UNREACHABLE)


def is_expired_after_renewal(error: Exception) -> bool:
    """Return whether `error` is the SDK's RuntimeError for credentials that are too old even after their renewal."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and "credentials" in text and "expired" in text


def unknown_region(text: str) -> str:
    """Return the first region name in a text that isn't one of AWS's; "" without any."""
    return next((name for name in _REGION.findall(text) if name not in _regions()), "")


def nearest_regions(text: str) -> str:
    """Return the regions that a text may have meant, such as ", perhaps us-east-1"; "" for none."""
    wrong = unknown_region(text)
    near = difflib.get_close_matches(wrong, _regions(), n=2, cutoff=0.8) if wrong else []
    return f", perhaps {' or '.join(sorted(near))}" if near else ""


def _regions() -> list[str]:
    from botocore.session import Session

    session = Session()
    names = [session.get_available_regions("ec2", partition) for partition in session.get_available_partitions()]
    return [name for some in names for name in some]
