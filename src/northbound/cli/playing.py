"""Commands that play one side of an exchange: trigger sends a callback, sink receives some."""

import asyncio
import os
import signal
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import typer

from northbound.cli.output import AsJson, Code, Unreachable, errors, out, print_json, print_line, shown, styled
from northbound.model.delivery import Exchange, Failure, FailureKind, Verdict
from northbound.model.errors import BlockedAddress, InvalidInput
from northbound.model.wire import Key, KeyKind, Request
from northbound.testing.sink import Arrival, Failing, Mount, Sink, strict_options

Secret = Annotated[list[str] | None, typer.Option(metavar="[DIALECT=]SECRET", help="Verify with this secret.")]


def trigger(
    dialect: Annotated[str, typer.Option(help="The wire to speak.")],
    event: Annotated[
        str | None, typer.Option(help="A kind of that wire (leave, room/3, ...) or one of our types.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Where to send it; private addresses are meant here.")] = None,
    secret: Annotated[str | None, typer.Option(help="Sign with this secret.")] = None,
    token: Annotated[str | None, typer.Option(help="Send this plain token, where the wire has one.")] = None,
    rsa_key: Annotated[Path | None, typer.Option(help="Sign with this private key (PEM), where the wire does.")] = None,
    certificate_url: Annotated[str | None, typer.Option(help="Where the certificate of --rsa-key is served.")] = None,
    room: Annotated[str | None, typer.Option(help="Room id.")] = None,
    user: Annotated[str | None, typer.Option(help="Participant id.")] = None,
    name: Annotated[str | None, typer.Option(help="Display name of the participant.")] = None,
    method: Annotated[str | None, typer.Option(help="GET or POST, where the wire knows both.")] = None,
    option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of the dialect.")] = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many events to send, one after the other.")] = 1,
    list_kinds: Annotated[bool, typer.Option("--list", help="List the kinds of the dialect and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send a well-formed event of any dialect and kind to any URL, and tell what the answer means in that dialect.

    Exit code 1 when the receiver does not accept it, 3 when it cannot be reached.
    """
    from northbound.cli.events import Who, all_kinds, make_view
    from northbound.cli.requests import read_keys, read_options, write_request
    from northbound.cli.saying import endpoint_at
    from northbound.dialects import dialect_named

    wire = dialect_named(dialect)
    if list_kinds:
        _list(all_kinds(wire), as_json=as_json)
        return
    if event is None or url is None:
        raise InvalidInput("give --event and --url, or --list to see the kinds of the dialect")
    options = read_options(wire, option or [])
    keys = read_keys(secret, token=token, rsa_key=rsa_key, certificate_url=certificate_url)
    endpoint = endpoint_at(url, wire, options=options, keys=keys, method=method)
    accepted = True
    for _ in range(count):
        kind, made, view = make_view(wire, event, Who(room=room, user=user, name=name), dict(options))
        request = wire.sign(wire.encode([view], endpoint), endpoint, datetime.now(UTC), os.urandom(32))
        exchange = send_once(request, wire.retry.deadline)
        verdict = _judged(dialect, exchange)
        accepted = accepted and verdict.accepted
        words = {"kind": kind, "type": made.type.value, "request": write_request(request), **_ended(exchange, verdict)}
        if as_json:
            print_json(words)
        else:
            _print_exchange(words)
    if not accepted:
        raise typer.Exit(Code.NO)


def send_once(request: Request, deadline: timedelta) -> Exchange:
    """Send one request where it says, wherever that is; raise `Unreachable` or `BlockedAddress`."""
    from northbound.backends.curl import CurlSender
    from northbound.logic.addresses import AllowList

    async def send() -> Exchange:
        sender = CurlSender(allow=AllowList.parse(_addresses_of(request.url)))
        try:
            return await sender.send(request, deadline=deadline)
        finally:
            await sender.close()

    exchange = asyncio.run(send())
    outcome = exchange.outcome
    if not isinstance(outcome, Failure):
        return exchange
    match outcome.kind:
        case FailureKind.INVALID_URL:
            raise InvalidInput(outcome.message, field="url")
        case FailureKind.BLOCKED:
            raise BlockedAddress(outcome.message)
        case FailureKind.REDIRECT | FailureKind.TOO_LARGE:
            return exchange
        case _:
            raise Unreachable(f"{shown(request.url.partition('?')[0])}: {outcome.message}")


def _addresses_of(url: str) -> list[str]:
    """Return every address *url* leads to: whoever types a URL here means it."""
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname or "", port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return []  # the sender says what is wrong with it
    hosts = {str(address[4][0]).partition("%")[0] for address in found}
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in sorted(hosts)]


def _judged(dialect: str, exchange: Exchange) -> Verdict:
    from northbound.dialects import dialect_named

    if isinstance(exchange.outcome, Failure):
        return Verdict(accepted=False, reason=exchange.outcome.message)
    return dialect_named(dialect).judge(exchange.request, exchange.outcome)


def _ended(exchange: Exchange, verdict: Verdict) -> dict[str, Any]:
    words: dict[str, Any] = {"ms": exchange.duration_ms, "accepted": verdict.accepted}
    if not isinstance(exchange.outcome, Failure):
        words |= {"status": exchange.outcome.status, "answer": exchange.outcome.body.decode(errors="replace")}
    if verdict.reason or verdict.warning:
        words["reason"] = verdict.reason or verdict.warning
    return words


def _print_exchange(words: dict[str, Any]) -> None:
    console = out()
    request = words["request"]
    console.print(styled(f"{words['kind']}  ({words['type']})", "bold"))
    console.print(f"  {request['method']} {shown(request['url'])}")
    console.print(f"  answer: {words.get('status', 'none')} in {words['ms']} ms  {shown(words.get('answer', ''))}")
    verdict = styled("accepted", "green") if words["accepted"] else styled("not accepted", "red")
    console.print("  verdict: ", verdict, f" {shown(words.get('reason', ''))}", sep="")


def _list(kinds: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json(kinds)
        return
    for kind in kinds:
        out().print(kind)


# --- receiving -------------------------------------------------------------------------------------------------------


def sink(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")],
    dialect: Annotated[list[str], typer.Option(help="Dialect to receive; several: each at its path, /avd, /mpaas ...")],
    secret: Secret = None,
    token: Annotated[list[str] | None, typer.Option(metavar="[DIALECT=]TOKEN", help="Expect this plain token.")] = None,
    certificates: Annotated[
        str | None, typer.Option(metavar="URL", help="Fetch and trust signing certificates below this URL.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of the (only) dialect.")
    ] = None,
    public_url: Annotated[str, typer.Option(help="Base URL that senders were told, where it is another one.")] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    fail: Annotated[
        str | None, typer.Option(help="Fail on purpose: a status such as 500, slow, close, garbled.")
    ] = None,
    fail_times: Annotated[int, typer.Option(min=0, help="Fail only the first tries of each delivery; 0: all.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Receive callbacks, check every signature, print each, and answer in the vendor's style. GET /summary counts.

    Without a secret, token or --certificates nothing can be verified, and arrivals are shown as unsigned.
    """
    failing = None if fail is None else Failing(mode=fail, times=fail_times)
    mounts = _mounts(dialect, secret or [], token or [], certificates, option or [])
    receiver = Sink(
        mounts,
        host=host,
        port=port,
        public_url=public_url,
        failing=failing,
        on_arrival=lambda one: _print_arrival(one, as_json=as_json),
    )
    asyncio.run(_serve_sink(receiver, mounts, as_json=as_json))


async def _serve_sink(receiver: Sink, mounts: tuple[Mount, ...], *, as_json: bool) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with receiver:
        for one in mounts:
            url = receiver.url + (one.path or "/")
            if as_json:
                print_line({"listening": url, "dialect": one.dialect})
            else:
                checked = "verifying" if one.is_checked else "not verifying: no secret was given"
                errors().print(f"{one.dialect} at {url} ({checked})")
        await stopped.wait()
    if as_json:
        print_line({"summary": receiver.summary()["paths"]})
    else:
        for tally in receiver.tallies.values():
            bad = tally.refused + tally.undecodable
            errors().print(f"{tally.dialect}: {tally.requests} requests, {tally.verified} verified, {bad} refused")


def _mounts(
    names: list[str], secrets: list[str], tokens: list[str], certificates: str | None, options: list[str]
) -> tuple[Mount, ...]:
    from northbound.cli.requests import read_options
    from northbound.dialects import dialect_named

    if options and len(names) > 1:
        raise InvalidInput("--option is for a receiver of one dialect", field="option")
    mounts: list[Mount] = []
    for name in dict.fromkeys(names):
        wire = dialect_named(name)
        shared = [Key(secret=one.encode()) for one in _meant(name, names, secrets)]
        plain = [Key(kind=KeyKind.TOKEN, secret=one.encode()) for one in _meant(name, names, tokens)]
        trusted = strict_options(wire, certificates) if certificates else {}
        is_checked = bool(shared or plain or (certificates and trusted))
        mounts.append(
            Mount(
                path=f"/{name}" if len(names) > 1 else "",
                dialect=name,
                keys=(*shared, *plain),
                options={**trusted, **read_options(wire, options)},
                is_checked=is_checked,
            )
        )
    return tuple(mounts)


def _meant(name: str, names: list[str], given: list[str]) -> list[str]:
    """Return the secrets for dialect *name*: those marked with it, and those marked with none."""
    found: list[str] = []
    for one in given:
        mark, separator, value = one.partition("=")
        if not (separator and mark in names):
            found.append(one)
        elif mark == name:
            found.append(value)
    return found


def _print_arrival(one: Arrival, *, as_json: bool) -> None:
    if as_json:
        print_line(msgspec.to_builtins(one))
        return
    how = styled("verified", "green") if one.verified else styled("unsigned", "yellow")
    if one.error:
        how = styled(f"refused: {one.why}", "red")
    place = "" if one.seq is None else f" #{one.seq}"
    again = f" (try {one.attempt})" if one.again else ""
    order = f" {one.order}!" if one.order else ""
    who = " ".join(filter(None, (one.room, ",".join(one.people))))
    stamp = one.at.strftime("%H:%M:%S.%f")[:-3]
    line = (
        f"{stamp} {one.dialect} {', '.join(one.kinds) or '-'} {who}{place}{again}{order} -> {one.status or 'nothing'} "
    )
    out().print(styled(line, ""), how, sep="")
