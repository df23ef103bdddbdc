"""Rooms that may be behind: ruling 5."""

from datetime import timedelta

import pytest

from northbound.logic.suspect import suspect_since
from northbound.model.room import Room
from northbound.testing.fakes import NOW

BEFORE, AFTER = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("is_open", "heard_at", "missed_at", "expected"),
    [
        (True, BEFORE, NOW, NOW),
        (True, None, NOW, NOW),
        (True, NOW, NOW, None),
        (True, AFTER, NOW, None),
        (True, BEFORE, None, None),
        (False, BEFORE, NOW, None),
    ],
)
def test_an_open_room_is_suspect_from_the_miss_to_its_next_entry(is_open, heard_at, missed_at, expected) -> None:
    assert expected == suspect_since(Room(source_id="s", id="r", open=is_open), heard_at, missed_at)
