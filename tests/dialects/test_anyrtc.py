"""The anyRTC wire: what its vectors do not state, and properties over generated notices."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from northbound.dialects import dialect_named
from northbound.dialects.anyrtc import DIALECT, signature
from northbound.dialects.base import check_options
from northbound.model.app import App, Endpoint
from northbound.model.delivery import Fill, View
from northbound.model.errors import DecodeError, InvalidInput, SignatureError
from northbound.model.event import Event, EventType, Facts, Fault, File, Media, Reason, RecordingMode, Role, Terminal
from northbound.model.wire import Key, KeyKind, Proof, Request, Response
from northbound.testing.vectors import coverage, load, run_file, wire_text

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENTROPY = bytes(range(32))
FILL = Fill(event_id="ev-1", recorded_at=NOW, app=App(id="a", name="demo", created_at=NOW), room_instance="R#1")
SECRET = b"k3y"


def endpoint(*keys: Key, **options: object) -> Endpoint:
    return Endpoint(
        id="e", app_id="a", url="http://sink.test/cb", dialect="anyrtc", created_at=NOW, keys=keys, options=options
    )


def request(words: object) -> Request:
    return Request(method="POST", url="http://hub.test/in", body=json.dumps(words).encode())


def recording(number: int, details: dict[str, object], **payload: object) -> Request:
    common = {"cname": "c", "uid": "9", "sid": "s", "sequence": 1, "sendts": 1619172871089}
    return request(
        {"noticeId": "n", "productId": 3, "eventType": number, "payload": {**common, **payload, "details": details}}
    )


def only(found: list[Event]) -> Event:
    (event,) = found
    return event


# --- vectors ---------------------------------------------------------------------------------------------------------


def test_all_vectors_hold_and_prove_every_kind_in_both_directions() -> None:
    """17 recording events and 10 channel events, read and sent."""
    outcomes = [outcome for name, file in load() if file.dialect == "anyrtc" for outcome in run_file(name, file)]

    assert [(outcome.file, outcome.case, outcome.failures) for outcome in outcomes if outcome.failures] == []
    assert coverage(outcomes)["anyrtc"] == ([(17, 17), (10, 10)], [(17, 17), (10, 10)])


def test_registry_knows_it() -> None:
    """The folder is the registry."""
    assert DIALECT is dialect_named("anyrtc")


# --- leaveCode (R12) -------------------------------------------------------------------------------------------------

NAMES = {1: "unknown_bit_1", 2: "signal", 4: "no_users", 8: "timer_catch", 16: "client_leave"}


@pytest.mark.parametrize("code", range(32))
def test_each_leave_code_is_a_set_of_named_bits_and_comes_back(code: int) -> None:
    """0 alone is a failed start; a bit that the page does not list is named by its value."""
    event = only(DIALECT.decode(recording(41, {"leaveCode": code}), {}))
    foreign = msgspec.structs.replace(event, dialect="elsewhere")
    (view,) = DIALECT.view(foreign, FILL, {})

    assert (tuple(name for bit, name in NAMES.items() if code & bit) or ("init_failed",)) == event.facts.exit
    assert code == msgspec.json.decode(view.words)["payload"]["details"]["leaveCode"]


@pytest.mark.parametrize("place", range(5, 32))
def test_each_unknown_bit_is_named(place: int) -> None:
    """Bits beyond the page's list keep their value in their name."""
    event = only(DIALECT.decode(recording(41, {"leaveCode": 1 << place | 2}), {}))

    assert ("signal", f"unknown_bit_{1 << place}") == event.facts.exit


@pytest.mark.parametrize("code", [-1, 1 << 32, 10**40, 1.5, True, "x", None, [2], {"a": 1}])
def test_a_leave_code_that_is_no_bit_set_is_kept_raw(code: object) -> None:
    """Nothing is guessed: no causes, and the word stays among the vendor's."""
    event = only(DIALECT.decode(recording(41, {"leaveCode": code}), {}))

    assert event.facts.exit == ()
    assert code == msgspec.json.decode(event.vendor)["payload"]["details"]["leaveCode"]


# --- sending ---------------------------------------------------------------------------------------------------------


