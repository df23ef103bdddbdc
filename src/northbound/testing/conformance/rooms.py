"""The laws of rooms and routing (house laws 3, 5 and 7)."""

# ruff: noqa: D401 - a law says what is so, not what to do

import contextlib
from collections.abc import Sequence

from msgspec.structs import replace

from northbound.dialects import all_dialects
from northbound.logic.route import build_table
from northbound.model.app import App, Endpoint, Registry, Source, Subscription, Target
from northbound.model.delivery import Delivery, Lane
from northbound.model.event import EventType
from northbound.model.log import NOT_FOLDED_KEPT, Logged, NotFolded
from northbound.model.room import Connection, Memory, Room, Tally
from northbound.ports import Folded
from northbound.stages.follow import Follow
from northbound.testing.conformance.storage import (
    NOW,
    Storage,
    Store,
    Torn,
    TornError,
    delivery,
    event,
    expect,
    receipt,
)

KEY = "src_1//r1"
ROOM = Room(source_id="src_1", id="r1", open=True, opened_at=NOW, seq=3, offset=7)
MEMORY = Memory(connections={"c1": Connection(room_id="r1", participant_id="u1")}, offset=7)
DAY = "2026-01-02"
TABLE = build_table(
    Registry(
        version=1,
        apps=(App(id="app_1", name="one", created_at=NOW),),
        sources=(Source(id="src_1", app_id="app_1", name="s", dialect="standard", token="t", created_at=NOW),),  # noqa: S106
        endpoints=tuple(
            Endpoint(id=name, app_id="app_1", url="http://sink.test/", dialect="standard", created_at=NOW)
            for name in ("ep_1", "ep_2")
        ),
        subscriptions=(
            Subscription(
                id="sub_1",
                app_id="app_1",
                created_at=NOW,
                targets=(Target(endpoint_id="ep_1"), Target(endpoint_id="ep_2")),
            ),
        ),
    )
)


async def a_new_store_is_at_the_beginning(one: Storage) -> None:
    """Nothing is known, and asking changes nothing."""
    found = (one.store.cursor(), one.store.room(KEY), one.store.memory("src_1"), one.store.last_sent("ep_1", KEY))

    expect((-1, None, Memory(), None), found, "an empty store")


async def cursor_and_output_are_stored_together(one: Storage) -> None:
    """After a commit all of it is there, also for the next process."""
    numbers = _commit(one.store, cursor=7, deliveries=[delivery(1), delivery(2, endpoint="ep_2")])

    for _ in range(2):
        found = (one.store.cursor(), one.store.room(KEY), one.store.memory("src_1"))
        expect((7, ROOM, MEMORY), found, "cursor, room and memory")
        expect(numbers, [waiting.number for waiting in one.store.waiting()], "deliveries wait")
        one.reopen()


async def a_commit_that_fails_stores_nothing(one: Storage) -> None:
    """A process that dies in the middle leaves the cursor where it was, and nothing of what it led to."""
    _commit(one.store, cursor=7, deliveries=[delivery(1)])
    other = Room(source_id="src_1", id="r1", open=False, seq=9, offset=9)
    half = Tally(day=DAY, room_key=KEY, meetings=5)

    with contextlib.suppress(TornError):
        folded = Folded(
            cursor=9,
            rooms={KEY: other, "src_1//r2": other},
            memories={"src_1": Memory(offset=9)},
            deliveries=[delivery(5)],
            tallies=Torn(("app_1", half)),
        )
        one.store.commit(folded)

    for _ in range(2):
        found = (one.store.cursor(), one.store.room(KEY), one.store.room("src_1//r2"), one.store.memory("src_1"))
        expect((7, ROOM, None, MEMORY), found, "cursor, rooms and memory are as before")
        expect(1, len(one.store.waiting()), "no delivery was added")
        expect(1, one.store.last_sent("ep_1", KEY), "nothing counts as sent")
        expect(None, one.day("app_1", DAY), "nothing was counted")
        one.reopen()
    expect([2], _commit(one.store, cursor=9, deliveries=[delivery(5)]), "numbers go on without a gap")


async def what_was_sent_last_is_known_per_endpoint_and_room(one: Storage) -> None:
    """What is routed counts, in order or loose, replays do not (law 5); a room that changes later does not lose it."""
    _commit(one.store, cursor=1, deliveries=[delivery(1), delivery(4), delivery(9, lane=Lane.REPLAY)])
    _commit(one.store, cursor=2, deliveries=[delivery(2, endpoint="ep_2", lane=Lane.LOOSE)])

    one.reopen()
    _commit(one.store, cursor=3, deliveries=[])

    for _ in range(2):
        found = [one.store.last_sent(*asked) for asked in (("ep_1", KEY), ("ep_2", KEY), ("ep_1", "src_1//r2"))]
        expect([4, 2, None], found, "last places sent")
        one.reopen()


