"""Read the private certificate authorities of an endpoint: what a person must see to know them again (D7)."""

from datetime import datetime
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from northbound.model.errors import InvalidInput

CERTIFICATES_MOST: Final = 10
FIELD: Final = "ca_pem"


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate: its subject (RFC 4514), the SHA-256 of it in hex, and its last day."""

    subject: str
    sha256: str
    expires_at: datetime


def read_authorities(pem: str) -> list[Authority]:
    """Return the certificates in *pem*, none for an empty one; raise `InvalidInput` for what is not only those."""
    if not pem:
        return []
    if "PRIVATE KEY" in pem:
        raise InvalidInput("it holds a private key; give the certificates alone, and keep the key", field=FIELD)
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
        authorities = [_authority(one) for one in found]
    except ValueError:
        raise InvalidInput(
            "it is not PEM certificates: -----BEGIN CERTIFICATE----- ... -----END CERTIFICATE-----", field=FIELD
        ) from None
    if len(authorities) > CERTIFICATES_MOST:
        raise InvalidInput(f"at most {CERTIFICATES_MOST} certificates; give the authority's own alone", field=FIELD)
    return authorities


def _authority(one: x509.Certificate) -> Authority:
    return Authority(
        subject=one.subject.rfc4514_string(),
        sha256=one.fingerprint(hashes.SHA256()).hex(),
        expires_at=one.not_valid_after_utc,
    )
