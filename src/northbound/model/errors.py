"""Every error northbound raises on purpose, one tree.

HubError
├── SignatureError      the caller did not prove who it is            code "signature"
├── DecodeError         the bytes are not this dialect's wire         code "malformed"
├── InvalidInput        a value a person or client gave is refused    code "invalid"
│   ├── PatternError    an event pattern is refused                   code "pattern"
│   ├── TooLarge        the body is above the limit                   code "too_large"
│   └── Unconditional   a change does not say what it was made from   code "if_match_required"
├── NotFound            no such thing, or not yours                   code "not_found"
├── Conflict            it changed meanwhile, or exists already       code "conflict"
│   └── Stale           it is not what If-Match says any more         code "stale"
├── Unauthorized        no key, or a key we do not know               code "unauthorized"
├── Forbidden           the key may not do this                       code "forbidden"
│   └── GrantMissing    the account lacks a grant that it needs first code "grant_missing"
├── TooManyTries        too many unknown keys from one address        code "too_many_tries"
├── Overloaded          bounded work is full, try again               code "overloaded"
├── StoreFailed         the database did not take it; nothing acked   code "store_failed"
│   └── StoreDamaged    its file does not hold together any more      code "store_failed"
├── PollFailed          a vendor's own list could not be had whole    code "poll_failed"
├── BlockedAddress      the target is not one we may connect to       code "blocked_address"
├── HealthTestFailed    a receiver did not answer its test as it must code "health_test_failed"
└── ConfigError         the settings cannot work                      code "config"

HTTP statuses are chosen in `web` and by dialects (for the vendor's own reply style), nowhere else.
"""

from typing import ClassVar


class HubError(Exception):
    """Base of all errors; `message` says what, where, and what to do, and never holds a secret."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class SignatureError(HubError):
    """The request's signature is missing, wrong, stale or of another key."""

    code = "signature"


class DecodeError(HubError):
    """The bytes cannot be read as the dialect's wire format."""

    code = "malformed"


class InvalidInput(HubError):
    """A given value is refused; `field` names it."""

    code = "invalid"


class PatternError(InvalidInput):
    """An event pattern is not valid; the message carries the reason."""

    code = "pattern"


class TooLarge(InvalidInput):
    """The body is larger than is read."""

    code = "too_large"


class Unconditional(InvalidInput):
    """A change must say by If-Match which revision it was made from."""

    code = "if_match_required"


class NotFound(HubError):
    """There is no such object, or it belongs to somebody else."""

    code = "not_found"


class Conflict(HubError):
    """The object changed since it was read, or already exists."""

    code = "conflict"


class Stale(Conflict):
    """The object's revision is not the one that If-Match names."""

    code = "stale"


class Unauthorized(HubError):
    """No key was given, or one that is not known."""

    code = "unauthorized"


class Forbidden(HubError):
    """The key is known and may not do this."""

    code = "forbidden"


class GrantMissing(Forbidden):
    """The account has not been granted what this needs; once it is, the same call works."""

    code = "grant_missing"


class TooManyTries(HubError):
    """Too many unknown keys came from one address lately."""

    code = "too_many_tries"


class Overloaded(HubError):
    """Bounded pending work is full; `retry_after` is in whole seconds."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreFailed(HubError):
    """The database refused or failed the write; nothing may be acknowledged."""

    code = "store_failed"


class StoreDamaged(StoreFailed):
    """The database's file does not hold together any more."""


class PollFailed(HubError):
    """The vendor's own list of rooms could not be had, or not whole."""

    code = "poll_failed"


class BlockedAddress(HubError):
    """The address is private, reserved or otherwise refused by the outgoing guard."""

    code = "blocked_address"


class HealthTestFailed(HubError):
    """The receiver did not answer the test message in the way that enabling it needs."""

    code = "health_test_failed"


class ConfigError(HubError):
    """Settings are unknown, malformed or contradict each other."""

    code = "config"