async def figures_add_up(one: Storage) -> None:
    """Tallies of a day are summed, members counted once, and the peak is the most present at once."""
    joined = Tally(day=DAY, room_key=KEY, joins=1, members=("u1",), present_delta=1, meetings=1, room_present=1)
    also = Tally(day=DAY, room_key=KEY, joins=1, members=("u2",), present_delta=1, room_present=2)
    left = Tally(day=DAY, room_key=KEY, present_delta=-1, participant_seconds=1.5, meeting_seconds=2.0)

    for cursor, tallies in enumerate(([joined, also, left], [joined, left, left], [also])):
        _commit(one.store, cursor=cursor, tallies=[("app_1", tally) for tally in tallies])
        one.reopen()

    found = one.day("app_1", DAY)
    if found is None:
        expect("figures", found, "the day")
        return
    sums = (found.meetings, found.joins, found.members, found.peak, found.participant_seconds, found.meeting_seconds)
    expect((2, 4, 2, 2, 4.5, 6.0), sums, "meetings, joins, members, peak, seconds of stays and of meetings")


async def entries_set_aside_are_counted_and_the_newest_kept(one: Storage) -> None:
    """Stored with the cursor; a sender whose every event fails fills no disk."""
    aside = [
        NotFolded(offset=number, event_id=f"ev_{number}", source_id="src_1", part="fold", reason="TypeError in a.b")
        for number in range(NOT_FOLDED_KEPT + 5)
    ]
    expect((0, []), one.store.not_folded(10), "nothing is set aside at the beginning")

    _commit(one.store, cursor=3, not_folded=aside[:3])
    _commit(one.store, cursor=4)
    _commit(one.store, cursor=NOT_FOLDED_KEPT + 5, not_folded=aside[3:])

    for _ in range(2):
        count, kept = one.store.not_folded(NOT_FOLDED_KEPT * 2)
        expect((NOT_FOLDED_KEPT + 5, aside[:4:-1]), (count, kept), "all counted, the newest kept")
        one.reopen()


async def routing_twice_makes_the_same_deliveries(one: Storage) -> None:
    """Two stores that follow one log hold the same, and the second adds no conclusion to the log (laws 3, 7)."""
    await _append_a_meeting(one)

    await _follow(one, one.store, limit=3)
    head = one.reader.head()
    again = one.another_store()
    await _follow(one, again, limit=100)

    expect(head, one.reader.head(), "conclusions are stored once")
    expect(_routed(one.store), _routed(again), "the same deliveries")
    expect(one.store.room(KEY), again.room(KEY), "the same room")
    if not _routed(again):
        expect("deliveries", [], "something was routed")


async def a_follower_that_dies_goes_on_where_it_was(one: Storage) -> None:
    """A crash between concluding and storing neither loses nor doubles."""
    await _append_a_meeting(one)
    calm = one.another_store()

    for _ in range(40):
        with contextlib.suppress(TornError):
            await _follow(one, _Dying(one.store), limit=2)
        one.reopen()
        if one.store.cursor() >= one.reader.head():
            break
    await _follow(one, calm, limit=100)

    expect(_routed(calm), _routed(one.store), "the same deliveries as without a crash")
    expect(calm.room(KEY), one.store.room(KEY), "the same room")


class _Dying:
    """A store whose every second commit fails in the middle."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._commits = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def commit(self, folded: Folded) -> list[int]:
        self._commits += 1
        return self._store.commit(replace(folded, tallies=Torn()) if self._commits % 2 == 0 else folded)


async def _append_a_meeting(one: Storage) -> None:
    kinds = EventType
    for number, (kind, person) in enumerate(
        (
            (kinds.ROOM_OPENED, None),
            (kinds.PARTICIPANT_JOINED, "u1"),
            (kinds.PARTICIPANT_JOINED, "u2"),
            (kinds.PARTICIPANT_JOINED, "u1"),
            (kinds.PARTICIPANT_LEFT, "u2"),
            (kinds.ROOM_CLOSED, None),
            (kinds.PARTICIPANT_JOINED, "u3"),
        )
    ):
        await one.log.append(receipt(number), [event("r1", person, kind=kind, key=f"k{number}")])


async def _follow(one: Storage, store: Store | _Dying, *, limit: int) -> None:
    def routed(_: Sequence[int], __: Sequence[Delivery]) -> None:
        return

    async def conclude(entries: Sequence[Logged]) -> int:
        return await one.log.conclude(entries)

    follow = Follow(one.reader, store, all_dialects(), lambda: TABLE, conclude, routed)  # pyright: ignore[reportArgumentType] - _Dying hands all on
    while await follow.step(limit):
        continue


def _routed(store: Store) -> list[Delivery | None]:
    return [store.load(waiting.number) for waiting in store.waiting()]


def _commit(
    store: Store,
    *,
    cursor: int,
    deliveries: Sequence[Delivery] = (),
    tallies: Sequence[tuple[str, Tally]] = (),
    not_folded: Sequence[NotFolded] = (),
) -> list[int]:
    folded = Folded(
        cursor=cursor,
        rooms={KEY: ROOM},
        memories={"src_1": MEMORY},
        deliveries=deliveries,
        tallies=tallies,
        losses=[("ep_1", "lost", "facts.role", "participant.joined")],
        past=[(KEY, ROOM)],
        not_folded=not_folded,
    )
    return store.commit(folded)


LAWS = (
    a_new_store_is_at_the_beginning,
    cursor_and_output_are_stored_together,
    a_commit_that_fails_stores_nothing,
    what_was_sent_last_is_known_per_endpoint_and_room,
    figures_add_up,
    entries_set_aside_are_counted_and_the_newest_kept,
    routing_twice_makes_the_same_deliveries,
    a_follower_that_dies_goes_on_where_it_was,
)
