"""The hub's secrets on disk, and its first certificate (ruling 6)."""

from datetime import UTC, datetime
from pathlib import Path

from northbound.backends.sqlite.control import SqliteControl
from northbound.model.certificate import Certificate
from northbound.web.signing import new_certificate

CERTIFICATES_PATH = "/certs"  # every certificate of the hub is served below it


def ensure_certificate(control: SqliteControl) -> None:
    """Make the hub's first certificate, once."""
    if not control.find(Certificate, limit=1):
        now = datetime.now(UTC)
        control.put(new_certificate(now, now), who="northbound", now=now)


def write_private(path: Path, content: bytes) -> None:
    """Write a secret file with mode 0600 from its first byte on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)
