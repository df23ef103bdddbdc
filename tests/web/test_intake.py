"""The intake application over real sockets: routes, bodies, codings, bounded work, failures."""

import asyncio
import gzip
import json
import re
import socket
import struct
import time
import zlib

import pytest
import structlog
from serving import CHUNKED, HOST, POST, answer, everything, post, running, statuses

from northbound.model.wire import Request, Response

# --- what is well said is answered -----------------------------------------------------------------------------------


def test_a_callback_reaches_the_hub_whole(hub):
    said = hub.say(
        b"POST /in/src-1/t.o~k_9?a=%41&b=1+2 HTTP/1.1\r\nHost: hub.test:8080\r\nX-One: 1\r\nX-Forwarded-Host: evil\r\n"
        b"X-Forwarded-Proto: https\r\nX-Two: caf\xe9\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"
    )

    (request, source_id, token, peer) = hub.calls[0]
    assert statuses(said) == [200]
    assert (source_id, token, peer) == ("src-1", "t.o~k_9", "127.0.0.1")
    assert request.url == "http://hub.test:8080/in/src-1/t.o~k_9?a=%41&b=1+2"
    assert (request.method, request.body, request.header("x-two")) == ("POST", b"abc", "caf\xe9")
    assert [name for name, _ in request.headers[:3]] == ["host", "x-one", "x-forwarded-host"]


def test_a_connection_is_reused_and_pipelined_answers_keep_their_order():
    async def echo(request: Request) -> Response:
        await asyncio.sleep(0.05 if request.body == b"1" else 0)
        return Response.text(200, request.body.decode())

    with running(handle=echo) as hub, hub.connect() as client:
        for body in (b"0", b"00"):
            client.sendall(post(body))
            assert (200, body) == answer(client)
        client.sendall(post(b"1") + post(b"2") + post(b"3", b"Connection: close"))
        said = everything(client)
        assert re.findall(rb"\r\n\r\n(\d)", said) == [b"1", b"2", b"3"]


