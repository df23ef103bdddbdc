"""The laws of history: what is found, in which order, and that all of it comes from the log (house law 7)."""

# ruff: noqa: D401 - a law says what is so, not what to do

from collections.abc import Sequence
from datetime import timedelta

from northbound.model.errors import HubError
from northbound.model.event import Event, EventType, Facts, Fault, File
from northbound.model.history import HistoryQuery
from northbound.model.log import room_key
from northbound.stages.index import Index, Lag, Verified
from northbound.testing.conformance.storage import NOW, Storage, broken, event, expect, receipt

HOSTILE = (
    '"',
    "'",
    '" OR 1=1 --',
    "a AND",
    "NOT",
    "NEAR(a b, 3)",
    "text : a",
    "{a b} : c",
    "^a",
    "a*b*",
    "*",
    "(((",
    "a\x00b",
    "\ud800",
    "-a",
    "+",
    "😀",
    "a" * 10_000,
    "会" * 10_000,
    " ".join("abc" for _ in range(5_000)),
    "%' ; DROP TABLE hits",
)


async def every_condition_narrows(one: Storage) -> None:
    """Room, person, type, source, event id and time each leave what they say, alone and together."""
    kinds = EventType
    await one.log.append(receipt(1), [event("r1", "u1"), event("r1", "u2", kind=kinds.PARTICIPANT_JOINED)])
    await one.log.append(receipt(2, source="src_2"), [event("r1", "u1"), event("r2", "u2")])
    await one.log.append(receipt(3), [event("r3", "u1", at=NOW - timedelta(days=1))])
    await _index(one)
    ids = [entry.id for entry in one.reader.read(-1, 9)]

    for wanted, offsets in (
        (HistoryQuery(), [4, 3, 2, 1, 0]),
        (HistoryQuery(room_id="r1"), [2, 1, 0]),
        (HistoryQuery(room_key="src_1//r1"), [1, 0]),
        (HistoryQuery(participant_id="u1"), [4, 2, 0]),
        (HistoryQuery(type="participant.joined"), [1]),
        (HistoryQuery(source_ids=("src_1",)), [4, 1, 0]),
        (HistoryQuery(source_ids=("src_2", "src_1")), [4, 3, 2, 1, 0]),
        (HistoryQuery(source_ids=("src_2", "src_9"), limit=1), [3]),
        (HistoryQuery(source_ids=()), []),
        (HistoryQuery(event_id=ids[3]), [3]),
        (HistoryQuery(event_id=ids[3], source_ids=("src_1",)), []),
        (HistoryQuery(since=NOW + timedelta(seconds=2)), [3, 2]),
        (HistoryQuery(until=NOW + timedelta(seconds=2)), [4, 1, 0]),
        (HistoryQuery(since=NOW - timedelta(days=1), until=NOW), [4]),
        (HistoryQuery(since=NOW + timedelta(days=1)), []),
        (HistoryQuery(room_id="r1", participant_id="u1", source_ids=("src_1",)), [0]),
        (HistoryQuery(room_id="r1", type="stats.daily"), []),
        (HistoryQuery(text="r1", participant_id="u2"), [1]),
        (HistoryQuery(text="u1", room_key="src_2//r1"), [2]),
        (HistoryQuery(text="u1", source_ids=("src_2", "src_1"), until=NOW), [4]),
    ):
        _expect_found(one, offsets, wanted)


async def chinese_is_found_from_one_character_on(one: Storage) -> None:
    """A part of a name in Chinese, Japanese or Korean is found wherever it stands, and only as it is written."""
    names = ("产品评审会议室", "周会", "会 议", "議事録ミーティング", "회의실", "会议abc12室", "议会")
    await one.log.append(receipt(), [event(f"r{n}", facts=Facts(room_name=name)) for n, name in enumerate(names)])
    await _index(one)

    for text, offsets in (
        ("会", [6, 5, 2, 1, 0]),
        ("会议", [5, 0]),
        ("评审会", [0]),
        ("产品评审会议室", [0]),
        ("评会", []),
        ("会议 评审", [0]),
        ("ミーティ", [3]),
        ("회의", [4]),
        ("会议abc", [5]),
        ("abc12室", [5]),
        ("议室", [0]),
        ("录", []),
    ):
        _expect_found(one, offsets, HistoryQuery(text=text))


