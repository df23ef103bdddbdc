"""The receiver: what counts as verified, what is out of order, and how it fails on purpose."""

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from running import sink_beside

from northbound.cli.saying import APP, endpoint_at
from northbound.dialects import dialect_named
from northbound.model.delivery import Fill
from northbound.model.errors import ConfigError, InvalidInput
from northbound.model.event import Event, EventType
from northbound.model.wire import Key, Request
from northbound.testing.sink import Failing, Mount, Sink, strict_options

KEY = Key(secret=b"k3y")


def callback(
    url: str,
    seq: int,
    prev: int | None,
    *,
    key: Key | None = KEY,
    attempt: int = 1,
    room: str = "r",
    history: str | None = None,
) -> Request:
    """Return a delivery as the hub sends it."""
    dialect = dialect_named("mpaas")
    event = Event(type=EventType.PARTICIPANT_JOINED, dialect="elsewhere", room_id=room, participant_id="u")
    fill = Fill(event_id=f"ev_{room}_{seq}", recorded_at=datetime.now(UTC), app=APP)
    endpoint = endpoint_at(url, dialect, options={}, keys=() if key is None else (key,))
    (view,) = dialect.view(event, fill, {})
    request = dialect.encode([view], endpoint).adding(
        ("northbound-delivery", f"dl_{history}_{room}_{seq}"),
        ("northbound-attempt", str(attempt)),
        ("northbound-seq", str(seq)),
        ("northbound-prev", "" if prev is None else str(prev)),
    )
    if history is not None:
        request = request.adding(("northbound-room", history))
    return dialect.sign(request, endpoint, datetime.now(UTC), bytes(32))


