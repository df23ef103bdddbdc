"""Ask a process again and again whether it is alive, without ever waiting for it: one that hangs does not exit."""

import contextlib
import socket

from northbound.hub.channel import ALIVE, framed
from northbound.hub.system import Folder

ASK_EVERY = 2.0  # seconds between an answer and the next question
LOOK_MOST = 1.0  # seconds of silence that one look can find: while nobody looked, we were held still as well
STARTING = 10  # times the patience for a process that never answered: it may have much to load


class Watchdog:
    """One process's private line, asked by its supervisor; `look` tells how long it owes an answer.

    Only silence that was watched counts: a machine that slept, or a supervisor that was held still, accuses nobody.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._line: socket.socket | None = None
        self._is_asked = False
        self._looked: float | None = None
        self._since_answer = 0.0
        self.has_answered = False

    @property
    def silent(self) -> float:
        """Seconds for which no answer came, of those that were watched."""
        return self._since_answer

    def is_hung(self, patience: float) -> bool:
        """Tell whether it has been silent for longer than *patience* seconds, or many times that at its start."""
        return self._since_answer > (patience if self.has_answered else patience * STARTING)

    def look(self, now: float) -> None:
        """Take the answer that is there, and ask when it is time; *now* is monotonic."""
        elapsed = 0.0 if self._looked is None else min(LOOK_MOST, max(0.0, now - self._looked))
        self._looked = now
        self._since_answer += elapsed
        try:
            self._talk()
        except BlockingIOError:  # it takes no more, or has not answered yet
            return
        except OSError:  # not there yet, or gone
            self.close()

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()
        self._line, self._is_asked = None, False

    def _talk(self) -> None:
        if self._line is None:
            line = socket.socket(socket.AF_UNIX)
            line.setblocking(False)
            with contextlib.ExitStack() as undo:
                undo.callback(line.close)
                line.connect(self._folder.socket(f"{self._name}.sock"))
                undo.pop_all()
            self._line = line
        if self._is_asked:
            if not self._line.recv(1024):
                raise ConnectionResetError
            self._since_answer, self._is_asked, self.has_answered = 0.0, False, True
        elif self._since_answer >= ASK_EVERY or not self.has_answered:
            self._line.send(framed(ALIVE))
            self._is_asked = True