async def words_are_found_by_their_beginning(one: Storage) -> None:
    """Case, width and accents do not matter; three letters or digits begin a word, fewer are a whole word."""
    await one.log.append(
        receipt(),
        [
            event("18972290508", "Li", facts=Facts(name="José Müller")),
            event("room-42_a", "ABC", facts=Facts(name="Ｗｉｄｅ")),
        ],
    )
    await _index(one)

    for text, offsets in (
        ("jose", [0]),
        ("JOSÉ mull", [0]),
        ("189722", [0]),
        ("18972290508", [0]),
        ("0508", []),
        ("li", [0]),
        ("l", []),
        ("wide", [1]),
        ("abc", [1]),
        ("room-42", [1]),
        ("ROOM 42", [1]),
        ("room-43", []),
        ("42-room", []),
        ("", [1, 0]),
        ("  ", [1, 0]),
        ("...", []),
    ):
        _expect_found(one, offsets, HistoryQuery(text=text))


async def all_that_people_look_for_is_searchable(one: Storage) -> None:
    """Names, ids, fault messages, file names, the vendor's own words, and the event's id."""
    words = '{"deep":[{"note":"vendorword 北京"},7,null],"key":"value"}'
    facts = Facts(
        name="Anna",
        room_name="Weekly",
        fault=Fault(code=1043, name="upload_failed", message="磁盘已满 quota"),
        files=(File(name="meeting_2026.mp4", url="http://files.test/x9y8"),),
    )
    one_event = Event(
        type=EventType.RECORDING_ERRORED,
        dialect="northbound",
        room_id="room7",
        participant_id="user7",
        session_id="session7",
        track_id="track7",
        recording_id="recording7",
        dedupe_key="key-7f3a",
        facts=facts,
        vendor=event(words=words).vendor,
    )
    await one.log.append(receipt(), [event(), one_event])
    await _index(one)
    (named,) = one.reader.read(0, 1)

    for text in (
        *"Anna weekly room7 user7 session7 track7 recording7 key-7f3a 7f3a upload quota 磁盘 meeting mp4".split(),
        *"x9y8 vendorword 北京 value 1043".split(),
        named.id,
        f"  {named.id} ",
    ):
        _expect_found(one, [1], HistoryQuery(text=text))
    _expect_found(one, [], HistoryQuery(text=named.id, source_ids=("src_9",)))


async def hits_say_what_a_list_shows(one: Storage) -> None:
    """A hit names its event, room and person, and sums the event up."""
    said = event("r1", "u1", kind=EventType.PARTICIPANT_LEFT, facts=Facts(name="Anna"), at=NOW)
    await one.log.append(receipt(1), [said, event("r1")])
    await _index(one)
    entry = one.reader.read(-1, 1)[0]

    (hit,) = one.history.search(HistoryQuery(participant_id="u1"))

    expect((entry.id, 0, "participant.left"), (hit.event_id, hit.offset, hit.type), "which event")
    expect(("src_1", room_key("src_1", said), "r1", "u1"), (hit.source_id, hit.room_key, hit.room_id, "u1"), "where")
    expect((NOW, entry.recorded_at), (hit.occurred_at, hit.recorded_at), "when")
    expect("Anna", hit.summary.name, "who")
    expect(None, one.history.search(HistoryQuery())[0].occurred_at, "a time that the wire did not say is not made up")


