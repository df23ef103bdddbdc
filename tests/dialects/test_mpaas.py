"""What holds for every mPaaS callback, beyond the vectors' single cases."""

from datetime import timedelta

import msgspec
import pytest
from any_event import ENTROPY, NOW, endpoint, events, fill
from hypothesis import assume, given
from hypothesis import strategies as st

from northbound.dialects.base import check_options
from northbound.dialects.mpaas import DIALECT, ERROR_CODES, SIGNATURE_HEADER, WARNING_CODES
from northbound.model.errors import DecodeError, InvalidInput, Overloaded, SignatureError, StoreFailed
from northbound.model.event import Event, EventType, Facts
from northbound.model.wire import Key, KeyKind, Proof, Request, Response
from northbound.testing.vectors import coverage, load, run_file, wire_text

KEY = Key(secret=b"shared-secret")
CODES = [1, 2, 3, 4, 0, 10, 11, 50, 99, *ERROR_CODES.values(), *WARNING_CODES.values(), 7, 100042, 500399, -3]
request_ids = st.text(min_size=1) | st.integers(-(10**30), 10**30)
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=6)
extras = st.dictionaries(
    st.text(max_size=6).filter(lambda name: name not in {"bizRequestId", "eventCode", "recordResult"}),
    scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=3), scalars, max_size=2),
    max_size=4,
)
results = st.fixed_dictionaries(
    {"status": st.sampled_from([2, 3, 7])},
    optional={
        "fileType": scalars,
        "filePath": scalars,
        "recordStartTime": scalars | st.just(1592817186122),
        "mediaType": scalars,
        "more": scalars,
    },
)
bodies = st.builds(
    lambda request_id, code, result, named, extra: (
        {"bizRequestId": request_id, "eventCode": code, "recordResult": result} | extra | named
    ),
    request_ids,
    st.sampled_from(CODES),
    results,
    st.fixed_dictionaries({"bizName": st.just("b"), "roomId": st.text(min_size=1), "uid": st.text(min_size=1)}),
    extras,
)


def post(body: object) -> Request:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Request(method="POST", url="http://hub.test/in", body=content)


def answer(body: bytes, status: int = 200) -> Response:
    return Response(status=status, body=body)


JOIN = {"bizRequestId": "q1", "bizName": "b", "roomId": "r", "uid": "u", "eventCode": 2}


@given(bodies)
def test_any_words_survive_the_round_trip(body):
    """Read and sent again, every member, its order and its number text are the same, and it verifies."""
    target = endpoint("mpaas", KEY)
    (event,) = DIALECT.decode(post(body), {})

    request = DIALECT.encode(DIALECT.view(event, fill(), {}), target)
    request = DIALECT.sign(request, target, NOW, ENTROPY)
    again = DIALECT.decode(request, {})

    assert [wire_text(event.vendor)] == [wire_text(other.vendor) for other in again]
    assert [event.dedupe_key] == [other.dedupe_key for other in again]
    assert DIALECT.verify(request, [KEY], NOW, {}) == Proof.CONTENT


@given(bodies)
def test_no_word_is_lost_in_silence(body):
    """What no field carries is named in unmapped."""
    (event,) = DIALECT.decode(post(body), {})

    known = {"bizRequestId", "eventCode", "uid", "bizName", "roomId", "recordId", "recordResult", "time"}
    assert set(body) - known <= set(event.unmapped)
    if event.facts.success is None:
        assert {"recordResult", "recordResult.status"} & set(event.unmapped)


@given(request_ids)
def test_the_answer_repeats_the_id_as_it_came(request_id):
    """Same JSON type, same text, and our own judge takes it."""
    request = post({**JOIN, "bizRequestId": request_id})

    response = DIALECT.ack(request, None)

    assert {"bizRequestId": request_id, "code": 0} == msgspec.json.decode(response.body)
    assert DIALECT.judge(request, response).accepted


