"""Count calls by account and action, and tell when there are too many (facts 1.2): sliding windows, bounded memory."""

import hashlib
from collections import deque

import msgspec

KEPT = 10_000  # windows at once; one not used for its length is forgotten first


class Allowance(msgspec.Struct, frozen=True):
    """So many calls in so many seconds."""

    calls: int
    seconds: float


class Throttle:
    """What was called lately."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], deque[float]] = {}

    def allows(self, account_id: str, action: str, allowance: Allowance, now: float) -> bool:
        """Count one call at *now* (monotonic seconds) unless it is over the *allowance*."""
        calls = self._calls.pop((account_id, action), None) or deque[float]()
        self._calls[account_id, action] = calls  # the one used last is last
        while calls and calls[0] <= now - allowance.seconds:
            calls.popleft()
        if len(self._calls) > KEPT:
            del self._calls[next(iter(self._calls))]
        if len(calls) >= allowance.calls:
            return False
        calls.append(now)
        return True


class Nonces:
    """Nonces seen lately, by access key; each may be used once."""

    def __init__(self, kept_seconds: float) -> None:
        self._kept = kept_seconds
        self._seen: dict[bytes, float] = {}  # by digest, so that a long nonce takes no more room than a short one

    def is_new(self, access_key_id: str, nonce: str, now: float) -> bool:
        """Note a nonce at *now* (monotonic seconds); tell whether it was not used before."""
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] > now - self._kept:
                break
            del self._seen[oldest]
        digest = hashlib.blake2b(f"{access_key_id}\n{nonce}".encode(), digest_size=16).digest()
        if digest in self._seen:
            return False
        self._seen[digest] = now
        return True