def post(receiver: Sink, request: Request) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)
    try:
        path = request.url.removeprefix(receiver.url) or "/"
        connection.request(request.method, path, body=request.body, headers=dict(request.headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


MOUNT = Mount(path="/m", dialect="mpaas", keys=(KEY,))


def test_signed_decoded_and_in_order_is_verified() -> None:
    with sink_beside(MOUNT) as receiver:
        url = f"{receiver.url}/m"
        statuses = [post(receiver, callback(url, seq, seq - 1 or None))[0] for seq in (1, 2, 3)]

    tally = receiver.tallies["/m"]
    assert statuses == [200, 200, 200]
    assert (tally.first, tally.verified, tally.late, tally.gaps) == (3, 3, 0, 0)
    assert [one.seq for one in receiver.firsts["/m"]["r"]] == [1, 2, 3]


@pytest.mark.parametrize("key", [None, Key(secret=b"other")])
def test_unsigned_and_wrongly_signed_is_refused_in_the_wires_style(key: Key | None) -> None:
    with sink_beside(MOUNT) as receiver:
        status, body = post(receiver, callback(f"{receiver.url}/m", 1, None, key=key))

    assert status == 403
    assert json.loads(body)["error"] == "signature"
    assert (receiver.tallies["/m"].verified, receiver.tallies["/m"].refused) == (0, 1)


def test_without_a_key_nothing_counts_as_verified() -> None:
    """A dialect accepts everything when it has no key; the receiver does not call that verified."""
    strict = Mount(path="/strict", dialect="mpaas")
    lax = Mount(path="/lax", dialect="mpaas", is_checked=False)
    with sink_beside(strict, lax) as receiver:
        refused, _ = post(receiver, callback(f"{receiver.url}/strict", 1, None))
        taken, _ = post(receiver, callback(f"{receiver.url}/lax", 1, None))

    assert (refused, taken) == (403, 200)
    assert [tally.verified for tally in receiver.tallies.values()] == [0, 0]


def test_a_wire_signed_by_certificate_must_be_signed() -> None:
    """A token alone is no signature."""
    dialect = dialect_named("aliyun_cvc")

    options = strict_options(dialect, "http://127.0.0.1:7070/certs/callback.pem")

    assert options == {"require_signature": True, "certificate_urls": "http://127.0.0.1:7070/certs/callback.pem"}


def test_a_try_again_is_no_first_arrival() -> None:
    with sink_beside(MOUNT) as receiver:
        url = f"{receiver.url}/m"
        for seq, attempt in ((1, 1), (2, 1), (1, 2)):
            post(receiver, callback(url, seq, seq - 1 or None, attempt=attempt))

    tally = receiver.tallies["/m"]
    assert (tally.requests, tally.first, tally.again, tally.late) == (3, 2, 1, 0)


def test_late_and_missing_places_are_seen_per_room() -> None:
    with sink_beside(MOUNT) as receiver:
        url = f"{receiver.url}/m"
        for room, seq, prev in (("a", 1, None), ("b", 1, None), ("a", 3, 2), ("a", 2, 1)):
            post(receiver, callback(url, seq, prev, room=room))

    tally = receiver.tallies["/m"]
    assert (tally.gaps, tally.late) == (1, 1)
    assert [one.order for one in receiver.last if one.order] == ["gap", "late"]


def test_rooms_of_one_name_at_two_sources_count_apart() -> None:
    """By `northbound-room`: neither the jump nor the step back is one, and a real gap is still seen."""
    with sink_beside(MOUNT) as receiver:
        url = f"{receiver.url}/m"
        for history, seq, prev in (("aa", 7, 6), ("bb", 1, None), ("aa", 8, 7), ("bb", 2, 1), ("bb", 4, 3)):
            post(receiver, callback(url, seq, prev, history=history))

    assert [(one.history, one.seq) for one in receiver.last if one.order == "gap"] == [("bb", 4)]
    assert receiver.tallies["/m"].late == 0


def test_it_fails_as_told_and_only_as_often() -> None:
    with sink_beside(MOUNT, failing=Failing(mode="500", times=1)) as receiver:
        url = f"{receiver.url}/m"
        statuses = [post(receiver, callback(url, 1, None, attempt=attempt))[0] for attempt in (1, 2)]

    assert statuses == [500, 200]


def test_it_can_hang_up_instead_of_answering() -> None:
    with (
        sink_beside(MOUNT, failing=Failing(mode="close")) as receiver,
        pytest.raises((http.client.RemoteDisconnected, ConnectionError)),
    ):
        post(receiver, callback(f"{receiver.url}/m", 1, None))


def test_ways_to_fail_are_checked() -> None:
    for mode in ("0", "99", "600", "maybe", "５００"):
        with pytest.raises(InvalidInput):
            Failing(mode=mode)


def test_summary_and_unknown_paths() -> None:
    with sink_beside(MOUNT) as receiver:
        status, summary = post(receiver, Request(method="GET", url=f"{receiver.url}/summary"))
        unknown, said = post(receiver, Request(method="POST", url=f"{receiver.url}/x"))

    assert (status, json.loads(summary)["paths"]["/m"]["dialect"]) == (200, "mpaas")
    assert unknown == 404
    assert "/m" in json.loads(said)["message"]


def test_what_is_no_http_is_answered_and_survived() -> None:
    async def scenario() -> None:
        async with Sink((MOUNT,)) as receiver:
            reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
            writer.write(b"\x16\x03\x01nonsense\r\n\r\n")
            answer = await reader.read(4096)
            writer.close()
            assert answer.startswith(b"HTTP/1.1 400")

    asyncio.run(scenario())


def test_a_taken_port_is_said_with_its_option() -> None:
    async def scenario() -> None:
        async with Sink() as first:
            with pytest.raises(ConfigError, match="choose another port"):
                await Sink(port=first.port).__aenter__()

    asyncio.run(scenario())


def test_the_command_prints_each_arrival_and_ends_on_a_signal() -> None:
    """A real process, a real signal, lines of JSON."""
    command = [sys.executable, "-m", "northbound.cli", "sink", "--port", "0", "--dialect", "mpaas", "--secret", "k3y"]
    process = subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, text=True, env=os.environ | {"NO_COLOR": "1"}
    )
    assert process.stdout is not None
    try:
        url = json.loads(process.stdout.readline())["listening"]
        request = callback(url, 1, None)
        connection = http.client.HTTPConnection("127.0.0.1", int(url.rpartition(":")[2].rstrip("/")), timeout=10)
        connection.request("POST", "/", body=request.body, headers=dict(request.headers))
        assert connection.getresponse().status == 200
        connection.close()
        arrival = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        summary = json.loads(process.stdout.readline())
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()

    assert (arrival["verified"], arrival["kinds"], arrival["room"]) == (True, ["room/2"], "r")
    assert summary["summary"]["/"]["verified"] == 1
