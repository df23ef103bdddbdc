"""What became of an event at one rule, and why none."""

from datetime import timedelta
from typing import Any

import pytest

from northbound.logic.trace import Outcome, meet
from northbound.model.event import EventType
from northbound.testing.fakes import NOW, event, logged, subscription

ENTRY = logged(event(EventType.UNKNOWN, room=None))
WORDS = {"type": "demo:x", "data": {"n": 1}}
LATER = NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("fields", "words", "sent", "expected"),
    [
        ({}, WORDS, True, Outcome.SENT),
        ({"state": "disabled"}, WORDS, True, Outcome.SENT),
        ({"pattern": '{"type":["other"]}'}, WORDS, True, Outcome.SENT),
        ({}, None, True, Outcome.SENT),
        ({"source_ids": ("src_9",)}, WORDS, True, Outcome.SENT),
        ({}, WORDS, False, Outcome.NOT_SENT),
        ({"pattern": '{"data":{"n":[2]}}'}, WORDS, False, Outcome.NOT_MATCHED),
        ({"pattern": '{"data":{"n":[2]}}', "created_at": LATER}, WORDS, False, Outcome.NOT_MATCHED),
        ({"created_at": LATER}, WORDS, False, Outcome.LATER),
        ({"changed_at": LATER}, WORDS, False, Outcome.LATER),
        ({"state": "disabled"}, WORDS, False, Outcome.DISABLED),
        ({}, None, False, Outcome.NO_WORD),
        ({"source_ids": ("src_9",)}, WORDS, False, Outcome.OTHER_SOURCE),
        ({"pattern": "{"}, WORDS, False, Outcome.BROKEN),
    ],
)
def test_every_way_to_meet_has_a_word(fields: dict[str, Any], words: Any, *, sent: bool, expected: Outcome) -> None:
    rule = subscription(view="aliyun_cvc", **({"created_at": NOW} | fields))

    assert meet(rule, ENTRY, words, is_sent=sent).outcome is expected


def test_why_not_is_told_field_by_field() -> None:
    rule = subscription(view="aliyun_cvc", pattern='{"type":["demo:x"],"data":{"n":[2],"m":["a"]}}')

    found = meet(rule, ENTRY, WORDS, is_sent=False).findings

    assert [(one.path, one.matched) for one in found] == [("$.type", True), ("$.data.n", False), ("$.data.m", False)]
