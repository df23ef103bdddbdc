"""A receiver that checks every callback as its vendor's customer would: signature, decoding, order, gaps.

One path a dialect. What it saw is counted (`summary`), told (`on_arrival`), and served at GET /summary. An arrival
counts as verified only when its signature proved something: without keys, nothing is. It can be told to fail, so
that retries can be tried.
"""

import asyncio
import contextlib
import http.client
import ssl
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlsplit

import httptools
import msgspec
from msgspec.structs import replace

from northbound.dialects import dialect_named
from northbound.dialects.base import Dialect
from northbound.model.errors import ConfigError, DecodeError, HubError, InvalidInput, SignatureError
from northbound.model.event import Event
from northbound.model.wire import Headers, Key, KeyKind, Needs, Proof, Request, Response

BODY_MAX = 16 * 1024 * 1024
IDLE = 120.0  # seconds a connection may be silent
SLOW = 20.0  # seconds that `slow` waits: longer than every vendor's deadline
FETCH_TIMEOUT = 5.0
SEEN_KEPT = 200_000  # delivery ids remembered, to tell a first arrival from a repeated one
LAST_KEPT = 1_000  # arrivals in /summary
MODES = ("slow", "close", "garbled")


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """One path of the receiver: the dialect spoken there, and what verifies it. Path "" takes every path."""

    path: str
    dialect: str
    keys: tuple[Key, ...] = ()
    options: dict[str, Any] = {}
    is_checked: bool = True  # False: without keys, an unsigned request is not refused


class Failing(msgspec.Struct, frozen=True, kw_only=True):
    """How to fail: a status, or one of `MODES`; each delivery's first *times* tries, 0 for all."""

    mode: str
    times: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no way to fail."""
        is_status = self.mode.isascii() and self.mode.isdigit() and 100 < int(self.mode) < 600
        if self.mode not in MODES and not is_status:
            raise InvalidInput(f"fail with a status such as 500, or with one of: {', '.join(MODES)}", field="fail")


class Arrival(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request as it arrived, and what it turned out to be."""

    at: datetime
    path: str
    dialect: str
    proof: Proof = Proof.NONE
    verified: bool = False
    error: str = ""  # the code of what was wrong
    why: str = ""
    kinds: tuple[str, ...] = ()  # in the wire's own words
    types: tuple[str, ...] = ()
    room: str | None = None
    history: str = ""  # which room's places `seq` and `prev` are; empty from a hub that does not say
    people: tuple[str, ...] = ()
    delivery: str = ""
    attempt: int | None = None
    seq: int | None = None
    prev: int | None = None
    again: bool = False  # the same delivery arrived before
    order: str = ""  # what is wrong with its place in the room: "late" or "gap"
    status: int = 0  # what was answered; 0: nothing


class Tally(msgspec.Struct, kw_only=True):
    """What one path received. `first` counts deliveries, `requests` every try."""

    dialect: str
    requests: int = 0
    first: int = 0
    again: int = 0
    verified: int = 0
    refused: int = 0
    undecodable: int = 0
    failed_on_purpose: int = 0
    late: int = 0
    gaps: int = 0
    events: int = 0
    kinds: Counter[str] = msgspec.field(default_factory=Counter[str])


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A first arrival in short: its place in the room's log and what it said."""

    seq: int | None
    kinds: tuple[str, ...]
    verified: bool


