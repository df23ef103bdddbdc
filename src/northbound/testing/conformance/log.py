"""The laws of the log (house laws 1 and 2, faults S2, R1, I17)."""

# ruff: noqa: D401 - a law says what is so, not what to do

import asyncio
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from northbound.model.log import Logged, Origin, room_key
from northbound.testing.conformance.storage import HORIZON, NOW, Storage, broken, event, expect, receipt, refused


async def append_stores_events_with_their_request(one: Storage) -> None:
    """What was appended can be read: whole, in order, under the ids that were returned."""
    events = [event("r1", key="a", words='{"n":1.50,"z":"\\u4f1a"}'), event("r2", at=NOW)]

    appended = await one.log.append(receipt(), events)
    one.reopen()

    found = one.reader.read(-1, 10)
    expect(appended.ids, tuple(entry.id for entry in found), "ids are those of the entries")
    expect([0, 1], [entry.offset for entry in found], "offsets grow by one")
    expect(events, [entry.event for entry in found], "events come back as they were")
    expect([NOW, NOW], [entry.recorded_at for entry in found], "times come back to the microsecond")
    expect({Origin.OBSERVED}, {entry.origin for entry in found}, "what a vendor said is observed")
    expect(1, len({entry.receipt_id for entry in found}), "events of one request share its receipt")
    expect(1, one.stored().receipts, "one request, one receipt")


async def append_of_nothing_new_keeps_the_request(one: Storage) -> None:
    """A known event id adds no entry, and its request stays visible as a repeat (R1)."""
    await one.log.append(receipt(1), [event(key="a")])

    again = await one.log.append(receipt(2), [event(key="a")])
    spaced = await one.log.append(receipt(3), [event(key="a", words='{ "n" : 1 }')])

    expect(((), 1, 0), (again.ids, again.duplicates, again.conflicts), "a repeat is a duplicate")
    expect(((), 1, 0), (spaced.ids, spaced.duplicates, spaced.conflicts), "white space is no difference")
    expect(0, one.reader.head(), "a repeat adds no entry")
    expect((3, 2), (one.stored().receipts, one.stored().repeats), "every request is kept and linked")


async def an_id_twice_in_one_request_is_one_event(one: Storage) -> None:
    """Deduplication sees what the same request brought before."""
    appended = await one.log.append(receipt(), [event(key="a"), event(key="a"), event(key="b")])

    expect((2, 1), (len(appended.ids), appended.duplicates), "one of each id")
    first, second = appended.ids
    expect((first, first, second), appended.places, "where each is")
    expect(1, one.reader.head(), "two entries")


async def ids_are_known_per_source(one: Storage) -> None:
    """Two sources may use the same event id."""
    await one.log.append(receipt(source="src_1"), [event(key="a")])

    other = await one.log.append(receipt(source="src_2"), [event(key="a")])

    expect(1, len(other.ids), "another source's id is another id")


async def events_without_an_id_are_never_dropped(one: Storage) -> None:
    """No id is ever invented: state decides what such a repeat means."""
    await one.log.append(receipt(1), [event()])

    again = await one.log.append(receipt(2), [event()])

    expect((1, 0), (len(again.ids), again.duplicates), "stored again")


async def ids_outlive_the_process_and_end_with_the_horizon(one: Storage) -> None:
    """An id is remembered for the horizon, over restarts, and not longer."""
    await one.log.append(receipt(), [event(key="a")])
    one.reopen()

    inside = await one.log.append(receipt(at=NOW + HORIZON - timedelta(minutes=1)), [event(key="a")])
    outside = await one.log.append(receipt(at=NOW + HORIZON + timedelta(minutes=1)), [event(key="a")])
    renewed = await one.log.append(receipt(at=NOW + HORIZON + timedelta(minutes=2)), [event(key="a")])

    expect((1, 0, 1), (inside.duplicates, outside.duplicates, renewed.duplicates), "known inside the horizon only")
    expect(1, len(outside.ids), "a new event after it")


