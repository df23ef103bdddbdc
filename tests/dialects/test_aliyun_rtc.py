"""The Aliyun RTC wire against any words: round trips, parts of messages, and everything a signature must refuse."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from northbound.dialects.aliyun_rtc import DIALECT, MEDIAS, ROOM_TAGS, SPLIT_TAGS, TYPES, USER_TAGS
from northbound.dialects.base import members
from northbound.model.app import App, Endpoint
from northbound.model.delivery import Fill, View
from northbound.model.errors import DecodeError, SignatureError
from northbound.model.event import Event, EventType, Facts, Media, Reason, Role, Terminal
from northbound.model.wire import Key, KeyKind, Proof, Request, Response
from northbound.testing.vectors import load, run_file, wire_text

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SENT = 1767323045
FILL = Fill(event_id="ev-1", recorded_at=NOW, app=App(id="app-1", name="demo", created_at=NOW), session_id="1-1")
ENDPOINT = Endpoint(id="ep", app_id="app-1", url="http://cb.example.com:8080/cb", dialect="aliyun_rtc", created_at=NOW)
KEY = Key(secret=b"appkey-1")
ENTROPY = bytes(32)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
LIVE_ONLY = {"SubscribeId", "ChannelId", "CurrentMedias", "ChannelProfile", "US"}
EXTRAS = st.dictionaries(st.text().filter(lambda name: name not in LIVE_ONLY), JSON, max_size=3)


def shuffled(fixed: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Members of *fixed* and any others, in any order."""
    both = st.builds(lambda extras, own: extras | own, EXTRAS, fixed)
    return both.flatmap(lambda one: st.permutations(list(one.items())).map(dict))


