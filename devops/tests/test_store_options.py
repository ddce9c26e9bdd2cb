"""DVC's options of a remote, from any level of its configuration: each does what DVC does with it, or is refused."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from entrance_table import REFUSED, WORKS, Row
from s3_server import S3Server

from wms_ops.base.errors import StoreConfigError, StoreUnreachableError
from wms_ops.storage.config import RemoteConfig, read_remote
from wms_ops.storage.remote import S3Remote

PART = "pushes"
FS_ARGS = """
import json, sys
from dvc.config import Config
from dvc.fs import get_cloud_fs
kind, options, _ = get_cloud_fs(Config(sys.argv[1]), name="storage")
print(json.dumps(kind(**options).fs_args))
"""
WRITTEN = {
    "sse = AES256": {"ServerSideEncryption": "AES256"},
    "sse = aws:kms\n    sse_kms_key_id = key-1": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1"},
    "acl = bucket-owner-full-control": {"ACL": "bucket-owner-full-control"},
    "grant_read = id=1\n    grant_full_control = id=2": {"GrantRead": "id=1", "GrantFullControl": "id=2"},
    "grant_read_acp = id=3\n    grant_write_acp = id=4": {"GrantReadACP": "id=3", "GrantWriteACP": "id=4"},
}
LEVELS = ("system", "global", "config", "config.local")


def levels(folder: Path, remote: RemoteConfig, texts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone with these options of its remote at DVC's four levels, where DVC itself looks for them."""
    home = folder / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(home / "system"))
    for name in ("DVC_SYSTEM_CONFIG_DIR", "DVC_GLOBAL_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    places = {"system": home / "system/dvc/config", "global": home / "config/dvc/config"}
    head = f"[core]\n    remote = storage\n    no_scm = true\n['remote \"storage\"']\n    url = {remote.url}\n"
    for level in LEVELS:
        path = places.get(level, folder / ".dvc" / level)
        path.parent.mkdir(parents=True, exist_ok=True)
        start = head if level == "config" else "['remote \"storage\"']\n"
        if level in texts or level == "config":
            path.write_text(f"{start}    {texts.get(level, '')}\n", encoding="utf-8")


def of_dvc(folder: Path) -> dict[str, Any]:
    """What DVC itself hands to its S3 client."""
    done = subprocess.run(
        [sys.executable, "-c", FS_ARGS, str(folder / ".dvc")], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("options", WRITTEN)
@pytest.mark.parametrize("level", ["system", "config"])
def test_options_of_writing_are_sent_with_each_object(
    *,
    s3: S3Server,
    remote_config: RemoteConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    level: str,
    options: str,
    entrance: Row,
) -> None:
    levels(tmp_path, remote_config, {level: options}, monkeypatch)
    config = read_remote(tmp_path, environ={"AWS_ENDPOINT_URL_S3": s3.endpoint})
    assert dict(config.writing) == WRITTEN[options] == of_dvc(tmp_path)["s3_additional_kwargs"]
    remote, sent = S3Remote(config, s3.environ), []
    events = remote._bucket.client.meta.events
    events.register("before-send.s3.PutObject", lambda request, **_: sent.append(dict(request.headers)))
    with contextlib.suppress(StoreUnreachableError):  # this server has no key of its own to encrypt with
        remote.write_note("note", b"content")
    names = {name.lower(): value for name, value in sent[0].items()}
    header = {
        "ServerSideEncryption": "x-amz-server-side-encryption",
        "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
        "ACL": "x-amz-acl",
        "GrantRead": "x-amz-grant-read",
        "GrantFullControl": "x-amz-grant-full-control",
        "GrantReadACP": "x-amz-grant-read-acp",
        "GrantWriteACP": "x-amz-grant-write-acp",
    }
    for option, value in WRITTEN[options].items():
        told = names[header[option]]
        assert (told.decode() if isinstance(told, bytes) else told) == value
    entrance(
        PART,
        f"DVC's {options.split(' ', maxsplit=1)[0]} at the level {level}",
        "is sent with each object, as by DVC",
        WORKS,
    )


@pytest.mark.parametrize(
    ("option", "values", "field", "of_dvc_s"),
    [
        ("profile", "team", "profile", ("profile",)),
        ("region", "eu-west-1", "region", ("client_kwargs", "region_name")),
        ("endpointurl", "http://127.0.0.1:9", "endpoint_url", ("client_kwargs", "endpoint_url")),
        ("ssl_verify", "/certificates", "ssl_verify", ("client_kwargs", "verify")),
        ("use_ssl", "false", "use_ssl", ("use_ssl",)),
        ("allow_anonymous_login", "true", "anonymous", ("anon",)),
        ("read_timeout", "7", "read_timeout_s", ("config_kwargs", "read_timeout")),
        ("connect_timeout", "8", "connect_timeout_s", ("config_kwargs", "connect_timeout")),
    ],
)
def test_each_level_counts_as_for_dvc(
    *,
    remote_config: RemoteConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    values: str,
    field: str,
    of_dvc_s: tuple[str, ...],
    entrance: Row,
) -> None:
    """At the user's level; over the machine's, under the clone's own."""
    levels(tmp_path, remote_config, {"global": f"{option} = {values}"}, monkeypatch)
    config = read_remote(tmp_path, environ={})
    theirs: Any = of_dvc(tmp_path)
    for key in of_dvc_s:
        theirs = theirs[key]
    assert getattr(config, field) == theirs
    entrance(PART, f"{option} in DVC's global configuration", f"{theirs!r}, as for `dvc pull`", WORKS)


def test_the_order_of_the_levels(
    remote_config: RemoteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entrance: Row
) -> None:
    for count in range(1, len(LEVELS) + 1):
        texts = {level: f"region = {level}" for level in LEVELS[:count]}
        levels(tmp_path / str(count), remote_config, texts, monkeypatch)
        config = read_remote(tmp_path / str(count), environ={})
        assert config.region == LEVELS[count - 1] == of_dvc(tmp_path / str(count))["client_kwargs"]["region_name"]
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config").write_text("['remote \"storage\"']\n    profile = mine\n", encoding="utf-8")
    assert read_remote(tmp_path / "4", environ=dict(os.environ)).profile == "mine" == of_dvc(tmp_path / "4")["profile"]
    entrance(PART, "one option at all four levels of DVC", "system < global < config < config.local, as DVC", WORKS)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("acl = private\n    grant_read = id=1", "has both acl and grant_read"),
        ("read_timeout = soon", "has the read_timeout 'soon'"),
        ("sse_customer_key = c2VjcmV0", "has the option sse_customer_key"),
        ("version_aware = true", "has the option version_aware"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    *,
    remote_config: RemoteConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    word: str,
    entrance: Row,
) -> None:
    levels(tmp_path, remote_config, {"global": options}, monkeypatch)
    with pytest.raises(StoreConfigError, match=word):
        read_remote(tmp_path, environ={})
    entrance(PART, f"DVC remote with {options.split(' ', maxsplit=1)[0]}", word, REFUSED)


def test_an_anonymous_remote_signs_nothing(s3: S3Server, remote_config: RemoteConfig) -> None:
    config = RemoteConfig(remote_config.bucket, "x", endpoint_url=s3.endpoint, anonymous=True)
    client = S3Remote(config, s3.environ)._bucket.client
    sent: list[dict[str, Any]] = []
    client.meta.events.register("before-send.s3", lambda request, **_: sent.append(dict(request.headers)))
    with pytest.raises(client.exceptions.ClientError):  # this server wants keys
        client.list_objects_v2(Bucket=remote_config.bucket)
    assert sent and not any("Authorization" in headers for headers in sent)
