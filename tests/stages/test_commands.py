"""Commands in their order, from where the last process came to; read twice, each is carried out once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.model.delivery import Delivery
from northbound.model.errors import StoreFailed
from northbound.stages.commands import Command, Commands
from northbound.stages.control import Control
from northbound.testing.fakes import FakeClock, at, delivery


class Desk:
    """Commands that were given, a process that obeys and may be begun anew, and what it sent; `torn` fails results."""

    def __init__(self, path: Path) -> None:
        self.given: list[Command] = []
        self.asked: list[int] = []
        self.sent: list[str] = []
        self.torn = False
        self.store = SqliteDeliveries(path)
        self.stage = self.begun()

    def begun(self) -> Commands:
        control = Control(self, FakeClock(at(100)), self._sent, lambda _: [delivery(room="test/ep_1")], lambda _: None)
        self.stage = Commands(self, control, None, self.store)  # no statistics are asked for
        return self.stage

    def give(self, *identities: str) -> None:
        for identity in identities:
            self.given.append((len(self.given) + 1, identity, {"do": "test", "endpoint_id": "ep_1"}))

    def commands_after(self, number: int, limit: int = 100) -> list[Command]:
        self.asked.append(number)
        return [one for one in self.given if one[0] > number][:limit]

    def obey(self) -> int:
        return asyncio.run(self.stage.step())

    def add(self, deliveries: list[Delivery], **fields: Any) -> list[int]:
        if self.torn:
            raise StoreFailed("the disk is full")
        numbers = self.store.add(deliveries, **fields)
        self.sent += [str(fields["command_id"])] * len(deliveries)
        return numbers

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def _sent(self, numbers: Any, deliveries: Any) -> None:
        return


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(tmp_path / "deliveries.db")
    yield one
    one.store.close()


def test_a_new_process_goes_on_behind_the_last_command(desk: Desk):
    """Commands are kept for ever: reading all of them again at each start takes longer with each."""
    desk.give("a", "b", "c")
    assert desk.obey() == 3
    desk.give("d")

    desk.begun()
    desk.asked.clear()
    read = desk.obey()

    assert (read, desk.sent) == (1, ["a", "b", "c", "d"])
    assert desk.asked == [2, 3]
    assert desk.store.obeyed() == 4


def test_a_command_that_cannot_be_stored_is_the_next_one_again(desk: Desk):
    desk.give("a")
    desk.obey()
    desk.give("b")
    desk.torn = True
    with pytest.raises(StoreFailed):
        desk.obey()
    assert desk.store.obeyed() == 1

    desk.torn = False
    desk.begun()
    desk.obey()

    assert (desk.sent, desk.store.obeyed()) == (["a", "b"], 2)


def test_a_death_before_the_cursor_is_stored_repeats_nothing(desk: Desk):
    desk.give("a", "b")
    desk.obey()
    desk.store.note_obeyed(0)

    desk.begun()

    assert desk.obey() == 2
    assert (desk.sent, desk.store.obeyed()) == (["a", "b"], 2)


@pytest.mark.parametrize("later", [[], ["x", "y"]])
def test_commands_from_an_older_backup_are_not_passed_by(desk: Desk, later: list[str]):
    """Their numbers are given again: a cursor that is not of these commands would swallow the next ones."""
    desk.give("a", "b", "c")
    desk.obey()
    del desk.given[1:]
    desk.give(*later)

    desk.begun()
    desk.obey()
    desk.give("z")
    desk.obey()

    assert desk.sent == ["a", "b", "c", *later, "z"]