async def a_known_id_with_other_words_is_a_conflict(one: Storage) -> None:
    """The first is kept, the second is quarantined (I17)."""
    await one.log.append(receipt(1), [event(key="a", words='{"n":1}')])

    second = await one.log.append(receipt(2), [event(key="a", words='{"n":2}'), event(key="b")])

    expect((1, 0, 1), (len(second.ids), second.duplicates, second.conflicts), "only the other event is stored")
    expect(b'{"n":1}', bytes(one.reader.read(-1, 1)[0].event.vendor), "the first is kept")
    expect(("conflict",), one.stored().quarantined, "the second is in quarantine")


async def an_event_that_cannot_be_stored_leaves_nothing(one: Storage) -> None:
    """An append that raises has stored neither its request nor any of its events, and harms no other."""
    unstorable = event("\ud800")

    results = await asyncio.gather(
        one.log.append(receipt(1), [event(key="a")]),
        one.log.append(receipt(2), [event(key="b"), unstorable]),
        one.log.append(receipt(3), [event(key="c")]),
        return_exceptions=True,
    )

    expect([False, True, False], [isinstance(result, Exception) for result in results], "only the bad one fails")
    expect(["a", "c"], sorted(_keys(one.reader.read(-1, 10))), "its good event is not stored either")
    expect(2, one.stored().receipts, "nor is its request")
    again = await one.log.append(receipt(4), [event(key="b")])
    expect(1, len(again.ids), "nor is its event id known")
    await refused("it raises one of our errors", one.log.append(receipt(5), [unstorable]))


async def what_could_not_be_read_again_is_refused(one: Storage) -> None:
    """Half a character, or nesting without end, would stop every reader of the log: neither gets in."""
    for words in ('{"a":"\\ud83d"}', '{"\\ude00":1}', "[" * 5_000 + "]" * 5_000, "[" * 800 + "]" * 800, "{", ""):
        await refused(f"{words[:20]!r} is not stored", one.log.append(receipt(), [event(words=words)]))
    await one.log.append(receipt(), [event(words="[" * 300 + "]" * 300)])

    expect([0], [entry.offset for entry in one.reader.read(-1, 10)], "the log can be read")


async def no_smaller_offset_appears_after_a_larger(one: Storage) -> None:
    """A reader that follows while many append sees every offset once, in order (law 2)."""
    seen: list[Logged] = []
    done = asyncio.Event()

    async def follow() -> None:
        while not done.is_set() or one.reader.head() > (seen[-1].offset if seen else -1):
            seen.extend(one.reader.read(seen[-1].offset if seen else -1, 7))
            await asyncio.sleep(0)

    following = asyncio.ensure_future(follow())
    for wave in range(6):
        appends = [one.log.append(receipt(wave), [event(f"r{n}"), event(f"r{n}")]) for n in range(20)]
        await asyncio.gather(*appends)
    done.set()
    await following

    expect(list(range(240)), [entry.offset for entry in seen], "offsets, in the order they became readable")


async def rooms_stay_in_their_partition(one: Storage) -> None:
    """An entry's partition follows from its source and room alone, also for conclusions."""
    await one.log.append(receipt(), [event(f"r{n % 5}") for n in range(20)])
    first = one.reader.read(-1, 1)[0]
    await one.log.conclude([replace(first, id=f"{first.id}.1", origin=Origin.DERIVED, cause_id=first.id)])

    partitions: dict[str, set[int]] = {}
    for entry in one.reader.read(-1, 100):
        partitions.setdefault(room_key(entry.source_id, entry.event), set()).add(entry.partition)

    if any(len(found) > 1 or not found <= set(range(64)) for found in partitions.values()):
        broken(f"a room is in several partitions: {partitions}")


async def concluding_twice_changes_nothing(one: Storage) -> None:
    """Conclusions keep the ids they have and are stored once, over restarts."""
    await one.log.append(receipt(), [event()])
    cause = one.reader.read(-1, 1)[0]
    derived = [
        replace(cause, id=f"{cause.id}.{n}", origin=Origin.DERIVED, cause_id=cause.id, receipt_id=None) for n in (1, 2)
    ]

    first = await one.log.conclude(derived[:1])
    one.reopen()
    second = await one.log.conclude(derived)
    third = await one.log.conclude(derived)

    found = one.reader.read(cause.offset, 10)
    expect((1, 1, 0), (first, second, third), "how many were new")
    expect([one_.id for one_ in derived], [entry.id for entry in found], "ids")
    expect({(Origin.DERIVED, cause.id)}, {(entry.origin, entry.cause_id) for entry in found}, "origin and cause")
    expect([1, 2], [entry.offset for entry in found], "offsets go on")


