"""The 3T lists of rooms: asked, answered, read again, polled whole or not at all, compared with the projection."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from northbound.dialects import dialect_named
from northbound.dialects.avd.listing import PEOPLE_SHOWN
from northbound.dialects.base import SnapshotDialect
from northbound.doors.avd import LIMIT, ListError, people_answer, read_call, refusal, rooms_answer
from northbound.logic.differences import Difference, DifferenceKind, differences
from northbound.model.app import RoomList, Source
from northbound.model.delivery import Exchange, Failure, FailureKind
from northbound.model.errors import PollFailed
from northbound.model.event import Media, Terminal
from northbound.model.room import Departed, Participant, Room, Snapshot, Track
from northbound.model.wire import Request, Response
from northbound.stages.poll import Poll

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AT = T0 + timedelta(hours=1)
HERE = RoomList(url="http://box.test:8080", key=b"k1", page_size=2)
SOURCE = Source(id="src-1", app_id="app-1", name="box", dialect="avd", token="t", created_at=T0, room_list=HERE)
AVD = dialect_named("avd")
assert isinstance(AVD, SnapshotDialect)


def person(identity: str, **more: Any) -> Participant:
    return Participant(id=identity, session_id="s", joined_at=T0, joined_at_known=True, **more)


def room(name: str, *people: Participant, **more: Any) -> Room:
    more = {"opened_at": T0} | more
    return Room(source_id="src-1", id=name, open=True, participants={one.id: one for one in people}, **more)


def asked(url: str = "/", **more: Any) -> Request:
    return Request(method="GET", url=f"http://hub.test/sdkapi/v2/room/list{url}", **more)


# --- served ----------------------------------------------------------------------------------------------------------


def test_a_room_is_written_as_the_facts_have_it() -> None:
    """Facts 6: code, message, data with total and list; times in Unix milliseconds; a stream for each medium."""
    tracks = {"s": Track(id="s", media=(Media.AUDIO, Media.VIDEO))}
    one = room("r1", person("1", name="shan", terminal=Terminal.WEB, tracks=tracks))

    assert json.loads(rooms_answer(7, [one]).body) == {
        "code": 0,
        "message": "ok",
        "data": {
            "total": 7,
            "list": [
                {
                    "room_id": "r1",
                    "start_time": 1767323045000,
                    "participant_count": 1,
                    "participants": [
                        {
                            "user_id": "1",
                            "user_name": "shan",
                            "endpoint_type": "web",
                            "join_time": 1767323045000,
                            "streams": [
                                {"stream_id": "s", "stream_type": "audio"},
                                {"stream_id": "s", "stream_type": "video"},
                            ],
                        }
                    ],
                }
            ],
        },
    }


@pytest.mark.parametrize(
    "request_",
    [
        asked("?room_id=r1&page=2&limit=5&api_key=k"),
        asked("?room_id=r1&page=2&limit=5", headers=(("API_KEY", "k"),)),
        asked("?room_id=r1", headers=(("authorization", "Bearer k"),), body=b"page=2&limit=5"),
        asked(body=b'{"room_id":"r1","page":2,"limit":"5","api_key":"k"}'),
    ],
)  # fmt: skip
def test_a_call_is_read_from_query_form_json_and_headers(request_: Request) -> None:
    call = read_call(request_, "api_key")

    assert (call.room_id, call.page, call.limit, call.skip, call.key) == ("r1", 2, 5, 5, "k")
    assert "k'" not in repr(call)


def test_a_call_without_anything_is_the_first_page() -> None:
    call = read_call(asked(), "api_key")

    assert (call.page, call.limit, call.key) == (1, LIMIT, "")


@pytest.mark.parametrize(
    "query",
    ["?page=0", "?page=-1", "?limit=101", "?limit=x", "?page=%zz", "?page=1&page=2", "?page=99999999", "?page=٣"],
)
def test_a_wrong_call_is_refused_in_the_lists_shape(query: str) -> None:
    with pytest.raises(ListError) as caught:
        read_call(asked(query), "api_key")

    answer = refusal(caught.value)
    assert (answer.status, json.loads(answer.body)["code"]) == (400, 400)


def test_an_unknown_room_is_a_code_of_its_own() -> None:
    """Ruling 35: code is not 0; the question was right, so HTTP says 200."""
    with pytest.raises(ListError) as caught:
        people_answer([], read_call(asked("?room_id=r9"), "api_key"))

    assert (caught.value.code, caught.value.status) == (404, 200)


def test_the_people_of_one_room_are_paged() -> None:
    people = [person(f"u{number}") for number in range(5)]

    answer = json.loads(people_answer([room("r1", *people)], read_call(asked("?page=2&limit=2"), "api_key")).body)

    assert answer["data"]["total"] == 5
    assert [one["user_id"] for one in answer["data"]["list"]] == ["u2", "u3"]


# --- polled ----------------------------------------------------------------------------------------------------------


class Vendor:
    """A sender behind which a vendor answers; the clock goes on by a second a request."""

    def __init__(self, answer: Callable[[Request], Response | Failure]) -> None:
        self.answer = answer
        self.asked: list[Request] = []

    def submit(self, request: Request, *, deadline: timedelta, on_done: Callable[[Exchange], None]) -> None:
        raise NotImplementedError

    async def send(self, request: Request, *, deadline: timedelta) -> Exchange:
        self.asked.append(request)
        return Exchange(request=request, outcome=self.answer(request), started_at=AT, duration_ms=1)

    def now(self) -> datetime:
        return AT

    def monotonic(self) -> float:
        return float(len(self.asked))


def polled(vendor: Vendor, source: Source = SOURCE) -> Snapshot:
    return asyncio.run(Poll(source, AVD, vendor, vendor).rooms())


def serving(rooms: list[Room], claimed: int | None = None) -> Callable[[Request], Response]:
    """Answer as our own door does."""

    def answer(request: Request) -> Response:
        call = read_call(request, "api_key")
        if "participate" in request.url:
            found = [one for one in rooms if one.id == call.room_id]
            try:
                return people_answer(found, call)
            except ListError as error:
                return refusal(error)
        page = rooms[call.skip : call.skip + call.limit]
        return rooms_answer(len(rooms) if claimed is None else claimed, page)

    return answer


def test_what_we_serve_is_what_we_read() -> None:
    """All pages, people with their tracks, at the time when the look began."""
    rooms = [room(f"r{number}", person("u1", name="张三", terminal=Terminal.WEB)) for number in range(5)]
    vendor = Vendor(serving(rooms))

    snapshot = polled(vendor)

    assert (snapshot.taken_at, [one.id for one in snapshot.rooms]) == (AT, ["r0", "r1", "r2", "r3", "r4"])
    one = snapshot.rooms[4].participants["u1"]
    assert (one.name, one.terminal, one.joined_at) == ("张三", Terminal.WEB, T0)
    assert len(vendor.asked) == 3
    assert vendor.asked[0].url == "http://box.test:8080/sdkapi/v2/room/list?page=1&limit=2&api_key=k1"
    assert list(differences(snapshot, {one.id: one for one in rooms})) == []


def test_a_large_rooms_people_are_asked_for_by_themselves() -> None:
    crowd = [person(f"u{number:04}") for number in range(PEOPLE_SHOWN + 3)]
    source = Source(
        id="src-1", app_id="a", name="", dialect="avd", token="", created_at=T0,
        room_list=RoomList(url="http://box.test", page_size=100, method="POST"),
    )  # fmt: skip

    snapshot = asyncio.run(Poll(source, AVD, vendor := Vendor(serving([room("r1", *crowd)])), vendor).rooms())

    assert len(crowd) == len(snapshot.rooms[0].participants)
    assert vendor.asked[1].method == "POST"


@pytest.mark.parametrize(
    "answer",
    [
        serving([room("r1")], claimed=3),  # a partial page (R6)
        lambda _: Response(status=500),
        lambda _: Response(status=200, body=b"{}"),
        lambda _: Response(status=200, body=b"<html>"),
        lambda _: Response(status=200, body=b'{"code":7,"message":"bad key","data":{"list":[]}}'),
        lambda _: Response(status=200, body=b'{"code":0,"data":{"list":[{"name":"r1"}]}}'),
        lambda _: Failure(kind=FailureKind.TOO_LARGE, message="the answer is over its cap"),
    ],
)
def test_what_is_not_whole_is_no_list(answer: Callable[[Request], Response | Failure]) -> None:
    """R6: a wrongly empty answer, an error, a page that is missing: never an empty list of rooms."""
    with pytest.raises(PollFailed):
        polled(Vendor(answer))


def test_a_list_that_takes_too_long_is_given_up() -> None:
    rooms = [room(f"r{number}") for number in range(40)]

    with pytest.raises(PollFailed, match="in time"):
        polled(Vendor(serving(rooms)))


def test_a_real_servers_own_words_are_a_setting() -> None:
    """Ruling 35: where a server spells it otherwise, the mapping says so."""
    fields = {
        "ask.rooms": "/api/rooms", "ask.page": "pageNo", "ask.limit": "pageSize", "list": "result.rows",
        "total": "result.count", "code": "errcode", "room.id": "roomNo", "room.people": "users", "person.id": "uid",
    }  # fmt: skip
    rooms = RoomList(url="http://box.test/base/", key=b"s3", key_name="X-Key", key_in="header", fields=fields,
                     ok_codes=("200",))  # fmt: skip
    body = b'{"errcode":"200","result":{"count":1,"rows":[{"roomNo":42,"users":[{"uid":7}]}]}}'
    source = Source(id="s", app_id="a", name="", dialect="avd", token="", created_at=T0, room_list=rooms)

    snapshot = polled(vendor := Vendor(lambda _: Response(status=200, body=body)), source)

    assert [(one.id, list(one.participants)) for one in snapshot.rooms] == [("42", ["7"])]
    assert vendor.asked[0].url == "http://box.test/base/api/rooms?pageNo=1&pageSize=100"
    assert vendor.asked[0].header("x-key") == "s3"


def test_one_room_can_be_asked_for() -> None:
    """Ruling 34: a look at one room's people."""
    look = Poll(SOURCE, AVD, vendor := Vendor(serving([room("r1", person("u1"), person("u2"), person("u3"))])), vendor)

    assert list(asyncio.run(look.one_room("r1")).rooms[0].participants) == ["u1", "u2", "u3"]
    assert asyncio.run(look.one_room("r9")).rooms == ()