def content(name: str, tags: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """One content of *name*, of a known or unknown tag, with any further words."""
    tag = st.sampled_from(tags) | st.text(min_size=1).filter(lambda one: one not in SPLIT_TAGS)
    known = {"EventTag": tag, "UserId": st.text(min_size=1), "Timestamp": st.integers() | JSON, "Medias": JSON}
    body = shuffled(st.fixed_dictionaries(known))
    return shuffled(st.fixed_dictionaries({"Event": st.just(name), name: body}))


CONTENTS = st.lists(
    content("UserEvent", list(USER_TAGS)) | content("ChannelEvent", list(ROOM_TAGS)), min_size=1, max_size=5
)
MESSAGES = shuffled(
    st.fixed_dictionaries({"Contents": CONTENTS, "MsgId": st.text(min_size=1), "ChannelID": st.text()})
    | st.fixed_dictionaries({"Contents": CONTENTS, "MsgTimestamp": st.integers(), "AppId": JSON})
)


def posted(content: Any, url: str = ENDPOINT.url) -> Request:
    return Request(method="POST", url=url, body=content if isinstance(content, bytes) else msgspec.json.encode(content))


def views_of(events: list[Event], **options: Any) -> list[View]:
    return [view for event in events for view in DIALECT.view(event, FILL, options)]


def sent(views: list[View], endpoint: Endpoint = ENDPOINT, now: datetime = NOW) -> Request:
    return DIALECT.sign(DIALECT.encode(views, endpoint), endpoint, now, ENTROPY)


# --- round trips -----------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(MESSAGES)
def test_any_message_survives_the_round_trip(message: dict[str, Any]) -> None:
    events = DIALECT.decode(posted(message), {})
    again = sent(views_of(events))

    expected = message | ({"MsgTimestamp": SENT} if "MsgTimestamp" in message else {})
    assert wire_text(msgspec.json.encode(expected)) == wire_text(again.body)
    assert events == DIALECT.decode(again, {})


@settings(max_examples=30, deadline=None)
@given(MESSAGES)
def test_parts_sent_alone_are_whole_messages_that_nobody_mistakes_for_each_other(message: dict[str, Any]) -> None:
    """A receiver that drops known ids, as we do, must keep every part."""
    message = {**message, "MsgId": "m-1"}
    events = DIALECT.decode(posted(message), {})
    parts = [msgspec.json.decode(sent([view]).body) for view in views_of(events)]
    keys = [event.dedupe_key for part in parts for event in DIALECT.decode(posted(part), {})]

    assert message["Contents"] == [item for part in parts for item in part["Contents"]]
    assert len(events) == len({part["MsgId"] for part in parts}) == len(set(keys))
    assert (len(events) == 1) == (parts[0]["MsgId"] == "m-1")


def test_a_repeated_message_has_the_same_events_whatever_its_send_time() -> None:
    def message(sent_at: int) -> dict[str, Any]:
        body = {"EventTag": "Open", "Timestamp": 1}
        return {"MsgId": "m", "MsgTimestamp": sent_at, "Contents": [{"Event": "ChannelEvent", "ChannelEvent": body}]}

    assert DIALECT.decode(posted(message(5)), {}) == DIALECT.decode(posted(message(15)), {})


def test_number_text_and_escapes_are_sent_as_they_came() -> None:
    item = rb'{"Event":"ChannelEvent","ChannelEvent":{"EventTag":"Open","N":-0,"S":"\u4e2d\/"}}'
    body = rb'{"X":1.50e+10,"Contents":[' + item + b"]}"
    assert body == sent(views_of(DIALECT.decode(posted(body), {}))).body


def test_views_of_several_messages_merge_under_an_id_of_their_own() -> None:
    """The group must not borrow the id of its first: that one may have arrived alone before."""
    fills = [msgspec.structs.replace(FILL, event_id=name) for name in ("ev-1", "ev-2")]
    event = Event(type=EventType.ROOM_OPENED, dialect="standard", room_id="r1", occurred_at=NOW)
    views = [view for fill in fills for view in DIALECT.view(event, fill, {})]
    ids = [msgspec.json.decode(sent(group).body)["MsgId"] for group in (views[:1], views[1:], views, views)]

    assert ids[2] == ids[3]
    assert len(set(ids)) == 3
    assert len(msgspec.json.decode(sent(views).body)["Contents"]) == 2


def test_the_same_content_twice_is_not_taken_for_its_whole_message() -> None:
    items = [{"Event": "ChannelEvent", "ChannelEvent": {"EventTag": tag}} for tag in ("Open", "Close")]
    first, _ = views_of(DIALECT.decode(posted({"MsgId": "m", "Contents": items}), {}))
    assert msgspec.json.decode(sent([first, first]).body)["MsgId"] != "m"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(sorted(MEDIAS)), unique=True, min_size=1), st.sampled_from(["Publish", "Unpublish"]))
def test_streams_survive_the_way_through_the_live_family(medias: list[int], tag: str) -> None:
    body = {"UserId": "u1", "EventTag": tag, "Medias": medias, "TerminalType": 77, "Extra": "kept"}
    message = {"MsgId": "m", "ChannelID": "r1", "Contents": [{"Event": "UserEvent", "UserEvent": body}]}
    live = views_of(DIALECT.decode(posted(message), {}), family="live")
    back = [
        item["UserEvent"]
        for view in live
        for one in views_of(DIALECT.decode(sent([view]), {}))
        for item in msgspec.json.decode(one.words)["Contents"]
    ]

    assert medias == [number for each in back for number in each["Medias"]]
    assert [(tag, 77, "kept")] * len(medias) == [(one["EventTag"], one["TerminalType"], one["Extra"]) for one in back]
    assert len(live) == len({bytes(members(view.words)["MsgId"]) for view in live})


# --- events of other vendors -----------------------------------------------------------------------------------------