def test_each_attempt_has_a_new_time_and_signature_and_the_same_notice_id() -> None:
    """notifyMs is written anew before signing; everything else stays, in its order."""
    one = endpoint(Key(secret=SECRET))
    built = DIALECT.encode(DIALECT.view(Event(type=EventType.ROOM_OPENED, dialect="x", room_id="r"), FILL, {}), one)
    first = DIALECT.sign(built, one, NOW, ENTROPY)
    second = DIALECT.sign(built, one, NOW + timedelta(seconds=10), ENTROPY)
    again = DIALECT.sign(first, one, NOW + timedelta(seconds=10), ENTROPY)

    before, after = json.loads(first.body), json.loads(second.body)
    assert list(before) == ["noticeId", "productId", "eventType", "notifyMs", "payload"]
    assert after.pop("notifyMs") - before.pop("notifyMs") == 10_000
    assert before == after
    assert second == again
    assert signature(second.body, SECRET) == second.header("Ar-Signature")
    assert first.header("Ar-Signature") != second.header("Ar-Signature")


def test_the_newest_valid_key_signs_and_both_are_accepted() -> None:
    """One signature fits on this wire, so rotation switches at a set moment (ruling 6)."""
    old = Key(secret=b"old")
    new = Key(secret=b"new", valid_from=NOW)
    one = endpoint(old, new)
    built = DIALECT.probe(one, ENTROPY)
    before = DIALECT.sign(built, one, NOW - timedelta(seconds=1), ENTROPY)
    after = DIALECT.sign(built, one, NOW, ENTROPY)

    assert signature(before.body, b"old") == before.header("Ar-Signature")
    assert signature(after.body, b"new") == after.header("Ar-Signature")
    assert DIALECT.verify(before, [old, new], NOW, {}) == Proof.FRESH
    assert DIALECT.verify(after, [old, new], NOW, {}) == Proof.FRESH


def test_a_key_out_of_its_time_proves_nothing() -> None:
    """An expired key does not open, and neither does it turn verification off."""
    one = endpoint(Key(secret=SECRET))
    sent = DIALECT.sign(DIALECT.probe(one, ENTROPY), one, NOW, ENTROPY)

    with pytest.raises(SignatureError):
        DIALECT.verify(sent, [Key(secret=SECRET, valid_until=NOW)], NOW, {})


def test_keys_of_other_kinds_do_not_sign() -> None:
    """Without a shared secret nothing is signed, and nothing is proven."""
    one = endpoint(Key(secret=SECRET, kind=KeyKind.TOKEN))
    sent = DIALECT.sign(DIALECT.probe(one, ENTROPY), one, NOW, ENTROPY)

    assert sent.header("Ar-Signature") is None
    assert DIALECT.verify(sent, one.keys, NOW, {}) == Proof.NONE


def test_the_test_notice_is_answered_by_our_own_intake() -> None:
    """The probe is a signed envelope of eventType 10 with an empty payload, and no event."""
    one = endpoint(Key(secret=SECRET))
    sent = DIALECT.sign(DIALECT.probe(one, ENTROPY), one, NOW, ENTROPY)
    words = json.loads(sent.body)

    assert DIALECT.verify(sent, one.keys, NOW, {}) == Proof.FRESH
    assert DIALECT.decode(sent, {}) == []
    assert DIALECT.judge(sent, DIALECT.ack(sent, None)).accepted
    assert (words["eventType"], words["payload"], words["notifyMs"]) == (10, {}, 1767323045000)
    assert DIALECT.probe(one, bytes(32)).body != DIALECT.probe(one, ENTROPY).body


def test_retry_is_three_attempts_ten_seconds_apart() -> None:
    """Ruling 4."""
    assert (3, (timedelta(seconds=10),), timedelta(seconds=10)) == (
        DIALECT.retry.attempts,
        DIALECT.retry.waits,
        DIALECT.retry.deadline,
    )


# --- judging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b'{"code":0}', b"{}", b"[]", b'"ok"', b"0", b"null"])
@pytest.mark.parametrize("strict", [False, True])
def test_200_with_json_is_accepted(body: bytes, *, strict: bool) -> None:
    """Any JSON will do; the wire reads no code in it."""
    sent = DIALECT.encode([View(words=msgspec.Raw(b"{}"))], endpoint(strict_reply=strict))
    verdict = DIALECT.judge(sent, Response(status=200, body=body))

    assert verdict.accepted
    assert verdict.warning is None