def test_a_whole_request_before_a_half_close_is_answered():
    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.1)
        return Response.text(200, "ok")

    with running(handle=slow) as hub:
        assert statuses(hub.say(post(b"abc"), half_close=True)) == [200]


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("cuts", [1, 2, 5])
def test_an_offer_of_http2_does_not_lose_the_body(hub, framing, cuts):
    whole = POST + b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAA\r\n" + framing
    size = -(-len(whole) // cuts)

    said = hub.say(*[whole[at : at + size] for at in range(0, len(whole), size)])

    assert statuses(said) == [200]
    assert [call[0].body for call in hub.calls] == [b"abc"]


def test_expect_continue(hub):
    with hub.connect() as client:
        client.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(b"ok")
        assert statuses(everything(client)) == [200]


def test_expect_continue_is_not_asked_for_what_is_too_large(hub):
    said = hub.say(POST + b"Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n")

    assert statuses(said) == [413]


def test_http_1_0_without_host_and_with_close(hub):
    assert statuses(hub.say(b"GET /in/src/tok?x=1 HTTP/1.0\r\n\r\n")) == [200]


ROUTES = {
    b"GET /healthz": 200,
    b"HEAD /healthz": 200,
    b"POST /healthz": 405,
    b"PUT /in/s/t": 405,
    b"OPTIONS /in/s/t": 405,
    b"GET /": 404,
    b"OPTIONS *": 404,
    b"GET /in/s": 404,
    b"GET /in/s/t/": 404,
    b"GET /in/s/t/more": 404,
    b"GET /in//t": 404,
    b"GET /in/s/%2e": 404,
    b"GET http://other.test/in/s/t": 200,
}


@pytest.mark.parametrize(("line", "status"), ROUTES.items())
def test_routes(hub, line, status):
    said = hub.say(line + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")

    assert [status] == statuses(said)
    if status == 405:
        assert re.search(rb"\r\nallow: GET, (POST|HEAD)\r\n", said)
    if status in (404, 405):
        assert {"code", "error", "message"} == set(json.loads(said.partition(b"\r\n\r\n")[2]))


# --- bodies: I10 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("send_it", [False, True])
def test_a_length_over_the_limit_is_413_at_once(hub, send_it):
    head = POST + b"Content-Length: 1048577\r\n\r\n"

    said = hub.say(head + b"a" * 1048577 if send_it else head)

    assert (statuses(said), hub.calls) == ([413], [])
    assert b"connection: close" in said


def test_chunks_over_the_limit_are_413(hub):
    chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"

    said = hub.say(CHUNKED + chunk * 20)

    assert (statuses(said), hub.calls) == ([413], [])


def test_a_body_of_exactly_the_limit_passes(hub):
    said = hub.say(post(b"a" * 1048576, b"Connection: close"))

    assert (statuses(said), len(hub.calls[0][0].body)) == ([200], 1048576)


def test_chunk_extensions_without_a_body_are_cut_off(hub):
    said = hub.say(CHUNKED, *[b"1;" + b"a" * 10_000 + b"\r\nx\r\n"] * 5)

    assert (statuses(said), hub.calls) == ([400], [])


PLAIN = json.dumps([{"room": n} for n in range(50)]).encode()
DEFLATE = zlib.compressobj(wbits=-15)
CODED = {
    "gzip": (b"gzip", gzip.compress(PLAIN)),
    "x-gzip": (b"X-GZIP", gzip.compress(PLAIN)),
    "deflate": (b"deflate", zlib.compress(PLAIN)),
    "bare deflate": (b"deflate", DEFLATE.compress(PLAIN) + DEFLATE.flush()),
    "identity": (b"identity", PLAIN),
}


@pytest.mark.parametrize("name", CODED)
def test_content_codings_are_undone(hub, name):
    coding, body = CODED[name]

    said = hub.say(post(body, b"Connection: close", b"Content-Encoding: " + coding))

    assert (statuses(said), hub.calls[0][0].body) == ([200], PLAIN)


BAD_CODED = {
    "bomb": (413, b"gzip", gzip.compress(b"\0" * 50_000_000, 6)),
    "bomb by ratio": (413, b"gzip", gzip.compress(b"\0" * 900_000)),
    "deflate bomb": (413, b"deflate", zlib.compress(b"\0" * 2_000_000)),
    "stacked": (415, b"gzip, gzip", gzip.compress(gzip.compress(PLAIN))),
    "stacked in two headers": (415, b"gzip\r\nContent-Encoding: gzip", gzip.compress(gzip.compress(PLAIN))),
    "stacked with identity": (415, b"identity, gzip", gzip.compress(PLAIN)),
    "unknown": (415, b"br", b"\x0b\x02\x80abc\x03"),
    "truncated gzip": (400, b"gzip", gzip.compress(PLAIN)[:-9]),
    "gzip without its last byte": (400, b"gzip", gzip.compress(PLAIN)[:-1]),
    "truncated deflate": (400, b"deflate", zlib.compress(PLAIN)[:-5]),
    "damaged gzip": (400, b"gzip", gzip.compress(PLAIN)[:-8] + b"\0" * 8),
    "no gzip at all": (400, b"gzip", PLAIN),
    "more after the gzip": (400, b"gzip", gzip.compress(PLAIN) + b"x"),
}


@pytest.mark.parametrize("name", BAD_CODED)
def test_bombs_and_unclear_codings_are_refused(hub, name):
    status, coding, body = BAD_CODED[name]

    said = hub.say(post(body, b"Connection: close", b"Content-Encoding: " + coding))

    assert ([status], []) == (statuses(said), hub.calls)


TRUNCATED = {
    "by length": POST + b"Content-Length: 10\r\n\r\nabc",
    "by length, nothing came": POST + b"Content-Length: 10\r\n\r\n",
    "in a chunk": CHUNKED + b"a\r\nabc",
    "between chunks": CHUNKED + b"3\r\nabc\r\n",
    "before the last line": CHUNKED + b"3\r\nabc\r\n0\r\n",
    "in the headers": POST + b"Content-Length: 3",
}


@pytest.mark.parametrize("name", TRUNCATED)
@pytest.mark.parametrize("how", ["half-close", "reset", "stall"])
def test_a_truncated_body_is_never_answered_as_success(hub, name, how):
    with hub.connect() as client:
        client.sendall(TRUNCATED[name])
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            time.sleep(0.05)
            got = b""
        else:
            if how == "half-close":
                client.shutdown(socket.SHUT_WR)
            got = everything(client)

    assert hub.calls == []
    assert statuses(got) == ([408] if how == "stall" else [])


# --- failures and secrets --------------------------------------------------------------------------------------------


def test_a_failure_is_503_and_says_no_secret():
    async def broken(request: Request) -> Response:
        raise RuntimeError(f"cannot store {request.url}")

    async def unsendable(request: Request) -> Response:
        return Response(status=200, headers=(("x", "a\r\nb"),))

    with structlog.testing.capture_logs() as logs:
        for handle in (broken, unsendable):
            with running(handle=handle) as hub:
                said = hub.say(
                    b"GET /in/src/canary-token?key=canary-query HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
                )
                assert statuses(said) == [503]
                assert b"retry-after: 1" in said

    assert [entry["event"] for entry in logs] == ["intake.failed", "http.failed"]
    assert logs[0]["source_id"] == "src"
    assert "canary" not in repr(logs)


def test_nothing_is_logged_for_a_request(hub, caplog, capfd):
    hub.say(b"GET /in/src/canary-token?key=canary-query HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    hub.say(b"GET /in/src/canary-token?key=canary-query HTTP/1.1\r\nHost: a\nX: b\r\n\r\n")

    assert "canary" not in caplog.text + "".join(capfd.readouterr())
