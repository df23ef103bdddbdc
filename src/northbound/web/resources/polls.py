"""Ask a source's vendor for its own list of rooms, and compare it with the projection; nothing is changed."""

from northbound.dialects import dialect_named
from northbound.dialects.base import SnapshotDialect
from northbound.logic.differences import differences
from northbound.model.app import Source
from northbound.model.errors import InvalidInput, Overloaded
from northbound.model.log import room_key_of
from northbound.model.room import Room, Snapshot
from northbound.stages.poll import ROOMS_MOST, Poll
from northbound.web.call import PAGE, Answer, Call
from northbound.web.shapes.pages import Nothing
from northbound.web.shapes.polls import PollShown, PollWanted

SHOWN = 200  # rooms and differences in one answer


async def poll(call: Call[Nothing, PollWanted]) -> Answer:
    """Ask the vendor, and say how its list differs from ours."""
    _, source = call.own(Source, call.path["id"])
    dialect = dialect_named(source.dialect)
    if not isinstance(dialect, SnapshotDialect) or call.hub.sender is None:
        raise InvalidInput(f"{source.dialect} has no list of rooms to ask for", field="id")
    look = Poll(source, dialect, call.hub.sender, call.hub.clock)
    room_id = call.body.room_id
    snapshot = await (look.rooms() if room_id is None else look.one_room(room_id))
    found = list(differences(snapshot, await _known(call, source, snapshot, room_id)))
    shown = PollShown(
        source_id=source.id,
        taken_at=snapshot.taken_at,
        room_count=len(snapshot.rooms),
        participant_count=sum(len(room.participants) for room in snapshot.rooms),
        difference_count=len(found),
        rooms=list(snapshot.rooms[:SHOWN]),
        differences=found[:SHOWN],
    )
    return Answer(content=shown)


async def _known(
    call: Call[Nothing, PollWanted], source: Source, snapshot: Snapshot, room_id: str | None
) -> dict[str, Room]:
    """Return the projection's rooms to compare: the open ones, and those that the vendor lists."""
    known: dict[str, Room] = {}
    wanted = [room.id for room in snapshot.rooms] if room_id is None else [room_id]
    after = ""
    while room_id is None:
        found = await call.read(call.hub.rooms.rooms, (source.id,), after, PAGE, is_open=True)
        known |= {room.id: room for _, room in found}
        if len(found) < PAGE:
            break
        after = found[-1][0]
        if len(known) > ROOMS_MOST:
            raise Overloaded(f"more than {ROOMS_MOST} rooms are open here; ask for one room")
    for identity in wanted:
        if identity not in known:
            room = await call.read(call.hub.rooms.room, room_key_of(source.id, identity))
            known |= {} if room is None else {identity: room}
    return known
