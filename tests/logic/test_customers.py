"""The switch and its grant (ruling 16), and what an account's settings make of its rules (rulings 8, 12-14)."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from northbound.dialects import all_dialects
from northbound.logic.customers import granted, revoked, switched_off, switched_on
from northbound.logic.route import build_table, route
from northbound.model.account import Account, Bus, Grant
from northbound.model.app import Registry
from northbound.model.errors import Conflict, GrantMissing
from northbound.model.event import EventType
from northbound.testing.fakes import NOW, app, endpoint, event, folded, source, subscription

ACCOUNT = Account(id="1234567890123456", name="c", created_at=NOW, app_id="app_own")
BUS = Bus(id="bus_1", account_id=ACCOUNT.id, name="default", source_id="src_bus", created_at=NOW)
START = EventType.ROOM_OPENED


def test_turning_it_on_makes_the_grant_with_it():
    on = switched_on(ACCOUNT, NOW, may_link=True)

    assert (on.meeting_push, on.meeting_push_since, on.grants) == (True, NOW, (Grant.MEETING_PUSH,))
    assert switched_on(on, datetime(2030, 1, 1, tzinfo=UTC), may_link=False) == on


def test_without_the_right_it_is_refused_by_name_and_works_after_the_grant():
    with pytest.raises(GrantMissing, match=f"POST /api/v1/accounts/{ACCOUNT.id}/grants"):
        switched_on(ACCOUNT, NOW, may_link=False)
    on = switched_on(granted(ACCOUNT, Grant.LINK_SERVICES), NOW, may_link=False)

    assert on.meeting_push
    assert set(on.grants) == {Grant.LINK_SERVICES, Grant.MEETING_PUSH}


def test_off_keeps_the_grant_so_that_on_needs_no_right_again():
    off = switched_off(switched_on(ACCOUNT, NOW, may_link=True))

    assert (off.meeting_push, off.meeting_push_since, off.grants) == (False, None, (Grant.MEETING_PUSH,))
    assert switched_on(off, NOW, may_link=False).meeting_push


def test_a_grant_in_use_is_not_taken_back():
    on = switched_on(ACCOUNT, NOW, may_link=True)

    with pytest.raises(Conflict):
        revoked(on, Grant.MEETING_PUSH)
    assert revoked(switched_off(on), Grant.MEETING_PUSH).grants == ()
    assert revoked(granted(on, Grant.LINK_SERVICES), Grant.LINK_SERVICES).grants == (Grant.MEETING_PUSH,)


# --- what its rules are sent -----------------------------------------------------------------------------------------


def sent(account: Account, pattern: dict[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
    """Return what a rule on the default bus sends of a meeting's start in one of the account's apps."""
    registry = Registry(
        apps=(app(account_id=account.id, region="cn-hangzhou"), app("app_own")),
        sources=(source(), source("src_bus", dialect="aliyun_cvc", app_id="app_own")),
        endpoints=(endpoint(dialect="aliyun_cvc", app_id="app_own", options=options),),
        subscriptions=(
            subscription(app_id="app_own", bus_id="bus_1", view="aliyun_cvc", pattern=json.dumps(pattern or {})),
        ),
        accounts=(account,),
        buses=(BUS,),
    )
    step = folded([event(START, room="m-1", when=datetime(2026, 7, 1, 22, 30, tzinfo=UTC))]).steps[0]
    table = build_table(registry)
    made, _ = route(step, table.apps["app_1"], table, all_dialects(), lambda _: None)
    return [json.loads(bytes(one.view.words)) for one in made]


ON = replace(ACCOUNT, meeting_push=True)


def test_only_while_it_is_on_is_anything_on_the_default_bus():
    assert len(sent(ON)) == 1
    assert sent(ACCOUNT) == []


@pytest.mark.parametrize(
    ("zone", "time"),
    [
        ("Asia/Shanghai", "2026-07-02 06:30:00.000000"),
        ("America/New_York", "2026-07-01 18:30:00.000000"),
        ("Asia/Kolkata", "2026-07-02 04:00:00.000000"),
    ],
)
def test_a_time_without_a_zone_is_in_the_accounts_zone(zone: str, time: str):
    """Ruling 12, daylight saving included: New York is four hours behind in July."""
    (words,) = sent(replace(ON, time_zone=zone))

    assert words["time"] == time
    assert isinstance(words["data"], str)
    assert "specversion" not in words


def test_the_current_envelope_names_the_zone():
    (words,) = sent(replace(ON, time_zone="America/New_York"), envelope="current")

    assert words["time"] == "2026-07-01T18:30:00.000-04:00"
    assert words["data"]["action"] == "meeting_start"
    assert words["source"] == "acs.aliyuncvc"


def test_the_subject_is_the_accounts_template_and_rules_see_it_so():
    """Rulings 8 and 14: the page's filter example begins with acs:, its sample with acs. and has no {group}."""
    account = replace(ON, options={"subject": "acs:aliyuncvc:{region}:{account}:{room}/{user}"})
    told = f"acs:aliyuncvc:cn-hangzhou:{ACCOUNT.id}:m-1"

    assert [one["subject"] for one in sent(account)] == [told]
    assert len(sent(account, {"subject": [{"prefix": told[:-3]}]})) == 1
    assert sent(account, {"subject": [{"prefix": "acs.aliyuncvc"}]}) == []
    assert sent(ON)[0]["subject"] == f"acs.aliyuncvc:cn-hangzhou:{ACCOUNT.id}:m-1"
    assert len(sent(ON, {"subject": [f"acs.aliyuncvc:cn-hangzhou:{ACCOUNT.id}:m-1"]})) == 1


def test_what_an_endpoint_sets_itself_comes_before_its_account():
    account = replace(ON, options={"subject": "the account's"})

    assert sent(account)[0]["subject"] == "the account's"
    assert sent(account, subject="its own")[0]["subject"] == "its own"
