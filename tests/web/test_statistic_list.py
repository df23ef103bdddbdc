"""An account's daily statistics by API: what was sent, a past day counted anew, and sent again (ruling 15)."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from api_site import Site
from msgspec.structs import replace

from northbound.backends.sqlite.control import SqliteControlReader
from northbound.logic.daily import counted_accounts
from northbound.logic.stats import day_of
from northbound.model.account import Account
from northbound.model.event import Event, EventType
from northbound.model.log import Receipt
from northbound.model.wire import Proof, Request
from northbound.stages.statistics import Statistics
from northbound.testing.fakes import event

T = EventType
ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime.now(UTC)
YESTERDAY, DAY_BEFORE = (day_of(NOW - timedelta(days=days), ZONE) for days in (1, 2))
RULE = {"type": ["aliyuncvc:MeetingEvent:MeetingStatistic"]}


class Told(Site):
    """A site with an account that has pushed since the day before yesterday, an app of it, and a rule of its own."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        made = self.made("accounts", {"name": "c"})
        self.account_id, self.own_app = made["id"], made["app_id"]
        app = self.made("apps", {"name": "a", "account_id": self.account_id})
        self.source = self.made("sources", {"app_id": app["id"], "name": "s", "dialect": "avd"})
        url = "https://there.test/x"
        endpoint = self.made("endpoints", {"app_id": self.own_app, "url": url, "dialect": "aliyun_cvc"})
        rule = {"app_id": self.own_app, "pattern": RULE, "view": "aliyun_cvc", "endpoint_ids": [endpoint["id"]]}
        self.app_id = app["id"]
        self.made("subscriptions", rule)
        begun = datetime.fromisoformat(f"{DAY_BEFORE}T00:00").replace(tzinfo=ZONE)
        self.change(created_at=begun, meeting_push=True, meeting_push_since=begun)
        self.target = f"accounts/{self.account_id}/statistics"

    def change(self, **fields: Any) -> None:
        revision, account = self.web.control.get(Account, self.account_id)
        self.web.control.put(replace(account, **fields), who="test", now=NOW, revision=revision)

    def stage(self) -> Statistics:
        reader = SqliteControlReader(self.folder.control)
        counted = counted_accounts(reader.load())
        reader.close()
        log, view = self.web.log, self.web.statistics
        return Statistics(self.store, view, log, lambda: counted, self.log.conclude, self.web.clock)

    def tell(self) -> None:
        """Play the stage."""
        self.settle()
        self.runner.run(self.stage().step())
        self.settle()

    def obey(self) -> None:
        """Play the delivery process, which carries out each command once."""
        for identity, body in self.web.control._db.execute("SELECT id, body FROM commands ORDER BY number").fetchall():
            words = json.loads(body)
            if words["do"] == "statistic":
                self.runner.run(self.stage().again(identity, words["account_id"], words["day"]))
        super().obey()
        self.settle()

    def held(self, day: str, room: str, *people: str) -> None:
        """Receive a meeting of half an hour at noon of *day*."""
        noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=ZONE)
        end = noon + timedelta(minutes=30)
        events = [event(T.ROOM_OPENED, room=room, when=noon)]
        events += [event(T.PARTICIPANT_JOINED, one, room=room, when=noon) for one in people]
        events += [event(T.PARTICIPANT_LEFT, one, room=room, when=end) for one in people]
        events.append(event(T.ROOM_CLOSED, room=room, when=end))
        self.received_events(events)

    def received_events(self, events: list[Event]) -> None:
        request = Request(method="POST", url=self.source["intake_url"])
        receipt = Receipt(source_id=self.source["id"], received_at=NOW, request=request, proof=Proof.NONE)
        self.runner.run(self.log.append(receipt, events))
        self.settle()

    def asked(self, day: str = YESTERDAY, **body: Any) -> Any:
        reply = self.call("POST", f"{self.target}/{day}", body or None)
        assert reply.status == 200, reply.body
        return reply.json


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Told]:
    site = Told(tmp_path)
    yield site
    site.close()


def test_what_was_sent_is_listed_the_newest_day_first(site: Told):
    site.held(YESTERDAY, "r1", "ann", "bob")
    site.tell()
    items = site.call("GET", site.target).json["items"]

    assert [(one["day"], one["number"], one["stored"]) for one in items] == [
        (YESTERDAY, 0, True),
        (DAY_BEFORE, 0, True),
    ]
    assert items[0]["counts"] == {"meetings": 1, "seconds": 1800, "members": 2, "peak": 2}
    first = site.call("GET", f"{site.target}?limit=1").json
    rest = site.call("GET", f"{site.target}?limit=1&cursor={first['next_cursor']}").json
    assert [one["day"] for one in first["items"] + rest["items"]] == [YESTERDAY, DAY_BEFORE]


