"""Notice settings: which numbers there are, what rule they make, and a recording's status code."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from northbound.doors.anyrtc import (
    endpoint_for,
    last_sequence,
    pattern_of,
    read_event_types,
    read_product,
    status_of,
    subscription_for,
)
from northbound.logic.route import compile_for
from northbound.model.errors import InvalidInput
from northbound.model.event import EventType, Fault
from northbound.model.notices import NoticeSettings
from northbound.model.room import Recording
from northbound.testing.fakes import event, folded

T = EventType
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SETTINGS = NoticeSettings(
    id="notice_1", app_id="app_1", name="n", created_at=NOW, product=3, event_types=(31, 43), url="https://a.test/",
    secret=b"s",
)  # fmt: skip


def test_each_product_has_its_own_numbers():
    assert read_event_types(3, [43, 31, 43]) == (31, 43)
    assert read_event_types(1, [112, 101]) == (101, 112)
    for product, number in [(3, 101), (1, 31), (3, 0), (1, 109)]:
        with pytest.raises(InvalidInput, match=rf"product {product} has no event {number}; it has") as refused:
            read_event_types(product, [number])
        assert refused.value.field == "event_types"
    with pytest.raises(InvalidInput, match="at least one"):
        read_event_types(3, [])
    for product in (0, 2, 4):
        with pytest.raises(InvalidInput, match=r"1 .* or 3") as refused:
            read_product(product)
        assert refused.value.field == "product"


@pytest.mark.parametrize(
    ("words", "is_wanted"),
    [
        ({"productId": 3, "eventType": 31}, True),
        ({"productId": 3, "eventType": 43}, True),
        ({"productId": 3, "eventType": 44}, False),
        ({"productId": 2, "eventType": 31}, False),
        ({"productId": 1, "eventType": 101}, False),
    ],
)
def test_the_rule_is_the_ticked_numbers_of_the_product(words: dict[str, int], *, is_wanted: bool):
    assert compile_for("anyrtc", pattern_of(SETTINGS)).matches(words) is is_wanted


def test_two_paths_share_all_but_their_number_and_url():
    """Ruling 29: the same notice twice, so the same key, words and rule; the URL may be another line in."""
    both = replace(SETTINGS, redundant=True, second_url="https://b.test/")
    one, two = (endpoint_for(both, "same", path, NOW) for path in (1, 2))

    assert (one.url, two.url, one.path, two.path) == ("https://a.test/", "https://b.test/", 1, 2)
    assert replace(one, url="", path=0, name="") == replace(two, url="", path=0, name="")
    assert replace(SETTINGS, redundant=True).urls == ("https://a.test/", "https://a.test/")
    assert SETTINGS.urls == ("https://a.test/",)
    made = subscription_for(both, "sub_1", ["ep_1", "ep_2"], NOW, None)
    assert [target.endpoint_id for target in made.targets] == ["ep_1", "ep_2"]
    assert (made.made_by, made.view) == ("anyrtc", "anyrtc")


# --- the recording query ---------------------------------------------------------------------------------------------


def told(*steps: tuple[EventType, dict[str, Any]]) -> Recording:
    """Return the recording after events, each a type with its facts."""
    folding = folded([event(kind, recording_id="rec", facts=facts) for kind, facts in steps])
    return folding.steps[-1].after.recordings["rec"]


LIFE: list[tuple[EventType, dict[str, Any], int]] = [
    (T.RECORDING_STATUS_CHANGED, {"status": "initialized"}, 1),
    (T.RECORDING_STATUS_CHANGED, {"status": "recorder_starting"}, 2),
    (T.RECORDING_UPLOAD_STARTED, {"success": True}, 3),
    (T.RECORDING_STARTED, {"success": True}, 4),
    (T.RECORDING_WARNED, {}, 4),
    (T.RECORDING_INDEXED, {}, 5),
    (T.RECORDING_UPLOAD_PROGRESSED, {"progress": 0.5}, 5),
    (T.RECORDING_ERRORED, {"fault": Fault(level="fatal")}, 5),
    (T.RECORDING_STOPPED, {}, 6),
    (T.RECORDING_UPLOADED, {"success": True}, 7),
    (T.RECORDING_EXITED, {"success": True}, 8),
    (T.RECORDING_EXITED, {"success": False}, 20),
]


def test_a_recording_goes_through_the_codes_of_the_page():
    """Seed 003, 云端录制服务状态码: 0-8 and 20."""
    steps = [(kind, facts) for kind, facts, _ in LIFE]
    codes = [status_of(told(*steps[:count]))[0] for count in range(1, len(steps) + 1)]

    assert codes == [code for _, _, code in LIFE]
    assert status_of(None) == (0, "not_started")


def test_a_status_never_goes_back():
    """Notices come late and out of order: the furthest stage told stays."""
    late = told((T.RECORDING_STOPPED, {}), (T.RECORDING_STARTED, {}), (T.RECORDING_UPLOAD_STARTED, {}))
    other = told((T.RECORDING_STATUS_CHANGED, {"status": "unknown_99"}))

    assert status_of(late) == (6, "stopped")
    assert status_of(other) == (1, "initialized")
    assert status_of(told((T.RECORDING_STARTED, {"success": False})))[0] == 20


def test_the_newest_sequence_is_the_vendors_or_counted():
    assert last_sequence(told((T.RECORDING_STARTED, {}), (T.RECORDING_STOPPED, {}))) == 1
    assert last_sequence(Recording(id="rec", next_sequence=12, events=2)) == 11
    assert last_sequence(None) is None