@pytest.mark.parametrize("body", [b"", b"ok", b"<html>", b'{"code":0', b"\xff", b"[" * 100_000])
def test_200_without_json_is_accepted_with_a_warning_and_refused_when_strict(body: bytes) -> None:
    """The vendor asks for JSON; being strict about it is a setting."""
    words = [View(words=msgspec.Raw(b"{}"))]
    lenient = DIALECT.judge(DIALECT.encode(words, endpoint()), Response(status=200, body=body))
    strict = DIALECT.judge(DIALECT.encode(words, endpoint(strict_reply=True)), Response(status=200, body=body))

    assert (lenient.accepted, strict.accepted) == (True, False)
    assert lenient.warning is not None
    assert strict.reason


@pytest.mark.parametrize("status", [100, 201, 202, 204, 206, 301, 400, 403, 410, 429, 500, 503])
def test_any_status_but_200_is_refused(status: int) -> None:
    """HTTP 200 exactly; 410 also says that nobody is there any more."""
    verdict = DIALECT.judge(request({}), Response(status=status, body=b"{}"))

    assert not verdict.accepted
    assert (status == 410) is verdict.gone


# --- options ---------------------------------------------------------------------------------------------------------


def test_option_defaults_are_accepted_and_others_refused() -> None:
    """Each option's default passes its own check."""
    check_options(DIALECT, {option.name: option.default for option in DIALECT.options})

    with pytest.raises(InvalidInput):
        check_options(DIALECT, {"signature": "md5"})


# --- properties ------------------------------------------------------------------------------------------------------

LIMIT = settings(max_examples=60, deadline=None)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
uids = st.integers(1, 2**53).map(str)
moments = st.integers(0, 4_000_000_000_000)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
jsons = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
files = st.fixed_dictionaries(
    {
        "fileName": names,
        "trackType": st.sampled_from(["audio", "video", "audio_and_video"]),
        "uid": st.just("0") | uids,
        "mixedAllUser": st.booleans(),
        "isPlayable": st.booleans(),
        "sliceStartTime": moments,
    }
)
outcome = st.sampled_from([0, 1])
stream = st.fixed_dictionaries({"streamUid": st.just("0") | uids, "state": outcome, "UtcMs": moments})
DETAILS: dict[int, st.SearchStrategy[Any]] = {
    1: st.fixed_dictionaries(
        {
            "module": st.integers(0, 2),
            "errorLevel": st.integers(1, 5),
            "errorCode": st.sampled_from([32, 47, 50, 51, 52, 1003]),
            "stat": outcome,
            "errorMsg": names,
        }
    ),
    2: st.fixed_dictionaries({"module": st.integers(0, 1), "warnCode": st.sampled_from([31, 32, 7])}),
    3: st.fixed_dictionaries({"status": st.integers(0, 20), "recordingMode": outcome, "fileList": names}),
    4: st.fixed_dictionaries({"fileList": names}),
    11: st.fixed_dictionaries({"exitStatus": outcome}),
    12: st.fixed_dictionaries({"newUid": st.integers(1, 2**32)}),
    30: st.fixed_dictionaries({"status": outcome}),
    31: st.fixed_dictionaries({"status": outcome, "fileList": st.lists(files, max_size=3)}),
    32: st.fixed_dictionaries({"status": outcome, "fileList": st.lists(files, max_size=3)}),
    33: st.fixed_dictionaries({"progress": st.integers(0, 10_000)}),
    40: st.fixed_dictionaries({"status": outcome}),
    41: st.fixed_dictionaries({"leaveCode": st.integers(0, 2**32 - 1)}),
    42: st.fixed_dictionaries(
        {
            "startUtcMs": moments,
            "discontinueUtcMs": moments,
            "mixedAllUser": st.booleans(),
            "streamUid": st.just("0") | uids,
            "trackType": st.sampled_from(["audio", "video", "audio_and_video"]),
        }
    ),
    43: stream,
    44: stream,
    60: st.fixed_dictionaries({"aliVodInfo": st.fixed_dictionaries({"videoId": names})}),
    61: st.just({}),
}


