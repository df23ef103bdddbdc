"""What the intake refuses, keeps, salvages and repeats: with real signatures, over real sockets."""

import json
import re
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from msgspec.structs import replace

from e2e.hub import Hub, send
from e2e.objects import new_app, new_endpoint, new_source, new_subscription, now, steadfast
from e2e.receiver import Receiver, wait_until
from e2e.test_hub_crashes import write_lock
from e2e.vendors import VENDORS, avd, callback, message, notice, room_callback
from northbound.dialects import all_dialects
from northbound.dialects.base import raw
from northbound.model.app import Source
from northbound.model.wire import Key, Request, Response
from northbound.testing.vectors import load

pytestmark = pytest.mark.e2e

KEYS = (Key(secret=b"k3y"),)
FOREIGN = (Key(secret=b"another-app's-key"),)
JSON = (("content-type", "application/json"),)


def set_up(hub: Hub, name: str, dialect: str, **more: Any) -> Source:
    app = new_app(name)
    source = new_source(app, dialect, **{"keys": KEYS, **more})
    hub.set_up(app, source)
    return source


def log_of(hub: Hub, source: Source) -> list[dict[str, Any]]:
    return hub.events(source)


def words_of(dialect: str, room: str = "r") -> dict[str, Any]:
    """A well-formed event that opens a room, or the nearest the wire has."""
    match dialect:
        case "avd":
            return avd("open", room)
        case "mpaas":
            return room_callback(1, room, uid="u1")
        case "aliyun_rtc":
            return message("Open", room)
        case "anyrtc":
            return notice(101, room)
    said = {"meetingName": "m", "meetingUUID": room, "action": "meeting_start", "time": 1700000000000}
    kind = "aliyuncvc:MeetingEvent:MeetingStateEvent"
    return {
        "id": f"id-{time.monotonic_ns()}", "source": "acs.aliyuncvc", "type": kind, "subject": "s",
        "time": "2023-11-14 22:13:20", "data": json.dumps(said),
    }  # fmt: skip


def test_readiness_tells_when_every_process_knows_what_was_set_up(hub: Hub) -> None:
    """Whoever sets something up waits for the version, not for a time."""
    before = hub.api("GET", "/readyz")[1]
    hub.put(new_app("known"))

    def told() -> Any:
        now_ = hub.api("GET", "/readyz")[1]
        seen = {one["registry"] for one in now_["processes"].values()}
        return now_ if seen == {now_["registry"]} else None

    wait_until(told, 20, "every process to know it")
    assert told()["registry"] > before["registry"]
    assert set(before["processes"]) == {"intake", "delivery"}


# --- who may not send ------------------------------------------------------------------------------------------------


def test_a_wrong_address_is_not_found(hub: Hub) -> None:
    """I1: unknown source, wrong token, part of the token, another source's: one answer, and nothing is kept."""
    source = set_up(hub, "address", "avd", keys=())
    other = set_up(hub, "address-other", "avd", keys=())
    good = hub.intake_url(source)
    wrong = [
        good.replace(source.id, "src_nobody"),
        good + "x",
        good[:-1],
        good.replace(source.token, other.token),
        good.replace(source.token, source.token.upper()),
    ]

    answers = [send(Request(method="GET", url=f"{url}?event=open&room_id=r&trace_id=t")) for url in wrong]

    assert [404] * len(wrong) == [one.status for one in answers]
    assert len({one.body for one in answers}) == 1
    assert (log_of(hub, source), hub.quarantine(source)) == ([], [])
    assert 'northbound_intake_refused_total{reason="unknown_source"}' in metrics(hub)


