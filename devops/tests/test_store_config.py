"""The DVC remote is read from .dvc/config as DVC reads it; its mistakes are told in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wms.errors import ManifestError
from wms.project import Project
from wms_ops.base.errors import StoreConfigError
from wms_ops.setup.files import changes, write
from wms_ops.storage.config import RemoteConfig, parse_remote, read_remote

CONFIG = """[core]
    remote = storage
['remote "storage"']
    url = s3://meters/dvc/main
    region = eu-central-1
    profile = team
['remote "other"']
    url = s3://other
"""
LOCAL = """['remote "storage"']
    access_key_id = AKIA-OF-MINE
    secret_access_key = "very secret"
    session_token = token#1
"""


def with_options(*lines: str) -> str:
    return "".join(["[core]\n    remote = r\n['remote \"r\"']\n", *(f"    {line}\n" for line in lines)])


def test_a_remote_as_dvc_writes_it() -> None:
    config = parse_remote(CONFIG, environ={})
    assert (config.bucket, config.prefix, config.name) == ("meters", "dvc/main", "storage")
    assert (config.region, config.profile, config.endpoint_url) == ("eu-central-1", "team", None)
    assert config.url == "s3://meters/dvc/main"


def test_the_mark_of_windows_editors_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / ".dvc" / "config"
    path.parent.mkdir()
    path.write_text(CONFIG, encoding="utf-8-sig")
    assert read_remote(tmp_path, environ={}).url == "s3://meters/dvc/main"
    assert "very secret" in (read_remote_with_local(tmp_path).secret_access_key or "")
    (change,) = [one for one in changes(tmp_path, Project(bucket="s3://new/dvc")) if one.path == ".dvc/config"]
    write(tmp_path, (change,))
    assert path.read_bytes() == b"\xef\xbb\xbf" + CONFIG.replace("s3://meters/dvc/main", "s3://new/dvc").encode()
    path.write_text("[core]\n    autostage = true\n", encoding="utf-8-sig")
    write(tmp_path, changes(tmp_path, Project(bucket="s3://new/dvc")))
    assert path.read_text(encoding="utf-8").startswith("\ufeff[core]\n    remote = storage\n    autostage")


def read_remote_with_local(folder: Path) -> RemoteConfig:
    (folder / ".dvc" / "config.local").write_text(LOCAL, encoding="utf-8-sig")
    return read_remote(folder, environ={})


def test_the_local_file_adds_keys_and_wins(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(CONFIG)
    (tmp_path / ".dvc" / "config.local").write_text(LOCAL + "    region = us-west-2\n    ssl_verify = false\n")
    config = read_remote(tmp_path, environ={})
    assert (config.access_key_id, config.secret_access_key) == ("AKIA-OF-MINE", "very secret")
    assert (config.session_token, config.region, config.ssl_verify) == ("token#1", "us-west-2", False)
    assert config.prefix == "dvc/main"


def test_the_local_file_may_choose_another_remote() -> None:
    config = parse_remote(CONFIG, "[core]\n    remote = other\n", environ={})
    assert (config.bucket, config.prefix, config.name) == ("other", "", "other")


def test_keys_never_show_up_in_text() -> None:
    config = parse_remote(CONFIG, LOCAL, environ={})
    for text in (repr(config), str(config), f"{config}"):
        assert "meters" in text
        assert not any(secret in text for secret in ("AKIA-OF-MINE", "very secret", "token#1"))


@pytest.mark.parametrize("secret", ["access_key_id", "secret_access_key", "session_token"])
def test_keys_in_the_shared_file_are_refused_without_repeating_them(secret: str) -> None:
    with pytest.raises(StoreConfigError, match=rf"dvc remote modify --unset r {secret}") as caught:
        parse_remote(with_options("url = s3://meters", f"{secret} = HUSH"), environ={})
    assert "HUSH" not in str(caught.value)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_the_environment_gives_an_endpoint_where_none_is_set(name: str) -> None:
    environ = {name: "http://127.0.0.1:1"}
    assert parse_remote(CONFIG, environ=environ).endpoint_url == "http://127.0.0.1:1"
    fixed = with_options("url = s3://meters", "endpointurl = http://127.0.0.1:2")
    assert parse_remote(fixed, environ=environ).endpoint_url == "http://127.0.0.1:2"


def test_the_endpoint_for_s3_goes_before_the_general_one() -> None:
    environ = {"AWS_ENDPOINT_URL_S3": "http://s3", "AWS_ENDPOINT_URL": "http://all"}
    assert parse_remote(CONFIG, environ=environ).endpoint_url == "http://s3"


def test_the_url_can_be_overridden() -> None:
    environ = {"WMS_DVC_URL": "s3://mine//of/test/"}
    assert parse_remote("", environ=environ).url == "s3://mine/of/test"
    overridden = parse_remote(CONFIG, environ=environ)
    assert (overridden.url, overridden.profile) == ("s3://mine/of/test", "team")
    with pytest.raises(StoreConfigError, match=r"WMS_DVC_URL.*'/data'"):
        parse_remote(CONFIG, environ={"WMS_DVC_URL": "/data"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "names no default DVC remote"),
        ("[core]\n    analytics = false\n", "names no default DVC remote"),
        ("[core]\n    remote = storage\n", "'storage' has no url"),
        (with_options("url = /mnt/data"), "'/mnt/data'"),
        (with_options("url = gs://bucket/x"), "'gs://bucket/x'"),
        (with_options("url = s3:///prefix"), "'s3:///prefix'"),
    ],
)
def test_a_remote_that_is_no_bucket_says_which_command_sets_one(text: str, expected: str) -> None:
    with pytest.raises(StoreConfigError, match=expected) as caught:
        parse_remote(text, environ={})
    assert "run `wms init --bucket s3://BUCKET/dvc`" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["version_aware = true", "worktree = true", "sse_customer_key = c2VjcmV0"])
def test_remotes_with_another_layout_are_refused(option: str) -> None:
    with pytest.raises(StoreConfigError, match=f"dvc remote modify --unset r {option.partition(' ')[0]}"):
        parse_remote(with_options("url = s3://meters", option), environ={})
    parse_remote(with_options("url = s3://meters", "version_aware = false"), environ={})


@pytest.mark.parametrize("text", ["url = s3://x\n", "[core\nremote", "[core]\n=HUSH\n", "[core]\nHUSH\n"])
def test_a_torn_file_is_named_without_its_content(text: str) -> None:
    with pytest.raises(StoreConfigError, match=r"\.dvc/config\.local, line \d") as caught:
        parse_remote(CONFIG, text, environ={})
    assert "HUSH" not in str(caught.value)


def test_an_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / ".dvc" / "config").mkdir(parents=True)
    with pytest.raises(StoreConfigError, match=r"Can't read .*config"):
        read_remote(tmp_path, environ={})


def test_keys_of_objects_are_those_of_dvc() -> None:
    oid = "0123456789abcdef0123456789abcdef"
    assert RemoteConfig("b", "p/q").key(oid) == "p/q/files/md5/01/23456789abcdef0123456789abcdef"
    assert RemoteConfig("b").key(oid + ".dir") == "files/md5/01/23456789abcdef0123456789abcdef.dir"
    for wrong in ("", "../etc", oid.upper(), oid[:-1], oid + ".dirx", oid + "\n"):
        with pytest.raises(ManifestError, match="isn't the MD5"):
            RemoteConfig("b").key(wrong)


def test_dvc_agrees_on_a_file_with_quotes_and_comments(tmp_path: Path) -> None:
    """What DVC's own parser makes of the same text."""
    text = (
        "# shared by all\n[core]\n    remote = my store # the only one\n\n"
        "['remote \"my store\"']\n    url = \"s3://meters/with space\"\n    region = 'eu-west-1'  # Ireland\n"
        "    endpointurl = http://127.0.0.1:9/\n    profile = 50%\n"
    )
    (tmp_path / "config").write_text(text)
    show = "import sys, json; from dvc.config import Config; print(json.dumps(Config.load_file(sys.argv[1])))"
    result = subprocess.run(
        [sys.executable, "-c", show, str(tmp_path / "config")], capture_output=True, text=True, check=True
    )
    config = parse_remote(text, environ={})
    for value in (config.name, config.url, config.region, config.endpoint_url, config.profile):
        assert f'"{value}"' in result.stdout