async def pages_neither_repeat_nor_skip(one: Storage) -> None:
    """Newest first below `before`, oldest first above a cursor, whatever is asked for."""
    for number in range(5):
        await one.log.append(
            receipt(number, source=f"src_{number % 2}"), [event("r1", words='{"w":"会议 abc"}') for _ in range(5)]
        )
    await _index(one)

    for wanted in (
        HistoryQuery(limit=4),
        HistoryQuery(limit=4, room_id="r1"),
        HistoryQuery(limit=4, text="会议"),
        HistoryQuery(limit=4, source_ids=("src_0", "src_1")),
        HistoryQuery(limit=4, text="abc", source_ids=("src_0", "src_1"), since=NOW),
    ):
        expect(list(range(24, -1, -1)), _all_pages(one, wanted), f"newest first, {wanted}")
        expect(list(range(25)), _all_pages(one, wanted, oldest_first=True), f"oldest first, {wanted}")
    expect([], one.history.search(HistoryQuery(limit=0)), "a page of nothing")


async def timelines_tell_of_one_room_or_one_person(one: Storage) -> None:
    """A room's entries in log order, without those of its namesake in another source; a person's over all rooms."""
    await one.log.append(receipt(1), [event("r1", "u1"), event("r2", "u1"), event("r1", "u2")])
    await one.log.append(receipt(2, source="src_2"), [event("r1", "u1")])
    await one.log.append(receipt(3), [event("r1", "u1")])
    await _index(one)

    room = one.history.timeline(HistoryQuery(room_key="src_1//r1"))
    person = one.history.timeline(HistoryQuery(participant_id="u1", source_ids=("src_1",)))

    expect([0, 2, 4], [hit.offset for hit in room], "the room's")
    expect([0, 1, 4], [hit.offset for hit in person], "the person's")
    expect([4], [hit.offset for hit in one.history.timeline(HistoryQuery(room_key="src_1//r1"), 2)], "the next page")


async def hostile_searches_find_nothing_and_raise_nothing(one: Storage) -> None:
    """Whatever is typed is only words."""
    await one.log.append(receipt(), [event("r1", "u1", words='{"w":"NOT near or and"}')])
    await _index(one)

    for text in HOSTILE:
        for wanted in (HistoryQuery(text=text), HistoryQuery(text=text, room_id=text), HistoryQuery(room_key=text)):
            try:
                one.history.search(wanted)
                one.history.timeline(wanted)
            except (HubError, ValueError) as error:
                broken(f"a search for {text[:40]!r} raised {error!r}")
    _expect_found(one, [0], HistoryQuery(text="NOT near OR and"))


async def odd_events_do_not_stop_indexing(one: Storage) -> None:
    """Words that are nested, endless, no object or no text are indexed as far as they go."""
    odd = (
        "[" * 300 + "]" * 300,
        '{"a":1e400}',
        '"' + "x" * 200_000 + '"',
        "null",
        '{"a":"\\u0000b\\ufeff"}',
        '"\\udbff\\udfff"',
    )
    await one.log.append(receipt(), [event(f"odd{n}", words=words) for n, words in enumerate(odd)])

    await _index(one)

    expect(len(odd) - 1, one.history.cursor(), "all are behind the cursor")
    for number in range(len(odd)):
        _expect_found(one, [number], HistoryQuery(text=f"odd{number}"))


async def a_batch_is_stored_once_and_only_in_its_place(one: Storage) -> None:
    """Entries and cursor move together; a batch read behind another cursor is not taken."""
    await one.log.append(receipt(), [event(f"r{n}") for n in range(4)])
    entries = one.reader.read(-1, 9)

    expect(False, one.history.add(entries[2:], after=1), "a batch that would leave a gap")
    expect((-1, []), (one.history.cursor(), one.history.search(HistoryQuery())), "changes nothing")
    expect(True, one.history.add(entries[:2], after=-1), "the first batch")
    expect(False, one.history.add(entries[:2], after=-1), "the first batch again")
    one.reopen()
    expect(1, one.history.cursor(), "the cursor outlives the process")
    expect(True, one.history.add(entries[2:], after=1), "the next batch")
    _expect_found(one, [3, 2, 1, 0], HistoryQuery())


