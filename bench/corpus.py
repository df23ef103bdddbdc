"""Requests for the generator, signed beforehand: every id once, 1% of them sent again, over some thousand rooms.

A corpus file holds each request as its length in digits, a line feed, and its bytes.
"""

import hmac
import itertools
import uuid
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOMS = 2000
PEOPLE = 20  # of one room; they come and go
SECRET = b"bench-secret"
TOKEN = "77e19b23529c41f7b2a6349d4539c8ac"
DUPLICATE_EVERY = 100
STAY = ("join", "publish", "unpublish", "leave")
_numbers = itertools.count()
_HEAD = "Host: 127.0.0.1\r\nUser-Agent: bench/1\r\nAccept: */*\r\n"


def write_corpus(path: Path, source: str, requests: Iterator[bytes], count: int) -> None:
    """Write *count* requests to *path*; one of a hundred repeats the one before it."""
    last = b""
    with path.open("wb") as file:
        for number in range(count):
            one = last if number % DUPLICATE_EVERY == DUPLICATE_EVERY - 1 else next(requests)
            file.write(b"%d\n%s" % (len(one), one))
            last = one


def avd_requests(source: str) -> Iterator[bytes]:
    """Yield signed requests, GET and POST in turn; the wire carries no time, so its ids are random."""
    path = f"/in/{source}/{TOKEN}"
    for event, values in avd_events():
        values["check_code"] = _check_code(values)
        query = "&".join(f"{name}={value}" for name, value in values.items())
        if event % 2:
            yield f"GET {path}?{query} HTTP/1.1\r\n{_HEAD}\r\n".encode()
            continue
        kind = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(query)}\r\n"
        yield f"POST {path} HTTP/1.1\r\n{_HEAD}{kind}\r\n{query}".encode()


def avd_events() -> Iterator[tuple[int, dict[str, str]]]:
    """Yield stays in rooms: who joins publishes, unpublishes and leaves; rooms take turns."""
    for number in _numbers:
        stay, room = divmod(number, ROOMS)
        event = STAY[stay % len(STAY)]
        values = {"event": event, "trace_id": str(uuid.uuid4()), "room_id": f"1897{room:07}"}
        values["user_id"] = f"user-{room}-{stay // len(STAY) % PEOPLE}"
        if event == "join":
            values |= {"event_type": "normal", "endpoint_type": "web", "user_name": f"name{room}"}
        elif event == "leave":
            values |= {"event_type": "normal"}
        else:
            values |= {"stream_type": "video", "stream_id": f"stream-{room}"}
            values |= {"resolution": "1280x720"}
        yield number, values


def _check_code(values: dict[str, str]) -> str:
    signed = "|".join(value for _, value in sorted(values.items()) if value)
    return hmac.digest(SECRET, signed.encode(), "sha256").hex()


def standard_requests(source: str) -> Iterator[bytes]:
    """Yield signed CloudEvents, a minute's worth of time stamps; the wire carries the time, so its keys are ordered."""
    started = datetime.now(UTC)
    stamp = str(int(started.timestamp()))
    for number in _numbers:
        when = (started + timedelta(milliseconds=number % 60_000)).isoformat()
        room, name = f"1897{number % ROOMS:07}", f"ev_bench_{uuid.uuid4()}"
        body = (
            f'{{"specversion":"1.0","id":"{name}","source":"northbound/bench","type":"participant.joined",'
            f'"subject":"{room}","time":"{when}","datacontenttype":"application/json","data":{{"room_id":"{room}",'
            f'"participant_id":"user-{number}","occurred_at":"{when}","facts":{{"name":"name","terminal":"web"}},'
            f'"dialect":"avd"}}}}'
        ).encode()
        code = hmac.digest(SECRET, f"{name}.{stamp}.".encode() + body, "sha256")
        yield (
            f"POST /in/{source}/{TOKEN} HTTP/1.1\r\n{_HEAD}Content-Type: application/cloudevents+json\r\n"
            f"webhook-id: {name}\r\nwebhook-timestamp: {stamp}\r\n"
            f"webhook-signature: v1,{b64encode(code).decode()}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
