"""The hub's own signing key and certificate (ruling 6)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from northbound.hub.system import Folder
from northbound.model.wire import Key, KeyKind

CERTIFICATE_PATH = "/certs/callback.pem"
VALID = timedelta(days=3650)


def ensure_signing_key(folder: Folder) -> None:
    """Make the hub's RSA key and certificate once, the key readable by its owner alone."""
    if folder.signing_key.exists() and folder.signing_certificate.exists():
        return
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "northbound callback signing")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + VALID)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(folder.signing_key, private)
    folder.signing_certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def write_private(path: Path, content: bytes) -> None:
    """Write a secret file with mode 0600 from its first byte on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def signing_key(folder: Folder, certificate_url: str) -> Key:
    """Return the hub's signing key, with the URL where its certificate is served."""
    return Key(id="hub", kind=KeyKind.RSA, secret=folder.signing_key.read_bytes(), url=certificate_url)