@given(request_ids, request_ids)
def test_another_requests_answer_is_refused(ours, other):
    """An answer counts only for the request whose id it repeats, compared as strings."""
    verdict = DIALECT.judge(
        post({**JOIN, "bizRequestId": ours}), answer(msgspec.json.encode({"bizRequestId": other, "code": 0}))
    )

    assert (str(ours) == str(other)) == verdict.accepted


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"ok", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"bizRequestId":"q1"}', "no code"),
        (b'{"bizRequestId":"q1","code":1}', "code '1'"),
        (b'{"bizRequestId":"q1","code":"0"}', "code '0'"),
        (b'{"bizRequestId":"q1","code":false}', "code 'False'"),
        (b'{"bizRequestId":"q1","code":0.0}', "code '0.0'"),
        (b'{"bizRequestId":"q1","code":null}', "no code"),
        (b'{"code":0}', "no bizRequestId"),
        (b'{"bizRequestId":null,"code":0}', "no bizRequestId"),
        (b'{"bizRequestId":"q2","code":0}', "bizRequestId 'q2'"),
        (b'{"bizRequestId":"q1","bizRequestId":"q1","code":0}', "repeated"),
    ],
)
def test_a_200_that_does_not_accept_says_why(body, says):
    """D10: code other than 0, another id, or a body that cannot be read is a failure with a reason."""
    verdict = DIALECT.judge(post(JOIN), answer(body))

    assert not verdict.accepted
    assert says in verdict.reason


@pytest.mark.parametrize("status", [201, 204, 301, 400, 410, 429, 500])
def test_only_200_accepts(status):
    """A good body under another status is a failure; 410 means gone."""
    verdict = DIALECT.judge(post(JOIN), answer(b'{"bizRequestId":"q1","code":0}', status))

    assert not verdict.accepted
    assert (status == 410) == verdict.gone


def test_white_space_and_more_members_in_an_answer_are_fine():
    """Receivers answer in their own framework's style."""
    body = b'\xef\xbb\xbf{ "success": true, "code": 0,\n "bizRequestId": "918479352902861" }'

    assert DIALECT.judge(post({**JOIN, "bizRequestId": 918479352902861}), answer(body)).accepted


@pytest.mark.parametrize(
    ("error", "status"),
    [(SignatureError("x"), 403), (DecodeError("x"), 400), (Overloaded("x"), 503), (StoreFailed("x"), 503)],
)
def test_a_refusal_has_a_code_other_than_0_and_a_status(error, status):
    """The sender must try again what was not stored, so nothing in a refusal reads as success."""
    response = DIALECT.ack(post(JOIN), error)

    assert status == response.status
    assert {"bizRequestId": "q1", "code": 1, "error": error.code, "message": "x"} == msgspec.json.decode(response.body)


@given(bodies, st.binary(min_size=1, max_size=4), st.data())
def test_any_changed_byte_is_refused(body, change, data):
    """The header covers the body, byte for byte."""
    target = endpoint("mpaas", KEY)
    signed = DIALECT.sign(post(body), target, NOW, ENTROPY)
    place = data.draw(st.integers(0, len(signed.body)))
    changed = signed.body[:place] + change + signed.body[place + len(change) :]
    assume(changed != signed.body)

    with pytest.raises(SignatureError):
        DIALECT.verify(msgspec.structs.replace(signed, body=changed), [KEY], NOW, {})


@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_any_bytes_are_read_or_refused(body):
    """Whatever a stranger posts ends in events or a refusal, and is answered either way."""
    request = post(body)

    refused = None
    try:
        DIALECT.decode(request, {})
    except DecodeError as error:
        refused = error
    assert DIALECT.ack(request, refused).status in (200, 400)


@given(st.dictionaries(st.sampled_from([*JOIN, "recordId", "recordResult", "time"]), scalars, max_size=8))
def test_any_types_are_read_or_refused(body):
    """Members of any JSON type end in an event or a named refusal."""
    request = post(JOIN | body)

    try:
        read = DIALECT.decode(request, {})
    except DecodeError:
        read = []
    assert len(read) <= 1


