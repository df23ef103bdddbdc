"""Keep a write-ahead log short without making its writer wait.

Committed pages are copied into the database by a thread and a connection of its own, passively: readers and the writer
go on. Under steady load such a copy is never quite complete, and only a complete one lets the log start again from its
beginning; so when little is left, the writer itself copies the rest between two transactions.
"""

import contextlib
import threading
import time
from pathlib import Path

import apsw

from northbound.backends.sqlite.database import PAGE

FRAME = PAGE + 24  # bytes of one page in the write-ahead log
COPY_ABOVE = 4_000  # pages not copied yet (16 MiB) that are worth the copier's reads
RESTART_ABOVE = 16_000  # pages of the log (64 MiB) from which the writer looks whether it can start again
LITTLE = 2_000  # pages (8 MiB) that the writer may copy itself: some milliseconds
TOO_LONG = 64_000  # pages (256 MiB) at which the writer copies whatever is left
LOOK_EVERY = 0.2  # seconds between two tries of the writer


class Checkpointer:
    """The copier of one database; *writer* is the connection of its only writer, in whose thread `tidy` is called."""

    def __init__(self, path: Path, writer: apsw.Connection) -> None:
        self._path = path
        self._writer = writer
        self._pages = 0  # of the log, as the last commit left it
        self._copied = 0
        self._look_at = 0.0
        self._turn = threading.Lock()
        self._wake = threading.Event()
        self._stop = False
        self.failed: str | None = None  # why copying failed for good: the disk may have lost what it said it has (S5)
        writer.execute(f"PRAGMA journal_size_limit={RESTART_ABOVE * FRAME}")
        writer.set_wal_hook(self._committed)
        self._thread = threading.Thread(target=self._run, name=f"checkpoint-{path.stem}", daemon=True)
        self._thread.start()

    @property
    def wal_bytes(self) -> int:
        """Bytes of the write-ahead log that are in use."""
        return self._pages * FRAME

    def tidy(self) -> None:
        """Let the log start again from its beginning when it is long; called by the writer between transactions."""
        now = time.monotonic()
        if self._pages < RESTART_ABOVE or now < self._look_at:
            return
        forced = self._pages >= TOO_LONG
        if not forced and self._pages - self._copied > LITTLE:
            return
        self._look_at = now + LOOK_EVERY
        if self._turn.acquire(blocking=forced):
            try:
                self._copy(self._writer)
            finally:
                self._turn.release()

    def is_held(self) -> bool:
        """Tell whether a reader keeps the log from starting again; called by the writer between transactions."""
        self.tidy()
        return self._copied < self._pages

    def close(self) -> None:
        """Stop the thread."""
        self._stop = True
        self._wake.set()
        self._thread.join(timeout=10)

    def _committed(self, _: apsw.Connection, __: str, pages: int) -> int:
        if pages < self._pages:  # started again
            self._copied = 0
        self._pages = pages
        if pages - self._copied >= COPY_ABOVE:
            self._wake.set()
        return 0

    def _run(self) -> None:
        with contextlib.closing(apsw.Connection(str(self._path))) as connection:
            connection.set_busy_timeout(100)
            connection.execute("PRAGMA synchronous=FULL")
            while not self._stop and self.failed is None:
                self._wake.wait(timeout=5.0)
                self._wake.clear()
                if not self._stop and self._pages - self._copied >= COPY_ABOVE:
                    with self._turn:
                        self._copy(connection)
                    time.sleep(0.05)  # leave the turn to the writer, and a held log to itself

    def _copy(self, connection: apsw.Connection) -> None:
        try:
            pages, copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except (apsw.BusyError, apsw.LockedError, apsw.FullError):  # nothing is lost: the log still has it all
            return
        except apsw.Error as error:
            self.failed = f"{type(error).__name__}: {error}"
            return
        if pages <= self._pages:  # not of a log that started again meanwhile
            self._copied = max(copied, 0)
