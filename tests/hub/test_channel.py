"""The private line between processes: an answer is its caller's own."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from northbound.hub.channel import Channel, serve_channel
from northbound.hub.system import Folder
from northbound.model.errors import Overloaded, StoreFailed


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(str(tmp_path))
    folder.create()
    return folder


def test_a_call_that_is_cancelled_leaves_no_answer_for_the_next(folder: Folder) -> None:
    """The answer to a cancelled call comes late; the next caller must not take it for its own."""
    asyncio.run(_a_call_that_is_cancelled_leaves_no_answer_for_the_next(folder))


async def _a_call_that_is_cancelled_leaves_no_answer_for_the_next(folder: Folder) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def answer(call: bytes) -> Any:
        what = msgspec.json.decode(call)["do"]
        if what == "slow":
            asked.set()
            await release.wait()
        return what

    server = await serve_channel(folder, "there", answer)
    channel = Channel(folder, "there")
    slow = asyncio.create_task(channel.call(do="slow"))
    await asked.wait()
    waiting = asyncio.create_task(channel.call(do="behind"))
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    release.set()

    assert await waiting == "behind"
    assert [await channel.call(do=str(number)) for number in range(3)] == ["0", "1", "2"]
    channel.close()
    server.close()


def test_a_caller_cancelled_while_it_waits_its_turn_harms_nobody(folder: Folder) -> None:
    asyncio.run(_a_caller_cancelled_while_it_waits_its_turn_harms_nobody(folder))


async def _a_caller_cancelled_while_it_waits_its_turn_harms_nobody(folder: Folder) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def answer(call: bytes) -> Any:
        asked.set()
        await release.wait()
        return msgspec.json.decode(call)["do"]

    server = await serve_channel(folder, "there", answer)
    channel = Channel(folder, "there")
    first = asyncio.create_task(channel.call(do="first"))
    await asked.wait()
    second = asyncio.create_task(channel.call(do="second"))
    await asyncio.sleep(0)
    second.cancel()
    release.set()

    assert await first == "first"
    channel.close()
    server.close()


def test_nobody_there_is_said(folder: Folder) -> None:
    asyncio.run(_nobody_there_is_said(folder))


async def _nobody_there_is_said(folder: Folder) -> None:
    with pytest.raises(StoreFailed, match="the nobody process does not answer"):
        await Channel(folder, "nobody").call(do="x")


def test_what_the_other_side_refuses_is_heard_here(folder: Folder) -> None:
    """A log that is too busy says so, and the line stays open for the next call."""
    asyncio.run(_what_the_other_side_refuses_is_heard_here(folder))


async def _what_the_other_side_refuses_is_heard_here(folder: Folder) -> None:
    async def answer(call: bytes) -> Any:
        if msgspec.json.decode(call)["do"] == "conclude":
            raise Overloaded("too many events are waiting")
        return "there"

    server = await serve_channel(folder, "there", answer)
    channel = Channel(folder, "there")

    with pytest.raises(StoreFailed, match="too many events are waiting"):
        await channel.call(do="conclude")

    assert await channel.call(do="health") == "there"
    channel.close()
    server.close()
