"""The hub's own certificates: each signs from its moment until the next one's, and stays served under its own URL."""

from datetime import datetime

import msgspec


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """An RSA key with its certificate: `pem` is public, `secret` the private key's PEM, which never leaves the hub."""

    id: str
    pem: str
    secret: bytes
    fingerprint: str  # SHA-256 of the certificate's DER, in hex
    created_at: datetime
    signs_from: datetime
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Certificate(id={self.id!r})"

    @property
    def path(self) -> str:
        """Where it is served, below the hub's own URL."""
        return f"/certs/{self.id}.pem"
