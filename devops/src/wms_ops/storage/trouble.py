"""From the AWS SDK's exceptions to this project's errors: what is wrong, where, and the command that mends it."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from typing import Final

from wms.errors import WmsError
from wms_ops.base.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    ClockSkewError,
    CredentialsExpiredError,
    CredentialsMissingError,
    StoreConfigError,
    StoreUnreachableError,
)
from wms_ops.storage.codes import (
    Kind,
    code_of,
    is_expired_after_renewal,
    kind_of_class,
    kind_of_code,
    reason_of,
    sdk_errors,
)
from wms_ops.storage.config import RemoteConfig

_KEPT = "what was already transferred is kept"


@contextlib.contextmanager
def store_errors(config: RemoteConfig) -> Iterator[None]:
    """Turn every exception of the AWS SDK inside the `with` block into one of wms_ops.base.errors."""
    try:
        yield
    except sdk_errors() as error:
        raise explain(error, config) from error
    except RuntimeError as error:
        if is_expired_after_renewal(error):
            raise _expired("", config) from error
        raise
    except ValueError as error:
        if "invalid endpoint" in str(error).lower():  # again no class of its own
            raise _wrong_address(str(error), config) from error
        raise


def explain(error: Exception, config: RemoteConfig) -> WmsError:
    """The error to raise instead of botocore's `error`, met at the remote `config`."""
    code = code_of(error)
    if code is not None:
        return _BUILDERS[kind_of_code(code)](code, config)
    return _BUILDERS[kind_of_class(error)](reason_of(error), config)


def _missing(reason: str, config: RemoteConfig) -> WmsError:
    return CredentialsMissingError(
        f"There are no usable AWS credentials for {config.url} ({reason}); run `aws configure{_profile(config)}`, "
        "or copy the keys of your AWS Academy session into ~/.aws/credentials."
    )


def _expired(_: str, config: RemoteConfig) -> WmsError:
    return CredentialsExpiredError(
        f"The AWS credentials for {config.url} have expired; run `aws sso login{_profile(config)}`, "
        "or copy fresh AWS Academy keys into ~/.aws/credentials."
    )


def _unknown_key(code: str, config: RemoteConfig) -> WmsError:
    return AccessDeniedError(
        f"{_store(config)} doesn't know the access key for {config.url} ({code}); "
        f"run `aws configure{_profile(config)}` with a key of the account that owns the bucket."
    )


def _wrong_secret(code: str, config: RemoteConfig) -> WmsError:
    return AccessDeniedError(
        f"{_store(config)} refuses the secret key for {config.url}, which doesn't belong to the access key "
        f"({code}); run `aws configure{_profile(config)}` and enter both again."
    )


def _not_allowed(code: str, config: RemoteConfig) -> WmsError:
    return AccessDeniedError(
        f"These credentials may not list, read and write {config.url} ({code}); ask the bucket's owner for "
        f"s3:ListBucket, s3:GetObject and s3:PutObject, or choose others with `aws configure{_profile(config)}`."
    )


def _skewed(_: str, config: RemoteConfig) -> WmsError:
    return ClockSkewError(
        f"{_store(config)} refuses requests because this machine's clock is wrong; set it with "
        "`sudo timedatectl set-ntp true`, then run it again."
    )


def _no_bucket(_: str, config: RemoteConfig) -> WmsError:
    endpoint = f" --endpoint-url {shlex.quote(config.endpoint_url)}" if config.endpoint_url else ""
    return BucketNotFoundError(
        f"{_store(config)} has no bucket {config.bucket!r}; make it with `aws s3 mb s3://{config.bucket}{endpoint}`, "
        f"or name another with `dvc remote modify {config.name} url s3://BUCKET/PREFIX`."
    )


def _wrong_address(reason: str, config: RemoteConfig) -> WmsError:
    return StoreConfigError(
        f"The DVC remote {config.name!r} ({config.url}) can't be addressed ({reason}); correct it with "
        f"`dvc remote modify {config.name} url s3://BUCKET/PREFIX` or `dvc remote modify {config.name} region REGION`."
    )


def _unreachable(reason: str, config: RemoteConfig) -> WmsError:
    return StoreUnreachableError(
        f"{_store(config)} doesn't answer ({reason}); check the network and the endpoint, then run it again: {_KEPT}."
    )


def _busy(code: str, config: RemoteConfig) -> WmsError:
    return StoreUnreachableError(f"{_store(config)} is busy ({code}); run it again in a minute: {_KEPT}.")


def _refused(code: str, config: RemoteConfig) -> WmsError:
    return StoreUnreachableError(
        f"{_store(config)} refused a request for {config.url} ({code}); look that code up, then run it again: {_KEPT}."
    )


def _store(config: RemoteConfig) -> str:
    return f"The S3 store at {config.endpoint_url}" if config.endpoint_url else "Amazon S3"


def _profile(config: RemoteConfig) -> str:
    return f" --profile {shlex.quote(config.profile)}" if config.profile else ""


_Builder = Callable[[str, RemoteConfig], WmsError]
_BUILDERS: Final[dict[Kind, _Builder]] = {
    Kind.EXPIRED: _expired,
    Kind.MISSING: _missing,
    Kind.UNKNOWN_KEY: _unknown_key,
    Kind.WRONG_SECRET: _wrong_secret,
    Kind.SKEWED: _skewed,
    Kind.NO_BUCKET: _no_bucket,
    Kind.NOT_ALLOWED: _not_allowed,
    Kind.WRONG_ADDRESS: _wrong_address,
    Kind.BUSY: _busy,
    Kind.REFUSED: _refused,
    Kind.UNREACHABLE: _unreachable,
}