def test_it_is_an_event_like_any_other(site: Told):
    """Found by its id, listed, routed, and no vendor's word against our own figures."""
    site.tell()
    event_id = f"st_{site.account_id}_{YESTERDAY}"
    detail = site.call("GET", f"events/{event_id}").json

    assert (detail["event"]["type"], detail["event"]["origin"]) == ("stats.daily", "synthetic")
    assert len(detail["deliveries"]) == 1
    assert event_id in [one["id"] for one in site.call("GET", "events?type=stats.daily").json["items"]]
    day = site.call("GET", f"stats/daily?app_id={site.own_app}&day={YESTERDAY}").json
    assert day["statistics"] == []


def test_an_apps_day_has_those_who_are_still_there_of_the_days_before(site: Told):
    """Ann and bob came the day before; of bob more is heard today, of ann nothing."""
    begun = NOW - timedelta(days=3)
    stays = [event(T.PARTICIPANT_JOINED, one, room="r1", when=begun) for one in ("ann", "bob")]
    site.received_events([event(T.ROOM_OPENED, room="r1", when=begun), *stays])
    site.received_events([event(T.PARTICIPANT_LEFT, "bob", room="r1", when=NOW)])
    site.received_events([event(T.PARTICIPANT_JOINED, "bob", room="r1", when=NOW)])
    figures = site.call("GET", f"stats/daily?app_id={site.app_id}").json
    older = site.call("GET", f"stats/daily?app_id={site.app_id}&day={DAY_BEFORE}").json

    assert (figures["joins"], figures["members"]) == (1, 2)
    assert (older["joins"], older["members"]) == (0, 2)


def test_a_dry_run_shows_old_and_new_and_sends_nothing(site: Told):
    site.tell()
    site.held(YESTERDAY, "late", "ann")
    shown = site.asked()

    assert shown["told"]["counts"] == {"meetings": 0, "seconds": 0, "members": 0, "peak": 0}
    assert shown["counts"] == {"meetings": 1, "seconds": 1800, "members": 1, "peak": 1}
    assert shown["differs"] == ["meetings", "seconds", "members", "peak"]
    assert (shown["event_id"], shown["command_id"]) == (None, None)
    site.obey()
    assert len(site.call("GET", site.target).json["items"]) == 2


def test_what_differs_is_sent_as_a_correction_and_what_does_not_under_its_old_id(site: Told):
    site.tell()
    site.held(YESTERDAY, "late", "ann")
    sent = site.asked(dry_run=False)
    site.obey()

    assert sent["event_id"] == f"st_{site.account_id}_{YESTERDAY}_1"
    done = site.call("GET", f"replays/{sent['command_id']}").json
    assert (done["state"], done["result"]) == ("done", {"event_id": sent["event_id"], "told": True})
    assert [one["number"] for one in site.call("GET", site.target).json["items"]] == [1, 0, 0]

    again = site.asked(dry_run=False)
    site.obey()
    assert (again["differs"], again["event_id"], again["deliveries"]) == ([], sent["event_id"], 1)
    assert site.call("GET", f"replays/{again['command_id']}").json["result"] == {"count": 1}
    lanes = [one["lane"] for one in site.call("GET", f"events/{sent['event_id']}").json["deliveries"]]
    assert sorted(lanes) == ["live", "replay"]


def test_a_day_before_the_switch_can_be_sent_once_it_is_on(site: Told):
    site.change(meeting_push=False, meeting_push_since=None)
    site.held(YESTERDAY, "r1", "ann")
    site.tell()

    assert site.asked()["told"] is None
    assert site.call("POST", f"{site.target}/{YESTERDAY}", {"dry_run": False}).status == 409
    site.change(meeting_push=True, meeting_push_since=NOW)
    assert site.asked(dry_run=False)["event_id"] == f"st_{site.account_id}_{YESTERDAY}"
    site.obey()
    (one,) = site.call("GET", site.target).json["items"]
    assert one["counts"]["peak"] == 1


@pytest.mark.parametrize("day", [day_of(NOW, ZONE), "2019-01-01", "2026-13-01", "today", "2026-3-1"])
def test_only_a_day_that_is_over_and_the_accounts_own(site: Told, day: str):
    refused = site.call("POST", f"{site.target}/{day}")

    assert (refused.status, refused.json["field"]) == (422, "day")


def test_readers_send_nothing_and_strangers_see_nothing(site: Told):
    stranger = site.key_for(site.made("accounts", {"name": "other"})["app_id"])
    own, reader = site.key_for(site.own_app), site.key_for(site.own_app, "reader")

    assert site.call("GET", site.target, key=stranger).status == 404
    assert site.call("POST", f"{site.target}/{YESTERDAY}", key=stranger).status == 404
    assert site.call("GET", site.target, key=reader).status == 200
    assert site.call("POST", f"{site.target}/{YESTERDAY}", key=reader).status == 403
    assert site.call("POST", f"{site.target}/{YESTERDAY}", key=own).status == 200
