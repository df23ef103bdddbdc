"""The guarded connection against hostile clients: smuggling shapes, deadlines, caps; deadlines scaled down."""

import asyncio
import contextlib
import os
import socket
import threading
import time
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from serving import CHUNKED, HOST, POST, SHORT, Hub, answer, everything, post, running, statuses

from northbound.model.wire import Request, Response
from northbound.web.guard import Limits

# --- shapes: I12, I10 ------------------------------------------------------------------------------------------------

SHAPES = {
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "the same length twice": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": POST + b"Content-Length: +3\r\n\r\nabc",
    "a space before the colon": POST + b"Content-Length : 3\r\n\r\nabc",
    "an endless length": POST + b"Content-Length: 99999999999999999999\r\n\r\nabc",
    "length, then chunked": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked, then length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "transfer identity": POST + b"Transfer-Encoding: identity\r\n\r\nabc",
    "chunked in HTTP/1.0": b"POST /in/s/t HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "bare line feeds": b"POST /in/s/t HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc",
    "one bare line feed": b"POST /in/s/t HTTP/1.1\r\nHost: a\nContent-Length: 3\r\n\r\nabc",
    "a last bare line feed": POST + b"Content-Length: 3\r\n\nabc",
    "a bare carriage return": POST + b"X: a\rb\r\nContent-Length: 3\r\n\r\nabc",
    "a folded header": POST + b"X: a\r\n b\r\nContent-Length: 3\r\n\r\nabc",
    "a header folded by a tab": POST + b"X: a\r\n\tb\r\nContent-Length: 3\r\n\r\nabc",
    "a fold before any header": b"POST /in/s/t HTTP/1.1\r\n Host: a\r\nContent-Length: 3\r\n\r\nabc",
    "a NUL": POST + b"X: a\0b\r\nContent-Length: 3\r\n\r\nabc",
    "a bad chunk size": CHUNKED + b"3\r\nabc\r\nzz\r\n0\r\n\r\n",
    "a chunk size in C's way": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "chunks with line feeds": CHUNKED + b"3\nabc\n0\n\n",
    "a chunk longer than it says": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "an extension with a line feed": CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "a trailer": CHUNKED + b"3\r\nabc\r\n0\r\nX-Late: 1\r\n\r\n",
    "a body longer than its length": post(b"abc") + b"defgh",
    "no host": b"POST /in/s/t HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    "two hosts": POST + b"Host: b\r\nContent-Length: 3\r\n\r\nabc",
    "a host that is none": b"POST /in/s/t HTTP/1.1\r\nHost: a/b@c\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/2.0": b"POST /in/s/t HTTP/2.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/0.9": b"GET /in/s/t\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "raw bytes in the path": b"GET /in/s/\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    "one header of 64 KB": POST + b"X: " + b"a" * 65536 + b"\r\n\r\n",
    "one header of 64 KB without an end": POST + b"X: " + b"a" * 65536,
    "a thousand headers": POST + b"".join(b"X-%d: 1\r\n" % n for n in range(1000)) + b"\r\n",
}


def timed_out(hub: Hub) -> int:
    """Return how many clients the deadlines ended."""
    return sum(count for code, count in hub.server.gate.refusals.items() if code.endswith("_deadline"))


@pytest.mark.parametrize("cut", [False, True], ids=["at once", "in parts"])
@pytest.mark.parametrize("shape", SHAPES)
def test_smuggling_shapes_get_400_and_close(hub, shape, cut):
    said = SHAPES[shape]
    if cut and shape == "a body longer than its length":
        pytest.skip("what comes after an answered request is the next one")
    middle = len(said) // 2
    before = timed_out(hub)

    got = hub.say(said[:middle], said[middle:]) if cut else hub.say(said)

    assert hub.calls == []
    assert statuses(got) == [400]
    assert b"connection: close" in got
    assert timed_out(hub) == before  # its shape was refused; no deadline had to end it