FACTS = st.builds(
    Facts,
    role=st.none() | st.sampled_from(Role),
    terminal=st.none() | st.sampled_from(Terminal),
    client=st.none() | st.sampled_from(["native", "web", "kiosk"]),
    reason=st.none() | st.sampled_from(Reason),
    media=st.lists(st.sampled_from(Media), unique=True).map(tuple),
)
FOREIGN = st.builds(
    Event,
    type=st.sampled_from(sorted(DIALECT.types)),
    dialect=st.just("standard"),
    room_id=st.none() | st.text(min_size=1),
    participant_id=st.text(min_size=1),
    session_id=st.none() | st.text(min_size=1),
    occurred_at=st.none() | st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    facts=FACTS,
)
TABLE = {"UserId", "EventTag", "SessionId", "Timestamp", "Role", "TerminalType", "UserType", "Medias"}


@settings(max_examples=50, deadline=None)
@given(FOREIGN, st.sampled_from(["rtc", "live"]))
def test_any_foreign_event_is_said_whole_and_read_back(event: Event, family: str) -> None:
    """Every field of the page's table is there (ruling 22), and what is read back is what was said."""
    views = DIALECT.view(event, FILL, {"family": family})
    for view in views:
        request = sent([view], msgspec.structs.replace(ENDPOINT, options={"family": family}))
        (again,) = DIALECT.decode(request, {})
        item = msgspec.json.decode(request.body)["Contents"][0]
        body = item[item["Event"]]

        assert event.type == again.type
        assert event.room_id == again.room_id
        if item["Event"] == "UserEvent":
            reasoned = {"Reason"} if body["EventTag"] in ("Join", "Leave") else set()
            media = {"Medias"} if family == "rtc" else {"CurrentMedias"}
            assert (TABLE - {"Medias"}) | media | reasoned == body.keys()
            assert event.participant_id == again.participant_id
            assert event.facts.role in (None, again.facts.role)
    if not views:
        assert event.type is EventType.PARTICIPANT_UPDATED
        assert event.facts.role is None


@pytest.mark.parametrize("reason", sorted(set(Reason) - {Reason.KICKED}))
def test_kicked_is_never_made_up(reason: Reason) -> None:
    event = Event(
        type=EventType.PARTICIPANT_LEFT, dialect="x", room_id="r", participant_id="u", facts=Facts(reason=reason)
    )
    (again,) = DIALECT.decode(sent(list(DIALECT.view(event, FILL, {}))), {})
    assert again.facts.reason is not Reason.KICKED


# --- signatures ------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["time", "digit", "host", "key"]), st.integers(1, 299), st.integers(0, 31))
def test_any_changed_signed_value_is_refused(what: str, seconds: int, place: int) -> None:
    endpoint = msgspec.structs.replace(ENDPOINT, keys=(KEY,))
    event = Event(type=EventType.ROOM_OPENED, dialect="standard", room_id="r1")
    good = sent(list(DIALECT.view(event, FILL, {})), endpoint)
    assert DIALECT.verify(good, [KEY], NOW, {}) is Proof.SENDER

    signature = good.header("Ali-Rtc-Signature") or ""
    digit = "0" if signature[place] != "0" else "1"
    changed, key = good, KEY
    match what:
        case "time":
            changed = good.adding(("Ali-Rtc-Timestamp", str(SENT - seconds)))
        case "digit":
            changed = good.adding(("Ali-Rtc-Signature", signature[:place] + digit + signature[place + 1 :]))
        case "host":
            changed = msgspec.structs.replace(good, url=f"http://cb{place}.example.com:8080/cb")
        case _:
            key = Key(secret=f"appkey-{seconds + 1}".encode())

    with pytest.raises(SignatureError):
        DIALECT.verify(changed, [key], NOW, {})


