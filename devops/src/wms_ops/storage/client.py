"""The factory of AWS clients, and a counter of the bytes that an S3 client transfers."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wms.loopback import is_loopback
from wms_ops.storage.config import ENDPOINT_VARIABLE, RemoteConfig
from wms_ops.storage.trouble import aws_errors

CONNECT_TIMEOUT_S = 5  # also for each block of a body that is sent first on a connection
READ_TIMEOUT_S = 30  # for the next bytes of an answer or the next block of a body, not for a whole transfer
ATTEMPTS = 4  # a user without a network learns so in seconds, not in a minute
PATIENT_ATTEMPTS = 8  # for work under way; botocore's pause grows with each throttled attempt, up to 20 s
CONNECTIONS = 20


@dataclass(frozen=True)
class Traffic:
    """The traffic so far: bytes of bodies and listings, without HTTP headers."""

    requests: int = 0
    bytes_up: int = 0
    bytes_down: int = 0

    def __sub__(self, earlier: Traffic) -> Traffic:
        return Traffic(
            self.requests - earlier.requests, self.bytes_up - earlier.bytes_up, self.bytes_down - earlier.bytes_down
        )


class TrafficCounter:
    """Counts a client's requests, each repetition too, and their bodies in both directions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traffic = Traffic()

    def watch(self, client: Any) -> None:
        """Count from now on the transfers of botocore's `client`."""
        client.meta.events.register("before-send.s3", self._sent)
        client.meta.events.register("after-call.s3", self._received)

    @property
    def traffic(self) -> Traffic:
        """The figures until now."""
        with self._lock:
            return self._traffic

    def _sent(self, request: Any, **_: Any) -> None:
        self._add(requests=1, up=int(request.headers.get("Content-Length") or 0))

    def _received(self, http_response: Any, model: Any, **_: Any) -> None:
        if model.name == "HeadObject":
            return  # its Content-Length is the object's; no body follows
        if model.has_streaming_output and http_response.status_code < 300:
            self._add(down=int(http_response.headers.get("Content-Length") or 0))
        else:
            self._add(down=len(http_response.content))

    def _add(self, requests: int = 0, up: int = 0, down: int = 0) -> None:
        with self._lock:
            now = self._traffic
            self._traffic = Traffic(now.requests + requests, now.bytes_up + up, now.bytes_down + down)


def make_client(
    service: str,
    region: str | None,
    *,
    endpoint: str | None = None,
    connections: int = CONNECTIONS,
    attempts: int | None = None,
    session: Any = None,
    remote: RemoteConfig | None = None,
    **more: Any,
) -> Any:
    """Return a thread-safe client for `connections` requests at a time; making the client opens no connection.

    Without an `endpoint` the SDK's own search counts, AWS_ENDPOINT_URL for example. Proxies of the environment are
    passed over on loopback. `remote` is the DVC remote that the client serves; `more` goes to botocore unchanged.
    Raises the errors of `aws_errors`, for a profile or a region that doesn't exist.
    """
    from botocore.config import Config

    own = (f"{ENDPOINT_VARIABLE}_{service.upper()}", ENDPOINT_VARIABLE)
    address = endpoint or next((os.environ[name] for name in own if os.environ.get(name)), None)
    settings: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": READ_TIMEOUT_S,
        "retries": {"mode": "standard", "total_max_attempts": attempts or ATTEMPTS},
        "max_pool_connections": connections,
        "user_agent_extra": "wms",
        # Other stores refuse the checksums that newer SDKs add; Content-MD5 is sent instead.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    if remote:
        settings |= _of_remote(remote)
        more["use_ssl"] = remote.use_ssl
    if address:
        settings["s3"] = {"addressing_style": "path"}  # other stores have no name per bucket in the DNS
        if is_loopback(address):
            settings["proxies"] = {}
    with aws_errors(remote.use if remote else f"make a client of {service}", remote):
        return (session or new_session()).create_client(
            service, region_name=region, endpoint_url=endpoint, config=Config(**settings), **more
        )


def _of_remote(remote: RemoteConfig) -> dict[str, Any]:
    """The settings of a client that a DVC remote's own options choose."""
    from botocore import UNSIGNED

    chosen = {"read_timeout": remote.read_timeout_s, "connect_timeout": remote.connect_timeout_s}
    unsigned = {"signature_version": UNSIGNED} if remote.anonymous else {}
    return {name: seconds for name, seconds in chosen.items() if seconds} | unsigned


def new_session(profile: str | None = None) -> Any:
    """Return a botocore session, whose clients share its search for credentials."""
    from botocore.session import Session

    return Session(profile=profile)


def remote_client(
    config: RemoteConfig, environ: Mapping[str, str], connections: int, *, attempts: int | None = None
) -> Any:
    """Return a client that finds credentials as DVC finds them. Raises the errors of `aws_errors`."""
    with aws_errors(config.use, config):
        return make_client(
            "s3",
            config.region,
            endpoint=config.endpoint_url,
            connections=connections,
            attempts=attempts,
            session=_remote_session(config, environ),
            remote=config,
            verify=config.ssl_verify,
            aws_access_key_id=config.access_key_id,
            aws_secret_access_key=config.secret_access_key,
            aws_session_token=config.session_token,
        )


def _remote_session(config: RemoteConfig, environ: Mapping[str, str]) -> Any:
    """Return a session that takes AWS_... variables from `environ` only; the machine's own role is still looked up."""
    from botocore.configprovider import ConfigChainFactory
    from botocore.credentials import EnvProvider

    variables = dict(environ)
    # As in DVC: the user's environment goes before the repository's settings.
    if config.credentials_file:
        variables.setdefault("AWS_SHARED_CREDENTIALS_FILE", config.credentials_file)
    if config.config_file:
        variables.setdefault("AWS_CONFIG_FILE", config.config_file)
    session = new_session(config.profile)
    chains = ConfigChainFactory(session=session, environ=variables)
    store = session.get_component("config_store")
    for name, (in_file, in_environment, default, convert) in session.session_var_map.items():
        store.set_config_provider(
            name,
            chains.create_config_chain(
                instance_name=name,
                env_var_names=in_environment,
                config_property_names=in_file,
                default=default,
                conversion_func=convert,
            ),
        )
    resolver = session.get_component("credential_provider")
    # botocore's own provider reads the process's environment; the replacement reads `environ`.
    if any(provider.METHOD == EnvProvider.METHOD for provider in resolver.providers):
        resolver.remove(EnvProvider.METHOD)
        resolver.insert_before("assume-role", EnvProvider(environ=variables))
    return session


def account_of(region: str, session: Any = None) -> str:
    """Return the account number of the credentials in use. Raises CredentialsMissingError and the like."""
    client = make_client("sts", region, session=session)
    with aws_errors("ask AWS whose credentials these are"):
        return str(client.get_caller_identity()["Account"])