async def reads_are_bounded_and_behind_a_cursor(one: Storage) -> None:
    """A read returns at most what was asked for, and nothing at the head."""
    await one.log.append(receipt(), [event(f"r{n}") for n in range(5)])

    expect([0, 1], [entry.offset for entry in one.reader.read(-1, 2)], "the first two")
    expect([4], [entry.offset for entry in one.reader.read(3, 10)], "the last")
    expect([], one.reader.read(4, 10), "nothing behind the head")
    expect(4, one.reader.head(), "the head")


async def an_empty_log_has_no_head(one: Storage) -> None:
    """-1 is the cursor before the first entry."""
    expect((-1, []), (one.reader.head(), one.reader.read(-1, 10)), "an empty log")


async def readers_pass_what_was_erased(one: Storage) -> None:
    """Erased entries are neither read nor in the way, however many there are."""
    await one.log.append(receipt(), [event(f"r{n}") for n in range(8)])
    for offset in (2, 3, 4, 7):
        one.erase(offset)

    expect([5, 6], [entry.offset for entry in one.reader.read(1, 2)], "what follows the gap")
    expect(6, one.reader.head(), "the largest readable offset")
    one.reopen()
    await one.log.append(receipt(), [event()])
    expect([8], [entry.offset for entry in one.reader.read(6, 9)], "an erased place is not used again")


async def quarantine_keeps_out_of_the_log(one: Storage) -> None:
    """A refused request is kept, not logged; its source's oldest samples make room."""
    for number in range(205):
        await one.log.quarantine(receipt(number), "signature", "wrong")
    await one.log.quarantine(receipt(), "malformed", "not JSON")

    expect(-1, one.reader.head(), "nothing is in the log")
    expect(("signature",) * 200 + ("malformed",), one.stored().quarantined, "bounded per source and code")
    expect(0, one.stored().receipts, "and it is no receipt")


async def ids_are_unique_and_last(one: Storage) -> None:
    """An entry's id does not change when it is read again, later or by a new process."""
    await one.log.append(receipt(), [event() for _ in range(3)])
    before = [entry.id for entry in one.reader.read(-1, 10)]
    one.reopen()
    await one.log.append(receipt(), [event()])

    after = [entry.id for entry in one.reader.read(-1, 10)]
    expect(before, after[:3], "ids last")
    expect(4, len(set(after)), "ids are unique")


async def words_come_back_byte_for_byte(one: Storage) -> None:
    """The vendor's words keep numbers, order, escapes and odd bytes as they came."""
    words = '{"b":1.0,"a":9007199254740993,"e":"\\u4F1A\\/","x":1e400,"会":"\\ud83d\\ude00"}'

    await one.log.append(receipt(), [msgspec.structs.replace(event(), vendor=msgspec.Raw(words.encode()))])

    expect(words.encode(), bytes(one.reader.read(-1, 1)[0].event.vendor), "the vendor's words")


def _keys(entries: list[Logged]) -> list[str]:
    return [entry.event.dedupe_key or "" for entry in entries]


LAWS = (
    append_stores_events_with_their_request,
    append_of_nothing_new_keeps_the_request,
    an_id_twice_in_one_request_is_one_event,
    ids_are_known_per_source,
    events_without_an_id_are_never_dropped,
    ids_outlive_the_process_and_end_with_the_horizon,
    a_known_id_with_other_words_is_a_conflict,
    an_event_that_cannot_be_stored_leaves_nothing,
    what_could_not_be_read_again_is_refused,
    no_smaller_offset_appears_after_a_larger,
    rooms_stay_in_their_partition,
    concluding_twice_changes_nothing,
    reads_are_bounded_and_behind_a_cursor,
    an_empty_log_has_no_head,
    readers_pass_what_was_erased,
    quarantine_keeps_out_of_the_log,
    ids_are_unique_and_last,
    words_come_back_byte_for_byte,
)
