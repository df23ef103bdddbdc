"""The outgoing client on the wire: what is sent, what comes back, and how a request ends (D8, D9, D13, D18)."""

import asyncio
import re
import threading
import time
from datetime import timedelta

import pytest

from bad_peer import BadPeer
from northbound import __version__
from northbound.backends.curl import CurlSender
from northbound.model.delivery import FailureKind
from northbound.model.wire import Request
from sending import LONG, LOOPBACK, SHORT, ask, count_descriptors, failure, post, response, run, sending

# --- the plain way ----------------------------------------------------------------------------------------------------


def test_answer_comes_back_whole():
    """Status, headers, body, address and times of a good answer are all there."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            exchange = await ask(sender, post(peer.url("ok")))

            answer = response(exchange)
            assert (answer.status, answer.body) == (200, b"ok")
            assert answer.header("content-type") == "text/plain"
            assert f"127.0.0.1:{peer.port}" == exchange.address
            assert 0 <= exchange.duration_ms < 2_000
            assert exchange.started_at.tzinfo is not None

    run(scenario)


def test_request_is_on_the_wire_as_told():
    """Nothing is added but what HTTP needs; headers keep their order, case and empty values."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            await ask(sender, post(peer.url("ok") + "?a=%0d%0a&b=+", ("X-B", "1"), ("x-a", ""), ("X-C", "caf\xe9")))

            (received,) = peer.received
            assert (received.method, received.target, received.body) == ("POST", "/ok?a=%0d%0a&b=+", b'{"a":1}')
            assert [
                ("Host", f"127.0.0.1:{peer.port}"),
                ("User-Agent", f"northbound/{__version__}"),
                ("Accept", "*/*"),
                ("X-B", "1"),
                ("x-a", ""),
                ("X-C", "caf\xe9"),
                ("Content-Length", "7"),
            ] == received.headers

    run(scenario)


@pytest.mark.parametrize(
    ("method", "body"),
    [("GET", b""), ("POST", b""), ("POST", b"a\0b"), ("PUT", b"x"), ("PATCH", b"x"), ("DELETE", b""), ("GET", b"q")],
)
def test_method_and_body_follow_the_request(method, body):
    """Handles are used again in any order of methods, and each request goes out as it is."""

    async def scenario():
        async with BadPeer() as peer, sending(max_connections=1) as sender:
            for _ in range(2):
                await ask(sender, Request(method=method, url=peer.url("echo"), body=body))
                await ask(sender, post(peer.url("echo")))

            assert [(method, body), ("POST", b'{"a":1}')] * 2 == [(r.method, r.body) for r in peer.received]

    run(scenario)


def test_long_body_is_sent_without_asking_first():
    """A body of a megabyte goes out at once: no Expect header."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            await ask(sender, post(peer.url("ok"), body=b"x" * 2**20))

            assert peer.received[0].header("expect") is None
            assert len(peer.received[0].body) == 2**20

    run(scenario)


def test_connection_is_kept_and_used_again():
    """One request after the other takes one connection."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            for _ in range(20):
                response(await ask(sender, post(peer.url("ok"))))

            assert peer.connections == 1

    run(scenario)


def test_interim_answers_are_skipped():
    """Only the final answer's status and headers count."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            answer = response(await ask(sender, post(peer.url("interim"))))

            assert (answer.status, answer.header("x-final"), answer.header("link")) == (202, "yes", None)

    run(scenario)


def test_environment_has_no_influence(monkeypatch):
    """Proxy variables of the environment are not for us."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            assert response(await ask(sender, post(peer.url("ok")))).status == 200

    run(scenario)


def test_many_at_once_all_end_in_one_thread():
    """Two hundred requests through eight connections all succeed, and each is sent once."""

    async def scenario():
        async with BadPeer() as peer, sending(max_connections=8) as sender:
            requests = [post(peer.url("echo"), body=str(number).encode()) for number in range(200)]
            exchanges = await asyncio.gather(*(ask(sender, request) for request in requests))

            assert [request.body for request in requests] == [response(exchange).body for exchange in exchanges]
            assert len(peer.received) == 200
            assert peer.connections <= 8
            assert sender.in_flight == 0

    run(scenario)


