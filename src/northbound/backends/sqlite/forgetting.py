"""Forget expired event ids, some at a time in the order of the table's own key: another index would cost more."""

from datetime import UTC, datetime

import apsw
import structlog

from northbound.backends.sqlite.database import query
from northbound.backends.sqlite.disk import in_words

CHUNK = 512  # ids looked at while nothing else is to do
AFTER = 256  # entries after which ids are looked at under load, two for each entry: forgetting keeps up with adding
MOST = 4096  # ids looked at in one commit, however many entries it added
LAST_KEY = ("\U0010ffff", "")  # behind every source

log = structlog.get_logger()


class Forgetting:
    """Goes round the table again and again, on the writer's connection and in its thread."""

    def __init__(self, db: apsw.Connection, offset: int) -> None:
        self._db = db
        self._from: tuple[str, str] = ("", "")
        self._looked_at = offset

    def idle(self) -> None:
        """Look at a chunk in a transaction of its own."""
        with self._db:
            self._look(CHUNK, datetime.now(UTC))

    def beside(self, offset: int, now: datetime) -> None:
        """Look in the transaction of others, which costs no sync: under load nobody is ever idle.

        *offset* is the log's last, *now* when its newest request was received: what is told as known to one request is
        not forgotten beside it. What cannot be forgotten fails nothing, unless the whole transaction is gone.
        """
        grown = offset - self._looked_at
        if grown < AFTER:
            return
        try:
            self._look(min(2 * grown, MOST), now)
        except apsw.Error as error:
            if self._db.get_autocommit():
                raise
            log.warning("log.not_forgotten", reason=in_words(error))
        self._looked_at = offset

    def _look(self, count: int, now: datetime) -> None:
        row = self._db.execute(query("events.seen_end"), (*self._from, count - 1)).fetchone()
        self._db.execute(query("events.seen_forget"), (*self._from, *(row or LAST_KEY), int(now.timestamp())))
        self._from = row or ("", "")
