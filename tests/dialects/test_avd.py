"""What holds for every 3T request, beyond the vectors' single cases."""

from datetime import timedelta

import msgspec
import pytest
from any_event import ENTROPY, NOW, endpoint, events, fill
from hypothesis import assume, given
from hypothesis import strategies as st

from northbound.dialects.avd import DIALECT
from northbound.dialects.avd.reading import check_code
from northbound.dialects.base import check_options, write_params
from northbound.model.errors import DecodeError, InvalidInput, Overloaded, SignatureError, StoreFailed
from northbound.model.event import Event, EventType, Facts, Reason
from northbound.model.wire import Key, KeyKind, Proof, Request, Response
from northbound.testing.vectors import coverage, load, run_file, wire_text

KEY = Key(secret=b"northbound-secret")
FORM = (("content-type", "application/x-www-form-urlencoded"),)
words = sorted({*DIALECT.kinds[0], "of_a_later_build"})
names = st.text(max_size=8).filter(lambda name: name not in {"event", "room_id", "user_id", "check_code", "token"})
fixed = st.fixed_dictionaries(
    {"event": st.sampled_from(words), "room_id": st.text(min_size=1), "user_id": st.just("u")}
)
params = st.tuples(fixed, st.dictionaries(names, st.text(), max_size=6)).map(lambda pair: pair[0] | pair[1])
signable = params.filter(lambda given: not any("|" in value for value in given.values()))


def get(given: dict[str, str]) -> Request:
    return Request(method="GET", url="http://hub.test/in?" + write_params(given.items()))


def carriers(given: dict[str, str]) -> list[tuple[Request, str, str]]:
    """The same parameters in a query, a form and a JSON object, each with the method and body to send them by."""
    form = Request(method="POST", url="http://hub.test/in", headers=FORM, body=write_params(given.items()).encode())
    json = Request(method="POST", url="http://hub.test/in", body=msgspec.json.encode(given))
    return [(get(given), "GET", "form"), (form, "POST", "form"), (json, "POST", "json")]


def resent(event: Event, *keys: Key, method: str = "GET", post_body: str = "form") -> Request:
    target = endpoint("avd", *keys, method=method, post_body=post_body)
    (view,) = DIALECT.view(event, fill(), target.options)
    return DIALECT.sign(DIALECT.encode([view], target), target, NOW, ENTROPY)


@given(params)
def test_any_parameters_survive_the_round_trip(given):
    """Read and sent again, in whatever carries them, all names, values and their order are the same."""
    for request, method, post_body in carriers(given):
        (event,) = DIALECT.decode(request, {})

        again = DIALECT.decode(resent(event, method=method, post_body=post_body), {})

        assert [event.facts] == [other.facts for other in again]
        assert [wire_text(event.vendor)] == [wire_text(other.vendor) for other in again]
        assert wire_text(msgspec.json.encode(given)) == wire_text(event.vendor)


@given(signable)
def test_what_is_signed_verifies_whatever_carries_it(given):
    """Query, form and JSON of one event carry the same check_code."""
    codes = set()
    for request, method, post_body in carriers(given):
        (event,) = DIALECT.decode(request, {})
        signed = resent(event, KEY, method=method, post_body=post_body)

        assert DIALECT.verify(signed, [KEY], NOW, {}) != Proof.NONE
        codes.add(check_code(tuple(given.items()), KEY.secret))
    assert len(codes) == 1


@given(signable, st.data(), st.text(min_size=1).filter(lambda value: "|" not in value))
def test_any_changed_signed_value_is_refused(given, data, other):
    """Change, empty, drop or add one value after signing, and the request is refused."""
    name = data.draw(st.sampled_from(sorted(name for name, value in given.items() if value)))
    assume(other != given[name])
    code = {"check_code": check_code(tuple(given.items()), KEY.secret).hex()}
    dropped = {key: value for key, value in given.items() if key != name}
    changes = [given | {name: other}, given | {name: ""}, dropped, given | {"added_by_somebody": other}]

    for changed in changes:
        with pytest.raises(SignatureError):
            DIALECT.verify(get(changed | code), [KEY], NOW, {})


@given(signable, st.binary(min_size=1, max_size=40))
def test_no_other_key_signs_for_ours(given, secret):
    """A check_code of another key is refused."""
    assume(secret != KEY.secret)
    code = check_code(tuple(given.items()), secret).hex()

    with pytest.raises(SignatureError):
        DIALECT.verify(get(given | {"check_code": code}), [KEY], NOW, {})


@given(st.binary(max_size=60), st.sampled_from(["", "event=open&", "event=stop_record&room_id=1&options="]))
def test_any_bytes_are_read_or_refused(body, start):
    """Whatever a stranger posts ends in events or in a named refusal, signed or not."""
    request = Request(method="POST", url="http://hub.test/in", headers=FORM, body=start.encode() + body)

    for keys in ([], [KEY], [Key(kind=KeyKind.TOKEN, secret=b"tk")]):
        refused = None
        try:
            DIALECT.verify(request, keys, NOW, {})
            DIALECT.decode(request, {})
        except (SignatureError, DecodeError) as error:
            refused = error
        assert DIALECT.ack(request, refused).status in (200, 400, 403)


@given(st.sampled_from(["start_time", "stop_time", "options", "resolution"]), st.text(max_size=25))
def test_no_value_of_a_recording_is_too_odd_to_read(name, value):
    """Times and file lists in any words are read or kept, never an error, and never lost in silence."""
    request = get({"event": "stop_record", "room_id": "r", "event_type": "success", name: value})

    (event,) = DIALECT.decode(request, {})

    facts = event.facts
    read = facts.started_at or facts.stopped_at or facts.files or facts.resolution
    assert bool(value and value != "[]") == bool(read or name in event.unmapped)


