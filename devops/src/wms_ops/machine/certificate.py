"""MLflow's certificate on an instance: made at each launch, handed over by SSM, and the only one that clients accept.

No authority signs a certificate for a bare address that lives for hours. So a client that may read the password reads
the certificate beside it, and accepts no other: whoever stands in between gets no password.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from wms.json_text import to_json
from wms.records import StoredRecord
from wms_ops.base.errors import CloudError
from wms_ops.storage.client import PATIENT_ATTEMPTS, make_client
from wms_ops.storage.codes import NO_PARAMETER, unless
from wms_ops.storage.trouble import aws_errors

_LIFE: Final = timedelta(days=30)
"""No instance lives for more than two days."""

_CLOCKS: Final = timedelta(days=1)  # how far a client's clock may be behind
_LOCAL: Final = ("127.0.0.1", "localhost")


class ShownCertificate(StoredRecord):
    """The SSM parameter: the certificate of one launch as PEM."""

    launch_id: str
    pem: str


def make_certificate(addresses: Sequence[str]) -> tuple[str, str]:
    """A new private key and its certificate as PEM, for these addresses and this machine's loopback names."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MLflow of the water meter project")])
    now = datetime.now(UTC)
    public = key.public_key()
    own = x509.SubjectKeyIdentifier.from_public_key(public)
    builder = (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number(), now - _CLOCKS, now + _LIFE)
        .add_extension(x509.SubjectAlternativeName([_general(one) for one in (*addresses, *_LOCAL)]), critical=False)
        # It signs itself alone; strict readers ask for these of what they are told to trust.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(own, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.decode()


def show_certificate(parameter: str, launch_id: str, pem: str, region: str) -> None:
    """Put a launch's certificate where its users read the password, too. Raises the errors of `aws_errors`."""
    ssm = make_client("ssm", region, attempts=PATIENT_ATTEMPTS)
    with aws_errors("show MLflow's certificate"):
        ssm.put_parameter(
            Name=parameter, Value=to_json({"launch_id": launch_id, "pem": pem}), Type="String", Overwrite=True
        )


def read_certificate(parameter: str, launch_id: str, ssm: Any) -> str | None:
    """The certificate of a launch as PEM; None before the instance has made one. Raises the errors of `aws_errors`."""
    with aws_errors("read MLflow's certificate"):
        found = unless(NO_PARAMETER, ssm.get_parameter, Name=parameter)
    if found is None:
        return None
    try:
        shown = ShownCertificate.model_validate_json(found["Parameter"]["Value"])
    except ValidationError as error:
        raise CloudError(
            f"{parameter} holds no certificate; look at who writes there, then start the instance anew."
        ) from error
    return shown.pem if shown.launch_id == launch_id else None


def _general(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage() -> Any:
    from cryptography import x509

    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    more = dict.fromkeys((*unused, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=True, key_cert_sign=True, **more)
