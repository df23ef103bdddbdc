"""What a vendor's own list of rooms says, and how it differs from the projection."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from northbound.logic.differences import Difference
from northbound.logic.entry import IDENTIFIER_BYTES
from northbound.model.room import Room
from northbound.web.shapes.setup import Given


class PollWanted(Given, frozen=True, kw_only=True):
    """What to ask for: everything, or one room and who is in it."""

    room_id: Annotated[str, Meta(min_length=1, max_length=IDENTIFIER_BYTES)] | None = None


class PollShown(msgspec.Struct, frozen=True, kw_only=True):
    """The vendor's list as of `taken_at`; callbacks since then are newer, and no difference.

    Long lists are cut: `room_count`, `participant_count` and `difference_count` are those of the whole.
    """

    source_id: str
    taken_at: datetime
    room_count: int
    participant_count: int
    difference_count: int
    rooms: list[Room]
    differences: list[Difference]