# --- compared --------------------------------------------------------------------------------------------------------

LATER = AT + timedelta(milliseconds=1)


def kinds(snapshot: list[Room], *known: Room) -> list[str]:
    taken = Snapshot(source_id="src-1", taken_at=AT, rooms=tuple(snapshot))
    found = differences(taken, {one.id: one for one in known})
    return [" ".join(filter(None, (one.kind.value, one.participant_id, one.track_id))) for one in found]


def test_what_either_lacks_is_a_difference() -> None:
    tracked = person("u3", tracks={"t1": Track(id="t1"), "t2": Track(id="t2")})
    theirs = room("r1", person("u1"), with_tracks(person("u3"), "t2", "t3"))

    found = kinds([theirs, room("r3", person("u9"))], room("r1", person("u2"), tracked), room("r2"))

    assert found == [
        "participant_missing u1",
        "participant_extra u2",
        "track_missing u3 t3",
        "track_extra u3 t1",
        "room_extra",
        "room_missing",
        "participant_missing u9",
    ]


def with_tracks(one: Participant, *names: str) -> Participant:
    return Participant(
        id=one.id, session_id="", joined_at=one.joined_at, tracks={name: Track(id=name) for name in names}
    )


@pytest.mark.parametrize(
    ("snapshot", "known"),
    [
        ([], room("r1", opened_at=LATER)),
        ([room("r1", person("u1"))], room("r1", departed={"u1": Departed(session_id="s", left_at=LATER)})),
        ([room("r1")], room("r1", Participant(id="u1", session_id="s", joined_at=LATER))),
        ([room("r1", person("u1"))], Room(source_id="src-1", id="r1", open=False, closed_at=LATER)),
    ],
)
def test_a_callback_since_the_look_began_wins(snapshot: list[Room], known: Room) -> None:
    """R7: what changed here meanwhile is newer than the list."""
    assert kinds(snapshot, known) == []


def test_a_difference_is_one_value() -> None:
    assert Difference(kind=DifferenceKind.ROOM_EXTRA, room_id="r") == Difference(kind="room_extra", room_id="r")