@given(events)
def test_an_event_from_elsewhere_becomes_a_callback_that_is_read_again(event):
    """What we say decodes, names the same room and recording, and repeats on every attempt."""
    target = endpoint("mpaas", KEY)
    views = DIALECT.view(event, fill(), {})

    for view in views:
        request = DIALECT.sign(DIALECT.encode([view], target), target, NOW, ENTROPY)
        (again,) = DIALECT.decode(request, {})
        assert EventType.UNKNOWN is not again.type
        assert event.room_id == again.room_id
        assert again.recording_id is None or event.recording_id in (again.recording_id, None)
        assert set(again.unmapped) <= {"appId", "workspaceId"}
        assert views == DIALECT.view(event, fill(), {})
    assert bool(views) <= (event.type in DIALECT.types)


@pytest.mark.parametrize("name", [*ERROR_CODES, *WARNING_CODES])
def test_every_fault_is_said_by_the_code_it_came_by(name):
    """A fault's name alone, without a number, finds its code again."""
    code = ERROR_CODES.get(name) or WARNING_CODES[name]
    body = {"bizRequestId": "q1", "bizName": "b", "roomId": "r", "recordId": "x", "eventCode": code}
    (event,) = DIALECT.decode(post(body), {})
    fault = msgspec.structs.replace(event.facts.fault, code=None)
    foreign = Event(type=event.type, dialect="elsewhere", room_id="r", recording_id="x", facts=Facts(fault=fault))

    (view,) = DIALECT.view(foreign, fill(), {})

    assert f"recording/{code}" == DIALECT.kind(view.words)
    assert view.lost == ()


def test_the_newest_valid_key_signs():
    """Rotation switches at the new key's moment; both are accepted meanwhile."""
    old, new = Key(secret=b"old"), Key(secret=b"new", valid_from=NOW)
    target = endpoint("mpaas", old, new)

    before = DIALECT.sign(post(JOIN), target, NOW - timedelta(seconds=1), ENTROPY)
    after = DIALECT.sign(post(JOIN), target, NOW, ENTROPY)

    assert DIALECT.verify(before, [old], NOW, {}) == Proof.CONTENT
    assert DIALECT.verify(after, [new], NOW, {}) == Proof.CONTENT
    assert before.header(SIGNATURE_HEADER) != after.header(SIGNATURE_HEADER)


def test_a_key_of_another_kind_never_lets_everybody_in():
    """A source with only a key that this wire cannot use refuses; nothing unsigned passes by mistake."""
    with pytest.raises(SignatureError):
        DIALECT.verify(post(JOIN), [Key(kind=KeyKind.TOKEN, secret=b"tk")], NOW, {})


def test_an_unsigned_endpoint_sends_no_header():
    """Without a key the wire is exactly the page's."""
    request = DIALECT.sign(post(JOIN), endpoint("mpaas"), NOW, ENTROPY)

    assert request.header(SIGNATURE_HEADER) is None


def test_options_are_checked():
    """The one option is a switch."""
    check_options(DIALECT, {"time": False})
    with pytest.raises(InvalidInput):
        check_options(DIALECT, {"time": "no"})
    with pytest.raises(InvalidInput):
        check_options(DIALECT, {"signature": True})


def test_the_retry_policy_is_the_ruled_one():
    """Four attempts in total, 10 s apart, 5 s each (ruling 4)."""
    policy = DIALECT.retry

    assert (4, (timedelta(seconds=10),), timedelta(seconds=5)) == (policy.attempts, policy.waits, policy.deadline)


def test_the_vectors_prove_every_code_both_ways():
    """All 25 codes of the page are read, and said from their facts alone."""
    outcomes = [outcome for name, file in load() if file.dialect == "mpaas" for outcome in run_file(name, file)]

    assert coverage(outcomes)["mpaas"] == ([(25, 25)], [(25, 25)])