def test_every_attempt_is_stamped_and_signed_anew() -> None:
    endpoint = msgspec.structs.replace(ENDPOINT, keys=(KEY,), public_url="https://Public.example.com/cb")
    event = Event(type=EventType.ROOM_OPENED, dialect="standard", room_id="r1")
    request = DIALECT.encode(DIALECT.view(event, FILL, {}), endpoint)
    first = DIALECT.sign(request, endpoint, NOW, ENTROPY)
    second = DIALECT.sign(first, endpoint, NOW + timedelta(seconds=10), ENTROPY)

    stamps = [msgspec.json.decode(one.body)["MsgTimestamp"] for one in (first, second)]
    assert stamps == [SENT, SENT + 10]
    assert str(SENT + 10) == second.header("ali-rtc-timestamp")
    content = f"public.example.com|{SENT + 10}|appkey-1"
    assert md5(content.encode()).hexdigest() == second.header("ali-rtc-signature")
    assert len(second.headers) == len(first.headers)


def test_unsigned_callbacks_are_taken_only_where_that_is_set() -> None:
    """A subscription without NeedCallbackAuth sends no signature; half a signature is never none."""
    plain = posted({})

    with pytest.raises(SignatureError, match="set the source's option unsigned to accept"):
        DIALECT.verify(plain, [KEY], NOW, {})
    assert DIALECT.verify(plain, [KEY], NOW, {"unsigned": "accept"}) is Proof.NONE
    for half in (("Ali-Rtc-Timestamp", str(SENT)), ("Ali-Rtc-Signature", "0" * 32)):
        with pytest.raises(SignatureError):
            DIALECT.verify(plain.adding(half), [KEY], NOW, {"unsigned": "accept"})


def test_a_subscription_without_callback_auth_is_not_signed() -> None:
    event = Event(type=EventType.ROOM_OPENED, dialect="standard", room_id="r1")
    endpoint = msgspec.structs.replace(ENDPOINT, keys=(KEY,), options={"callback_auth": "none"})
    request = sent(list(DIALECT.view(event, FILL, {})), endpoint)

    assert request.header("Ali-Rtc-Signature") is None
    assert request.header("Ali-Rtc-Timestamp") is None
    assert msgspec.json.decode(request.body)["MsgTimestamp"] == SENT


@pytest.mark.parametrize("spelled", ["SubscribeID", "SubscribeId", None])
@pytest.mark.parametrize("family", ["rtc", "live"])
def test_own_words_name_the_subscription_they_are_sent_for(spelled: str | None, family: str) -> None:
    """Nothing else of them changes; without the option they keep the id they came with."""
    channel = {"ChannelId": "r1", "EventTag": "Open", "Timestamp": 1609854530}
    told: dict[str, Any] = {
        "MsgId": "m1",
        "AppId": "app",
        "Contents": [{"Event": "ChannelEvent", "ChannelEvent": channel}],
    }
    named = told if spelled is None else {spelled: "theirs", **told}
    (event,) = DIALECT.decode(posted(named), {})
    (plain,) = DIALECT.view(event, FILL, {"family": family})
    (view,) = DIALECT.view(event, FILL, {"family": family, "subscribe_id": "ours"})

    words, before = msgspec.json.decode(view.words), msgspec.json.decode(plain.words)
    ids = {name: value for name, value in words.items() if name.lower() == "subscribeid"}
    assert list(ids.values()) == ["ours"]
    assert {name: value for name, value in words.items() if name not in ids} == {
        name: value for name, value in before.items() if name not in ids
    }
    assert [before[name] for name in ids if name in before] == (["theirs"] if spelled else [])


def test_the_newest_valid_key_signs_and_every_valid_key_is_accepted() -> None:
    old = Key(secret=b"old", valid_from=NOW - timedelta(days=9))
    new = Key(secret=b"new", valid_from=NOW - timedelta(days=1))
    later = Key(secret=b"later", valid_from=NOW + timedelta(days=1))
    gone = Key(secret=b"gone", valid_until=NOW)
    event = Event(type=EventType.ROOM_OPENED, dialect="standard", room_id="r1")

    def signed(*keys: Key) -> Request:
        return sent(list(DIALECT.view(event, FILL, {})), msgspec.structs.replace(ENDPOINT, keys=keys))

    assert Proof.SENDER is DIALECT.verify(signed(old, new, later, gone), [new], NOW, {})
    assert Proof.SENDER is DIALECT.verify(signed(old), [new, old], NOW, {})
    with pytest.raises(SignatureError):
        DIALECT.verify(signed(old), [later, gone], NOW, {})
    assert signed(gone).header("ali-rtc-signature") is None
    assert signed(Key(kind=KeyKind.TOKEN, secret=b"t")).header("ali-rtc-signature") is None


