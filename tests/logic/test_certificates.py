"""Which certificate signs when, which stay served, when one is told to be near its end (ruling 6)."""

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from northbound.dialects.base import sending_key
from northbound.logic.certificates import (
    HELD,
    WARN,
    check_removal,
    droppable,
    ends_at,
    hub_keys,
    near_expiry,
    signing,
    state_of,
)
from northbound.logic.certificates import CertificateState as S
from northbound.model.certificate import Certificate
from northbound.model.errors import Conflict
from northbound.model.wire import KeyKind
from northbound.testing.fakes import NOW

DAY = timedelta(days=1)
YEARS = timedelta(days=3650)


def certificate(identity: str, signs_from: datetime = NOW, *, valid: timedelta = YEARS) -> Certificate:
    return Certificate(
        id=identity,
        pem=f"pem of {identity}",
        secret=identity.encode(),
        fingerprint="",
        created_at=min(NOW, signs_from),
        signs_from=signs_from,
        expires_at=signs_from + valid,
    )


OLD = certificate("old", NOW - 90 * DAY)
NEW = certificate("new", NOW + DAY)
BOTH = [NEW, OLD]
SECOND = timedelta(seconds=1)


def test_the_new_one_signs_from_its_moment_on():
    keys = hub_keys(BOTH, "https://hub.test")

    def signs(at: datetime) -> tuple[str, str | None]:
        key = sending_key(keys, KeyKind.RSA, at)
        assert key is not None
        assert key.id == signing(BOTH, at).id
        return key.id, key.url

    assert signs(NOW) == ("old", "https://hub.test/certs/old.pem")
    assert signs(NEW.signs_from - SECOND) == ("old", "https://hub.test/certs/old.pem")
    assert signs(NEW.signs_from) == ("new", "https://hub.test/certs/new.pem")


@pytest.mark.parametrize("at", [NOW - 1000 * DAY, NOW + 5000 * DAY])
def test_something_signs_whatever_the_clock_says(at: datetime):
    """A clock set back, or a certificate that nobody renewed: never a request without a signature."""
    key = sending_key(hub_keys(BOTH, ""), KeyKind.RSA, at)

    assert key is not None
    assert key.id == signing(BOTH, at).id


def test_what_each_is_for():
    assert [state_of(one, BOTH, NOW) for one in BOTH] == [S.NEXT, S.SIGNING]
    assert [state_of(one, BOTH, NOW + 2 * DAY) for one in BOTH] == [S.SIGNING, S.RETIRED]
    assert state_of(OLD, BOTH, OLD.expires_at) is S.EXPIRED
    assert state_of(OLD, [OLD], OLD.expires_at) is S.SIGNING, "an expired one that still signs is not hidden"
    assert (ends_at(OLD, BOTH), ends_at(NEW, BOTH)) == (NEW.signs_from, None)


def test_the_old_one_stays_while_receivers_may_hold_what_it_signed():
    with pytest.raises(Conflict, match="signs"):
        check_removal(OLD, BOTH, NOW)
    check_removal(NEW, BOTH, NOW)  # it never signed
    with pytest.raises(Conflict, match="24 hours"):
        check_removal(OLD, BOTH, NEW.signs_from + HELD - SECOND)
    check_removal(OLD, BOTH, NEW.signs_from + HELD)


def test_expired_ones_make_room_by_themselves():
    assert droppable(BOTH, OLD.expires_at + HELD - SECOND) == []
    assert droppable(BOTH, OLD.expires_at + HELD) == [OLD]
    assert droppable([OLD], OLD.expires_at + 2 * YEARS) == [], "what signs is kept"


def test_an_expiry_is_near_unless_a_successor_signs_before():
    end = OLD.expires_at
    near = end - WARN

    assert near_expiry([], NOW) is None
    assert near_expiry([OLD], near - SECOND) is None
    assert near_expiry([OLD], near) == OLD
    assert near_expiry([OLD], end + YEARS) == OLD
    assert near_expiry([OLD, certificate("in time", end - DAY)], near) is None
    assert near_expiry([OLD, certificate("too late", end + DAY)], near) == OLD


def test_its_private_key_is_in_no_text():
    assert "private" not in repr(replace(OLD, secret=b"private"))