@given(events)
def test_an_event_from_elsewhere_becomes_requests_that_are_read_again(event):
    """Each request is signed, covered whole, names its room, and has a trace_id of its own."""
    target = endpoint("avd", KEY, method="GET", separator_in_values="accept")
    views = DIALECT.view(event, fill(), target.options)

    traces = set()
    for view in views:
        request = DIALECT.sign(DIALECT.encode([view], target), target, NOW, ENTROPY)
        (again,) = DIALECT.decode(request, {})
        assert DIALECT.verify(request, [KEY], NOW, target.options) == Proof.CONTENT
        assert again.room_id in (event.room_id, None)
        assert again.unmapped == ()
        traces.add(again.dedupe_key)
    assert len(views) == len(traces)
    assert bool(views) <= (event.type in DIALECT.types)


def test_a_secret_never_shows_in_a_refusal():
    """Neither a key nor what was computed with it is in the error."""
    request = get({"event": "open", "room_id": "r1", "trace_id": "t-1", "check_code": "0" * 64})

    with pytest.raises(SignatureError) as caught:
        DIALECT.verify(request, [KEY], NOW, {})

    shown = caught.value.message
    assert "northbound-secret" not in shown
    assert check_code((("event", "open"), ("room_id", "r1"), ("trace_id", "t-1")), KEY.secret).hex() not in shown


def test_the_newest_valid_key_signs():
    """Rotation switches at the new key's moment; both are accepted meanwhile."""
    old = Key(secret=b"old")
    new = Key(secret=b"new", valid_from=NOW)
    target = endpoint("avd", old, new, method="GET")
    request = Request(method="GET", url="http://sink.test/cb?event=open&room_id=r1&trace_id=t-1")

    before = DIALECT.sign(request, target, NOW - timedelta(seconds=1), ENTROPY)
    after = DIALECT.sign(request, target, NOW, ENTROPY)

    assert DIALECT.verify(before, [old], NOW, {}) == Proof.CONTENT
    assert DIALECT.verify(after, [new], NOW, {}) == Proof.CONTENT
    assert DIALECT.verify(after, [old, new], NOW, {}) == Proof.CONTENT


def test_the_same_event_is_sent_the_same_on_every_attempt():
    """A retry has the same trace_id and the same bytes (ruling 31)."""
    joined = Event(type=EventType.PARTICIPANT_JOINED, dialect="elsewhere", room_id="r1", participant_id="u1")
    target = endpoint("avd", KEY, method="GET")

    first, second = (DIALECT.encode(DIALECT.view(joined, fill(), {}), target) for _ in range(2))

    assert DIALECT.sign(first, target, NOW, ENTROPY) == DIALECT.sign(
        second, target, NOW + timedelta(hours=1), b"x" * 32
    )


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_of_a_leave_has_a_word_or_a_reported_loss(reason):
    """A coarse reason is said as the nearest word and reported; a kick is never invented (ruling 1)."""
    left = Event(type=EventType.PARTICIPANT_LEFT, dialect="elsewhere", room_id="r1", participant_id="u1")
    left = msgspec.structs.replace(left, facts=Facts(reason=reason))

    (view,) = DIALECT.view(left, fill(), {})
    (again,) = DIALECT.decode(DIALECT.encode([view], endpoint("avd", method="GET")), {})

    assert (again.facts.reason is reason) == (view.lost == ())
    assert reason is not Reason.INVOLUNTARY or again.facts.reason is Reason.TIMED_OUT


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"release": "2024-07-05"}, "options.release"),
        ({"post_body": "xml"}, "options.post_body"),
        ({"trace_id": "yes"}, "options.trace_id"),
        ({"check_code_encoding": "HEX"}, "options.check_code_encoding"),
        ({"separator_in_values": True}, "options.separator_in_values"),
        ({"relaese": "2024-07-04"}, "options.relaese"),
    ],
)
def test_an_option_that_is_not_one_is_refused_by_name(options, field):
    """Unknown names and values outside the choices name their field."""
    with pytest.raises(InvalidInput) as caught:
        check_options(DIALECT, options)

    assert field == caught.value.field


def test_every_release_is_an_option():
    """The four builds the page tells apart can be chosen."""
    for release in ("before-2023-03-17", "2023-03-17", "2024-03-15", "2024-07-04"):
        check_options(DIALECT, {"release": release})


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, 200), (SignatureError("x"), 403), (DecodeError("x"), 400), (Overloaded("x"), 503), (StoreFailed("x"), 503)],
)
def test_the_answer_by_outcome(error, status):
    """Stored is 200 with code 0; what may be sent again is 503."""
    answer = DIALECT.ack(get({"event": "open", "room_id": "r1"}), error)

    assert status == answer.status
    assert (error is None) == (msgspec.json.decode(answer.body)["code"] == 0)


def test_any_2xx_is_accepted_whatever_the_body():
    """The page asks nothing of the answer, so only the status counts."""
    request = get({"event": "open", "room_id": "r1"})

    assert DIALECT.judge(request, Response(status=204)).accepted
    assert DIALECT.judge(request, Response(status=200, body=b'{"code":7}')).accepted
    assert not DIALECT.judge(request, Response(status=302)).accepted
    assert not DIALECT.judge(request, Response(status=500)).accepted


def test_the_vectors_prove_every_event_both_ways():
    """All 13 events of the page are read, and said from their facts alone."""
    outcomes = [outcome for name, file in load() if file.dialect == "avd" for outcome in run_file(name, file)]

    assert coverage(outcomes)["avd"] == ([(13, 13)], [(13, 13)])
