"""Tell which rooms may be behind because a callback of their source was not taken in time (ruling 5)."""

from datetime import datetime

from northbound.model.room import Room


def suspect_since(room: Room, heard_at: datetime | None, missed_at: datetime | None) -> datetime | None:
    """Return when *room* became suspect, None while there is no reason.

    *heard_at*: when the newest entry folded into it was recorded, None when that is not known any more. *missed_at*:
    when its source last went over its ack budget. What was refused then may have been of any open room of the source,
    so each is suspect until it is heard of again.
    """
    if missed_at is None or not room.open:
        return None
    return missed_at if heard_at is None or heard_at < missed_at else None
