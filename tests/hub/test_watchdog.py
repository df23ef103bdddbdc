"""A process that hangs is told from one that is busy, starts, or was not looked at."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from northbound.hub.channel import ALIVE, framed
from northbound.hub.system import Folder
from northbound.hub.watchdog import STARTING, Watchdog

PATIENCE = 60.0


class Process:
    """The other side of the line, answering when it is told to; and a supervisor that looks ten times a second."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lines: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.watchdog = Watchdog(folder, "web")
        self.now = 1_000.0

    def listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._folder.socket("web.sock"))
        self._listener.listen(1)
        self._listener.setblocking(False)

    def answer(self) -> int:
        """Answer what was asked; return how many questions there were."""
        assert self._listener is not None
        with contextlib.suppress(BlockingIOError):
            self._lines.append(self._listener.accept()[0])
        answered = 0
        for line in self._lines:
            line.setblocking(False)
            try:
                asked = line.recv(1024)
            except BlockingIOError:
                continue
            assert asked == framed(ALIVE)
            line.sendall(framed(b'{"ok":{}}'))
            answered += 1
        return answered

    def pass_(self, seconds: float, *, answering: bool) -> None:
        for _ in range(int(seconds * 10)):
            self.now += 0.1
            self.watchdog.look(self.now)
            if answering and self._listener is not None:
                self.answer()

    def close(self) -> None:
        self.watchdog.close()
        for one in self._lines:
            one.close()
        if self._listener is not None:
            self._listener.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    folder = Folder(str(tmp_path))
    folder.create()
    one = Process(folder)
    yield one
    one.close()


def test_one_that_answers_is_never_hung_and_is_not_asked_all_the_time(process: Process):
    process.listen()

    process.pass_(300, answering=True)

    assert not process.watchdog.is_hung(3)


def test_one_that_answers_no_more_is_hung(process: Process):
    process.listen()
    process.pass_(10, answering=True)

    process.pass_(PATIENCE - 5, answering=False)
    before = process.watchdog.is_hung(PATIENCE)
    process.pass_(10, answering=False)

    assert (before, process.watchdog.is_hung(PATIENCE)) == (False, True)


def test_one_that_is_busy_and_answers_late_is_not_hung(process: Process):
    """A long statement holds its loop up, and then it goes on."""
    process.listen()
    process.pass_(10, answering=True)
    for _ in range(5):
        process.pass_(PATIENCE - 5, answering=False)
        assert not process.watchdog.is_hung(PATIENCE)
        process.pass_(1, answering=True)

    assert process.watchdog.silent < 2


def test_time_in_which_nobody_looked_accuses_nobody(process: Process):
    """The whole machine was held still: the process had no more time to answer than we to ask."""
    process.listen()
    process.pass_(10, answering=True)
    process.now += 10 * PATIENCE

    process.pass_(1, answering=False)

    assert not process.watchdog.is_hung(PATIENCE)


def test_one_that_starts_has_longer(process: Process):
    """It may have a long database to read before it listens at all."""
    process.pass_(PATIENCE * (STARTING - 1), answering=False)
    assert not process.watchdog.is_hung(PATIENCE)
    process.listen()
    process.pass_(2, answering=True)
    assert process.watchdog.has_answered

    process.pass_(PATIENCE + 5, answering=False)

    assert process.watchdog.is_hung(PATIENCE)