def test_signatures_in_the_vectors_agree_with_an_independent_computation() -> None:
    """Recomputed here from the page's sentence alone: domain, time and key, joined by bars, MD5 in hex."""
    checked = 0
    for name, file in load():
        for case in file.cases if name.startswith("aliyun_rtc/") else ():
            request = case.request or (case.sends[0] if case.sends else None)
            headers = {key.lower(): value for key, value in request.headers.items()} if request else {}
            if request is None or "ali-rtc-signature" not in headers or case.result != "valid":
                continue
            secrets = [case.secret, *[key.secret for key in case.keys], "appkey-1"]
            url = urlsplit(request.url)
            hosts = [url.netloc, url.hostname or "", url.netloc.rpartition(":")[0]]
            stamp = headers["ali-rtc-timestamp"]
            wanted = {md5(f"{host}|{stamp}|{key}".encode()).hexdigest() for host in hosts for key in secrets}
            assert headers["ali-rtc-signature"].lower() in wanted, case.name
            checked += 1
    assert checked >= 15


# --- refusals and limits ---------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.binary() | JSON.map(msgspec.json.encode) | st.builds(lambda one: b'{"Contents":' + one + b"}", st.binary()))
def test_any_other_bytes_are_read_or_refused_by_name(body: bytes) -> None:
    with suppress(DecodeError):
        DIALECT.decode(posted(body), {})


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([*TYPES, "Other"]), st.dictionaries(st.sampled_from(["EventTag", *TABLE]), JSON))
def test_any_values_are_read_or_refused_by_name(name: str, body: dict[str, Any]) -> None:
    message = {"MsgId": "m", "Contents": [{"Event": name, name: body}]}
    with suppress(DecodeError):
        events = DIALECT.decode(posted(message), {})
        assert wire_text(msgspec.json.encode(message)) == wire_text(sent(views_of(events)).body)
        sent_live = [sent([view]) for view in views_of(events, family="live")]
        assert all(DIALECT.decode(request, {}) for request in sent_live)


def test_a_message_nested_too_deeply_is_refused() -> None:
    with pytest.raises(DecodeError):
        DIALECT.decode(posted(b'{"Contents":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), {})


def test_a_message_whose_events_would_fill_the_disk_is_refused() -> None:
    """Each event repeats the envelope: many contents beside a huge member grow by the product."""
    item = {"Event": "ChannelEvent", "ChannelEvent": {"EventTag": "Open"}}
    with pytest.raises(DecodeError, match="too many Contents"):
        DIALECT.decode(posted({"X": "x" * 200_000, "Contents": [item] * 100}), {})


@pytest.mark.parametrize(("status", "accepted"), [(200, True), (201, False), (204, False), (302, False), (500, False)])
def test_only_200_is_success(*, status: int, accepted: bool) -> None:
    assert accepted is DIALECT.judge(posted({}), Response(status=status)).accepted


def test_every_vector_holds_and_every_kind_is_proven_both_ways() -> None:
    outcomes = [one for name, file in load() if file.dialect == DIALECT.name for one in run_file(name, file)]

    assert [(one.case, one.failures) for one in outcomes if one.failures] == []
    (kinds,) = DIALECT.kinds
    assert set(kinds) <= set().union(*[one.read for one in outcomes])
    assert set(kinds) <= set().union(*[one.sent for one in outcomes])
