"""Tell who calls by the Bearer key, and slow down whoever tries keys."""

import hashlib
from typing import Final

from northbound.model.app import ApiKey
from northbound.model.errors import TooManyTries, Unauthorized
from northbound.ports import Clock, KeyStore

KNOWN_SECONDS: Final = 60.0  # a key's use is noted this often, not at each call: each note is a write
KNOWN_KEPT: Final = 1_000
TRIES_A_MINUTE: Final = 20  # unknown keys from one address
ADDRESSES_KEPT: Final = 10_000
HOW: Final = "send the header Authorization: Bearer nb_..., with a key of this hub"


class Access:
    """The keys seen lately, and the addresses that sent unknown ones."""

    def __init__(self, keys: KeyStore, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._known: dict[bytes, tuple[ApiKey, float]] = {}
        self._tries: dict[str, tuple[int, int]] = {}  # address -> (minute, unknown keys in it)

    def key_of(self, authorization: str | None, address: str) -> ApiKey:
        """Return the caller's key; raise `Unauthorized`, or `TooManyTries` before an unknown key is looked up.

        Keys seen lately are never slowed down: whoever shares an address with a guesser stays served.
        """
        scheme, _, secret = (authorization or "").partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise Unauthorized(f"a key is needed; {HOW}")
        now = self._clock.monotonic()
        hashed = hashlib.sha256(secret.encode("utf-8", "replace")).digest()
        known = self._known.get(hashed)
        if known is not None and known[1] > now:
            return known[0]
        if known is None and self._tried(address, now) >= TRIES_A_MINUTE:
            raise TooManyTries("too many unknown keys came from this address; wait a minute")
        key = self._keys.key_of(secret, self._clock.now()) if secret.isascii() else None
        if key is None:
            self._known.pop(hashed, None)
            self._note(address, now)
            raise Unauthorized(f"the key is not known; {HOW}")
        if len(self._known) >= KNOWN_KEPT:
            self._known.pop(next(iter(self._known)))
        self._known[hashed] = (key, now + KNOWN_SECONDS)
        return key

    def forget(self) -> None:
        """Look every key up again: one was removed."""
        self._known.clear()

    def _tried(self, address: str, now: float) -> int:
        minute, tries = self._tries.get(address, (0, 0))
        return tries if minute == int(now // 60) else 0

    def _note(self, address: str, now: float) -> None:
        if len(self._tries) >= ADDRESSES_KEPT:
            self._tries.pop(next(iter(self._tries)))
        self._tries[address] = (int(now // 60), self._tried(address, now) + 1)
