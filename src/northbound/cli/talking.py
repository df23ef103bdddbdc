"""Commands that talk to a running hub: listen and replay."""

import http.client
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec
import typer

from northbound.cli.client import ApiKey, Client, Server, connect
from northbound.cli.output import AsJson, Code, Unreachable, errors, out, print_json, print_line, shown, styled
from northbound.cli.settings import DataFolder
from northbound.model.delivery import View
from northbound.model.errors import InvalidInput, NotFound
from northbound.model.wire import Key, Request, Response

NEUTRAL = "standard"
AGAIN_SECONDS = 1.0  # before a broken stream is taken up again, doubled up to the most
AGAIN_MOST = 15.0
FORWARD_TIMEOUT = 15.0
OUTCOME_SECONDS = 30.0
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

# --- listen ----------------------------------------------------------------------------------------------------------


def listen(
    port: Annotated[int, typer.Argument(min=1, max=65535, help="Local port to forward live events to.")],
    path: Annotated[str, typer.Option(help="Path to post to.")] = "/",
    types: Annotated[
        str | None, typer.Option(help="Only these event types, with commas; default: all that are known.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only events of this source (its id).")] = None,
    secret: Annotated[str | None, typer.Option(help="Sign what is forwarded with this secret.")] = None,
    server: Server = None,
    key: ApiKey = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Forward the hub's live events to a local port, one `standard` request each, until interrupted.

    Nothing is set up in the hub and nothing is retried: this is for developing a receiver.
    """
    client = connect(server, key, data)
    forward = _Forward(port, path, secret)
    if not as_json:
        errors().print(f"forwarding events of {client.server} to {forward.url} as {NEUTRAL} requests; Ctrl-C ends")
    for told in _live(client, {"types": types, "source_id": source}):
        is_wanted = types is not None or told.get("type") != "unknown"
        words = _words(client, told) if is_wanted else None
        if words is None:
            continue
        outcome = forward.send(words)
        event: Any = msgspec.json.decode(words)
        if as_json:
            print_line({"id": event.get("id"), "type": event.get("type"), "room": event.get("subject"), **outcome})
        else:
            _print_forwarded(event, outcome)


def _live(client: Client, wanted: dict[str, str | None]) -> Iterator[dict[str, Any]]:
    """Yield live events, taking the stream up again where it broke; the first refusal ends it."""
    query = {name: value for name, value in wanted.items() if value is not None}
    pause, last = AGAIN_SECONDS, None
    has_worked = False
    while True:
        if last is not None:
            query["after"] = str(last)
        try:
            for _, data in client.events("/events/stream" + (f"?{urlencode(query)}" if query else "")):
                has_worked, pause = True, AGAIN_SECONDS
                told: Any = msgspec.json.decode(data)
                if isinstance(told, dict):
                    last = told.get("offset", last)
                    yield told
            has_worked = True
        except Unreachable as error:
            if not has_worked:
                raise
            errors().print(styled(f"{error.message}; trying again", "yellow"))
        time.sleep(pause)
        pause = min(AGAIN_MOST, pause * 2)


def _words(client: Client, told: dict[str, Any]) -> bytes | None:
    """Return an event in the neutral wire's words; None when it cannot be had any more."""
    try:
        views = client.call("GET", f"/events/{quote(str(told.get('id')))}/views/{NEUTRAL}")["views"]
    except NotFound as error:
        errors().print(styled(error.message, "yellow"))
        return None
    return msgspec.json.encode(views[0]["words"]) if views else None


class _Forward:
    """Posts words to one local URL, signed if there is a secret."""

    def __init__(self, port: int, path: str, secret: str | None) -> None:
        from northbound.cli.saying import endpoint_at
        from northbound.dialects import dialect_named

        self._port = port
        self._path = path if path.startswith("/") else f"/{path}"
        self.url = f"http://127.0.0.1:{port}{self._path}"
        self._dialect = dialect_named(NEUTRAL)
        keys = () if secret is None else (Key(secret=secret.encode()),)
        self._endpoint = endpoint_at(self.url, self._dialect, options={}, keys=keys)

    def send(self, words: bytes) -> dict[str, Any]:
        """Post one event; return what came of it."""
        view = View(words=msgspec.Raw(words))
        request = self._dialect.encode([view], self._endpoint)
        request = self._dialect.sign(request, self._endpoint, datetime.now(UTC), os.urandom(32))
        began = time.monotonic()
        try:
            response = self._post(request)
        except (OSError, http.client.HTTPException) as error:
            return {"accepted": False, "reason": f"nothing answers at {self.url}: {error}"}
        verdict = self._dialect.judge(request, response)
        ms = round((time.monotonic() - began) * 1000)
        return {"accepted": verdict.accepted, "status": response.status, "ms": ms, "reason": verdict.reason}

    def _post(self, request: Request) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=FORWARD_TIMEOUT)
        try:
            connection.request(request.method, self._path, body=request.body, headers=dict(request.headers))
            answer = connection.getresponse()
            return Response(status=answer.status, headers=tuple(answer.getheaders()), body=answer.read(65_536))
        finally:
            connection.close()