@st.composite
def recordings(draw: st.DrawFn) -> dict[str, object]:
    number = draw(st.sampled_from(sorted(DETAILS)))
    payload = {
        "cname": draw(names),
        "uid": draw(uids),
        "sid": draw(names),
        "sequence": draw(st.integers(0, 10_000)),
        "sendts": draw(moments),
        "details": draw(DETAILS[number]),
    }
    return {"noticeId": draw(names), "productId": 3, "eventType": number, "payload": payload}


@st.composite
def channels(draw: st.DrawFn) -> dict[str, object]:
    number = draw(st.sampled_from([101, 102, 103, 104, 105, 106, 107, 108, 111, 112]))
    payload: dict[str, object] = {
        "channelName": draw(names),
        "ts": draw(st.integers(0, 4_000_000_000)),
        "channelSId": draw(names),
    }
    if number > 102:
        payload |= {"uid": draw(st.integers(1, 2**53)), "uSId": draw(names)}
    if 102 < number < 109:
        payload["platform"] = draw(st.sampled_from([0, 1, 2, 5, 6, 7, 8]))
    if number in (104, 106, 108):
        payload["reason"] = draw(st.integers(0, 5))
    return {"noticeId": draw(names), "productId": 1, "eventType": number, "payload": payload}


@LIMIT
@given(recordings() | channels())
def test_own_words_go_out_as_they_came(words: dict[str, object]) -> None:
    """Wire-true: same members, order and numbers; only notifyMs and the signature are new."""
    one = endpoint(Key(secret=SECRET))
    event = only(DIALECT.decode(request(words), {}))
    sent = DIALECT.sign(DIALECT.encode(DIALECT.view(event, FILL, {}), one), one, NOW, ENTROPY)

    assert DIALECT.verify(sent, one.keys, NOW, {}) == Proof.FRESH
    assert event == only(DIALECT.decode(sent, {}))
    assert wire_text(msgspec.json.encode(words)) == wire_text(event.vendor)


@LIMIT
@given(recordings() | channels())
def test_facts_alone_say_the_same_again(words: dict[str, object]) -> None:
    """As if another vendor had said it: same kind, ids, time and facts; a code without a name is not passed on."""
    event = only(DIALECT.decode(request(words), {}))
    foreign = msgspec.structs.replace(event, dialect="elsewhere", vendor=msgspec.Raw(b"{}"), unmapped=())
    fill = msgspec.structs.replace(FILL, sequence=event.sequence or 0)
    (view,) = DIALECT.view(foreign, fill, {})
    again = only(DIALECT.decode(DIALECT.encode([view], endpoint()), {}))

    assert DIALECT.kind(event.vendor) == DIALECT.kind(view.words)
    fields = ("type", "room_id", "participant_id", "session_id", "room_session_id", "recording_id", "occurred_at")
    assert [getattr(event, name) for name in (*fields, "sequence")] == [
        getattr(again, name) for name in (*fields, "sequence")
    ]
    assert _named(event.facts) == _named(again.facts)


def _named(facts: Facts) -> Facts:
    """Leave out the number of a fault that has no name: it is a vendor's own."""
    if facts.fault is None or facts.fault.name is not None:
        return facts
    return msgspec.structs.replace(facts, fault=msgspec.structs.replace(facts.fault, code=None))


