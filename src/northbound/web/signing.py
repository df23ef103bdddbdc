"""Make a certificate for the hub's own signatures."""

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from northbound.model.certificate import Certificate

VALID_DAYS = 3650
_BEFORE = timedelta(days=1)  # receivers' clocks may be behind ours


def new_certificate(now: datetime, signs_from: datetime, valid_days: int = VALID_DAYS) -> Certificate:
    """Return a new RSA key with its self-signed certificate, valid for *valid_days* from when it signs; it is slow."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "northbound callback signing")])
    expires_at = (signs_from + timedelta(days=valid_days)).replace(microsecond=0)  # a certificate knows whole seconds
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(expires_at)
        .sign(key, hashes.SHA256())
    )
    fingerprint = made.fingerprint(hashes.SHA256()).hex()
    return Certificate(
        id=fingerprint[:16],
        pem=made.public_bytes(serialization.Encoding.PEM).decode(),
        secret=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        fingerprint=fingerprint,
        created_at=now,
        signs_from=signs_from,
        expires_at=expires_at,
    )
