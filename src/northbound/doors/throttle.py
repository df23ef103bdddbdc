"""Count calls by account and action, and tell when there are too many (facts 1.2): sliding windows, bounded memory."""

import hashlib
from collections import deque
from datetime import datetime

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


# --- nonces ----------------------------------------------------------------------------------------------------------

NONCES_MOST = 2_000_000  # kept at once: some 160 MB on disk
SHARE = 600_000  # of one account: 10,000 events a second (the documented most) by 16 a call, for a quarter of an hour
ALWAYS = 10_000  # of every account, whatever the others do: eleven calls a second


class Nonce(msgspec.Struct, frozen=True):
    """A call's nonce as it is kept: 8 bytes for the account, then 16 for the access key and the nonce itself."""

    owner: bytes
    digest: bytes
    until: int  # minutes since 1970: at its end the call's time lets it in no more


def nonce_of(account_id: str, access_key_id: str, nonce: str, valid_until: datetime) -> Nonce:
    """Return the nonce of a call whose time lets it in until *valid_until*."""
    return Nonce(
        owner=hashlib.blake2b(account_id.encode(), digest_size=8).digest(),
        digest=hashlib.blake2b(f"{access_key_id}\n{nonce}".encode(), digest_size=16).digest(),
        until=minute_of(valid_until),
    )


def minute_of(moment: datetime) -> int:
    """Return the minute, since 1970, that *moment* is in."""
    return int(moment.timestamp()) // 60


def has_room(own: int, every: int) -> bool:
    """Tell whether one more nonce may be kept of an account that has *own* of *every*.

    A nonce that is still good is never dropped for a new one: its call could come again.
    """
    return own < ALWAYS or (own < SHARE and every < NONCES_MOST)