def test_every_metric_that_is_shown_is_on_its_page(hub: Hub) -> None:
    """What a running hub shows is what the page on metrics lists, of all three processes."""
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()

    shown = re.findall(r"^# TYPE (northbound_\w+) (\w+)$", metrics(hub), re.MULTILINE)

    listed = re.findall(r"^\| `(northbound_\w+)` \| (\w+) \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(one for one in shown if not one[0].endswith("_created"))


def test_a_disabled_source_is_not_found(hub: Hub) -> None:
    """A source that is switched off looks like none."""
    source = set_up(hub, "off-source", "avd", state="disabled")

    assert hub.post(callback(hub, source, avd("open", "r"))).status == 404
    assert log_of(hub, source) == []


@pytest.mark.parametrize("dialect", ["avd", "mpaas", "aliyun_rtc", "anyrtc"])
def test_a_wrong_signature_is_refused_in_the_wires_own_words(hub: Hub, dialect: str) -> None:
    """I1: missing or another app's signature: refused as the vendor's customer would, never logged, sampled."""
    source = set_up(hub, f"signed-{dialect}", dialect)
    words = words_of(dialect)
    unsigned, foreign = (callback(hub, source, words, keys=keys) for keys in ((), FOREIGN))

    answers = [hub.post(one) for one in (unsigned, foreign)]

    spoken = all_dialects()[dialect]
    assert [one.status for one in answers] == [403, 403]
    assert not any(spoken.judge(unsigned, one).accepted for one in answers)
    assert log_of(hub, source) == []
    assert [code for code, *_ in hub.quarantine(source)] == ["signature", "signature"]
    if dialect == "mpaas":
        assert [words["bizRequestId"]] * 2 == [json.loads(one.body)["bizRequestId"] for one in answers]
    assert f'northbound_intake_requests_total{{result="signature",source="{source.id}"}} 2.0' in metrics(hub)
    assert hub.post(callback(hub, source, words)).status == 200


def test_the_apps_key_verifies_where_the_source_has_none(hub: Hub) -> None:
    """Ruling 6: the AppKey is what this wire signs with; a key of the source's own takes its place."""
    source = set_up(hub, "app-key", "aliyun_rtc", keys=())
    own = set_up(hub, "app-key-own", "aliyun_rtc")
    app_keys = (Key(secret=b"app-key-of-app-key"),)
    tried = [(source, app_keys), (source, ()), (source, FOREIGN), (own, KEYS), (own, app_keys)]

    statuses = [hub.post(callback(hub, one, words_of("aliyun_rtc"), keys=keys)).status for one, keys in tried]

    assert statuses == [200, 403, 403, 200, 403]
    assert [one["proof"] for one in log_of(hub, source)] == ["sender"]


def test_what_a_client_says_in_host_changes_nothing(hub: Hub) -> None:
    """Ruling 7: without a public URL the listen address is what was told; a signature for another domain is none."""
    source = set_up(hub, "forged-host", "aliyun_rtc")
    good = callback(hub, source, words_of("aliyun_rtc"))
    elsewhere = replace(good, url=good.url.replace("127.0.0.1", "evil.test"))
    endpoint = new_endpoint(new_app("x"), "aliyun_rtc", elsewhere.url, keys=KEYS)
    forged = all_dialects()["aliyun_rtc"].sign(elsewhere, endpoint, now(), b"")
    address = good.url.split("/")[2]

    told = hub.post(good.adding(("host", "evil.test"), ("x-forwarded-host", "evil.test")))
    other = hub.post(replace(forged, url=good.url).adding(("host", f"evil.test:{address.rpartition(':')[2]}")))

    assert (told.status, other.status) == (200, 403)
    assert "for the callback domain 127.0.0.1;" in json.loads(other.body)["message"]
    (receipt,) = hub.rows("events", "SELECT url FROM receipts WHERE source_id = ?", source.id)
    assert hub.intake_url(source) == receipt[0]


def test_a_certificate_from_elsewhere_is_not_fetched(hub: Hub, receiver: Receiver) -> None:
    """I6: a signature that names a foreign or look-alike place for its certificate is refused without asking there."""
    source = set_up(hub, "lookalike", "aliyun_cvc", keys=(), options={"certificate_urls": "cert.example.com"})
    url = receiver.url("standard-certificate")
    headers = (
        ("x-eventbridge-signature-url", url),
        ("x-eventbridge-signature-timestamp", str(int(time.time() * 1000))),
    )
    request = callback(hub, source, words_of("aliyun_cvc"), keys=())

    response = hub.post(request.adding(*headers, ("x-eventbridge-signature-v2", "AAAA")))

    assert response.status == 403
    assert receiver.at("standard-certificate") == []
    assert log_of(hub, source) == []


# --- repeats and conflicts -------------------------------------------------------------------------------------------


def test_a_second_body_under_the_same_id_is_a_conflict(hub: Hub) -> None:
    """I17: the first is kept, the second quarantined with an alarm; a repeat with new fresh fields is none."""
    source = set_up(hub, "conflict", "anyrtc")
    words = notice(103, "r", uid=1, platform=7, uSId="us")
    changed = {**words, "payload": {**words["payload"], "uid": 2}}

    statuses = [hub.post(callback(hub, source, one)).status for one in (words, words, changed)]

    assert statuses == [200] * 3
    assert [one["participant_id"] for one in log_of(hub, source)] == ["1"]
    assert [code for code, *_ in hub.quarantine(source)] == ["conflict"]
    assert "intake.conflict" in alarms(hub, source)


def test_another_body_under_one_header_set_is_graded_and_with_the_same_id_alarms(hub: Hub) -> None:
    """I3: this wire does not sign the body; what it proves is the sender, and a known id with other words alarms."""
    source = set_up(hub, "unsigned-body", "aliyun_rtc")
    words = message("Join", "r", "u1")
    first = callback(hub, source, words)
    other = raw({**words, "Contents": message("Join", "r", "u2")["Contents"]})
    fresh = raw({**message("Join", "r", "u3"), "MsgTimestamp": 1})

    statuses = [hub.post(replace(first, body=body)).status for body in (first.body, bytes(other), bytes(fresh))]

    assert statuses == [200] * 3
    assert [(one["participant_id"], one["proof"]) for one in log_of(hub, source)] == [
        ("u1", "sender"),
        ("u3", "sender"),
    ]
    assert [code for code, *_ in hub.quarantine(source)] == ["conflict"]
    assert "intake.conflict" in alarms(hub, source)
    assert told_alarms(hub, source, 2) == {"id_conflict": 1, "two_bodies": 1}  # u3's is another message of one second


def test_a_captured_request_sent_again(hub: Hub) -> None:
    """I2, I5: with an id it is a repeat; without, a second graded entry and the same room."""
    named = set_up(hub, "again", "avd")
    nameless = set_up(hub, "again-nameless", "avd", options={"trace_id": False})
    join = callback(hub, nameless, avd("join", "r", "u", trace_id=None))

    for request in (callback(hub, named, avd("join", "r", "u")), join):
        assert [hub.post(request).status for _ in range(2)] == [200, 200]
    hub.wait_idle()

    assert len(log_of(hub, named)) == 1
    assert [one["proof"] for one in log_of(hub, nameless)] == ["content", "content"]
    rooms = [hub.room(source, "r") for source in (named, nameless)]
    assert [list(room["participants"]) for room in rooms if room] == [["u"], ["u"]]
    assert [room["stays"] for room in rooms if room] == [1, 1]


# --- what is not as expected -----------------------------------------------------------------------------------------


def test_the_unknown_is_kept(hub: Hub, receiver: Receiver) -> None:
    """I15: unknown event, new field, changed type: stored, in the room's order, and said as unknown."""
    app = new_app("unknown")
    source = new_source(app, "avd", keys=KEYS)
    endpoint = new_endpoint(app, "standard", receiver.url("standard-unknown"), retry=steadfast())
    hub.set_up(app, source, endpoint, new_subscription(app, endpoint, pattern='{"type":[{"exists":true}]}'))

    for words in (
        avd("teleport", "r", "u"),
        avd("join", "r", "u", mood="good"),
        avd("join", "r", "v", endpoint_type="7"),
    ):
        assert hub.post(callback(hub, source, words)).status == 200
    hub.wait_idle()

    log = log_of(hub, source)
    assert [one["type"] for one in log] == ["unknown", "participant.joined", "participant.joined"]
    assert [one.get("unmapped") if n else None for n, one in enumerate(log)] == [None, ["mood"], ["endpoint_type"]]
    assert told_alarms(hub, source, 2) == {"unknown_event": 1, "unknown_field": 1}
    assert log[1]["proof"] == "sender"  # a name that the page does not list may hide a moved value
    room = hub.room(source, "r")
    assert room is not None
    assert (list(room["participants"]), room["seq"]) == (["u", "v"], 3)
    assert [one.seq for one in receiver.firsts("standard-unknown")] == [1, 2, 3]


def test_a_vendors_test_message_is_answered_and_no_event(hub: Hub) -> None:
    """I16: the health notice gets its answer, and no room hears of it."""
    source = set_up(hub, "ping", "anyrtc")
    ping = {"noticeId": "n", "productId": 1, "eventType": 10, "payload": {}}

    response = hub.post(callback(hub, source, ping))

    assert response.status == 200
    assert json.loads(response.body)["code"] == 0
    assert (log_of(hub, source), hub.quarantine(source)) == ([], [])


def test_a_label_that_contradicts_the_body_does_not_matter(hub: Hub) -> None:
    """I7: the dialect reads the body; the signature is over its bytes."""
    source = set_up(hub, "label", "mpaas")
    request = callback(hub, source, words_of("mpaas"))

    response = hub.post(request.adding(("content-type", "application/x-www-form-urlencoded")))

    assert response.status == 200
    assert [one["proof"] for one in log_of(hub, source)] == ["content"]


NASTY = {
    "repeated key": b'1,"zz":2',
    "not a number": b"NaN",
    "infinite": b"1e400",
    "beyond 2^53": b"90071992547409931234567890",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "lone surrogate": b'"\\ud800"',
    "NUL": b'"\\u0000"',
    "raw NUL": b'"\x00"',
    "not UTF-8": b'"\xff\xfe"',
}
WHOLE = {
    "empty": b"",
    "text": b"hello",
    "array": b"[]",
    "number": b"7",
    "object": b"{}",
    "cut short": b'{"event":',
    "zeros": b"\x00" * 64,
    "percent": b"%zz=%",
}


@pytest.fixture(scope="module")
def open_sources(hub: Hub) -> dict[str, Source]:
    """Sources without keys, so that every body reaches the dialect."""
    app = new_app("malformed")
    unsigned = {"aliyun_rtc": {"options": {"unsigned": "accept"}}}  # an app's wire verifies by the app's key else
    names = (*VENDORS, "standard", "janus")
    sources = {name: new_source(app, name, name=f"open-{name}", **unsigned.get(name, {})) for name in names}
    hub.set_up(app, *sources.values())
    return sources


@pytest.mark.parametrize("dialect", [*VENDORS, "standard", "janus"])
def test_malformed_bodies_have_a_defined_answer(hub: Hub, open_sources: dict[str, Source], dialect: str) -> None:
    """I8, I9: 4xx in the wire's own words and a sample with the exact bytes; never a server error, never dropped."""
    source = open_sources[dialect]
    bodies = {name: well_formed(dialect)[:-1] + b',"zz":' + value + b"}" for name, value in NASTY.items()} | WHOLE
    bodies |= {"trailing bytes": well_formed(dialect) + b"}", "two objects": well_formed(dialect) * 2}
    quarantined: list[bytes] = []

    for name, body in bodies.items():
        before = len(hub.quarantine(source))
        response = hub.post(Request(method="POST", url=hub.intake_url(source), headers=JSON, body=body), seconds=1)
        assert response.status in (200, 400), (name, response)
        kept = hub.quarantine(source)[before:]
        if response.status == 400:
            assert [("malformed", body)] == [(code, content) for code, _, content in kept], name
            quarantined.append(body)
        else:
            assert kept == [], name

    assert len(quarantined) >= 12
    for entry in log_of(hub, source):
        json.dumps(entry)  # what was taken can be said again


def well_formed(dialect: str) -> bytes:
    words = words_of(dialect) if dialect in VENDORS else {"type": 1, "event": {}}
    return json.dumps(words).encode()


@pytest.mark.parametrize("name", ["beyond 2^53", "byte-order mark"])
def test_odd_and_valid_bodies_keep_their_bytes(hub: Hub, name: str) -> None:
    """I8: an integer of any size and a byte-order mark are no error; the number leaves as it came."""
    source = set_up(hub, f"odd-{len(name)}", "mpaas")
    body = raw({**words_of("mpaas"), "big": msgspec.Raw(b"90071992547409931234567890")})
    request = callback(hub, source, body)
    if name != "beyond 2^53":
        marked = Request(method="POST", url=request.url, headers=JSON, body=b"\xef\xbb\xbf" + bytes(body))
        signed = all_dialects()["mpaas"].sign(
            marked, new_endpoint(new_app("x"), "mpaas", request.url, keys=KEYS), now(), b""
        )
        request = signed

    assert hub.post(request).status == 200

    (receipt,) = hub.rows("events", "SELECT body FROM receipts WHERE source_id = ?", source.id)
    assert request.body == receipt[0]
    (words,) = hub.rows("events", "SELECT event FROM log WHERE source_id = ?", source.id)
    assert b"90071992547409931234567890" in words[0]


def test_the_pages_own_sample_is_salvaged(hub: Hub) -> None:
    """I9: a body that is not JSON as a whole is repaired as ruled and graded so."""
    source = set_up(hub, "salvage", "aliyun_cvc", keys=())
    sample = next(
        case.request.request()
        for _, file in load()
        for case in file.cases
        if file.dialect == "aliyun_cvc" and "ruling-11" in case.flags and case.request and case.result == "valid"
    )

    response = hub.post(replace(sample, url=hub.intake_url(source)))

    assert response.status == 200
    assert [one["facts"]["salvaged"] for one in log_of(hub, source)] == [True]


def test_a_query_that_is_no_query(hub: Hub) -> None:
    """I13: bad percent-encoding, bytes that are no UTF-8, a query of 100 KB: 4xx, and nothing of it in the log."""
    source = set_up(hub, "query", "avd", keys=())
    queries = [
        "event=open&room_id=%zz",
        "event=open&room_id=%ff%fe",
        "event=open&room_id=r&event=close",
        "x=" + "y" * 100_000,
    ]

    statuses = [send(Request(method="GET", url=f"{hub.intake_url(source)}?{one}")).status for one in queries]

    assert statuses[:3] == [400, 400, 400]
    assert 400 <= statuses[3] < 500
    assert log_of(hub, source) == []


# --- too much --------------------------------------------------------------------------------------------------------


def test_an_overloaded_intake_says_when_to_come_back(receiver: Receiver, tmp_path: Path) -> None:
    """I14: what cannot be stored in time or at once is refused with Retry-After; what was answered 2xx is stored."""
    with Hub(tmp_path / "data", allow_targets=[receiver.address], pending_requests=3) as hub:
        app = new_app("burst")
        patient = new_source(app, "avd", keys=KEYS, name="patient")
        hasty = replace(new_source(app, "avd", keys=KEYS, name="hasty"), ack_budget=timedelta(milliseconds=200))
        hub.put(app, patient, hasty)
        hub.start()

        assert hub.post(callback(hub, hasty, avd("open", "before"))).status == 200
        hub.wait_idle()
        with write_lock(hub.folder.events):
            late = send(callback(hub, hasty, avd("open", "r")))
            crowd = Crowd([callback(hub, patient, avd("open", f"r{number}")) for number in range(12)])
            time.sleep(0.7)
        answers = crowd.answers()

        refused = [one for one in answers if one.status == 503]
        assert (late.status, late.header("retry-after")) == (503, "1")
        assert {200, 503} == {one.status for one in answers}
        assert {"1"} == {one.header("retry-after") for one in refused}
        assert len(refused) >= 8
        assert 'northbound_intake_refused_total{reason="overloaded"}' in metrics(hub)
        stored = [one["room_id"] for one in log_of(hub, patient)]
        assert len(stored) == len(set(stored)) == len(answers) - len(refused)
        assert hub.post(callback(hub, patient, avd("open", "after"))).status == 200
        wait_until(lambda: suspect(hub, hasty, "before"), 10, "the room to be suspect")
        assert suspect(hub, patient, "after") is None

        def is_heard_of() -> bool:  # a machine that is slow again may miss the budget once more
            hub.post(callback(hub, hasty, avd("join", "before", "u")))
            hub.wait_idle()
            return suspect(hub, hasty, "before") is None

        wait_until(is_heard_of, 20, "the room to be heard of")


def suspect(hub: Hub, source: Source, room_id: str) -> Any:
    """Return what the API says of a room being behind (ruling 5); None also while it is not folded."""
    return hub.api("GET", f"/api/v1/rooms/{quote(f'{source.id}//{room_id}', safe='')}")[1].get("suspect")


class Crowd:
    """Callbacks that are sent all at once."""

    def __init__(self, requests: list[Request]) -> None:
        self._answers: list[Response] = []
        self._threads = [threading.Thread(target=self._send, args=(one,)) for one in requests]
        for one in self._threads:
            one.start()

    def _send(self, request: Request) -> None:
        self._answers.append(send(request))

    def answers(self) -> list[Response]:
        for one in self._threads:
            one.join(20)
        return self._answers


def metrics(hub: Hub) -> str:
    return hub.api("GET", "/metrics")[1]


def told_alarms(hub: Hub, source: Source, count: int) -> dict[str, int]:
    """Return what the API lists of the source by kind, once there are *count*: they are stored once a second."""

    def listed() -> list[Any]:
        items = hub.api("GET", f"/api/v1/alarms?source_id={source.id}")[1]["items"]
        return items if len(items) >= count else []

    wait_until(listed, 10, f"{count} alarms")
    return {one["kind"]: one["count"] for one in listed()}


def alarms(hub: Hub, source: Source) -> str:
    """Return the lines of the intake's log at error level that name the source."""
    lines = [line for line in hub.logs("intake").splitlines() if line.startswith("{")]
    return "\n".join(
        line for line in lines if (said := json.loads(line))["level"] == "error" and said.get("source") == source.id
    )
