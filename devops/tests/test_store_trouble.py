"""Whatever the AWS SDK raises becomes one sentence with its remedy, checked against a real server where it can."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from s3_server import S3Server
from servers import free_port

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
from wms_ops.storage import client
from wms_ops.storage.config import RemoteConfig
from wms_ops.storage.remote import S3Remote
from wms_ops.storage.trouble import aws_errors, from_sdk

pytestmark = pytest.mark.slice("trouble of a store", of=2)

SOME_OID = "0123456789abcdef0123456789abcdef"
HERE = RemoteConfig("meters", "dvc", profile="my team", endpoint_url="http://127.0.0.1:9")

BY_CODE = {
    "ExpiredToken": CredentialsExpiredError,
    "ExpiredTokenException": CredentialsExpiredError,
    "RequestTimeTooSkewed": ClockSkewError,
    "InvalidAccessKeyId": AccessDeniedError,
    "SignatureDoesNotMatch": AccessDeniedError,
    "AccessDenied": AccessDeniedError,
    "403": AccessDeniedError,
    "NoSuchBucket": BucketNotFoundError,
    "404": BucketNotFoundError,
    "InvalidBucketName": StoreConfigError,
    "PermanentRedirect": StoreConfigError,
    "SlowDown": StoreUnreachableError,
    "503": StoreUnreachableError,
    "SomethingNew": StoreUnreachableError,
}
BY_EXCEPTION = [
    (exceptions.NoCredentialsError(), CredentialsMissingError),
    (exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), CredentialsMissingError),
    (exceptions.ProfileNotFound(profile="my team"), CredentialsMissingError),
    (exceptions.UnauthorizedSSOTokenError(), CredentialsExpiredError),
    (exceptions.SSOTokenLoadError(error_msg="no token"), CredentialsExpiredError),
    (exceptions.TokenRetrievalError(provider="sso", error_msg="expired"), CredentialsExpiredError),
    (exceptions.EndpointConnectionError(endpoint_url="http://x"), StoreUnreachableError),
    (exceptions.ReadTimeoutError(endpoint_url="http://x"), StoreUnreachableError),
    (exceptions.SSLError(endpoint_url="http://x", error="certificate"), StoreUnreachableError),
    (exceptions.ParamValidationError(report="Invalid bucket name"), StoreConfigError),
    (ValueError("Invalid IPv6 URL"), StoreConfigError),
]
REMEDY = {
    CredentialsExpiredError: "`aws sso login --profile 'my team'`",
    CredentialsMissingError: "`aws configure --profile 'my team'`",
    AccessDeniedError: "`aws configure --profile 'my team'`",
    ClockSkewError: "`sudo timedatectl set-ntp true`",
    BucketNotFoundError: "`aws s3 mb s3://meters --endpoint-url http://127.0.0.1:9`",
    StoreConfigError: "`wms init --bucket s3://BUCKET/PREFIX`",
    StoreUnreachableError: "run it again",
}


def assert_one_sentence(error: WmsError) -> None:
    text = str(error)
    assert re.fullmatch(r"[A-Z].*\.", text), text
    assert not re.search(r"\. [A-Z]", text), text
    assert REMEDY[type(error)].replace(" --profile 'my team'", "").split(" s3://")[0].strip("`") in text


def answer(code: str, status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "No."}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutObject")


@pytest.mark.parametrize("code", BY_CODE)
def test_each_code_of_the_store(code: str) -> None:
    error = from_sdk(answer(code), HERE.use, HERE)
    assert type(error) is BY_CODE[code]
    assert REMEDY[BY_CODE[code]] in str(error)
    assert_one_sentence(error)


def test_a_status_without_a_code() -> None:
    assert type(from_sdk(answer("", status=403), HERE.use, HERE)) is AccessDeniedError


@pytest.mark.parametrize(("raised", "kind"), BY_EXCEPTION, ids=lambda value: getattr(value, "__name__", ""))
def test_each_failure_without_an_answer(raised: Exception, kind: type[WmsError]) -> None:
    with pytest.raises(kind) as caught, aws_errors(HERE.use, HERE):
        raise raised
    assert type(caught.value) is kind
    assert REMEDY[kind] in str(caught.value)
    assert_one_sentence(caught.value)


def test_every_class_of_the_sdk_is_caught() -> None:
    """No exception of botocore's leaves the module, whatever a later version adds."""
    kinds = [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    kinds = [kind for kind in kinds if kind.__module__ == exceptions.__name__ and not issubclass(kind, Warning)]
    assert len(kinds) > 50
    outside = {kind.__name__ for kind in kinds if not issubclass(kind, exceptions.BotoCoreError | ClientError)}
    assert outside == {"MissingServiceIdError", "UndefinedModelAttributeError"}  # a damaged installation


def test_the_two_failures_without_a_class_and_a_bug_that_stays_one() -> None:
    with pytest.raises(CredentialsExpiredError), aws_errors(HERE.use, HERE):
        raise RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired.")
    for bug in (RuntimeError("dictionary changed size"), ValueError("not enough values to unpack")):
        with pytest.raises(type(bug), match=str(bug)), aws_errors(HERE.use, HERE):
            raise bug


# -- against the server


def refused(config: RemoteConfig, environ: dict[str, str]) -> WmsError:
    with pytest.raises(WmsError) as caught:
        S3Remote(config, environ).check_access()
    assert_one_sentence(caught.value)
    return caught.value


def test_full_access_leaves_nothing_behind(s3: S3Server, remote: S3Remote) -> None:
    remote.check_access()
    assert remote.traffic.requests == 2
    listing = s3.client().list_objects_v2(Bucket=remote.config.bucket, Prefix=remote.config.prefix)
    assert listing["KeyCount"] == 0


def test_a_wrong_key(s3: S3Server, remote_config: RemoteConfig) -> None:
    error = refused(remote_config, s3.environ | {"AWS_ACCESS_KEY_ID": "unknown"})
    assert isinstance(error, AccessDeniedError)
    assert "InvalidAccessKeyId" in str(error)


def test_a_wrong_secret(s3: S3Server, remote_config: RemoteConfig) -> None:
    error = refused(remote_config, s3.environ | {"AWS_SECRET_ACCESS_KEY": "wrong"})
    assert isinstance(error, AccessDeniedError)
    assert "SignatureDoesNotMatch" in str(error)


def test_a_key_that_may_only_read(s3: S3Server, remote_config: RemoteConfig) -> None:
    reader = {"AWS_ACCESS_KEY_ID": s3.reader_key, "AWS_SECRET_ACCESS_KEY": s3.reader_secret}
    error = refused(remote_config, s3.environ | reader)
    assert isinstance(error, AccessDeniedError)
    assert "s3:PutObject" in str(error)
    assert S3Remote(remote_config, s3.environ | reader).missing([SOME_OID]) == {SOME_OID}


def test_a_head_request_tells_the_reason_too(s3: S3Server, remote_config: RemoteConfig) -> None:
    with pytest.raises(AccessDeniedError, match="SignatureDoesNotMatch"):
        S3Remote(remote_config, s3.environ | {"AWS_SECRET_ACCESS_KEY": "wrong"}).missing([SOME_OID])


def test_no_credentials(s3: S3Server, remote_config: RemoteConfig) -> None:
    environ = {name: value for name, value in s3.environ.items() if "KEY" not in name}
    assert isinstance(refused(remote_config, environ), CredentialsMissingError)
    half = environ | {"AWS_ACCESS_KEY_ID": s3.key}
    assert isinstance(refused(remote_config, half), CredentialsMissingError)
    assert "nobody" in str(refused(replace(remote_config, profile="nobody"), environ))


def test_no_credentials_in_a_process_without_any(s3: S3Server, remote_config: RemoteConfig, tmp_path: Path) -> None:
    """The process's own environment counts when none is given: here one without keys and with an empty home."""
    code = (
        "from wms_ops.storage.config import RemoteConfig; from wms_ops.storage.remote import S3Remote\n"
        "from wms.errors import run_main; import sys\n"
        f"remote = S3Remote(RemoteConfig('b', endpoint_url={s3.endpoint!r}))\n"
        "sys.exit(run_main(lambda _: remote.check_access() or 0))"
    )
    environ = {"HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path), "AWS_EC2_METADATA_DISABLED": "true"}
    bare = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert bare.returncode == CredentialsMissingError.exit_code
    assert bare.stderr.startswith("error: Can't use s3://b: there are no usable AWS credentials")
    assert bare.stderr.count("\n") == 1


def test_keys_from_files_and_profiles(s3: S3Server, remote_config: RemoteConfig, tmp_path: Path) -> None:
    keys = f"aws_access_key_id = {s3.key}\naws_secret_access_key = {s3.secret}\n"
    (tmp_path / "credentials").write_text(f"[team]\n{keys}")
    bare = {name: value for name, value in s3.environ.items() if "KEY" not in name}
    file = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    S3Remote(remote_config, bare | file | {"AWS_PROFILE": "team"}).check_access()
    S3Remote(replace(remote_config, profile="team"), bare | file).check_access()
    # A profile that the remote names goes before keys in the environment, as in DVC.
    stranger = {"AWS_ACCESS_KEY_ID": "unknown", "AWS_SECRET_ACCESS_KEY": "wrong"}
    S3Remote(replace(remote_config, profile="team"), bare | file | stranger).check_access()
    del bare["AWS_SHARED_CREDENTIALS_FILE"]
    own_file = replace(remote_config, profile="team", credentials_file=str(tmp_path / "credentials"))
    S3Remote(own_file, bare).check_access()
    own_keys = replace(remote_config, access_key_id=s3.key, secret_access_key=s3.secret)
    S3Remote(own_keys, bare | stranger).check_access()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_wrong(s3: S3Server, remote: S3Remote, hours: int, monkeypatch: Any) -> None:
    right = botocore.auth.get_current_datetime

    def wrong(**options: bool) -> datetime.datetime:
        return right(**options) + datetime.timedelta(hours=hours)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", wrong)
    assert isinstance(refused(remote.config, s3.environ), ClockSkewError)


def test_a_missing_bucket(s3: S3Server, remote_config: RemoteConfig) -> None:
    nowhere = replace(remote_config, bucket="nobody-made-this")
    error = refused(nowhere, s3.environ)
    assert isinstance(error, BucketNotFoundError)
    assert f"aws s3 mb s3://nobody-made-this --endpoint-url {s3.endpoint}`" in str(error)
    actions = [
        lambda remote: remote.missing([SOME_OID]),
        lambda remote: remote.missing([f"{i:032x}" for i in range(200)]),
        lambda remote: remote.read_manifest(SOME_OID + ".dir"),
        lambda remote: remote.upload({"5d41402abc4b2a76b9719d911017c592": b"hello"}),
    ]
    for action in actions:
        with pytest.raises(BucketNotFoundError):
            action(S3Remote(nowhere, s3.environ))


def test_nobody_listens(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ATTEMPTS", 1)
    nobody = RemoteConfig("b", endpoint_url=f"http://127.0.0.1:{free_port()}")
    assert isinstance(refused(nobody, s3.environ), StoreUnreachableError)


@pytest.mark.parametrize("config", [RemoteConfig("b", endpoint_url="not an address"), RemoteConfig("two words")])
def test_an_address_that_is_none(s3: S3Server, config: RemoteConfig) -> None:
    assert isinstance(refused(config, s3.environ), StoreConfigError)
