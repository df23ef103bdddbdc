"""History in memory: every search looks at every entry."""

from bisect import insort
from collections.abc import Callable, Sequence

from northbound.logic.search import event_id_in, hit_of, is_said, phrases, words_of
from northbound.model.history import HistoryHit, HistoryQuery
from northbound.model.log import Logged

LIMIT = 1_000  # hits of one page
EQUAL = ("event_id", "type", "room_id", "room_key", "participant_id")


class MemoryHistory:
    """Hits with their words, by offset; *head* tells the log's largest offset."""

    def __init__(self, head: Callable[[], int] = lambda: -1) -> None:
        self._head = head
        self._cursor = -1
        self.is_damaged = False
        self._kept: list[tuple[int, HistoryHit, list[str]]] = []

    def cursor(self) -> int:
        """Return the offset of the newest entry that is searchable, -1 at the beginning."""
        return self._cursor

    def add(self, entries: Sequence[Logged], *, after: int) -> bool:
        """Make *entries*, read behind offset *after*, searchable; False when the cursor is elsewhere meanwhile."""
        if not entries:
            return True
        if after != self._cursor:
            return False
        found = [(entry.offset, hit_of(entry), words_of(entry.event)) for entry in entries]
        for one in found:
            insort(self._kept, one, key=lambda kept: kept[0])
        self._cursor = entries[-1].offset
        return True

    def skip(self, *, after: int, until: int) -> bool:
        """Move the cursor from *after* to *until*; False when it is elsewhere meanwhile."""
        if after != self._cursor:
            return False
        self._cursor = until
        return True

    def renew(self) -> None:
        """Begin anew."""
        self.clear()

    def clear(self) -> None:
        """Forget everything, to be indexed from the beginning."""
        self._kept, self._cursor = [], -1

    def verify(self, entries: Sequence[Logged], *, after: int, until: int) -> int | None:
        """Return the first offset behind *after*, up to *until*, that is not stored as *entries* say."""
        wanted = {one.offset: (one.offset, hit_of(one), words_of(one.event)) for one in entries}
        stored = {one[0]: one for one in self._kept if after < one[0] <= until}
        different = [one for one in wanted.keys() | stored.keys() if wanted.get(one) != stored.get(one)]
        return min(different, default=None)

    def damage(self) -> str | None:
        """Return None: memory is sound."""
        return None

    def search(self, wanted: HistoryQuery) -> list[HistoryHit]:
        """Return hits below its `before`, newest first."""
        return self._find(wanted, -1)[::-1][: _limit(wanted)]

    def timeline(self, wanted: HistoryQuery, after: int = -1) -> list[HistoryHit]:
        """Return hits above offset *after*, oldest first."""
        return self._find(wanted, after)[: _limit(wanted)]

    def lag(self) -> int:
        """Return how many entries of the log are not searchable yet."""
        return max(0, self._head() - self._cursor)

    def _find(self, wanted: HistoryQuery, after: int) -> list[HistoryHit]:
        text = (wanted.text or "").strip()
        said = phrases(text)
        found = [(hit, words) for offset, hit, words in self._kept if offset > after and _fits(hit, wanted)]
        named = [hit for hit, _ in found if hit.event_id == event_id_in(text)]
        if named or (text and not said):
            return named
        return [hit for hit, words in found if is_said(words, said)]


def _limit(wanted: HistoryQuery) -> int:
    return max(0, min(wanted.limit, LIMIT))


def _fits(hit: HistoryHit, wanted: HistoryQuery) -> bool:
    at = hit.occurred_at or hit.recorded_at
    return (
        (wanted.before is None or hit.offset < wanted.before)
        and (wanted.source_ids is None or hit.source_id in wanted.source_ids)
        and (wanted.since is None or at >= wanted.since)
        and (wanted.until is None or at < wanted.until)
        and all(getattr(wanted, name) in {None, getattr(hit, name)} for name in EQUAL)
    )