def test_connect_is_refused(hub):
    assert statuses(hub.say(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n\x16\x03")) == [405]


@pytest.mark.parametrize("size", [100_000, 5_000_000])
def test_a_query_of_100_kb_is_too_long(hub, size):
    said = hub.say(b"GET /in/s/t?q=" + b"a" * size + b" HTTP/1.1\r\n" + HOST + b"\r\n")

    assert (statuses(said), hub.calls) == ([414], [])


def test_a_query_of_8_kb_passes(hub):
    said = hub.say(b"GET /in/s/t?q=" + b"a" * 8000 + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")

    assert statuses(said) == [200]


def test_a_header_of_48_mb_is_cut_off_early(hub):
    with hub.connect() as client:
        client.settimeout(2)
        sent = 0
        with contextlib.suppress(OSError):
            client.sendall(POST + b"X: ")
            for _ in range(48):
                client.sendall(b"a" * 1_000_000)
                sent += 1
        got = everything(client)
    assert statuses(got) == [400] or sent < 48
    assert hub.calls == []


def test_garbage_after_an_answered_request_does_not_overtake_its_answer():
    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.1)
        return Response.text(200, "ok")

    with running(handle=slow) as hub:
        assert statuses(hub.say(post(b"abc"), b"garbage\r\n\r\n")) == [200, 400]


def test_too_many_requests_ahead(hub):
    said = hub.say(post(b"x") * 100)

    assert statuses(said)[-1] == 400
    assert b"sent ahead" in said


# --- deadlines: I11 --------------------------------------------------------------------------------------------------


def drip(client: socket.socket, drops: bytes, period: float = 0.05) -> bytes:
    """Send one byte at a time until the server closes; return what it said."""
    client.settimeout(period)
    got = b""
    try:
        for drop in drops:
            with contextlib.suppress(TimeoutError):
                part = client.recv(65536)
                if not part:
                    return got
                got += part
            client.sendall(bytes([drop]))
    except OSError:
        return got
    pytest.fail("the server never closed")


DRIPS = {
    "headers": (b"", POST + b"X-Long: " + b"a" * 500, [408]),
    "blank lines": (b"", b"\r\n" * 200, []),
    "a body": (POST + b"Content-Length: 500\r\n\r\n", b"a" * 500, [408]),
    "chunks": (CHUNKED, b"1\r\na\r\n" * 100, [408]),
    "a trailer": (CHUNKED + b"0\r\nX: ", b"a" * 500, [408]),
    "a body after an early reply": (
        b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n",
        b"a" * 500,
        [404],
    ),
}


@pytest.mark.parametrize("name", DRIPS)
def test_dripping_is_ended_by_the_deadline(hub, name):
    head, drops, expected = DRIPS[name]
    with hub.connect() as client:
        client.sendall(head)

        got = drip(client, drops)  # fails unless the server ends it long before the last drop

    assert (expected, []) == (statuses(got), hub.calls)


SILENCE = {
    "nothing": (b"", []),
    "one byte": (b"P", [408]),
    "half a header": (POST + b"X", [408]),
    "after an answer": (post(b"abc"), [200]),
    "one byte after an answer": (post(b"abc") + b"P", [200, 408]),
}


@pytest.mark.parametrize("name", SILENCE)
def test_silence_is_ended_by_the_deadline(hub, name):
    said, expected = SILENCE[name]
    before = timed_out(hub)

    got = hub.say(said)

    assert expected == statuses(got)
    assert expected.count(408) == timed_out(hub) - before


@pytest.mark.parametrize("said", [b"", b"P", POST + b"X"])
def test_silence_before_the_deadline_ends_nothing(said):
    limits = Limits(header_deadline=timedelta(minutes=9), idle_deadline=timedelta(minutes=9))
    with running(limits) as hub, hub.connect() as client:
        client.sendall(said)
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_idle_connections_are_all_ended_by_the_deadline():
    with running() as hub, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(hub.connect()) for _ in range(300)]
        for client in idle[::2]:
            with contextlib.suppress(OSError):  # a slow machine may have ended it already
                client.sendall(b"POST /in/s")

        assert all(statuses(everything(one)) in ([], [408]) for one in idle)


def calls_beside(idle_count: int) -> int:
    """Return how many functions the server calls for 100 requests of one client beside idle connections."""
    counted = [0]

    def count(frame, event, argument) -> None:
        counted[0] += event in ("call", "c_call")

    threading.setprofile(count)  # of the threads that start from now on: the server's
    try:
        with running(Limits(header_deadline=timedelta(minutes=9))) as hub, contextlib.ExitStack() as stack:
            for number in range(idle_count):
                one = stack.enter_context(hub.connect())
                one.sendall(b"POST /in/s" if number % 2 else b"P")
            client = stack.enter_context(hub.connect())
            client.sendall(post(b"abc"))  # answered after what the idle ones cost when they came
            assert answer(client)[0] == 200
            before = counted[0]
            for _ in range(100):
                client.sendall(post(b"abc"))
                assert answer(client)[0] == 200
            return counted[0] - before
    finally:
        threading.setprofile(None)


def test_idle_connections_do_not_slow_healthy_ones():
    """I11: a request costs the same work however many connections are idle beside it."""
    alone, crowded = calls_beside(0), calls_beside(300)

    assert crowded < 1.5 * alone


def test_a_pipeliner_that_never_reads_is_stopped_and_cut():
    async def large(request: Request) -> Response:
        return Response.text(200, "x" * 20_000)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    with running(handle=large) as hub, hub.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(0.05)
        one = b"GET /in/s/t HTTP/1.1\r\nHost: a\r\n\r\n"
        batch, sent, stopped, before = one * 10, 0, 0, resident()
        deadline = time.monotonic() + 60  # to give up; the server's own is a quarter of a second
        cut = False
        while time.monotonic() < deadline and not cut:
            try:
                rest = batch
                while rest:
                    count = client.send(rest)
                    sent += count
                    rest = rest[count:]
            except TimeoutError:
                stopped += 1
            except OSError:
                cut = True
            time.sleep(0.001)
        assert cut, "the server did not cut a client that never reads"
        assert sent < 8_000_000
        assert resident() - before < 30_000_000
        assert len(hub.calls) * 20_000 < 20_000_000


def test_a_client_that_stops_reading_one_large_answer_is_cut():
    async def large(request: Request) -> Response:
        return Response.text(200, "x" * 20_000_000)

    with running(handle=large) as hub, hub.connect() as client:
        client.sendall(post(b"abc", b"Connection: close"))
        while not hub.calls or hub.server.server_state.connections:
            time.sleep(0.01)

        assert len(everything(client)) < 20_000_000


def test_an_early_reply_closes_though_the_client_stays():
    """Though nothing else would: every other deadline is far away."""
    far = timedelta(minutes=9)
    limits = Limits(linger_deadline=SHORT, body_deadline=far, header_deadline=far, idle_deadline=far)
    with running(limits) as hub, hub.connect() as client:
        client.settimeout(60)
        client.sendall(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nabc")

        assert statuses(everything(client, patient=True)) == [404]
        assert timed_out(hub) == 0


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_pending_work_is_bounded_by_number():
    release = threading.Event()

    async def held(request: Request) -> Response:
        await asyncio.to_thread(release.wait, 60)
        return Response.text(200, "ok")

    with running(Limits(pending_requests=2), handle=held) as hub, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(hub.connect()) for _ in range(2)]
        for client in clients:
            client.sendall(post(b"abc", b"Connection: close"))
        while len(hub.calls) < 2:
            time.sleep(0.005)
        refused = hub.say(post(b"abc", b"Connection: close"))  # while both places are held
        release.set()

        assert statuses(refused) == [503]
        assert b"\r\nretry-after: 1\r\n" in refused
        assert hub.app.refusals == {"overloaded": 1}
        assert [statuses(everything(client)) for client in clients] == [[200], [200]]
        assert statuses(hub.say(post(b"abc", b"Connection: close"))) == [200]
        assert (hub.app.pending, hub.app.pending_bytes) == (0, 0)


def test_vendors_that_do_not_send_again_are_refused_last():
    """I14: near the bound the reserve is theirs, at the bound nobody gets in."""
    release = threading.Event()

    async def held(request: Request) -> Response:
        await asyncio.to_thread(release.wait, 30)
        return Response.text(200, "ok")

    def callback(source: bytes) -> bytes:
        return post(b"abc", b"Connection: close").replace(b"/in/src/", b"/in/%s/" % source)

    limits = Limits(pending_requests=4)
    last = {"reserve": 0.5, "is_refused_last": lambda source_id: source_id == "once"}
    with running(limits, handle=held, **last) as hub, contextlib.ExitStack() as stack:

        def hold(source: bytes) -> socket.socket:
            known = len(hub.calls)
            client = stack.enter_context(hub.connect())
            client.sendall(callback(source))
            while len(hub.calls) == known:
                time.sleep(0.005)
            return client

        taken = [hold(b"again"), hold(b"again")]
        refused = [hub.say(callback(b"again"))]
        taken += [hold(b"once"), hold(b"once")]
        refused += [hub.say(callback(b"once")), hub.say(callback(b"again"))]
        release.set()

        assert [statuses(one) for one in refused] == [[503]] * 3
        assert [statuses(everything(client)) for client in taken] == [[200]] * 4
        assert statuses(hub.say(callback(b"again"))) == [200]


def test_the_reserve_counts_bytes_as_well():
    async def quick(request: Request) -> Response:
        return Response.text(200, "ok")

    limits = Limits(pending_bytes=1000, body_bytes=1000)
    last = {"reserve": 0.5, "is_refused_last": lambda source_id: source_id == "once"}
    with running(limits, handle=quick, **last) as hub:
        big = post(b"a" * 600, b"Connection: close")

        assert statuses(hub.say(big)) == [503]
        assert statuses(hub.say(big.replace(b"/in/src/", b"/in/once/"))) == [200]


def test_pending_work_is_bounded_by_bytes():
    release = threading.Event()

    async def held(request: Request) -> Response:
        await asyncio.to_thread(release.wait, 5)
        return Response.text(200, "ok")

    with running(Limits(pending_bytes=1000, body_bytes=1000), handle=held) as hub, hub.connect() as client:
        client.sendall(post(b"a" * 600, b"Connection: close"))
        while not hub.calls:
            time.sleep(0.005)
        refused = hub.say(post(b"a" * 600, b"Connection: close"))
        release.set()

        assert statuses(refused) == [503]
        assert statuses(everything(client)) == [200]


def test_incomplete_large_bodies_are_bounded_together():
    with running(Limits(reading_bytes=100_000, body_deadline=timedelta(seconds=2))) as hub, hub.connect() as client:
        client.sendall(POST + b"Content-Length: 200000\r\n\r\n" + b"a" * 90_000)
        time.sleep(0.05)

        assert statuses(hub.say(POST + b"Content-Length: 200000\r\n\r\n", b"a" * 90_000)) == [503]
        assert statuses(hub.say(post(b"abc", b"Connection: close"))) == [200]


def test_connections_are_capped_for_one_address_and_freed_again():
    with running(Limits(connections_per_address=3)) as hub, contextlib.ExitStack() as stack:
        held = [stack.enter_context(hub.connect()) for _ in range(3)]
        time.sleep(0.05)
        refused = hub.say(b"")
        held[0].close()
        time.sleep(0.05)
        served = hub.say(post(b"abc", b"Connection: close"))

    assert statuses(refused) == [503]
    assert b"retry-after: 1" in refused
    assert statuses(served) == [200]


def test_connections_are_capped_in_total_though_the_proxy_is_listed():
    trusted = (ip_network("127.0.0.0/8"),)
    limits = Limits(connections_per_address=1, connections=3)
    with running(limits, trusted=trusted) as hub, contextlib.ExitStack() as stack:
        held = [stack.enter_context(hub.connect()) for _ in range(3)]
        for client in held:
            client.sendall(post(b"abc"))
            assert answer(client)[0] == 200
        assert statuses(hub.say(b"")) == [503]
