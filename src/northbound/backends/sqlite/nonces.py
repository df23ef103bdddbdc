"""Nonces of signed calls on SQLite: a call that was captured is not taken again, also after the process was killed."""

import contextlib
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import apsw

from northbound.backends.sqlite.checkpoint import Checkpointer
from northbound.backends.sqlite.database import open_writer, query
from northbound.backends.sqlite.disk import in_words
from northbound.model.errors import StoreFailed

OWNER_BYTES = 8  # at the front of each nonce


class SqliteNonces:
    """The one writer of nonces.db. Counts are kept in memory and read from the file when it is opened.

    A commit waits for no disk: the system has it, so it outlives the process. A power cut may take the last seconds.
    """

    def __init__(self, path: Path) -> None:
        self._db = open_writer(path, "nonces")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._checkpointer = Checkpointer(path, self._db)
        self._minutes: Counter[int] = Counter()  # how many are over in a minute
        self._owners: Counter[bytes] = Counter()
        self._every = 0
        self._forgotten = 0  # whatever was over before this minute may be gone
        rows: list[Any] = self._db.execute(query("nonces.counted")).fetchall()
        for owner, until, count in rows:
            self._count(owner, until, count)

    def use(self, nonce: bytes, until: int) -> bool:
        """Note a nonce, over in minute *until*; tell whether it was new."""
        if until < self._forgotten:  # the clock went back: nobody knows any more
            return False
        if self._checkpointer.failed is not None:
            raise StoreFailed(f"nonces.db: {self._checkpointer.failed}; restart after the disk is sound")
        with _failing():
            self._db.execute(query("nonces.add"), (nonce, until))
            if not self._db.changes():
                return False
            self._checkpointer.tidy()
        self._count(nonce[:OWNER_BYTES], until, 1)
        return True

    def kept(self, owner: bytes) -> tuple[int, int]:
        """Return how many are kept of *owner*, and of all."""
        return self._owners[owner], self._every

    def forget(self, before: int, most: int) -> None:
        """Drop up to *most* of those that were over before a minute."""
        self._forgotten = max(self._forgotten, before)
        if min(self._minutes, default=before) >= before:
            return
        with _failing():
            rows: list[Any] = self._db.execute(query("nonces.forget"), (before, most)).fetchall()
        for nonce, until in rows:
            self._count(nonce[:OWNER_BYTES], until, -1)

    def close(self) -> None:
        """Close the database."""
        self._checkpointer.close()
        self._db.close()

    def _count(self, owner: bytes, until: int, count: int) -> None:
        self._every += count
        self._minutes[until] += count
        self._owners[owner] += count
        if not self._minutes[until]:
            del self._minutes[until]
        if not self._owners[owner]:
            del self._owners[owner]


@contextlib.contextmanager
def _failing() -> Generator[None]:
    """Say what the database refused in our own words: a call whose nonce cannot be noted is not taken."""
    try:
        yield
    except apsw.Error as error:
        raise StoreFailed(f"nonces.db did not take it: {in_words(error)}") from None