def _print_forwarded(event: dict[str, Any], outcome: dict[str, Any]) -> None:
    stamp = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
    room = f" {event['subject']}" if event.get("subject") else ""
    how = f"{outcome['status']} in {outcome['ms']} ms" if "status" in outcome else outcome["reason"]
    style = "green" if outcome["accepted"] else "red"
    out().print(styled(f"{stamp} {event.get('type')}{room} -> ", ""), styled(how, style), sep="")


# --- replay ----------------------------------------------------------------------------------------------------------


def replay(
    endpoint: Annotated[str | None, typer.Option(help="Id of the endpoint to send to again.")] = None,
    since: Annotated[str | None, typer.Option(help="From: a time with its zone, or how long ago: 15m, 2h, 1d.")] = None,
    until: Annotated[str | None, typer.Option(help="To, in the same way; now when left out.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Every dead letter not sent again yet.")] = False,
    number: Annotated[list[int] | None, typer.Option(help="One delivery by its number; may be repeated.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: Server = None,
    key: ApiKey = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Send deliveries again: a span of one endpoint, all dead letters, or some by number. Says how many, then asks.

    Exit code 1 when you say no, or when there is nothing to send.
    """
    wanted = _wanted(endpoint, since, until, number, failed=failed)
    client = connect(server, key, data)
    count = client.call("POST", "/replays", wanted | {"dry_run": True})["count"]
    if count == 0:
        _said({"count": 0}, "there is nothing to send again", as_json=as_json)
        raise typer.Exit(Code.NO)
    if not yes:
        if as_json:
            raise InvalidInput(f"{count} deliveries would be sent again; add --yes")
        if not confirmed(f"send {count} deliveries again?"):
            raise typer.Exit(Code.NO)
    answer = client.call("POST", "/replays", wanted | {"dry_run": False})
    outcome = _outcome(client, answer["command_id"])
    done = outcome.get("result") or {}
    sent = done.get("count", answer["count"])
    says = f"{sent} deliveries are sent again" if outcome["state"] == "done" else f"{sent} deliveries are queued"
    if outcome["state"] == "failed":
        raise InvalidInput(str(done.get("message", "the hub could not replay them")))
    _said({"count": sent, "command_id": answer["command_id"], "state": outcome["state"]}, says, as_json=as_json)


def confirmed(question: str) -> bool:
    """Ask; raise `InvalidInput` where nobody can answer."""
    try:
        return typer.confirm(question)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        raise InvalidInput(f"{question} Nobody can answer here: add --yes") from None


def _wanted(
    endpoint: str | None, since: str | None, until: str | None, number: list[int] | None, *, failed: bool
) -> dict[str, Any]:
    chosen = [bool(number), failed, since is not None]
    if sum(chosen) != 1:
        raise InvalidInput("choose what to send again: --since (with --endpoint), or --failed, or --number")
    if number:
        return {"delivery_numbers": number}
    target = {} if endpoint is None else {"endpoint_id": endpoint}
    if failed:
        return {"all_failed": True, **target}
    if endpoint is None:
        raise InvalidInput("a span is of one endpoint; add --endpoint", field="endpoint")
    now = datetime.now(UTC)
    begin, end = read_moment(since or "", now), read_moment(until, now) if until else now
    if begin >= end:
        raise InvalidInput("--since must be before --until", field="since")
    return {"since": begin.isoformat(), "until": end.isoformat(), **target}


def read_moment(text: str, now: datetime) -> datetime:
    """Read a time with a zone, or how long ago it was."""
    amount, unit = text[:-1], text[-1:]
    if unit in UNITS and amount.isascii() and amount.isdigit() and len(amount) < 7:
        return now - timedelta(**{UNITS[unit]: int(amount)})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInput(f"a time is such as 2026-01-31T08:00:00+08:00, or 15m, 2h, 1d ago; not {text!r}")
    return moment.astimezone(UTC)


def _outcome(client: Client, command_id: str) -> dict[str, Any]:
    until = time.monotonic() + OUTCOME_SECONDS
    while True:
        found: dict[str, Any] = client.call("GET", f"/replays/{command_id}")
        if found["state"] != "waiting" or time.monotonic() > until:
            return found
        time.sleep(0.2)


def _said(words: dict[str, Any], says: str, *, as_json: bool) -> None:
    if as_json:
        print_json(words)
    else:
        out().print(shown(says, lines=True))