def test_callbacks_run_in_the_loop_thread_and_may_submit():
    """`on_done` may send the next request; an error in it harms no other request."""

    async def scenario():
        seen, errors, done = [], [], asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
        async with BadPeer() as peer, sending() as sender:

            def on_done(exchange):
                seen.append((response(exchange).status, threading.current_thread()))
                if len(seen) < 3:
                    sender.submit(post(peer.url("ok")), deadline=LONG, on_done=on_done)
                    raise RuntimeError("ours")
                done.set()

            sender.submit(post(peer.url("ok")), deadline=LONG, on_done=on_done, tag="t")
            await done.wait()

        assert [(200, threading.main_thread())] * 3 == seen
        assert [str(error) for error in errors] == ["ours", "ours"]

    run(scenario)


# --- D8, D9: answers that are passed on -------------------------------------------------------------------------------


@pytest.mark.parametrize("after", ["120", "-5", "99999999999999999999", "soon", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_retry_after_is_passed_on_as_it_came(after):
    """D8: the header is for logic to clamp; the client hands it over whole."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            answer = response(await ask(sender, post(peer.url("429") + "?" + after.replace(" ", "%20"))))

            assert (429, after) == (answer.status, answer.header("retry-after"))

    run(scenario)


@pytest.mark.parametrize("status", [204, 304, 410, 500])
def test_every_status_is_an_answer(status):
    """D9: judging a status is the dialect's."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            mode = "410" if status == 410 else f"status?{status}"
            answer = await ask(sender, post(peer.url(mode)), LONG)

            assert status == response(answer).status

    run(scenario)


# --- D18: injection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        ("x-room", "a\r\nX-Injected: yes"),
        ("x-room", "a\nb"),
        ("x-room", "a\x00b"),
        ("x-room", "a\x7fb"),
        ("x-room", "房间"),
        ("x-room\r\nX-Injected", "yes"),
        ("x room", "a"),
        ("x-room:", "a"),
        ("", "a"),
        ("Transfer-Encoding", "chunked"),
        ("content-length", "3"),
        ("Host", "other.example"),
    ],
)
def test_header_that_could_inject_is_refused_before_sending(header):
    """D18: nothing is sent, and a value, which may be a secret, is not repeated."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            outcome = failure(await ask(sender, post(peer.url("ok"), header)))

            assert outcome.kind == FailureKind.PROTOCOL
            assert "Injected: yes" not in outcome.message
            assert peer.connections == 0

    run(scenario)


@pytest.mark.parametrize("method", ["GET / HTTP/1.1\r\nX:", "CONNECT", "get", ""])
def test_method_is_one_of_a_few(method):
    """D18: a method cannot carry a second request."""

    async def scenario():
        async with sending() as sender:
            exchange = await ask(sender, Request(method=method, url="http://127.0.0.1:9/"))

            assert failure(exchange).kind == FailureKind.PROTOCOL

    run(scenario)


# --- limits and endings -----------------------------------------------------------------------------------------------


def test_waiting_for_a_connection_counts_for_the_deadline_and_is_not_charged():
    """A request that never got a connection failed on our side."""

    async def scenario():
        async with BadPeer() as peer, sending(max_connections=1) as sender:
            hanging = asyncio.ensure_future(ask(sender, post(peer.url("hang")), timedelta(seconds=1)))
            await asyncio.sleep(0)
            start = time.monotonic()
            outcome = failure(await ask(sender, post(peer.url("ok")), SHORT))

            assert time.monotonic() - start < 0.6
            assert (outcome.kind, outcome.chargeable) == (FailureKind.TIMEOUT, False)
            assert failure(await hanging).chargeable
            assert response(await ask(sender, post(peer.url("ok")))).status == 200

    run(scenario)


def test_too_many_requests_are_turned_away():
    """Beyond the limit a request ends at once, without charge."""

    async def scenario():
        async with BadPeer() as peer, sending(max_connections=1, max_in_flight=2) as sender:
            first = [asyncio.ensure_future(ask(sender, post(peer.url("hang")), SHORT)) for _ in range(2)]
            await asyncio.sleep(0)
            outcome = failure(await ask(sender, post(peer.url("ok"))))

            assert (outcome.kind, outcome.chargeable) == (FailureKind.CANCELLED, False)
            assert "2 requests" in outcome.message
            await asyncio.gather(*first)

    run(scenario)


def test_cancelled_send_closes_its_connection():
    """Whoever stops waiting takes the request off the wire."""

    async def scenario():
        async with BadPeer() as peer, sending(max_connections=1) as sender:
            hanging = asyncio.ensure_future(ask(sender, post(peer.url("hang"))))
            await peer.wait_for(1)
            hanging.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hanging

            assert sender.in_flight == 0
            assert response(await ask(sender, post(peer.url("ok")))).status == 200
            assert peer.connections == 2

    run(scenario)


def test_cancel_by_tag_ends_running_and_waiting_requests():
    """D13: what is on its way to one endpoint can be called back, and only that."""

    async def scenario():
        async with BadPeer() as peer, sending(max_connections=2) as sender:
            mine = [asyncio.ensure_future(ask(sender, post(peer.url("hang")), tag="mine")) for _ in range(3)]
            other = asyncio.ensure_future(ask(sender, post(peer.url("ok")), tag="other"))
            await asyncio.sleep(0.02)

            assert sender.cancel("mine") == 3
            assert [failure(exchange).kind for exchange in await asyncio.gather(*mine)] == [FailureKind.CANCELLED] * 3
            assert response(await other).status == 200

    run(scenario)


def test_close_ends_what_is_in_flight():
    """Closing tells every caller before it returns, and later requests are turned away."""

    async def scenario():
        async with BadPeer() as peer:
            sender = CurlSender(allow=LOOPBACK, max_connections=2)
            seen = []
            for _ in range(4):
                sender.submit(post(peer.url("hang")), deadline=LONG, on_done=seen.append)
            await peer.wait_for(2)
            await sender.close()
            await sender.close()

            assert [(failure(e).kind, failure(e).chargeable) for e in seen] == [(FailureKind.CANCELLED, False)] * 4
            assert failure(await ask(sender, post(peer.url("ok")))).kind == FailureKind.CANCELLED

    run(scenario)


def test_failures_repeat_no_secret():
    """No failure message holds the query, a header value or the body of its request."""

    async def scenario():
        canary = re.compile("c4n4ry")
        async with BadPeer() as peer, sending() as sender:
            for mode in ("hang", "reset", "garbage", "redirect", "cut"):
                request = post(peer.url(mode) + "?token=c4n4ry", ("x-key", "c4n4ry"), body=b"c4n4ry")
                if mode == "redirect":
                    request = post(peer.url(mode), ("x-key", "c4n4ry"), body=b"c4n4ry")
                assert canary.search(failure(await ask(sender, request, SHORT)).message) is None

    run(scenario)


def test_connections_leave_no_descriptors_behind():
    """A hundred connections, most of them ended by the peer or by a deadline, are all given back."""

    async def scenario():
        before = count_descriptors()
        async with BadPeer() as peer, sending(max_connections=20) as sender:
            modes = ["ok", "close", "reset", "idle-close", "hang"] * 20
            await asyncio.gather(*(ask(sender, post(peer.url(mode)), SHORT) for mode in modes[:40]))
            for mode in ["ok", "idle-close", "close"] * 20:
                await ask(sender, post(peer.url(mode)))
        await asyncio.sleep(0.05)  # the peer's transports close in a later turn of the loop

        assert count_descriptors() <= before + 1

    run(scenario)
