"""The settings of the 3T interface, one page of two halves: media_server and master (seed 004, sections 2 and 3).

The media server tells of rooms, the master of ports that do not answer. Releases before 2024-03-15 take
`host:port/path` without a scheme, which means http, and call by GET (section 2, note 1; ruling 30).
"""

import re
from enum import StrEnum
from typing import Final

import msgspec

from northbound.dialects.avd.tables import RELEASES, TYPES, before, in_release
from northbound.doors.subscriptions import passing
from northbound.model.errors import InvalidInput
from northbound.model.event import EventType

DIALECT: Final = "avd"
SCHEMES_SINCE: Final = "2024-03-15"
_NO_SCHEME = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?].*)?")


class Half(StrEnum):
    """Who calls: each half of the page has an address of its own."""

    MEDIA_SERVER = "media_server"
    MASTER = "master"


_OF_MASTER = frozenset({"warning_notify"})
_PATTERNS: Final = {
    Half.MEDIA_SERVER: {"type": [{"anything-but": [EventType.SERVER_UNREACHABLE.value]}]},
    Half.MASTER: {"type": [EventType.SERVER_UNREACHABLE.value]},
}


def pattern_of(half: Half) -> str:
    """Return the rule that picks what a half tells; what the wire has no word for, the dialect leaves out."""
    return msgspec.json.encode(_PATTERNS[half]).decode()


def events_of(half: Half, release: str) -> list[str]:
    """Name the events that a half of this release tells."""
    is_master = half is Half.MASTER
    return [word for word in TYPES if (word in _OF_MASTER) is is_master and in_release(word, release)]


def events_told(half: Half, release: str, pattern: str) -> list[str]:
    """Name the events that a half tells now: its own, or those that a pattern of somebody else's lets through."""
    if pattern == pattern_of(half):
        return events_of(half, release)
    passed = set(passing(pattern, [kind.value for kind in TYPES.values()]))
    return [word for word, kind in TYPES.items() if kind.value in passed and in_release(word, release)]


def full_url(given: str, release: str) -> str:
    """Return the address as it will be called; refuse what the release's page would not take."""
    has_scheme = "://" in given
    if has_scheme and before(release, SCHEMES_SINCE):
        raise InvalidInput(f"release {release} takes host:port/path without a scheme; it means http", field="url")
    if not has_scheme and not _NO_SCHEME.fullmatch(given):
        raise InvalidInput("the address is http://..., https://... or host:port/path", field="url")
    return given if has_scheme else f"http://{given}"


def check_method(method: str, release: str) -> None:
    """Refuse POST where the release can only GET."""
    if method != "GET" and before(release, SCHEMES_SINCE):
        raise InvalidInput(f"release {release} calls by GET; choose {SCHEMES_SINCE} or later for POST", field="method")


def check_release(release: str) -> None:
    """Refuse a release that is not on the page."""
    if release not in RELEASES:
        raise InvalidInput(f"release is one of: {', '.join(RELEASES)}", field="release")