@LIMIT
@given(st.binary(max_size=60) | jsons.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    """Hostile bytes are malformed, never an error of ours."""
    try:
        events = DIALECT.decode(Request(method="POST", url="http://hub.test/in", body=body), {})
    except DecodeError:
        return

    assert all(event.dialect == "anyrtc" for event in events)


@LIMIT
@given(
    st.sampled_from([*DETAILS, 10, 45, *range(101, 113)]),
    st.sampled_from([1, 2, 3, 4, None]),
    st.dictionaries(
        st.sampled_from(["cname", "sid", "uid", "sequence", "sendts", "serviceType", "channelName", "ts", "platform"])
        | names,
        jsons,
    ),
    st.dictionaries(
        st.sampled_from(["status", "fileList", "module", "errorCode", "leaveCode", "state", "aliVodInfo", "newUid"])
        | names,
        jsons,
    ),
)
def test_any_word_may_have_any_type(
    number: int, product: int | None, payload: dict[str, object], details: dict[str, object]
) -> None:
    """A changed type is kept among the vendor's words (I15); what is read can be logged, and said again."""
    body = {"noticeId": "n", "productId": product, "eventType": number, "payload": {**payload, "details": details}}
    try:
        events = DIALECT.decode(request(body), {})
    except DecodeError:
        return

    event = only(events)
    assert event == msgspec.json.decode(msgspec.json.encode(event), type=Event)
    foreign = msgspec.structs.replace(event, dialect="elsewhere")
    for view in DIALECT.view(foreign, FILL, {}):
        only(DIALECT.decode(DIALECT.encode([view], endpoint()), {}))


@LIMIT
@given(recordings(), st.data())
def test_one_changed_byte_breaks_the_signature(words: dict[str, object], data: st.DataObject) -> None:
    """Every byte of the body is covered."""
    key = Key(secret=SECRET)
    body = json.dumps(words).encode()
    place = data.draw(st.integers(0, len(body) - 1))
    changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
    sent = Request(
        method="POST", url="http://hub.test/in", headers=(("Ar-Signature", signature(body, SECRET)),), body=changed
    )

    with pytest.raises(SignatureError) as refused:
        DIALECT.verify(sent, [key], NOW, {})

    assert SECRET.decode() not in str(refused.value)


faults = st.builds(
    Fault,
    code=st.none() | st.integers(-5, 200_000),
    name=st.none() | st.sampled_from(["upload_failed", "recorder_crashed", "disk_failed", "start_timeout"]),
    module=st.none() | st.sampled_from(["recorder", "uploader", "platform", "mixer"]),
    level=st.none() | st.sampled_from(["debug", "fatal", "odd"]),
    phase=st.none() | st.sampled_from(["start", "running", "finishing"]),
    message=st.none() | names,
)
stored = st.builds(
    File,
    name=st.none() | names,
    url=st.none() | names,
    size=st.none() | st.integers(0, 9),
    media=st.lists(st.sampled_from(Media), unique=True).map(tuple),
    participant_id=st.none() | names,
    merged=st.none() | st.booleans(),
    started_at=st.none() | st.just(NOW),
)
others = st.builds(
    Event,
    type=st.sampled_from(EventType),
    dialect=st.just("elsewhere"),
    room_id=st.none() | names,
    participant_id=st.none() | names,
    recording_id=st.none() | names,
    occurred_at=st.none() | st.just(NOW),
    facts=st.builds(
        Facts,
        role=st.none() | st.sampled_from(Role),
        terminal=st.none() | st.sampled_from(Terminal),
        reason=st.none() | st.sampled_from(Reason),
        media=st.lists(st.sampled_from(Media), unique=True).map(tuple),
        success=st.none() | st.booleans(),
        recording_mode=st.none() | st.sampled_from(RecordingMode),
        status=st.none() | st.sampled_from(["stopped", "unknown_9", "unknown_x", "odd"]),
        progress=st.none() | st.floats(-1, 2),
        exit=st.lists(st.sampled_from(["signal", "init_failed", "unknown_bit_64", "unknown_bit_x", "odd"])).map(tuple),
        fault=st.none() | faults,
        files=st.lists(stored, max_size=2).map(tuple),
    ),
)


@settings(max_examples=100, deadline=None)
@given(others, st.none() | st.sampled_from(Role), st.sampled_from(["keep", "number"]))
def test_any_foreign_event_is_said_in_words_that_read_back(event: Event, role: Role | None, text_uid: str) -> None:
    """Whatever another dialect may hold, our words are complete, understood whole, and about the same room."""
    fill = msgspec.structs.replace(FILL, role=role)

    for view in DIALECT.view(event, fill, {"text_uid": text_uid}):
        again = only(DIALECT.decode(DIALECT.encode([view], endpoint()), {}))
        assert event.room_id == again.room_id
        assert again.unmapped == ()
        assert again.type is not EventType.UNKNOWN
        assert event.type in DIALECT.types
        assert len(set(view.invented)) == len(view.invented)
