"""The report of what the clients do can fail: a row that is missing or bad, or a list that the doors outgrew."""

import re
from importlib import import_module
from typing import Any

import pytest

from northbound.web.doors.plane_actions import ACTIONS as PLANE_ACTIONS
from northbound.web.doors.rpc import ACTIONS as RPC_ACTIONS
from sdk import table
from sdk.asked import ACTIONS, ERRORS, EVENTBRIDGE, LIVE, LOOP, NOT_THERE, PLANE, RTC, SIGNATURES, STALE
from sdk.table import Row, merged, missing

VERSIONS = {RTC: "2018-01-11", LIVE: "2016-11-01", EVENTBRIDGE: "2020-04-01"}
ALL_WELL = [
    *(Row(action, sdk, one) for sdk, names in ACTIONS.items() for action in names for one in SIGNATURES[sdk]),
    *(
        Row("A", sdk, one, case, "ok" if case == LOOP else "SomeCode")
        for sdk, signatures in SIGNATURES.items()
        for case in (*ERRORS, LOOP)
        for one in signatures
        if (sdk, case) not in NOT_THERE
    ),
]


@pytest.mark.parametrize("sdk", VERSIONS)
def test_every_action_of_a_version_is_asked_for(sdk: str) -> None:
    assert set(ACTIONS[sdk]) == {name for version, name in RPC_ACTIONS if version == VERSIONS[sdk]}


def test_every_action_of_the_data_plane_is_asked_for() -> None:
    assert set(ACTIONS[PLANE]) == set(PLANE_ACTIONS)


@pytest.mark.parametrize("sdk", VERSIONS)
def test_each_client_has_what_is_asked_for(sdk: str) -> None:
    client = import_module(f"{sdk}.client").Client

    assert all(hasattr(client, re.sub("(?<!^)(?=[A-Z])", "_", name).lower()) for name in ACTIONS[sdk])


def test_nothing_is_missing_when_every_row_is_there() -> None:
    assert missing(ALL_WELL) == []


@pytest.mark.parametrize("at", [0, 60, len(ALL_WELL) - 1])
def test_a_row_that_is_not_there_is_missing(at: int) -> None:
    gone = ALL_WELL[at]

    (found,) = missing([row for row in ALL_WELL if row is not gone])

    assert (found.sdk, found.signature, found.case) == (gone.sdk, gone.signature, gone.case)


@pytest.mark.parametrize(
    ("row", "is_good"),
    [
        (Row("A", RTC, "V1"), True),
        (Row("A", RTC, "V1", result="failed: AssertionError"), False),
        (Row("A", RTC, "V1", STALE, "InvalidTimeStamp.Expired"), True),
        (Row("A", RTC, "V1", STALE), False),
        (Row("A", RTC, "V1", "another case"), True),
    ],
)
def test_what_was_not_refused_is_as_bad_as_what_failed(row: Row, *, is_good: bool) -> None:
    assert row.is_good is is_good


def test_a_failure_stays() -> None:
    bad = Row("A", RTC, "V1", result="failed: X")

    assert merged([Row("A", RTC, "V1"), bad, Row("A", RTC, "V1")]) == [bad]


def test_the_text_shows_what_is_missing_and_ends_with_the_sums(capsys: Any) -> None:
    rows = merged([*ALL_WELL[1:], Row("A", RTC, "V1", "a further case", "failed: X")])

    table.as_text(rows, missing(rows))

    said = capsys.readouterr().out
    assert "MISSING" in said
    assert "not in its protocol" in said
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"4 callers: actions {len([row for row in ALL_WELL if not row.case]) - 1} of ")
    assert last.endswith("; 1 failed, 1 missing")
