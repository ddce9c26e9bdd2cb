"""The DVC remote's address and options: read from DVC's configuration, as DVC reads them, without starting DVC.

DVC's four levels count, each over those before: the machine's, the user's, .dvc/config and .dvc/config.local. The
result equals DVC's own for the same files and the same environment, so that a plain `dvc pull` finds uploaded
files. Only WMS_DVC_URL is this project's.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from wms.errors import ManifestError
from wms.project import FILE, project
from wms_ops.base.errors import StoreConfigError
from wms_ops.base.layout import DVC_CONFIG, main_branch
from wms_ops.base.settings import StoreSettings

URL_VARIABLE = "WMS_DVC_URL"
ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL"
MARK = "\ufeff"
"""The mark that editors of Windows write before a text."""

FILES = "files"
"""DVC's folder of blobs and manifests below a remote's prefix."""

NAME_A_BUCKET = "run `wms init --bucket s3://BUCKET/dvc`, commit what it writes and push that to the main branch first"
"""The end of a sentence about a clone whose files name no bucket."""

_OR_LOCALLY = "and no `wms cloud environ` leads to the cloud on this machine"
_OID = re.compile(r"[0-9a-f]{32}(\.dir)?")
_SECRETS = ("access_key_id", "secret_access_key", "session_token")
# Remotes whose objects have other names, or that can't be read without a key of the user's own.
_OTHER_LAYOUTS = ("version_aware", "worktree", "sse_customer_key")
_GRANTS = {
    "grant_full_control": "GrantFullControl",
    "grant_read": "GrantRead",
    "grant_read_acp": "GrantReadACP",
    "grant_write_acp": "GrantWriteACP",
}
# DVC's options for writing, and S3's names for the same.
_WRITING = {"sse": "ServerSideEncryption", "sse_kms_key_id": "SSEKMSKeyId", "acl": "ACL", **_GRANTS}


@dataclass(frozen=True)
class RemoteConfig:
    """An S3 remote of DVC; a value of None is left to the AWS SDK's own search.

    `prefix` has no slash at either end and may be empty. The keys of `.dvc/config.local` never show up in the object's
    text.
    """

    bucket: str
    prefix: str = ""
    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    name: str = "storage"
    credentials_file: str | None = None  # DVC's credentialpath
    config_file: str | None = None  # DVC's configpath
    ssl_verify: bool | str | None = None  # a text names a file of certificates
    writing: tuple[tuple[str, str], ...] = ()  # S3's options of each write: encryption, access
    anonymous: bool = False
    use_ssl: bool = True
    read_timeout_s: float | None = None
    connect_timeout_s: float | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The remote's address for messages: s3://bucket/prefix."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def use(self) -> str:
        """The end of the sentence "Can't ...", for messages."""
        return f"use {self.url}"

    def key(self, oid: str) -> str:
        """Return the object key of a blob ("<32 hex>") or manifest ("<32 hex>.dir"). Other names raise ManifestError.

        >>> RemoteConfig("photos", "dvc").key("d41d8cd98f00b204e9800998ecf8427e")
        'dvc/files/md5/d4/1d8cd98f00b204e9800998ecf8427e'
        """
        if not _OID.fullmatch(oid):
            raise ManifestError(
                f"{oid!r} isn't the MD5 of a file: a .dvc file or a manifest is damaged; restore it from Git."
            )
        return self.inside(f"{FILES}/md5/{oid[:2]}/{oid[2:]}")

    def inside(self, name: str) -> str:
        """Return `name` below the remote's prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name


def read_remote(repo: Path, *, environ: Mapping[str, str] | None = None) -> RemoteConfig:
    """Return the default remote of the working tree `repo`, from all four levels of DVC's configuration.

    Raises StoreConfigError, as `parse_remote` does.
    """
    texts = [_read(repo / ".dvc" / name) for name in ("config", "config.local")]
    return parse_remote(*texts, environ=environ, machine=machine_texts(environ))


def machine_texts(environ: Mapping[str, str] | None = None) -> tuple[tuple[str, str], ...]:
    """Return path and text of DVC's configuration for this machine, then of that for this user, where DVC looks.

    Raises StoreConfigError for a file that can't be read.
    """
    told = StoreSettings.read(environ)
    folders = (
        told.dvc_system_config_dir or platformdirs.site_config_dir("dvc", "iterative"),
        told.dvc_global_config_dir or platformdirs.user_config_dir("dvc", "iterative"),
    )
    return tuple((str(path), _read(path)) for path in (Path(folder) / "config" for folder in folders))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise StoreConfigError(f"Can't read {path}: {error}; restore the file.") from error


