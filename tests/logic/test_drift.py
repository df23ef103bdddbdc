"""What is news about a vendor's callbacks: I15, and two bodies under one header set: I3."""

import msgspec
import pytest

from northbound.dialects import all_dialects
from northbound.dialects.base import HeaderSet, raw
from northbound.logic import drift
from northbound.logic.drift import ONE_SECOND_LASTS, Bodies, Types, news_of
from northbound.model.alarm import AlarmKind
from northbound.model.wire import Request
from northbound.testing.vectors import load

DIALECTS = all_dialects()
PAGES = ("avd", "mpaas", "aliyun_rtc", "aliyun_cvc", "anyrtc")


def decoded(dialect: str, url: str = "http://hub.test/in", body: bytes = b"", method: str = "POST"):
    return DIALECTS[dialect].decode(Request(method=method, url=url, body=body), {})


# --- events and fields -----------------------------------------------------------------------------------------------


def test_nothing_that_a_page_documents_is_a_new_field():
    """Whether or not a field of ours carries it."""
    news = [
        (file.dialect, what)
        for _, file in load()
        for case in file.cases
        if case.request is not None and case.result == "valid" and "documented" in case.flags
        for event in DIALECTS[file.dialect].decode(case.request.request(), case.options)
        for kind, what in news_of(event, DIALECTS[file.dialect])
        if kind is AlarmKind.UNKNOWN_FIELD
    ]

    assert news == []


@pytest.mark.parametrize("dialect", PAGES)
def test_every_page_has_its_words(dialect: str):
    assert DIALECTS[dialect].known


def test_new_words_and_new_events_are_news():
    (joined,) = decoded(
        "avd", "http://hub.test/in?event=join&room_id=r&user_id=u&event_type=normal&mood=good&endpoint_type=7"
    )
    (unknown,) = decoded("avd", "http://hub.test/in?event=teleport&room_id=r&mood=good")
    (called,) = decoded(
        "mpaas", body=b'{"bizRequestId":1,"eventCode":1,"bizName":"b","roomId":"r","appId":"a","device":{}}'
    )

    assert list(news_of(joined, DIALECTS["avd"])) == [(AlarmKind.UNKNOWN_FIELD, "mood")]
    assert list(news_of(unknown, DIALECTS["avd"])) == [(AlarmKind.UNKNOWN_EVENT, "teleport")]
    assert list(news_of(called, DIALECTS["mpaas"])) == [(AlarmKind.UNKNOWN_FIELD, "device")]


def test_a_wire_without_a_page_has_no_news():
    (event,) = decoded("janus", body=b'{"type":512,"timestamp":1,"event":{"a":1}}')

    assert list(news_of(event, DIALECTS["janus"])) == []


# --- types -----------------------------------------------------------------------------------------------------------


def changes(types: Types, kind: str, words: object) -> list[str]:
    return [what for _, what in types.changed(kind, raw(words))]


def test_a_field_of_another_type_than_before_is_named_with_both():
    types = Types()

    assert changes(types, "join", {"uid": 1, "deep": {"list": [{"n": 1}]}, "none": None}) == []
    assert changes(types, "join", {"uid": 2.5, "deep": {"list": [{"n": 2}, {"n": "2"}]}, "none": True}) == [
        "join: deep.list[].n is text, was number"
    ]
    assert changes(types, "join", {"uid": "1", "none": None}) == ["join: uid is text, was number"]
    assert changes(types, "leave", {"uid": "1"}) == []


def test_what_is_remembered_of_a_source_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drift, "FIELDS_KNOWN", 3)
    types = Types()
    for number in range(10):
        assert changes(types, "k", {f"f{number}": 1}) == []

    assert [changes(types, "k", {f"f{number}": "x"}) != [] for number in (0, 1, 2, 3, 9)] == [True] * 3 + [False] * 2


def test_deep_words_are_looked_at_no_further_than_they_matter():
    types = Types()
    deep: object = 1
    for _ in range(200):
        deep = {"a": deep}

    assert changes(types, "k", deep) == []
    assert list(types.changed("k", msgspec.Raw(b'{"a":1}'))) == [(AlarmKind.CHANGED_TYPE, "k: a is number, was object")]


# --- two bodies ------------------------------------------------------------------------------------------------------


def under(message: str, name: str = "1767323045|sig") -> HeaderSet:
    return HeaderSet(id=name, shown="t", message=message)


def test_messages_of_one_second_share_their_header_set():
    bodies = Bodies()

    assert [bodies.is_second(under(f"m{number}"), b"%d" % number, now=number / 10) for number in range(20)] == [
        False
    ] * 20


def test_one_message_with_two_bodies_is_an_alarm():
    bodies = Bodies()
    seen = [bodies.is_second(under("m"), body, now=0.0) for body in (b"one", b"one", b"two", b"two")]

    assert seen == [False, False, True, True]


def test_a_set_that_is_used_again_later_is_an_alarm_and_a_plain_repeat_is_none():
    bodies = Bodies()
    late = ONE_SECOND_LASTS + 0.1
    assert not bodies.is_second(under("m"), b"one", now=0.0)

    assert not bodies.is_second(under("m"), b"one", now=late)
    assert bodies.is_second(under("other"), b"two", now=late)
    assert not bodies.is_second(under("other", "1767323055|sig"), b"two", now=late)


def test_messages_without_an_id_never_claim_to_be_one():
    bodies = Bodies()

    assert [bodies.is_second(under(""), body, now=0.0) for body in (b"one", b"two")] == [False, False]


def test_what_is_remembered_of_header_sets_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drift, "SETS_KNOWN", 2)
    monkeypatch.setattr(drift, "BODIES_KNOWN", 2)
    bodies = Bodies()
    for number in range(50):
        bodies.is_second(under(f"m{number}", f"set {number}"), b"x", now=0.0)

    assert (len(bodies._sets), len(bodies._bodies)) == (2, 2)
