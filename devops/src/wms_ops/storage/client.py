"""An S3 client of botocore's that finds credentials as DVC finds them, and counts what it transfers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wms_ops.storage.config import RemoteConfig

CONNECT_TIMEOUT_S = 5  # also for each block of a body that is sent first on a connection
READ_TIMEOUT_S = 30  # for the next bytes of an answer or the next block of a body, not for a whole transfer
ATTEMPTS = 4


@dataclass(frozen=True)
class Traffic:
    """What went over the wire so far: bytes of bodies and listings, without HTTP headers."""

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
        """Count from now on what botocore's `client` transfers."""
        client.meta.events.register("before-send.s3", self._sent)
        client.meta.events.register("after-call.s3", self._received)

    @property
    def traffic(self) -> Traffic:
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
    config: RemoteConfig,
    environ: Mapping[str, str],
    connections: int,
    *,
    attempts: int = ATTEMPTS,
    proxies: Mapping[str, str] | None = None,
) -> Any:
    """A thread-safe client for `connections` requests at a time; opens no connection by itself.

    `proxies` replaces those that the process's environment names. Raises botocore's errors, to be mapped by
    `store_errors`.
    """
    from botocore.config import Config

    settings: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": READ_TIMEOUT_S,
        "retries": {"mode": "standard", "total_max_attempts": attempts},
        "proxies": proxies,
        "max_pool_connections": connections,
        # Other stores refuse the checksums that newer SDKs add; Content-MD5 is sent instead.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    if config.endpoint_url:
        settings["s3"] = {"addressing_style": "path"}  # other stores have no name per bucket in the DNS
    return _session(config, environ).create_client(
        "s3",
        region_name=config.region,
        endpoint_url=config.endpoint_url,
        verify=config.ssl_verify,
        aws_access_key_id=config.access_key_id,
        aws_secret_access_key=config.secret_access_key,
        aws_session_token=config.session_token,
        config=Config(**settings),
    )


def _session(config: RemoteConfig, environ: Mapping[str, str]) -> Any:
    """A session that takes AWS_... variables from `environ` only; the machine's own role is looked up as always."""
    from botocore.configprovider import ConfigChainFactory
    from botocore.credentials import EnvProvider
    from botocore.session import Session

    variables = dict(environ)
    # As in DVC: what the user's environment says goes before what the repository says.
    if config.credentials_file:
        variables.setdefault("AWS_SHARED_CREDENTIALS_FILE", config.credentials_file)
    if config.config_file:
        variables.setdefault("AWS_CONFIG_FILE", config.config_file)
    session = Session(profile=config.profile)
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
    if any(provider.METHOD == EnvProvider.METHOD for provider in resolver.providers):
        resolver.remove(EnvProvider.METHOD)
        resolver.insert_before("assume-role", EnvProvider(environ=variables))
    return session