def parse_remote(
    text: str,
    local_text: str = "",
    *,
    environ: Mapping[str, str] | None = None,
    bucket: str | None = None,
    machine: Sequence[tuple[str, str]] = (),
) -> RemoteConfig:
    """Return the default remote that the texts of `.dvc/config` and `.dvc/config.local` name.

    `machine` are path and text of DVC's configuration outside of the repository, which counts less.
    WMS_DVC_URL in `environ` (None: the process's environment) replaces its bucket and prefix. A remote without an
    endpoint of its own takes AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL; a configured endpoint stays, because DVC keeps
    its own, too. `bucket` is the address in wms.toml (None: as that file has it). Raises StoreConfigError without a
    default remote, for a remote that isn't on S3, for another bucket than that of wms.toml, and for keys in the shared
    file.
    """
    shared, local = sections(text, ".dvc/config"), sections(local_text, ".dvc/config.local")
    outside: dict[str, dict[str, str]] = {}
    for path, outer in machine:
        for section, values in sections(outer, path).items():
            outside[section] = outside.get(section, {}) | values
    name = (outside.get("core", {}) | shared.get("core", {}) | local.get("core", {})).get("remote")
    told = StoreSettings.read(environ)
    override = told.wms_dvc_url
    if not name and not override:
        raise StoreConfigError(
            f"The repository names no default DVC remote in .dvc/config, {_OR_LOCALLY}; {NAME_A_BUCKET}."
        )
    name = name or "storage"
    section = f'remote "{name}"'
    _refuse_shared_secrets(shared.get(section, {}), name)
    options = outside.get(section, {}) | shared.get(section, {}) | local.get(section, {})
    _refuse_other_layouts(options, name)
    place, prefix = _bucket_and_prefix(override or options.get("url", ""), URL_VARIABLE if override else name)
    own = local.get("core", {}).get("remote") or local.get(section, {}).get("url")
    if not override and not own and shared.get(section, {}).get("url"):
        _refuse_another_bucket(options["url"], project().bucket if bucket is None else bucket)
    return RemoteConfig(
        bucket=place,
        prefix=prefix,
        endpoint_url=options.get("endpointurl") or told.endpoint,
        region=options.get("region") or None,
        profile=options.get("profile") or None,
        name=name,
        credentials_file=options.get("credentialpath") or None,
        config_file=options.get("configpath") or None,
        ssl_verify=_truth_or_path(options.get("ssl_verify")),
        writing=_writing(options, name),
        anonymous=_truth_or_path(options.get("allow_anonymous_login")) is True,
        use_ssl=_truth_or_path(options.get("use_ssl")) is not False,
        read_timeout_s=_seconds(options, "read_timeout", name),
        connect_timeout_s=_seconds(options, "connect_timeout", name),
        **{secret: options.get(secret) or None for secret in _SECRETS},
    )


def sections(text: str, origin: str) -> dict[str, dict[str, str]]:
    """Return the sections of an INI file of DVC; section names and values may be quoted. Raises StoreConfigError."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, inline_comment_prefixes=("#",))
    try:
        parser.read_string(text.removeprefix(MARK), source=origin)
    except configparser.Error as error:
        # Only the line number: the parser's own text would repeat the line, which may hold a key.
        line = getattr(error, "lineno", None) or (getattr(error, "errors", None) or [(None,)])[0][0]
        raise StoreConfigError(
            f"{origin}{f', line {line}' if line else ''} isn't a DVC configuration; restore the file from Git."
        ) from None
    return {
        unquoted(section): {key: unquoted(value) for key, value in parser.items(section)}
        for section in parser.sections()
    }


def unquoted(text: str) -> str:
    """Return a name or value of DVC's configuration without its quotes and surrounding white space."""
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text


def _refuse_shared_secrets(options: Mapping[str, str], name: str) -> None:
    for secret in _SECRETS:
        if options.get(secret):
            raise StoreConfigError(
                f".dvc/config holds the {secret} of remote {name!r}, and Git hands that file to everybody: run "
                f"`dvc remote modify --unset {name} {secret}`, make a new key, and put it where `aws configure` does."
            )


def _refuse_other_layouts(options: Mapping[str, str], name: str) -> None:
    for option in _OTHER_LAYOUTS:
        if options.get(option, "false").lower() not in ("", "false", "no", "off", "0"):
            raise StoreConfigError(
                f"Remote {name!r} has the option {option}, whose layout isn't supported here; "
                f"run `dvc remote modify --unset {name} {option}`."
            )


def _writing(options: Mapping[str, str], name: str) -> tuple[tuple[str, str], ...]:
    """The options of each write; raises StoreConfigError for access that is given in two ways, as DVC does."""
    granted = next((grant for grant in _GRANTS if options.get(grant)), None)
    if options.get("acl") and granted:
        raise StoreConfigError(
            f"Remote {name!r} has both acl and {granted}, of which S3 takes only one; run `dvc remote modify --unset "
            f"{name} {granted}`, or the same with acl."
        )
    return tuple((theirs, options[option]) for option, theirs in _WRITING.items() if options.get(option))


def _seconds(options: Mapping[str, str], option: str, name: str) -> float | None:
    value = options.get(option)
    try:
        seconds = float(value) if value else None
    except ValueError:
        seconds = 0.0
    if seconds is not None and not 0 < seconds < float("inf"):
        raise StoreConfigError(
            f"Remote {name!r} has the {option} {value!r}, but a number of seconds is needed; run "
            f"`dvc remote modify {name} {option} 60`."
        )
    return seconds


def _refuse_another_bucket(url: str, named: str) -> None:
    """Raise StoreConfigError if wms.toml names a bucket or prefix, but .dvc/config, which Git tracks, names another."""
    if named and _bucket_and_prefix(named, FILE) != _bucket_and_prefix(url, DVC_CONFIG):
        raise StoreConfigError(
            f"{FILE} names {named} for the data set, but {DVC_CONFIG} names {url}, so neither is used: run "
            f"`wms init --bucket` with the right one of the two, commit both files and push them to {main_branch()}."
        )


def _bucket_and_prefix(url: str, origin: str) -> tuple[str, str]:
    scheme, separator, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if not separator or scheme != "s3" or not bucket:
        what = f"is {url!r}" if url else "has no url"
        remedy = f"set {URL_VARIABLE} to s3://BUCKET/PREFIX, or unset it" if origin == URL_VARIABLE else NAME_A_BUCKET
        raise StoreConfigError(f"The DVC remote {origin!r} {what}, but an S3 bucket is needed; {remedy}.")
    return bucket, "/".join(part for part in prefix.split("/") if part)


def _truth_or_path(value: str | None) -> bool | str | None:
    if not value:
        return None
    return {"true": True, "false": False}.get(value.lower(), value)
