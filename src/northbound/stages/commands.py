"""Carry out what people ask of the delivery process, in the order it was asked for, and remember how far that is."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

import structlog

from northbound.stages.control import Control
from northbound.stages.statistics import Statistics

POLL = timedelta(milliseconds=250)
STALLED = 1.0  # seconds of pause after a command that could not be carried out
log = structlog.get_logger()
Command = tuple[int, str, dict[str, Any]]


class CommandReader(Protocol):
    """The commands that were ever given; read only."""

    def commands_after(self, number: int, limit: int = 100) -> Sequence[Command]:
        """Return up to *limit* commands after *number*, in order: (number, id, body)."""
        ...


class CommandCursor(Protocol):
    """How far commands were carried out, beside their results."""

    def obeyed(self) -> int:
        """Return the number up to which all commands were carried out, 0 at the beginning."""
        ...

    def note_obeyed(self, number: int) -> None:
        """Store that all commands up to *number* were carried out."""
        ...

    def command_result(self, command_id: str) -> Any | None:
        """Return the result of a command that was carried out, or None."""
        ...


class Commands:
    """The stage; each result is stored with its effect, so a command that is read twice is carried out once.

    That is why the cursor may be stored behind the effects, once for all that were read together.
    """

    def __init__(self, reader: CommandReader, control: Control, statistics: Statistics, cursor: CommandCursor) -> None:
        self._reader = reader
        self._control = control
        self._statistics = statistics
        self._cursor = cursor
        self._last: int | None = None  # not known before the database was read

    async def run(self) -> None:
        """Obey for ever; a command that cannot be stored, say on a full disk, is tried again."""
        while True:
            try:
                read = await self.step()
            except Exception:
                log.exception("command.stalled", after=self._last, again_in=STALLED)
                await asyncio.sleep(STALLED)
                continue
            await asyncio.sleep(0 if read else POLL.total_seconds())

    async def step(self) -> int:
        """Carry out what is new, a page of one that has many; return how many commands were read."""
        if self._last is None:
            self._last = self._begin()
        begun, found = self._last, self._reader.commands_after(self._last)
        try:
            for number, identity, body in found:
                if body.get("do") == "statistic":
                    await self._statistics.again(identity, str(body.get("account_id")), str(body.get("day")))
                elif self._control.step(identity, body) is None:
                    break  # it has more pages: after everybody else had a turn
                self._last = number
        finally:
            if self._last != begun:
                self._cursor.note_obeyed(self._last)
        return len(found)

    def _begin(self) -> int:
        """Return where to go on: the cursor, or the beginning where it is not of these commands.

        A backup may hold commands that are older than their results, and their numbers are given again then.
        """
        last = self._cursor.obeyed()
        known = next(iter(self._reader.commands_after(last - 1, 1)), None)
        if known is None or known[0] != last or self._cursor.command_result(known[1]) is None:
            return 0
        return last
