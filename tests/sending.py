"""What the tests of the outgoing client share: a scenario runner, a sender that is closed, requests and outcomes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop

from northbound.backends.curl import CurlSender
from northbound.logic.addresses import AllowList
from northbound.model.delivery import Exchange, Failure
from northbound.model.wire import Request, Response

SHORT = timedelta(seconds=0.3)
LONG = timedelta(seconds=5)
LOOPBACK = AllowList.parse(["127.0.0.0/8", "::1"])
NOTHING = AllowList.parse([])


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    uvloop.run(bounded())


@asynccontextmanager
async def sending(**options: Any) -> AsyncIterator[CurlSender]:
    sender = CurlSender(**{"allow": LOOPBACK, **options})
    try:
        yield sender
    finally:
        await sender.close()


def post(url: str, *headers: tuple[str, str], body: bytes = b'{"a":1}') -> Request:
    return Request(method="POST", url=url, headers=headers, body=body)


async def ask(sender: CurlSender, request: Request, deadline: timedelta = LONG, **options: Any) -> Exchange:
    return await sender.send(request, deadline=deadline, **options)


def failure(exchange: Exchange) -> Failure:
    assert isinstance(exchange.outcome, Failure), exchange.outcome
    return exchange.outcome


def response(exchange: Exchange) -> Response:
    assert isinstance(exchange.outcome, Response), exchange.outcome
    return exchange.outcome


def count_descriptors() -> int:
    """Return how many file descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