async def indexing_goes_in_bounded_batches(one: Storage) -> None:
    """A step takes at most what it is told, and the lag says what is left and how old it is."""
    for number in range(5):
        await one.log.append(receipt(number), [event()])
    index, now = Index(one.reader, one.history), NOW + timedelta(seconds=60)

    expect((5, Lag(events=5, behind_seconds=60.0)), (one.history.lag(), index.lag(now)), "before")
    expect(2, await index.step(2), "a step")
    expect((3, Lag(events=3, behind_seconds=58.0)), (one.history.lag(), index.lag(now)), "after a step")
    expect([3, 0, 0], [await index.step(9), await index.step(9), one.history.lag()], "to the end")
    expect(Lag(events=0, behind_seconds=0.0), index.lag(now), "nothing is left")


async def what_was_erased_is_gone_after_a_rebuild(one: Storage) -> None:
    """History is the log's: verifying names what differs, rebuilding mends it."""
    await one.log.append(receipt(), [event(f"r{n}", words='{"w":"geheim"}') for n in range(6)])
    index = Index(one.reader, one.history)
    await _index(one)
    expect(Verified(entries=6), index.verify(), "sound")

    for offset in (2, 5):
        one.erase(offset)

    expect(2, index.verify().first_wrong, "the first that differs")
    expect(4, index.rebuild(), "entries that were indexed anew")
    expect(Verified(entries=4), index.verify(), "sound again")
    _expect_found(one, [4, 3, 1, 0], HistoryQuery(text="geheim"))
    expect(0, one.history.lag(), "nothing is left")


async def a_rebuild_finds_the_same(one: Storage) -> None:
    """Indexed bit by bit or at once, history answers the same (law 7)."""
    await one.log.append(receipt(), [event(f"r{n % 3}", f"u{n % 4}", words=f'{{"w":"会议{n}"}}') for n in range(40)])
    questions = [HistoryQuery(), HistoryQuery(text="会议"), HistoryQuery(room_id="r1"), HistoryQuery(text="会议7")]
    index = Index(one.reader, one.history)
    while await index.step(3):
        continue
    before = [one.history.search(wanted) for wanted in questions]

    index.rebuild()
    one.reopen()

    expect(before, [one.history.search(wanted) for wanted in questions], "the same answers")


async def _index(one: Storage) -> None:
    index = Index(one.reader, one.history)
    while await index.step(100):
        continue


def _expect_found(one: Storage, offsets: Sequence[int], wanted: HistoryQuery) -> None:
    expect(list(offsets), [hit.offset for hit in one.history.search(wanted)], f"search {wanted}")
    oldest_first = [hit.offset for hit in one.history.timeline(wanted)]
    if wanted.limit == HistoryQuery().limit:
        expect(sorted(offsets), oldest_first, f"timeline {wanted}")


def _all_pages(one: Storage, wanted: HistoryQuery, *, oldest_first: bool = False) -> list[int]:
    found: list[int] = []
    for _ in range(30):
        if oldest_first:
            page = one.history.timeline(wanted, found[-1] if found else -1)
        else:
            page = one.history.search(_before(wanted, found[-1] if found else None))
        if len(page) > wanted.limit:
            broken(f"a page of {wanted.limit} has {len(page)} hits")
        if not page:
            break
        found.extend(hit.offset for hit in page)
    return found


def _before(wanted: HistoryQuery, before: int | None) -> HistoryQuery:
    return HistoryQuery(
        text=wanted.text,
        room_id=wanted.room_id,
        source_ids=wanted.source_ids,
        since=wanted.since,
        limit=wanted.limit,
        before=before,
    )


LAWS = (
    every_condition_narrows,
    chinese_is_found_from_one_character_on,
    words_are_found_by_their_beginning,
    all_that_people_look_for_is_searchable,
    hits_say_what_a_list_shows,
    pages_neither_repeat_nor_skip,
    timelines_tell_of_one_room_or_one_person,
    hostile_searches_find_nothing_and_raise_nothing,
    odd_events_do_not_stop_indexing,
    a_batch_is_stored_once_and_only_in_its_place,
    indexing_goes_in_bounded_batches,
    what_was_erased_is_gone_after_a_rebuild,
    a_rebuild_finds_the_same,
)
