"""The outgoing client against peers that misbehave for real (D2, D3, D11) and connections that died."""

import asyncio
import gc
import resource
import time

import pytest

from bad_peer import BadPeer
from northbound.model.delivery import Failure, FailureKind
from sending import SHORT, ask, failure, post, response, run, sending

# --- D2, D11: one deadline, one cap -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("hang", "no answer within 0.3 s"),
        ("late", "no answer within 0.3 s"),
        ("slow-headers", "was not complete within 0.3 s"),
        ("drip", "was not complete within 0.3 s"),
    ],
)
def test_deadline_covers_the_whole_exchange(mode, words):
    """D2, D11: silence, a late answer, dripping headers and a dripping body all end at the one deadline."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            start = time.monotonic()
            exchange = await ask(sender, post(peer.url(mode)), SHORT)
            took = time.monotonic() - start

            assert failure(exchange).kind == FailureKind.TIMEOUT
            assert words in failure(exchange).message
            assert failure(exchange).chargeable
            assert 0.25 < took < 0.6
            assert 250 <= exchange.duration_ms < 600
            assert f"127.0.0.1:{peer.port}" == exchange.address

    run(scenario)


@pytest.mark.parametrize("mode", ["endless", "announced", "huge-headers", "many-interim"])
def test_answer_is_capped_while_it_is_read(mode):
    """D2: endless bodies and headers end at the cap, at once, and an announced long body before its first byte."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            exchange = await ask(sender, post(peer.url(mode)))

            assert failure(exchange).kind == FailureKind.TOO_LARGE
            assert "larger than 65536 bytes" in failure(exchange).message
            assert exchange.duration_ms < 2_000

    run(scenario)


def test_compressed_bomb_stays_packed():
    """D2: what says it is gzip is handed over as it came."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            answer = response(await ask(sender, post(peer.url("bomb"))))

            assert answer.body[:2] == b"\x1f\x8b"
            assert len(answer.body) < 65_536
            assert peer.received[0].header("accept-encoding") is None

    run(scenario)


def test_bomb_in_the_transfer_encoding_is_bounded():
    """D2: a compressed transfer encoding, which nobody asked for, cannot unpack beyond the cap."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            outcome = (await ask(sender, post(peer.url("transfer-bomb")))).outcome

            assert isinstance(outcome, Failure) or len(outcome.body) <= 65_536

    run(scenario)


def test_memory_stays_flat_under_endless_answers():
    """D2: a hundred endless answers cost no more than their caps."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            await ask(sender, post(peer.url("endless")))
            gc.collect()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for _ in range(10):
                await asyncio.gather(*(ask(sender, post(peer.url("endless"))) for _ in range(10)))

            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024

    run(scenario)


def test_connection_of_a_timed_out_exchange_is_not_used_again():
    """D11: an answer that comes too late is never taken for the next request's."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            failure(await ask(sender, post(peer.url("late")), SHORT))
            answer = response(await ask(sender, post(peer.url("echo"), body=b"mine")))

            assert answer.body == b"mine"
            assert [request.connection for request in peer.received] == [1, 2]

    run(scenario)


# --- D3: redirects ----------------------------------------------------------------------------------------------------


def test_redirect_is_not_followed():
    """D3: a redirect to an internal address is a failure of its own class, and its query is not shown."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            exchange = await ask(sender, post(peer.url("redirect")))

            assert failure(exchange).kind == FailureKind.REDIRECT
            assert "302" in failure(exchange).message
            assert "169.254.169.254" in failure(exchange).message
            assert "canary" not in failure(exchange).message
            assert len(peer.received) == 1

    run(scenario)


# --- connections that fail --------------------------------------------------------------------------------------------


def test_refused_connection_says_so():
    """The message names the address that refused."""

    async def scenario():
        async with BadPeer() as peer:
            port = peer.port
        async with sending() as sender:
            exchange = await ask(sender, post(f"http://127.0.0.1:{port}/"))

            assert failure(exchange).kind == FailureKind.CONNECT
            assert f"connection refused by 127.0.0.1:{port}" == failure(exchange).message
            assert failure(exchange).chargeable

    run(scenario)


def test_unknown_name_is_a_dns_failure():
    """A name that never resolves is named in the message."""

    async def scenario():
        async with sending() as sender:
            exchange = await ask(sender, post("http://nothing.invalid/"))

            assert failure(exchange).kind == FailureKind.DNS
            assert "nothing.invalid" in failure(exchange).message

    run(scenario)


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("close", FailureKind.CLOSED, "without an answer"),
        ("reset", FailureKind.CLOSED, "without an answer"),
        ("cut", FailureKind.CLOSED, "before the answer was complete"),
        ("garbage", FailureKind.PROTOCOL, "not an HTTP answer"),
        ("bad-status", FailureKind.PROTOCOL, "not an HTTP answer"),
    ],
)
def test_broken_answers_have_a_class(mode, kind, words):
    """What is not an answer is not judged as one, and is sent only once on a fresh connection."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            exchange = await ask(sender, post(peer.url(mode)))

            assert kind == failure(exchange).kind
            assert words in failure(exchange).message
            assert len(peer.received) == 1

    run(scenario)


# --- kept-alive connections that died ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["idle-close", "idle-reset"])
@pytest.mark.parametrize("pause", [0, 0.005])
def test_peer_that_closes_idle_connections_costs_nothing(mode, pause):
    """Forty posts to a peer that silently drops idle connections: no error and no duplicate."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            for number in range(40):
                response(await ask(sender, post(peer.url(mode), body=str(number).encode())))
                await asyncio.sleep(pause)

            assert [str(number).encode() for number in range(40)] == [request.body for request in peer.received]

    run(scenario)


@pytest.mark.parametrize("mode", ["close-on-second", "reset-on-second"])
def test_dead_connection_is_retried_once_and_free(mode):
    """A reused connection that closes before any answer byte: the request goes out again, once, on a fresh one."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            response(await ask(sender, post(peer.url(mode), body=b"1")))
            response(await ask(sender, post(peer.url(mode), body=b"2")))

            assert [(r.body, r.connection) for r in peer.received] == [(b"1", 1), (b"2", 1), (b"2", 2)]

    run(scenario)


@pytest.mark.parametrize("mode", ["close", "reset"])
def test_free_retry_is_one_however_many_connections_are_idle(mode):
    """A request that kills its connection is sent twice at most, never once per idle connection."""

    async def scenario():
        async with BadPeer() as peer, sending() as sender:
            await asyncio.gather(*(ask(sender, post(peer.url("ok"))) for _ in range(6)))
            assert peer.connections == 6
            exchange = await ask(sender, post(peer.url(mode), body=b"poison"))

            assert failure(exchange).kind == FailureKind.CLOSED
            poisoned = [request.connection for request in peer.received if request.body == b"poison"]
            assert len(poisoned) == 2
            assert poisoned[1] == 7
            assert response(await ask(sender, post(peer.url("ok")))).status == 200

    run(scenario)