class Sink:
    """The receiver; `async with` serves it."""

    def __init__(
        self,
        mounts: tuple[Mount, ...] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        port_option: str = "--port",
        public_url: str = "",
        failing: Failing | None = None,
        on_arrival: Callable[[Arrival], None] = lambda _: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._mounts: dict[str, Mount] = {one.path: one for one in mounts}
        self._host, self._port = host, port
        self._port_option = port_option
        self._public_url = public_url.rstrip("/")
        self._failing = failing
        self._on_arrival = on_arrival
        self._tls = tls  # for fetching certificates
        self._certificates: dict[str, Key] = {}
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[Any]] = set()
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._places: dict[tuple[str, str], int] = {}
        self.tallies: dict[str, Tally] = {one.path: Tally(dialect=one.dialect) for one in mounts}
        self.firsts: dict[str, dict[str, list[Seen]]] = {}  # by path and room, in order of first arrival
        self.last: deque[Arrival] = deque(maxlen=LAST_KEPT)

    def mount(self, one: Mount) -> None:
        """Serve one more path, or the same with other keys."""
        dialect_named(one.dialect)
        self._mounts[one.path] = one
        self.tallies.setdefault(one.path, Tally(dialect=one.dialect))

    async def __aenter__(self) -> Self:
        """Listen; raise `ConfigError` when the port is taken."""
        try:
            self._server = await asyncio.start_server(self._talk, self._host, self._port, backlog=1024)
        except OSError as error:
            why = error.strerror or str(error)
            raise ConfigError(
                f"{self._port_option} {self._port} of the receiver cannot be listened on ({why}); stop what listens "
                "there or choose another port",
                field=self._port_option,
            ) from None
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        for task in list(self._talks):
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    @property
    def url(self) -> str:
        """The base URL that senders were told; signatures are checked over it, never over a Host header."""
        return self._public_url or f"http://{self._host}:{self._port}"

    def summary(self) -> dict[str, Any]:
        """Return what was received so far, by path."""
        return {
            "paths": {path or "/": msgspec.to_builtins(tally) for path, tally in self.tallies.items()},
            "last": [msgspec.to_builtins(one) for one in list(self.last)[-20:]],
        }

    # --- one request ----------------------------------------------------------------------------

    async def _answer(self, request: Request, path: str) -> Response | None:
        if path == "/summary" and request.method == "GET":
            return Response.json(200, self.summary())
        mount = self._mounts.get(path) or self._mounts.get("")
        if mount is None:
            known = ", ".join(sorted(self._mounts)) or "none"
            return Response.json(404, {"error": "not_found", "message": f"no receiver is here; there are: {known}"})
        arrival, error = await self._received(request, mount)
        response: Response | None = dialect_named(mount.dialect).ack(request, error)
        if error is None and self._is_to_fail(arrival):
            response = await self._fail(mount)
        self._count(mount, replace(arrival, status=0 if response is None else response.status))
        return response

    async def _received(self, request: Request, mount: Mount) -> tuple[Arrival, HubError | None]:
        dialect = dialect_named(mount.dialect)
        delivery = request.header("northbound-delivery") or ""
        arrival = Arrival(
            at=datetime.now(UTC),
            path=mount.path,
            dialect=mount.dialect,
            delivery=delivery,
            attempt=_number(request.header("northbound-attempt")),
            seq=_number(request.header("northbound-seq")),
            prev=_number(request.header("northbound-prev")),
            history=request.header("northbound-room") or "",
            again=bool(delivery) and delivery.partition("@")[0] in self._seen,
        )
        try:
            proof = await self._verified(dialect, request, mount)
            arrival = replace(arrival, proof=proof, verified=proof is not Proof.NONE)
            events = dialect.decode(request, mount.options)
        except HubError as error:
            return replace(arrival, error=error.code, why=error.message), error
        return _described(arrival, dialect, events), None

    async def _verified(self, dialect: Dialect, request: Request, mount: Mount) -> Proof:
        now = datetime.now(UTC)
        proof = dialect.verify(request, mount.keys, now, mount.options)
        if isinstance(proof, Needs):
            key = self._certificates.get(proof.url) or await asyncio.to_thread(fetch_certificate, proof.url, self._tls)
            self._certificates[proof.url] = key
            proof = dialect.verify(request, [*mount.keys, key], now, mount.options)
        if isinstance(proof, Needs) or (mount.is_checked and proof is Proof.NONE):
            raise SignatureError("the request is not signed; this receiver takes signed requests only")
        return proof

    def _is_to_fail(self, arrival: Arrival) -> bool:
        if self._failing is None:
            return False
        tried = self._seen.get(arrival.delivery.partition("@")[0], 0)
        return self._failing.times == 0 or tried < self._failing.times

    async def _fail(self, mount: Mount) -> Response | None:
        assert self._failing is not None  # noqa: S101 - asked for by _is_to_fail
        self.tallies[mount.path].failed_on_purpose += 1
        match self._failing.mode:
            case "close":
                return None
            case "slow":
                await asyncio.sleep(SLOW)
                return Response.text(200, "late")
            case "garbled":
                return Response.text(200, "{")
            case status:
                return Response.json(int(status), {"message": "failing on purpose"})

    def _count(self, mount: Mount, arrival: Arrival) -> None:
        identity = arrival.delivery.partition("@")[0]
        if not arrival.again:
            arrival = self._placed(arrival)
            if identity or arrival.kinds or arrival.error:
                room = self.firsts.setdefault(mount.path, {}).setdefault(arrival.room or "", [])
                room.append(Seen(seq=arrival.seq, kinds=arrival.kinds, verified=arrival.verified and not arrival.error))
        if identity:
            self._seen[identity] = self._seen.get(identity, 0) + 1
            while len(self._seen) > SEEN_KEPT:
                self._seen.popitem(last=False)
        tally = self.tallies[mount.path]
        tally.requests += 1
        tally.again += arrival.again
        tally.first += not arrival.again
        tally.verified += arrival.verified and not arrival.error
        tally.refused += arrival.error == SignatureError.code
        tally.undecodable += arrival.error == DecodeError.code
        tally.late += arrival.order == "late"
        tally.gaps += arrival.order == "gap"
        tally.events += len(arrival.kinds)
        tally.kinds.update(arrival.kinds)
        self.last.append(arrival)
        self._on_arrival(arrival)

    def _placed(self, arrival: Arrival) -> Arrival:
        """Check a first arrival's place: after its history's last one, and naming exactly that as the one before."""
        if arrival.seq is None or arrival.error or "@" in arrival.delivery:
            return arrival
        key = (arrival.path, arrival.history or arrival.room or "")
        last = self._places.get(key)
        if last is not None and arrival.seq < last:
            return replace(arrival, order="late")
        self._places[key] = arrival.seq
        # One event may take several requests, all at its place.
        has_gap = last is not None and last not in (arrival.seq, arrival.prev)
        return replace(arrival, order="gap") if has_gap else arrival

    # --- one connection -------------------------------------------------------------------------

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs us in one
        self._talks.add(task)
        conversation = _Conversation(self.url)
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    content = await reader.read(65_536)
                if not content:
                    return
                for request, path in conversation.feed(content):
                    response = await self._answer(request, path)
                    if response is None:
                        return
                    writer.write(_wire(response))
                    await writer.drain()
                if conversation.wants_more:
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        except httptools.HttpParserError:
            writer.write(_wire(Response.text(400, "this is not HTTP/1.1, or the body is too large\n")))
        except (TimeoutError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._talks.discard(task)
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()


class _Conversation:
    """Read requests out of one connection's bytes."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._parser = httptools.HttpRequestParser(self)
        self._done: list[tuple[Request, str]] = []
        self._target, self._headers, self._body = b"", list[tuple[str, str]](), bytearray()
        self.wants_more = False

    def feed(self, content: bytes) -> list[tuple[Request, str]]:
        """Return the requests that became whole, each with its path."""
        self._parser.feed_data(content)
        done, self._done = self._done, []
        return done

    def on_message_begin(self) -> None:
        self._target, self._headers, self._body = b"", [], bytearray()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.wants_more = any(name.lower() == "expect" for name, _ in self._headers)

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > BODY_MAX:
            raise InvalidInput("the body is too large")

    def on_message_complete(self) -> None:
        self.wants_more = False
        target = self._target.decode("latin-1")
        headers: Headers = tuple(self._headers)
        method = self._parser.get_method().decode()
        request = Request(method=method, url=self._base + target, headers=headers, body=bytes(self._body))
        self._done.append((request, urlsplit(target).path))


def fetch_certificate(url: str, tls: ssl.SSLContext | None = None) -> Key:
    """Get the certificate at *url*, which a verification asked for; raise `SignatureError` when it cannot be had."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    more: Mapping[str, Any] = {"context": tls} if parts.scheme == "https" and tls is not None else {}
    connection = kind(parts.hostname or "", parts.port, timeout=FETCH_TIMEOUT, **more)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        content = answer.read(65_536)
    except (OSError, http.client.HTTPException) as error:
        raise SignatureError(f"the signing certificate at {url} could not be fetched: {error}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise SignatureError(f"the signing certificate could not be fetched: {url} answers {answer.status}")
    return Key(kind=KeyKind.CERTIFICATE, secret=content, url=url)


def strict_options(dialect: Dialect, certificates: str) -> dict[str, Any]:
    """Return the options that make *dialect* refuse unsigned requests and trust certificates below *certificates*."""
    wanted = {"require_signature": True, "certificate_urls": certificates}
    known = {option.name for option in dialect.options}
    return {name: value for name, value in wanted.items() if name in known}


def _described(arrival: Arrival, dialect: Dialect, events: list[Event]) -> Arrival:
    return replace(
        arrival,
        kinds=tuple(dialect.kind(event.vendor) for event in events),
        types=tuple(event.type.value for event in events),
        room=next((event.room_id for event in events if event.room_id), None),
        people=tuple(dict.fromkeys(event.participant_id for event in events if event.participant_id)),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _wire(response: Response) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {http.client.responses.get(response.status, 'Answer')}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    lines += [f"content-length: {len(response.body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace") + response.body
